/*
 * ipc_packet: one packet of a channel, out and in, without a channel object.
 * The floor of ipc.c and of the start-up calls ipc_recv_wait/ipc_send_wait;
 * nobody else includes this.
 */
#ifndef RMS_IPC_PACKET_H
#define RMS_IPC_PACKET_H

#include "shm/ipc.h"

#define IPC_PACKET_MAX ((int)sizeof(struct ipc_head) + IPC_BODY_MAX)

/* Fills a head; BUG when the table does not allow such a message. */
void ipc_packet_head(struct ipc_head *head_r, enum role self, enum role peer,
		     enum ipc_type type, uint64_t id, size_t len, int fd);

/*
 * Sends one packet without waiting; fd -1 or a descriptor (stays the
 * caller's).  0; -EAGAIN: no room; -EPIPE: the peer is gone; -ENOMEM,
 * -ENOBUFS: the kernel is short of something, later may do; other: broken.
 */
MUST_USE int ipc_packet_send(int fd, const struct ipc_head *head,
			     const void *body, int sendfd);

/*
 * Receives one packet without waiting and checks it.  packet has room for
 * IPC_PACKET_MAX; m_r->body points into it, m_r->fd is the caller's.
 * 0; -EAGAIN: none; -EPIPE: no bytes (the end, or an empty packet); -EPROTO:
 * it breaks the table; other: broken.  *why_r says it for the last two.
 */
MUST_USE int ipc_packet_recv(int fd, enum role from, enum role to, void *packet,
			     struct ipc_msg *m_r, const char **why_r);

#endif
