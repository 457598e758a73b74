/*
 * ipc: messages between processes over a SOCK_SEQPACKET pair.
 *
 * A channel knows who is at its other end because the master made the pair:
 * the sender of a message is the descriptor that it came from, never a field.
 * ipc_msgs.def says which role may send what to whom, how large, and with how
 * many descriptors.  A peer that breaks the table gets its channel closed
 * with IPC_LIED, the owner of the channel (the master) kills it, and the
 * receiver lives.
 *
 * On the wire: struct ipc_head, then the body.  One message is one packet.
 */
#ifndef RMS_IPC_H
#define RMS_IPC_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/role.h"

struct loop;
struct ipc;

enum ipc_type {
#define IPC_MSG(name, from, to, max_bytes, fds, meaning) IPC_##name,
#include "shm/ipc_msgs.def"
#undef IPC_MSG
	IPC_TYPE_MAX
};

/* Largest body of any message; a receive buffer is this plus the head. */
#define IPC_BODY_MAX 98304

struct ipc_head {
	uint32_t type;
	uint32_t len; /* of the body */
	uint64_t id;  /* a reply carries the id of its request; else 0 */
};

/* A message as received.  body is borrowed until the handler returns, and
 * wiped then: some carry secrets. */
struct ipc_msg {
	enum ipc_type type;
	uint64_t id;
	const uint8_t *body;
	size_t len;
	int fd; /* -1, or a descriptor: who wants it sets -1 here, else it
		 * is closed after the handler */
};

enum ipc_end {
	IPC_CLOSED, /* the peer closed or died */
	IPC_LIED,   /* the peer broke ipc_msgs.def */
	IPC_BROKE,  /* the socket failed */
	IPC_FULL,   /* never from here: for an owner that gives up a channel
		     * after -ENOBUFS and ends it like the others */
};

struct ipc_ops {
	/* One message that the table allows.  May free the channel. */
	void (*on_msg)(void *arg, struct ipc *c, struct ipc_msg *m);
	/* The channel has ended; free it here or later.  why says it in a
	 * word or two for the log (static text).  Called once, after the
	 * handlers of the turn, never from within ipc_send() or on_msg; and
	 * not at all when the channel was freed before.  Everything that the
	 * peer sent before it closed or died has been delivered. */
	void (*on_end)(void *arg, struct ipc *c, enum ipc_end end,
		       const char *why);
};

/* A fresh pair, both non-blocking and close-on-exec.  0 or -errno. */
MUST_USE int ipc_pair(int fd_r[2]);

/*
 * Takes fd.  self and peer are the roles at the ends; peer_slot is the
 * relay's slot or 0.  queue_max bounds what may wait when the socket is full,
 * in messages.  NULL when out of memory (fd is then closed).
 */
MUST_USE struct ipc *ipc_new(struct loop *l, int fd, enum role self,
			     enum role peer, unsigned peer_slot,
			     size_t queue_max, const struct ipc_ops *ops,
			     void *arg);
/* Safe inside a handler of the same channel. */
void ipc_free(struct ipc **c);

enum role ipc_peer(const struct ipc *c);
unsigned ipc_peer_slot(const struct ipc *c);
/* Messages that wait to be sent. */
size_t ipc_queued(const struct ipc *c);

/*
 * Sends or queues one message.  fd >= 0 is duplicated, the caller keeps its
 * own; exactly the number of descriptors that the table says.  A message that
 * the table does not allow us to send is a BUG.
 * 0; -ENOBUFS when queue_max wait already (nothing was sent, the channel
 * lives); -EPIPE when it has ended; -ENOMEM.
 */
MUST_USE int ipc_send(struct ipc *c, enum ipc_type type, uint64_t id,
		      const void *body, size_t len, int fd);

/*
 * For a handler that finds a body that is not what msg.h says: ends the
 * channel with IPC_LIED, as if the packet had broken the table.  why: static.
 */
void ipc_lied(struct ipc *c, const char *why);

/*
 * Start-up only, before there is a loop: waits for one message on a blocking
 * or non-blocking descriptor, up to timeout_ms.  buf has room for
 * IPC_BODY_MAX + sizeof(struct ipc_head); m_r->body points into it, m_r->fd
 * is the caller's.  0, -ETIMEDOUT, -EPIPE, -EPROTO (the table is broken, and
 * logged) or -errno.
 */
MUST_USE int ipc_recv_wait(int fd, enum role self, enum role peer, void *buf,
			   int timeout_ms, struct ipc_msg *m_r);
/* Likewise sends one without a channel object; gives a peer that takes nothing
 * ten seconds. */
MUST_USE int ipc_send_wait(int fd, enum role self, enum role peer,
			   enum ipc_type type, uint64_t id, const void *body,
			   size_t len, int sendfd);

const char *ipc_type_name(enum ipc_type type);
/* The row of ipc_msgs.def, for checks and documentation. */
struct ipc_rule {
	const char *name;
	unsigned from, to; /* masks of ROLE_BIT */
	size_t max_bytes;
	int fds;
	const char *meaning;
};
const struct ipc_rule *ipc_rule(enum ipc_type type);
/* Is there a message that is only between these two?  Then the master makes a
 * channel for them. */
bool ipc_neighbours(enum role a, enum role b);
/* May a packet of this shape travel from `from` to `to`?  NULL when it may,
 * else a word for the log.  Pure; what the fuzzer drives. */
const char *ipc_check(enum role from, enum role to, const void *packet,
		      size_t len, int nfds);

#endif
