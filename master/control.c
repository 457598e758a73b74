/*
 * Purpose: serve the control socket: who is connected, and what goes to
 *          several of them.
 *
 * Runs in: the master.
 * Trusts:  nothing that a peer sends.
 * Touches: a Unix socket and its connections.
 * Failure: a connection that misbehaves in any way is closed.
 */
#include "master/control.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/control_client.h"
#include "master/control_proto.h"
#include "master/control_socket.h"
#include "master/event.h"
#include "master/master.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

#define CONTROL_CLIENTS_MAX 64
/* What may wait for a follower: about ten thousand events. */
#define CONTROL_FOLLOW_BYTES (4U << 20)
/* Without descriptors or memory: a pause, or every turn would try again. */
#define CONTROL_PAUSE_MS 1000

/* --- connections ------------------------------------------------------- */

static void
control_on_pause(void *arg)
{
	struct control *o = arg;

	if (o->nclients < CONTROL_CLIENTS_MAX)
		event_add(o->ev_accept, NULL);
}

/* Those who wait in the socket's queue go on waiting. */
static void
control_accept_failed(struct control *o, int e)
{
	if (e == EAGAIN || e == EINTR || e == ECONNABORTED)
		return;
	log_warn("control socket: cannot accept: %s; again in %d ms",
		 strerror(e), CONTROL_PAUSE_MS);
	event_del(o->ev_accept);
	loop_timer_set(o->pause, CONTROL_PAUSE_MS);
}

static void
control_on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct control *o = arg;
	int fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *c;

	(void)what;
	if (fd < 0) {
		control_accept_failed(o, errno);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		fd_close(&fd);
		return;
	}
	c->owner = o;
	c->fd = fd;
	c->given = -1;
	buf_init(&c->out, CONTROL_REPLY_MAX + 4);
	LIST_INSERT_HEAD(&o->clients, c, link);
	/* The others wait in the socket's queue until one of us ends. */
	if (++o->nclients >= CONTROL_CLIENTS_MAX)
		event_del(o->ev_accept);
	if (client_set_up(c) != 0)
		client_end(c);
}

/* --- to several of them ------------------------------------------------ */

/* One event to everybody who follows. */
static void
control_on_event(void *arg, struct slice json)
{
	struct control *o = arg;
	char mem[EVENT_JSON_MAX + 64];
	struct client *c, *next;
	struct sbuf b;

	sbuf_init(&b, mem, sizeof(mem));
	sbuf_str(&b, "{\"ok\":true,\"event\":");
	sbuf_slice(&b, json);
	sbuf_char(&b, '}');
	for (c = LIST_FIRST(&o->clients); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		if (!c->following || c->dead)
			continue;
		if (buf_len(&c->out) > CONTROL_FOLLOW_BYTES) {
			client_end(c); /* it does not read */
			continue;
		}
		client_put_reply(c, b.p, b.len);
		if (!c->dead)
			client_send(c);
	}
}

void
control_settle(struct control *o, const struct conf_errors *wrong)
{
	struct client *c, *next;

	for (c = LIST_FIRST(&o->clients); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		if (c->held != NULL && !c->dead)
			client_settle(c, wrong);
	}
}

/* --- the socket -------------------------------------------------------- */

void
control_regroup(struct control *o)
{
	o->group = control_socket_regroup(o->path, o->m->conf.control_group.s);
}

int
control_open(struct control **c_r, struct master *m, char *err, size_t err_size)
{
	struct control *o = calloc(1, sizeof(*o));
	int r = -ENOMEM;

	snprintf(err, err_size, "out of memory");
	if (o == NULL)
		return -ENOMEM;
	o->m = m;
	o->fd = -1;
	LIST_INIT(&o->clients);
	/* conf.def bounds it below sun_path. */
	snprintf(o->path, sizeof(o->path), "%.107s", m->conf.control_socket.s);
	o->fd = control_socket_bind(o->path, err, err_size);
	r = MIN(o->fd, 0);
	if (r == 0) {
		o->pause = loop_timer_new(m->loop, control_on_pause, o);
		o->ev_accept =
		    event_new(loop_base(m->loop), o->fd, EV_READ | EV_PERSIST,
			      control_on_accept, o);
		if (o->pause == NULL || o->ev_accept == NULL ||
		    event_add(o->ev_accept, NULL) != 0)
			r = -ENOMEM;
	}
	if (r != 0) {
		control_free(&o);
		return r;
	}
	control_regroup(o);
	event_log_follow(m->events, control_on_event, o);
	*c_r = o;
	return 0;
}

void
control_free(struct control **op)
{
	struct control *o = *op;

	if (o == NULL)
		return;
	event_log_follow(o->m->events, NULL, NULL);
	if (o->ev_accept != NULL)
		event_free(o->ev_accept);
	o->ev_accept = NULL;
	loop_timer_free(&o->pause);
	while (!LIST_EMPTY(&o->clients)) {
		struct client *c = LIST_FIRST(&o->clients);

		/* One that ended in the last turn is freed by its cell. */
		LIST_REMOVE(c, link);
		c->owner = NULL;
		if (!c->dead)
			client_free(c);
	}
	if (o->fd >= 0)
		unlink(o->path);
	fd_close(&o->fd);
	free(o);
	*op = NULL;
}
