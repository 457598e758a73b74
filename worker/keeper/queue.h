/*
 * queue: work that waits for the keeper, fair among relays.
 *
 * Each relay has a line of its own for each kind; relays take turns.
 * Signatures come before authentications, because a handshake that waits
 * holds a connection with no request yet, but at most QUEUE_BURST of them in a
 * row.  Each kind is bounded; when one is full, the relay with the longest
 * line gives way to one that has less, so a flood through one relay does not
 * shut out the others.
 *
 * Invariants:
 *	count[k] is the sum of the lines of kind k, and <= max
 *	slot and kind of an item name the line that holds it
 */
#ifndef RMS_QUEUE_H
#define RMS_QUEUE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/role.h"

#define QUEUE_BURST 4

enum queue_kind { QUEUE_AUTH = 0, QUEUE_SIGN = 1, QUEUE_KINDS = 2 };

struct queue_item {
	TAILQ_ENTRY(queue_item) link;
	enum queue_kind kind;
	unsigned slot;
	uint64_t id;	      /* of the message */
	uint64_t arrived_ns;  /* clock_mono_ns() */
	uint64_t deadline_ns; /* likewise; nobody waits after it */
	size_t len;
	uint8_t body[]; /* of the message, a copy */
};

struct queue;

MUST_USE struct queue *queue_new(size_t max);
void queue_free(struct queue **q);
void queue_set_max(struct queue *q, size_t max);

/* Copies body; NULL when out of memory.  The caller's until it is put. */
MUST_USE struct queue_item *queue_item_new(enum queue_kind kind, unsigned slot,
					   uint64_t id, const void *body,
					   size_t len);
/* Wipes and frees. */
void queue_item_free(struct queue_item **i);

/*
 * Takes item.  NULL, or the item that there is no room for, which is then the
 * caller's to answer: the newest of the longest line, or item itself.
 */
MUST_USE struct queue_item *queue_put(struct queue *q, struct queue_item *item);

/* The next item, then the caller's; NULL when there is none. */
MUST_USE struct queue_item *queue_take(struct queue *q);

/* Takes an item that is in a line out of it; then the caller's. */
void queue_cut(struct queue *q, struct queue_item *item);

size_t queue_len(const struct queue *q, enum queue_kind kind);
/* Forgets the authentications of (slot, id); or all of a slot. */
void queue_drop(struct queue *q, unsigned slot, uint64_t id);
void queue_drop_slot(struct queue *q, unsigned slot);

#endif
