/*
 * Purpose: one connection of the control socket: its request in, its reply
 *          out, its end.
 *
 * Runs in: the master.
 * Trusts:  the kernel's word on who the peer is; nothing that the peer sends.
 * Touches: the connection.
 * Failure: a connection that misbehaves in any way is closed.
 */
#include "master/control_client.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/control_proto.h"
#include "master/control_socket.h"
#include "master/master.h"
#include "shm/base/fd.h"
#include "shm/base/str.h"
#include "shm/base/log.h"

/* From connect to the whole request: rmsctl sends it at once. */
#define CONTROL_REQUEST_MS 10000
/* A peer that takes nothing of its reply for so long is dead. */
#define CONTROL_WRITE_MS 30000

/* --- its end ----------------------------------------------------------- */

void
client_free(void *arg)
{
	struct client *c = arg;
	struct control *o = c->owner;

	if (o != NULL) {
		LIST_REMOVE(c, link);
		o->nclients--;
		o->nfollowers -= c->following ? 1 : 0;
	}
	if (c->ev_read != NULL)
		event_free(c->ev_read);
	if (c->ev_write != NULL)
		event_free(c->ev_write);
	loop_timer_free(&c->timer);
	fd_close(&c->fd);
	fd_close(&c->given);
	if (c->req != NULL)
		str_wipe(c->req, c->req_len);
	free(c->req);
	free(c->held);
	buf_fini(&c->out, 0);
	free(c);
	if (o != NULL && o->ev_accept != NULL)
		event_add(o->ev_accept, NULL);
}

/* Freed at the end of the turn, so that no handler meets a corpse. */
void
client_end(struct client *c)
{
	if (c->dead)
		return;
	c->dead = true;
	loop_defer(c->owner->m->loop, &c->cell, client_free, c);
}

static void
client_on_timer(void *arg)
{
	client_end(arg);
}

/* --- its reply --------------------------------------------------------- */

void
client_send(struct client *c)
{
	size_t len;
	const uint8_t *p;
	ssize_t n;

	for (p = buf_peek(&c->out, &len); len > 0;
	     p = buf_peek(&c->out, &len)) {
		n = send(c->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			event_add(c->ev_write, NULL);
			return;
		}
		if (n < 0) {
			client_end(c);
			return;
		}
		buf_drain(&c->out, (size_t)n);
		loop_timer_set(c->timer, CONTROL_WRITE_MS);
	}
	if (c->following || c->held != NULL)
		loop_timer_set(c->timer, 0); /* it may be long in coming */
	else
		client_end(c);
}

void
client_put_reply(struct client *c, const char *json, size_t len)
{
	uint8_t head[4] = {(uint8_t)len, (uint8_t)(len >> 8),
			   (uint8_t)(len >> 16), (uint8_t)(len >> 24)};

	BUG_ON(len > CONTROL_REPLY_MAX);
	if (buf_put(&c->out, head, sizeof(head)) != 0 ||
	    buf_put(&c->out, json, len) != 0)
		client_end(c);
}

/* --- its request ------------------------------------------------------- */

/*
 * A request may bring one descriptor.  There is room for no second one in a
 * message: the kernel closes it and says so.
 */
static int
client_take_fd(struct client *c, struct msghdr *m)
{
	struct cmsghdr *h = CMSG_FIRSTHDR(m);
	int fd = -1;

	if (h != NULL && h->cmsg_level == SOL_SOCKET &&
	    h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	if ((m->msg_flags & MSG_CTRUNC) == 0 && (fd < 0 || c->given < 0)) {
		if (fd >= 0)
			c->given = fd;
		return 0;
	}
	fd_close(&fd);
	return -1;
}

/* IO on behalf of the peer: >0 bytes, 0 nothing now, -1 the end. */
static ssize_t
client_recv(struct client *c, void *p, size_t len)
{
	union {
		struct cmsghdr align;
		char mem[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = p, .iov_len = len};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.mem,
			   /* CMSG_SPACE would let a second one in */
			   .msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t n;

	do
		n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n >= 0 && client_take_fd(c, &m) != 0)
		return -1;
	return n <= 0 ? -1 : n;
}

static void
client_on_head(struct client *c)
{
	const uint8_t *h = c->head;
	size_t len = (size_t)h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 |
		     (size_t)h[3] << 24;

	if (len == 0 || len > CONTROL_REQUEST_MAX) {
		client_put_error(c, EPROTO, "a request is 1 to 262144 bytes",
				 NULL);
		c->answered = true;
		client_send(c);
		return;
	}
	c->req = malloc(len);
	c->req_len = c->req == NULL ? 0 : len;
	if (c->req == NULL)
		client_end(c);
}

static void
client_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	char rest[64];
	ssize_t n;

	(void)fd;
	(void)what;
	if (c->dead)
		return;
	if (c->answered) { /* only its end is of interest now */
		n = client_recv(c, rest, sizeof(rest));
	} else if (c->req == NULL) {
		n = client_recv(c, c->head + c->head_got,
				sizeof(c->head) - c->head_got);
		if (n > 0)
			c->head_got += (size_t)n;
		if (c->head_got == sizeof(c->head))
			client_on_head(c);
	} else {
		n = client_recv(c, c->req + c->req_got,
				c->req_len - c->req_got);
		if (n > 0)
			c->req_got += (size_t)n;
		if (c->req_got == c->req_len)
			client_answer(c);
	}
	/* A peer may close its sending side and wait for the reply. */
	if (n < 0 && c->answered && !c->following && !c->dead)
		event_del(c->ev_read);
	else if (n < 0)
		client_end(c);
}

static void
client_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	(void)what;
	if (!c->dead)
		client_send(c);
}

/* --- its begin --------------------------------------------------------- */

int
client_set_up(struct client *c)
{
	struct event_base *base = loop_base(c->owner->m->loop);
	socklen_t len = sizeof(c->peer);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &c->peer, &len) != 0)
		return -errno;
	c->may_change =
	    c->peer.uid == 0 || c->peer.uid == geteuid() ||
	    control_socket_peer_in(c->fd, &c->peer, c->owner->group);
	c->ev_read =
	    event_new(base, c->fd, EV_READ | EV_PERSIST, client_on_readable, c);
	c->ev_write = event_new(base, c->fd, EV_WRITE, client_on_writable, c);
	c->timer = loop_timer_new(c->owner->m->loop, client_on_timer, c);
	if (c->ev_read == NULL || c->ev_write == NULL || c->timer == NULL ||
	    event_add(c->ev_read, NULL) != 0)
		return -ENOMEM;
	loop_timer_set(c->timer, CONTROL_REQUEST_MS);
	return 0;
}
