/*
 * relays: the keeper's channels to the relays, and the work they ask for.
 *
 * Requests are queued as they come and carried out one per turn of the loop,
 * so that the loop goes on reading, answering "busy" and beating its heart
 * however long the line is.
 */
#ifndef RMS_RELAYS_H
#define RMS_RELAYS_H

#include "conf/conf.h"
#include "worker/child.h"
#include "worker/keeper/keytab.h"
#include "worker/keeper/sign.h"

struct relays;
struct replay_log;

/* Both are borrowed for its life; c has a loop, log may be NULL.  NULL when out
 * of memory. */
MUST_USE struct relays *relays_new(struct child *c, struct replay_log *log);
void relays_free(struct relays **r);

/* Limits of c->conf and of krb5.conf, and the keys in force; borrowed until the
 * next call. kt may be NULL. */
void relays_use(struct relays *r, const struct keytab *kt,
		const struct sign_keys *keys);

/* Takes fd as the channel to this relay; an older one of the slot ends. */
void relays_add(struct relays *r, unsigned slot, int fd);
size_t relays_count(const struct relays *r);
/* Likewise to this NTLM process. */
void relays_add_ntlm(struct relays *r, unsigned slot, int fd);

/* The loop stops when no relay and no work are left, or after ms (0: never). */
void relays_drain(struct relays *r, uint64_t ms);

#endif
