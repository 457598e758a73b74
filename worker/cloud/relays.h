/*
 * relays: the agent's channels to the relays: TOKEN_NEWS out, TOKEN_STALE and
 * CLOUD_HEALTH in.
 */
#ifndef RMS_CLOUD_RELAYS_H
#define RMS_CLOUD_RELAYS_H

#include "shm/base/bug.h"
#include "shm/role.h"

struct ipc;
struct ipc_msg;
struct loop;

struct msg_cloud_health;

struct relays_ops {
	void (*stale)(void *arg, uint32_t credential, uint64_t serial);
	void (*health)(void *arg, unsigned slot,
		       const struct msg_cloud_health *m);
};

struct child;

struct relays {
	struct child *c;   /* borrowed, from relays_open() on */
	struct loop *loop; /* NULL until relays_open() */
	const struct relays_ops *ops;
	void *arg;
	struct {
		struct ipc *ipc;
		int fd; /* came before the loop; else -1 */
	} peer[RELAY_MAX];
};

void relays_init(struct relays *r);
void relays_fini(struct relays *r);
/* From now on there is a loop: opens what waits, and later ones at once. */
void relays_open(struct relays *r, struct child *c,
		 const struct relays_ops *ops, void *arg);
/* A PEER message; takes its descriptor.  A slot's new channel replaces its
 * old one.  0 or -EPROTO. */
MUST_USE int relays_take(struct relays *r, struct ipc_msg *m);
/* Tells all that the segment has something new. */
void relays_news(struct relays *r);

#endif
