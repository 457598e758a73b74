/*
 * Purpose: serve the control socket.
 *
 * Runs in: the master.
 * Trusts:  the kernel's word on who the peer is; nothing that the peer sends.
 * Touches: a Unix socket and its connections.
 * Failure: a connection that misbehaves in any way is closed.
 */
#include "master/control.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "master/control_call.h"
#include "master/control_socket.h"
#include "master/event.h"
#include "master/supervise.h"
#include "shm/base/buf.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

#define CONTROL_CLIENTS_MAX   64
#define CONTROL_FOLLOWERS_MAX 16
/* From connect to the whole request: rmsctl sends it at once. */
#define CONTROL_REQUEST_MS 10000
/* A peer that takes nothing of its reply for so long is dead. */
#define CONTROL_WRITE_MS 30000
/* What may wait for a follower: about ten thousand events. */
#define CONTROL_FOLLOW_BYTES (4U << 20)
#define CONTROL_REPLY_FIRST  65536
/* Without descriptors or memory: a pause, or every turn would try again. */
#define CONTROL_PAUSE_MS 1000

struct client {
	LIST_ENTRY(client) link;
	struct control *owner;
	int fd;
	int given; /* descriptor that came with the request; -1 none */
	struct ucred peer;
	bool may_change;
	struct event *ev_read, *ev_write;
	struct loop_timer *timer;
	uint8_t head[4];
	size_t head_got;
	char *req; /* wiped: it may hold a secret */
	size_t req_len, req_got;
	struct buf out;
	char *held; /* the reply of a verb that waits for the rollout */
	size_t held_len;
	bool answered, following, dead;
	struct loop_cell cell;
};

struct control {
	struct master *m;
	int fd;
	gid_t group; /* (gid_t)-1: none */
	struct event *ev_accept;
	struct loop_timer *pause; /* of accepting */
	size_t nclients, nfollowers;
	LIST_HEAD(, client) clients;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void client_on_readable(evutil_socket_t fd, short what, void *arg);
static void client_on_writable(evutil_socket_t fd, short what, void *arg);

/* --- the end of a connection ------------------------------------------- */

static void
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
static void
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

/* --- replies ----------------------------------------------------------- */

static void
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

static void
client_put_reply(struct client *c, const char *json, size_t len)
{
	uint8_t head[4] = {(uint8_t)len, (uint8_t)(len >> 8),
			   (uint8_t)(len >> 16), (uint8_t)(len >> 24)};

	BUG_ON(len > CONTROL_REPLY_MAX);
	if (buf_put(&c->out, head, sizeof(head)) != 0 ||
	    buf_put(&c->out, json, len) != 0)
		client_end(c);
}

/* more: further lines, JSON strings with commas between; NULL none. */
static void
reply_error_more(struct client *c, int e, const char *text,
		 const struct conf_errors *errors, const char *more)
{
	char mem[32768 + CONTROL_LINES_MAX];
	struct sbuf b;
	struct json j;
	const char *name = strerrorname_np(e);

	sbuf_init(&b, mem, sizeof(mem));
	json_init(&j, &b);
	json_object(&j, NULL);
	json_bool(&j, "ok", false);
	json_str(&j, "error", text);
	json_str(&j, "code", name != NULL ? name : "EIO");
	if (errors != NULL) {
		json_array(&j, "lines");
		for (size_t i = 0;
		     i < MIN(errors->n, ARRAY_LEN(errors->text)) &&
		     b.len + 6 * sizeof(errors->text[0]) < sizeof(mem);
		     i++)
			json_str(&j, NULL, errors->text[i]);
		json_array_end(&j);
	} else if (more != NULL) {
		json_array(&j, "lines");
		sbuf_str(&b, more);
		json_array_end(&j);
	}
	json_object_end(&j);
	BUG_ON(b.cut);
	client_put_reply(c, b.p, b.len);
}

static void
reply_error(struct client *c, int e, const char *text,
	    const struct conf_errors *errors)
{
	reply_error_more(c, e, text, errors, NULL);
}

/* --- the verbs --------------------------------------------------------- */

static int
call_verb(struct control_call *c)
{
	static int (*const verb[])(struct control_call *) = {
#define VERB(ident, name, level, args, text) \
	[CONTROL_##ident] = control_do_##ident,
#include "master/control_verbs.def"
#undef VERB
	};

	return verb[c->req->verb->id](c);
}

/* Runs the verb into mem; -E2BIG when the reply did not fit. */
static int
run_verb(struct control_call *call, char *mem, size_t size, size_t *len_r)
{
	struct sbuf b;
	int r;

	sbuf_init(&b, mem, size);
	json_init(&call->json, &b);
	json_object(&call->json, NULL);
	json_bool(&call->json, "ok", true);
	r = call_verb(call);
	json_object_end(&call->json);
	*len_r = b.len;
	return r == 0 && b.cut ? -E2BIG : r;
}

static void
client_answer_call(struct client *c, struct control_call *call)
{
	size_t size = CONTROL_REPLY_FIRST, len = 0;
	char *mem = NULL;
	int r;

	/* A change is made once; its reply is always small. */
	do {
		free(mem);
		mem = malloc(size);
		if (mem == NULL) {
			r = -ENOMEM;
			snprintf(call->err, sizeof(call->err),
				 "out of memory; try again");
			break;
		}
		r = run_verb(call, mem, size, &len);
		if (r == -E2BIG)
			snprintf(call->err, sizeof(call->err),
				 "the reply is larger than %d bytes",
				 CONTROL_REPLY_MAX);
		size *= 8;
	} while (r == -E2BIG && !call->req->verb->change &&
		 size <= CONTROL_REPLY_MAX);
	if (r == 0 && call->wait) {
		c->held = mem;
		c->held_len = len;
		return;
	}
	if (r == 0)
		client_put_reply(c, mem, len);
	else
		reply_error_more(c, -r, call->err, call->errors, call->lines);
	free(mem);
}

static void
name_author(const struct client *c, struct store_author *a)
{
	/* No getpwuid() here: a directory that hangs must not hang us. */
	if (c->peer.uid == 0)
		snprintf(a->name, sizeof(a->name), "uid 0 (root)");
	else if (c->peer.uid == geteuid())
		snprintf(a->name, sizeof(a->name), "uid %u (%s)",
			 (unsigned)c->peer.uid, c->owner->m->user);
	else
		snprintf(a->name, sizeof(a->name), "uid %u",
			 (unsigned)c->peer.uid);
}

static void
client_run(struct client *c, const struct control_request *req)
{
	struct control *o = c->owner;
	struct control_call *call = calloc(1, sizeof(*call));

	if (call == NULL) {
		client_end(c);
		return;
	}
	call->m = o->m;
	call->req = req;
	call->fd = c->given;
	name_author(c, &call->author);
	client_answer_call(c, call);
	if (call->follow && !c->dead) {
		c->following = true;
		o->nfollowers++;
	}
	free(call->errors);
	free(call->lines);
	free(call);
}

static void
client_answer(struct client *c)
{
	struct control_request req;
	char err[256];
	int r =
	    control_request_parse(&req, c->req, c->req_len, err, sizeof(err));

	c->answered = true;
	if (r != 0)
		reply_error(c, -r, err, NULL);
	else if (req.verb->change && !c->may_change)
		reply_error(c, EACCES,
			    "this needs root, the connector's own account or a "
			    "member of control_group",
			    NULL);
	else if (req.verb->change &&
		 supervise_is_draining(c->owner->m->supervise))
		reply_error(c, EBUSY, "the connector is stopping", NULL);
	else if (c->given >= 0 && req.verb->id != CONTROL_servers_import)
		reply_error(c, EPROTO, "this verb takes no descriptor", NULL);
	else if (control_request_flag(&req, "follow") &&
		 c->owner->nfollowers >= CONTROL_FOLLOWERS_MAX)
		reply_error(
		    c, EBUSY,
		    "too many others follow the events; end one of them", NULL);
	else
		client_run(c, &req);
	str_wipe(c->req, c->req_len);
	fd_close(&c->given); /* it may be large, and a peer slow to read */
	if (!c->dead)
		client_send(c);
}

static void
client_settle(struct client *c, const struct conf_errors *wrong)
{
	if (supervise_is_draining(c->owner->m->supervise))
		reply_error(c, EBUSY, "the connector is stopping", NULL);
	else if (wrong->n > 0)
		reply_error(c, EIO,
			    "the new configuration is in force, but not in "
			    "every process; mend what the lines say and "
			    "reload, or end such a process: it starts with "
			    "the new one",
			    wrong);
	else
		client_put_reply(c, c->held, c->held_len);
	free(c->held);
	c->held = NULL;
	if (!c->dead)
		client_send(c);
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

/* --- requests ---------------------------------------------------------- */

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
		reply_error(c, EPROTO, "a request is 1 to 262144 bytes", NULL);
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

/* --- connections ------------------------------------------------------- */

static int
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
