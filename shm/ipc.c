/*
 * Purpose: messages between processes, checked against ipc_msgs.def.
 *
 * Runs in: every process.
 * Trusts:  its own caller and the kernel; never the process at the other end.
 * Touches: one SOCK_SEQPACKET descriptor per channel.
 * Failure: the channel ends with a reason, told by on_end after the handlers
 *          of the turn, never from within a call.
 */
#include "shm/ipc.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/ipc_packet.h"
#include "shm/base/log.h"

/* Messages handled in one go; the event stays ready for the rest. */
#define IPC_BATCH 32

struct ipc_out { /* a message that waits for room in the socket */
	STAILQ_ENTRY(ipc_out) link;
	int fd;
	struct ipc_head head;
	uint8_t body[];
};

struct ipc {
	struct loop *loop;
	int fd;
	enum role self, peer;
	unsigned peer_slot;
	const struct ipc_ops *ops;
	void *arg;
	struct event *ev_read, *ev_write;
	STAILQ_HEAD(, ipc_out) queue;
	size_t queued, queue_max;
	bool ended;	 /* no more messages; on_end was or will be called */
	bool deaf;	 /* the peer takes no more: end when all is read */
	bool in_handler; /* on_msg is running */
	bool telling;	 /* the cell waits */
	bool freed;	 /* by the owner, while one of these two held */
	enum ipc_end end;
	const char *why;
	struct loop_cell cell;
	uint8_t packet[IPC_PACKET_MAX];
};

static void ipc_on_readable(evutil_socket_t fd, short what, void *arg);
static void ipc_on_writable(evutil_socket_t fd, short what, void *arg);

int
ipc_pair(int fd_r[2])
{
	/* Room for two of the largest messages, whatever the host's default
	 * is (capped by net.core.wmem_max, whose default suffices). */
	int room = 2 * IPC_PACKET_MAX;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC,
		       0, fd_r) != 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		if (setsockopt(fd_r[i], SOL_SOCKET, SO_SNDBUF, &room,
			       sizeof(room)) != 0) {
			int e = errno;

			fd_close(&fd_r[0]);
			fd_close(&fd_r[1]);
			return -e;
		}
	}
	return 0;
}

struct ipc *
ipc_new(struct loop *l, int fd, enum role self, enum role peer,
	unsigned peer_slot, size_t queue_max, const struct ipc_ops *ops,
	void *arg)
{
	struct ipc *c = calloc(1, sizeof(*c));

	BUG_ON((unsigned)self >= ROLE_MAX || (unsigned)peer >= ROLE_MAX);
	if (c == NULL || fd_nonblock(fd) != 0)
		goto fail;
	c->loop = l;
	c->self = self;
	c->peer = peer;
	c->peer_slot = peer_slot;
	c->queue_max = queue_max;
	c->ops = ops;
	c->arg = arg;
	STAILQ_INIT(&c->queue);
	c->ev_read = event_new(loop_base(l), fd, EV_READ | EV_PERSIST,
			       ipc_on_readable, c);
	c->ev_write = event_new(loop_base(l), fd, EV_WRITE | EV_PERSIST,
				ipc_on_writable, c);
	if (c->ev_read == NULL || c->ev_write == NULL ||
	    event_add(c->ev_read, NULL) != 0)
		goto fail;
	c->fd = fd;
	return c;
fail:
	if (c != NULL && c->ev_read != NULL)
		event_free(c->ev_read);
	if (c != NULL && c->ev_write != NULL)
		event_free(c->ev_write);
	free(c);
	close(fd);
	return NULL;
}

enum role
ipc_peer(const struct ipc *c)
{
	return c->peer;
}

unsigned
ipc_peer_slot(const struct ipc *c)
{
	return c->peer_slot;
}

size_t
ipc_queued(const struct ipc *c)
{
	return c->queued;
}

/* --- the end of a channel -------------------------------------------- */

static void
ipc_out_drop(struct ipc *c)
{
	struct ipc_out *o = STAILQ_FIRST(&c->queue);

	STAILQ_REMOVE_HEAD(&c->queue, link);
	c->queued--;
	fd_close(&o->fd);
	str_wipe(o->body, o->head.len);
	free(o);
}

/* Gives back all but the memory.  The peer sees the end at once. */
static void
ipc_shut(struct ipc *c)
{
	if (c->ev_read != NULL)
		event_free(c->ev_read);
	if (c->ev_write != NULL)
		event_free(c->ev_write);
	c->ev_read = c->ev_write = NULL;
	while (!STAILQ_EMPTY(&c->queue))
		ipc_out_drop(c);
	fd_close(&c->fd);
}

static void
ipc_release(struct ipc *c)
{
	if (c->freed && !c->in_handler && !c->telling)
		free(c);
}

static void
ipc_tell_end(void *arg)
{
	struct ipc *c = arg;

	c->telling = false;
	if (c->freed)
		ipc_release(c);
	else
		c->ops->on_end(c->arg, c, c->end, c->why); /* may free c */
}

static void
ipc_finish(struct ipc *c, enum ipc_end end, const char *why)
{
	if (c->ended || c->freed)
		return;
	c->ended = true;
	c->end = end;
	c->why = why;
	ipc_shut(c);
	c->telling = true;
	loop_defer(c->loop, &c->cell, ipc_tell_end, c);
}

void
ipc_lied(struct ipc *c, const char *why)
{
	ipc_finish(c, IPC_LIED, why);
}

void
ipc_free(struct ipc **cp)
{
	struct ipc *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	BUG_ON(c->freed);
	c->freed = true;
	ipc_shut(c);
	ipc_release(c);
}

/* --- receiving --------------------------------------------------------- */

/*
 * A packet of no bytes looks like the end of the stream; only poll() tells
 * them apart.  The former breaks the table (there is no head in it).
 */
static void
ipc_on_nothing(struct ipc *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	if (poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP)) != 0)
		ipc_finish(c, IPC_CLOSED, "closed");
	else
		ipc_finish(c, IPC_LIED, "packet without a head");
}

/* One message to the handler.  False when the channel is gone after it. */
static bool
ipc_deliver(struct ipc *c, struct ipc_msg *m)
{
	c->in_handler = true;
	c->ops->on_msg(c->arg, c, m);
	c->in_handler = false;
	fd_close(&m->fd);
	str_wipe(c->packet, sizeof(struct ipc_head) + m->len);
	if (c->freed) {
		ipc_release(c);
		return false;
	}
	return !c->ended;
}

static void
ipc_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *c = arg;
	struct ipc_msg m;
	const char *why;

	(void)fd;
	(void)what;
	for (int i = 0; i < IPC_BATCH; i++) {
		switch (ipc_packet_recv(c->fd, c->peer, c->self, c->packet, &m,
					&why)) {
		case 0:
			if (!ipc_deliver(c, &m))
				return;
			break;
		case -EAGAIN:
			if (c->deaf)
				ipc_finish(c, IPC_CLOSED, "closed");
			return;
		case -EPIPE:
			ipc_on_nothing(c);
			return;
		case -EPROTO:
			ipc_finish(c, IPC_LIED, why);
			return;
		default:
			ipc_finish(c, IPC_BROKE, why);
			return;
		}
	}
}

/* --- sending ------------------------------------------------------------ */

/* The peer is gone, or says so.  What it said before is read first. */
static void
ipc_on_deaf(struct ipc *c)
{
	c->deaf = true;
	event_del(c->ev_write);
	event_active(c->ev_read, EV_READ, 1);
}

static void
ipc_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *c = arg;

	(void)fd;
	(void)what;
	while (!STAILQ_EMPTY(&c->queue)) {
		struct ipc_out *o = STAILQ_FIRST(&c->queue);
		int r = ipc_packet_send(c->fd, &o->head, o->body, o->fd);

		if (r == -EAGAIN)
			return;
		if (r != 0) {
			if (r == -EPIPE)
				ipc_on_deaf(c);
			else
				ipc_finish(c, IPC_BROKE, "cannot send");
			return;
		}
		ipc_out_drop(c);
	}
	event_del(c->ev_write);
}

static int
ipc_enqueue(struct ipc *c, const struct ipc_head *head, const void *body,
	    int fd)
{
	struct ipc_out *o;

	if (c->queued >= c->queue_max)
		return -ENOBUFS;
	o = malloc(sizeof(*o) + head->len);
	if (o == NULL)
		return -ENOMEM;
	o->head = *head;
	o->fd = -1;
	if (head->len > 0)
		memcpy(o->body, body, head->len);
	if (fd >= 0)
		o->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if ((fd >= 0 && o->fd < 0) || event_add(c->ev_write, NULL) != 0) {
		fd_close(&o->fd);
		str_wipe(o->body, head->len);
		free(o);
		return -ENOMEM;
	}
	STAILQ_INSERT_TAIL(&c->queue, o, link);
	c->queued++;
	return 0;
}

int
ipc_send(struct ipc *c, enum ipc_type type, uint64_t id, const void *body,
	 size_t len, int fd)
{
	struct ipc_head head;
	int r;

	BUG_ON(c->freed);
	ipc_packet_head(&head, c->self, c->peer, type, id, len, fd);
	if (c->ended || c->deaf)
		return -EPIPE;
	if (c->queued > 0)
		return ipc_enqueue(c, &head, body, fd);
	r = ipc_packet_send(c->fd, &head, body, fd);
	if (r == -EAGAIN)
		return ipc_enqueue(c, &head, body, fd);
	if (r == 0 || r == -ENOMEM || r == -ENOBUFS)
		return r;
	if (r == -EPIPE)
		ipc_on_deaf(c);
	else
		ipc_finish(c, IPC_BROKE, "cannot send");
	return -EPIPE;
}
