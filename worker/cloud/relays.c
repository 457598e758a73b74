/*
 * Purpose: the channels between the agent and the relays.
 *
 * Runs in: cloud agent.
 * Trusts:  the master for who is at the other end; a relay for nothing: it
 *	    can ask for a fresh token, which the policy bounds, and report on
 *	    the cloud, which health_keep.h does.
 * Touches: the channels.
 * Failure: a relay that breaks the rules loses its channel; the rest go on.
 */
#include "worker/cloud/relays.h"

#include <errno.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/ipc.h"
#include "shm/msg.h"
#include "worker/child.h"

/* News that wait are all the same. */
#define RELAY_QUEUE 64

static void
relays_on_msg(void *arg, struct ipc *ch, struct ipc_msg *m)
{
	struct relays *r = arg;
	struct msg_token_stale stale;
	struct msg_cloud_health health;

	if (m->type == IPC_TOKEN_STALE &&
	    msg_token_stale_unpack(&stale, m->body, m->len) == 0) {
		r->ops->stale(r->arg, stale.credential, stale.serial);
		return;
	}
	if (m->type == IPC_CLOUD_HEALTH &&
	    msg_cloud_health_unpack(&health, m->body, m->len) == 0) {
		r->ops->health(r->arg, ipc_peer_slot(ch), &health);
		return;
	}
	/* ipc.c lets no other type in */
	ipc_lied(ch, "a body that is not one");
}

static void
relays_on_end(void *arg, struct ipc *ch, enum ipc_end end, const char *why)
{
	struct relays *r = arg;

	if (end == IPC_LIED)
		child_accuse(r->c, ROLE_RELAY, ipc_peer_slot(ch), why);
	for (size_t i = 0; i < RELAY_MAX; i++)
		if (r->peer[i].ipc == ch)
			ipc_free(&r->peer[i].ipc);
}

static const struct ipc_ops relays_ops = {
    .on_msg = relays_on_msg,
    .on_end = relays_on_end,
};

static void
relays_open_slot(struct relays *r, unsigned slot)
{
	ipc_free(&r->peer[slot].ipc); /* that relay is another now */
	r->peer[slot].ipc =
	    ipc_new(r->loop, r->peer[slot].fd, ROLE_CLOUD, ROLE_RELAY, slot,
		    RELAY_QUEUE, &relays_ops, r);
	r->peer[slot].fd = -1;
	if (r->peer[slot].ipc == NULL)
		log_err("no memory for the channel to relay %u", slot);
}

void
relays_init(struct relays *r)
{
	*r = (struct relays){0};
	for (size_t i = 0; i < RELAY_MAX; i++)
		r->peer[i].fd = -1;
}

void
relays_fini(struct relays *r)
{
	for (size_t i = 0; i < RELAY_MAX; i++) {
		ipc_free(&r->peer[i].ipc);
		fd_close(&r->peer[i].fd);
	}
}

void
relays_open(struct relays *r, struct child *c, const struct relays_ops *ops,
	    void *arg)
{
	r->c = c;
	r->loop = c->loop;
	r->ops = ops;
	r->arg = arg;
	for (unsigned i = 0; i < RELAY_MAX; i++)
		if (r->peer[i].fd >= 0)
			relays_open_slot(r, i);
}

int
relays_take(struct relays *r, struct ipc_msg *m)
{
	struct msg_peer peer;

	if (msg_peer_unpack(&peer, m->body, m->len) != 0 ||
	    peer.role != ROLE_RELAY || peer.slot >= RELAY_MAX)
		return -EPROTO;
	fd_close(&r->peer[peer.slot].fd);
	r->peer[peer.slot].fd = m->fd;
	m->fd = -1;
	if (r->loop != NULL)
		relays_open_slot(r, peer.slot);
	return 0;
}

void
relays_news(struct relays *r)
{
	for (size_t i = 0; i < RELAY_MAX; i++) {
		struct ipc *peer = r->peer[i].ipc;

		/* A relay with a full queue has the same news waiting. */
		if (peer != NULL &&
		    ipc_send(peer, IPC_TOKEN_NEWS, 0, NULL, 0, -1) != 0)
			log_debug("relay %zu takes no news", i);
	}
}
