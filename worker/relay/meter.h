/*
 * meter: what one source address, or one account, uses now: connections,
 * requests under way, and how fast they come.
 *
 * A set of meters is a hash table by a keyed hash of the address or name: 64
 * bits that nobody outside can aim at, so two that collide share a meter once
 * in many lifetimes.  A meter is made when its key is first seen and goes in
 * meters_sweep() when nothing holds it any more; so a request of an account
 * that is known allocates nothing.
 */
#ifndef RMS_METER_H
#define RMS_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/base/bug.h"

struct client;

/* Clients in the order in which they came (admit.c). */
struct admit_list {
	struct client *first, *last;
	size_t n;
};

struct meter {
	struct meter *next; /* of its bucket */
	uint64_t key;
	uint32_t conns;		 /* connections that hold it */
	uint32_t requests;	 /* under way, or about to be */
	uint64_t due;		 /* ns: see meter_pace() */
	struct admit_list waits; /* requests beyond the account's limit */
};

#define METER_BUCKETS 1024 /* a multiple of 64 */

/* Zeroed: empty. */
struct meters {
	struct meter *bucket[METER_BUCKETS];
	uint64_t
	    used[METER_BUCKETS / 64]; /* a bit for each that is not empty */
	size_t n;
};

/* The meter of a key, made when there is none; NULL without memory.  It stays
 * until a sweep finds it unused. */
MUST_USE struct meter *meter_get(struct meters *ms, uint64_t key);

/* Frees those that no connection and no request holds and whose pace says
 * nothing any more.  now: as for meter_pace(). */
void meters_sweep(struct meters *ms, uint64_t now);
/* fn(m) for each of them; fn must neither make nor free one. */
void meters_each(struct meters *ms, void (*fn)(void *arg, struct meter *m),
		 void *arg);
/* Frees all. */
void meters_fini(struct meters *ms);

/*
 * May a request come now (ns of a clock that does not jump), when `rate` a
 * second are allowed, and what was not used of the last METER_SAVED_S
 * seconds may come at once?  0: yes, and it is counted.  Else ns until one
 * may.  rate 0: always.
 *
 * The generic cell rate algorithm (ITU-T I.371): `due` is when the next
 * request would come at an even pace.
 */
#define METER_SAVED_S 2
uint64_t meter_pace(struct meter *m, uint64_t now, uint64_t rate);

#endif
