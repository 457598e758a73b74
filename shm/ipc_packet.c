/*
 * Purpose: one packet of a channel, and the rules of ipc_msgs.def.
 *
 * Runs in: every process.
 * Trusts:  its own caller and the kernel; never a packet's contents.
 * Touches: the descriptor it is given, and those that a packet carries.
 * Failure: -errno with a word for the log; no descriptor is left open.
 */
#include "shm/ipc_packet.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

/* More than any rule allows, so that one too many is seen as such. */
#define IPC_FDS_ROOM 4

static const struct ipc_rule ipc_rules[IPC_TYPE_MAX] = {
#define IPC_MSG(name, from, to, max_bytes, fds, meaning) \
	{#name, from, to, max_bytes, fds, meaning},
#include "shm/ipc_msgs.def"
#undef IPC_MSG
};

#define IPC_MSG(name, from, to, max_bytes, fds, meaning)                    \
	_Static_assert((max_bytes) <= IPC_BODY_MAX, #name " is too large"); \
	_Static_assert((fds) == 0 || (fds) == 1, #name ": one descriptor");
#include "shm/ipc_msgs.def"
#undef IPC_MSG

const struct ipc_rule *
ipc_rule(enum ipc_type type)
{
	BUG_ON((unsigned)type >= IPC_TYPE_MAX);
	return &ipc_rules[type];
}

bool
ipc_neighbours(enum role a, enum role b)
{
	for (size_t i = 0; i < IPC_TYPE_MAX; i++) {
		const struct ipc_rule *r = &ipc_rules[i];

		if ((r->from == ROLE_BIT(a) && r->to == ROLE_BIT(b)) ||
		    (r->from == ROLE_BIT(b) && r->to == ROLE_BIT(a)))
			return true;
	}
	return false;
}

const char *
ipc_type_name(enum ipc_type type)
{
	return (unsigned)type < IPC_TYPE_MAX ? ipc_rules[type].name : "?";
}

const char *
ipc_check(enum role from, enum role to, const void *packet, size_t len,
	  int nfds)
{
	struct ipc_head head;
	const struct ipc_rule *rule;

	if (len < sizeof(head))
		return "packet without a head";
	memcpy(&head, packet, sizeof(head));
	if (head.type >= IPC_TYPE_MAX)
		return "unknown message";
	rule = &ipc_rules[head.type];
	if ((rule->from & ROLE_BIT(from)) == 0)
		return "message that this role may not send";
	if ((rule->to & ROLE_BIT(to)) == 0)
		return "message for another role";
	if (head.len != len - sizeof(head))
		return "wrong length";
	if (head.len > rule->max_bytes)
		return "message too large";
	if (nfds != rule->fds)
		return "wrong number of descriptors";
	return NULL;
}

void
ipc_packet_head(struct ipc_head *head_r, enum role self, enum role peer,
		enum ipc_type type, uint64_t id, size_t len, int fd)
{
	const struct ipc_rule *rule = ipc_rule(type);

	BUG_ON((rule->from & ROLE_BIT(self)) == 0);
	BUG_ON((rule->to & ROLE_BIT(peer)) == 0);
	BUG_ON(len > rule->max_bytes);
	BUG_ON(rule->fds != (fd >= 0));
	*head_r = (struct ipc_head){
	    .type = (uint32_t)type, .len = (uint32_t)len, .id = id};
}

union ipc_control {
	struct cmsghdr align;
	char space[CMSG_SPACE(IPC_FDS_ROOM * sizeof(int))];
};

/* Borrows for sendmsg(), which only reads: an iovec knows no const. */
static struct iovec
ipc_iov(const void *p, size_t len)
{
	struct iovec v = {.iov_len = len};

	memcpy(&v.iov_base, &p, sizeof(p));
	return v;
}

int
ipc_packet_send(int fd, const struct ipc_head *head, const void *body,
		int sendfd)
{
	struct iovec iov[2] = {ipc_iov(head, sizeof(*head)),
			       ipc_iov(body, head->len)};
	union ipc_control ctl = {0};
	struct msghdr msg = {.msg_iov = iov,
			     .msg_iovlen = head->len > 0 ? 2 : 1};
	ssize_t n;

	if (sendfd >= 0) {
		struct cmsghdr *c = &ctl.align;

		msg.msg_control = &ctl;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &sendfd, sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0; /* a packet goes whole or not at all */
	switch (errno) {
	case EAGAIN:
		return -EAGAIN;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		return -EPIPE;
	case ETOOMANYREFS: /* too many descriptors under way */
		return -ENOBUFS;
	default:
		return -errno;
	}
}

/* Every descriptor that came: the first IPC_FDS_ROOM, count returned. */
static int
ipc_take_fds(struct msghdr *msg, int fds_r[IPC_FDS_ROOM])
{
	int n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t k;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k; i++) {
			BUG_ON(n == IPC_FDS_ROOM);
			memcpy(&fds_r[n++], CMSG_DATA(c) + i * sizeof(int),
			       sizeof(int));
		}
	}
	return n;
}

/*
 * recvmsg() without waiting.  ECONNRESET comes once, when the peer died with
 * messages of ours unread, and ahead of what it had sent: those are read too.
 */
static ssize_t
ipc_recvmsg(int fd, struct msghdr *msg)
{
	const struct msghdr start = *msg;

	for (int i = 0;; i++) {
		ssize_t n;

		*msg = start;
		n = recvmsg(fd, msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n >= 0)
			return n;
		if (errno == EINTR || (errno == ECONNRESET && i < 2))
			continue;
		return -errno;
	}
}

static int
ipc_verdict(const struct msghdr *msg, enum role from, enum role to,
	    const void *packet, size_t len, int nfds, const char **why_r)
{
	/* No room in our table of descriptors also cuts: not a lie. */
	if ((msg->msg_flags & MSG_CTRUNC) != 0 && nfds < IPC_FDS_ROOM) {
		*why_r = "no descriptor free to receive one";
		return -EMFILE;
	}
	if ((msg->msg_flags & MSG_TRUNC) != 0)
		*why_r = "message too large";
	else if ((msg->msg_flags & MSG_CTRUNC) != 0)
		*why_r = "wrong number of descriptors";
	else
		*why_r = ipc_check(from, to, packet, len, nfds);
	return *why_r == NULL ? 0 : -EPROTO;
}

int
ipc_packet_recv(int fd, enum role from, enum role to, void *packet,
		struct ipc_msg *m_r, const char **why_r)
{
	struct iovec iov = {packet, IPC_PACKET_MAX};
	union ipc_control ctl;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &ctl,
			     .msg_controllen = sizeof(ctl)};
	int fds[IPC_FDS_ROOM], nfds, r;
	struct ipc_head head;
	ssize_t n = ipc_recvmsg(fd, &msg);

	*why_r = "cannot receive";
	if (n < 0)
		return n == -ECONNRESET ? -EPIPE : (int)n;
	nfds = ipc_take_fds(&msg, fds);
	r = ipc_verdict(&msg, from, to, packet, (size_t)n, nfds, why_r);
	if (n == 0 && nfds == 0)
		r = -EPIPE;
	if (r != 0) {
		while (nfds > 0)
			fd_close(&fds[--nfds]);
		str_wipe(packet, (size_t)n);
		return r;
	}
	memcpy(&head, packet, sizeof(head));
	*m_r = (struct ipc_msg){.type = (enum ipc_type)head.type,
				.id = head.id,
				.body = (uint8_t *)packet + sizeof(head),
				.len = head.len,
				.fd = nfds == 1 ? fds[0] : -1};
	return 0;
}

/* --- start-up: one packet, waiting ------------------------------------- */

/* 0 when fd may be ready for events, -ETIMEDOUT, or -errno. */
static int
ipc_wait(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t now = clock_mono_ns();
	int n;

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	n = poll(&p, 1, (int)((deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS));
	if (n < 0 && errno != EINTR)
		return -errno;
	return 0;
}

int
ipc_recv_wait(int fd, enum role self, enum role peer, void *buf, int timeout_ms,
	      struct ipc_msg *m_r)
{
	uint64_t end = clock_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	const char *why;
	int r;

	BUG_ON(timeout_ms < 0);
	for (;;) {
		r = ipc_packet_recv(fd, peer, self, buf, m_r, &why);
		if (r == -EPROTO)
			log_err("%s sent: %s", role_name(peer), why);
		if (r != -EAGAIN)
			return r;
		r = ipc_wait(fd, POLLIN, end);
		if (r != 0)
			return r;
	}
}

/* A process that takes nothing for so long at start-up is stuck. */
#define IPC_SEND_WAIT_MS 10000

int
ipc_send_wait(int fd, enum role self, enum role peer, enum ipc_type type,
	      uint64_t id, const void *body, size_t len, int sendfd)
{
	uint64_t end = clock_mono_ns() + IPC_SEND_WAIT_MS * NS_PER_MS;
	struct ipc_head head;
	int r;

	ipc_packet_head(&head, self, peer, type, id, len, sendfd);
	for (;;) {
		r = ipc_packet_send(fd, &head, body, sendfd);
		if (r != -EAGAIN)
			return r;
		r = ipc_wait(fd, POLLOUT, end);
		if (r != 0)
			return r;
	}
}
