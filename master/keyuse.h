/*
 * keyuse: how many tickets came for each key of the keytab, since when, and
 * when last, over the lives of keepers and masters.
 *
 * Bounded by KEYUSE_MAX keys; the one that was not used for longest makes
 * room.
 */
#ifndef RMS_KEYUSE_H
#define RMS_KEYUSE_H

#include "shm/base/bug.h"
#include "shm/msg.h"

#define KEYUSE_MAX     512
#define KEYUSE_KEEP_MS 5000

struct keyuse;
struct loop;
struct store;

/* now_ns: CLOCK_REALTIME, when counting begins.  NULL when out of memory. */
MUST_USE struct keyuse *keyuse_new(uint64_t now_ns);
/* Stores what is not yet stored. */
void keyuse_free(struct keyuse **u);
/*
 * Takes in what a master before stored, and stores what changes every
 * KEYUSE_KEEP_MS and at the end: a kill costs the last few seconds.  Both are
 * borrowed for its life.  0 or -ENOMEM.
 */
MUST_USE int keyuse_keep(struct keyuse *u, struct loop *l, struct store *store);

/* Adds what a keeper counted. */
void keyuse_add(struct keyuse *u, const struct msg_key_use *m);
/* Since when it is counted, CLOCK_REALTIME ns. */
uint64_t keyuse_since(const struct keyuse *u);
/* Visits all, in no order. */
void keyuse_each(const struct keyuse *u,
		 void (*fn)(void *arg, const struct msg_key_use *row),
		 void *arg);

#endif
