/*
 * Purpose: hold work in bounded lines and hand it out in a fair order.
 *
 * Runs in: the keeper.
 * Trusts:  its caller for slots; bodies are never looked at.
 * Touches: its own memory.
 * Failure: an item comes back when there is no room.
 */
#include "worker/keeper/queue.h"

#include <stdlib.h>

#include "shm/base/log.h"

TAILQ_HEAD(line_head, queue_item);

struct line {
	struct line_head head;
	size_t n;
};

struct queue {
	struct line line[QUEUE_KINDS][RELAY_MAX];
	size_t count[QUEUE_KINDS];
	unsigned turn[QUEUE_KINDS]; /* the slot to look at first */
	unsigned signs;		    /* taken in a row */
	size_t max;
};

struct queue *
queue_new(size_t max)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	for (int k = 0; k < QUEUE_KINDS; k++)
		for (int s = 0; s < RELAY_MAX; s++)
			TAILQ_INIT(&q->line[k][s].head);
	q->max = max;
	return q;
}

void
queue_free(struct queue **q)
{
	if (*q == NULL)
		return;
	for (unsigned s = 0; s < RELAY_MAX; s++)
		queue_drop_slot(*q, s);
	free(*q);
	*q = NULL;
}

void
queue_set_max(struct queue *q, size_t max)
{
	q->max = max;
}

struct queue_item *
queue_item_new(enum queue_kind kind, unsigned slot, uint64_t id,
	       const void *body, size_t len)
{
	struct queue_item *i = malloc(sizeof(*i) + len);

	BUG_ON(slot >= RELAY_MAX);
	if (i == NULL)
		return NULL;
	memset(i, 0, sizeof(*i));
	i->kind = kind;
	i->slot = slot;
	i->id = id;
	i->len = len;
	if (len > 0)
		memcpy(i->body, body, len);
	return i;
}

void
queue_item_free(struct queue_item **i)
{
	if (*i == NULL)
		return;
	str_wipe((*i)->body, (*i)->len);
	free(*i);
	*i = NULL;
}

static struct line *
line_of(struct queue *q, const struct queue_item *i)
{
	return &q->line[i->kind][i->slot];
}

static void
queue_remove(struct queue *q, struct queue_item *i)
{
	struct line *l = line_of(q, i);

	BUG_ON(l->n == 0 || q->count[i->kind] == 0);
	TAILQ_REMOVE(&l->head, i, link);
	l->n--;
	q->count[i->kind]--;
}

static void
queue_append(struct queue *q, struct queue_item *i)
{
	struct line *l = line_of(q, i);

	TAILQ_INSERT_TAIL(&l->head, i, link);
	l->n++;
	q->count[i->kind]++;
}

static struct line *
longest(struct queue *q, enum queue_kind kind)
{
	struct line *best = &q->line[kind][0];

	for (unsigned s = 1; s < RELAY_MAX; s++)
		if (q->line[kind][s].n > best->n)
			best = &q->line[kind][s];
	return best;
}

struct queue_item *
queue_put(struct queue *q, struct queue_item *item)
{
	struct queue_item *out = NULL;
	struct line *l;

	if (q->count[item->kind] >= q->max) {
		l = longest(q, item->kind);
		/* Giving way must leave it no shorter than the other. */
		if (l->n <= line_of(q, item)->n + 1)
			return item;
		out = TAILQ_LAST(&l->head, line_head);
		queue_remove(q, out);
	}
	queue_append(q, item);
	return out;
}

static struct queue_item *
take_kind(struct queue *q, enum queue_kind kind)
{
	struct queue_item *i;

	for (unsigned n = 0; n < RELAY_MAX; n++) {
		unsigned s = (q->turn[kind] + n) % RELAY_MAX;

		i = TAILQ_FIRST(&q->line[kind][s].head);
		if (i == NULL)
			continue;
		q->turn[kind] = (s + 1) % RELAY_MAX;
		queue_remove(q, i);
		return i;
	}
	BUG_ON(q->count[kind] != 0);
	return NULL;
}

struct queue_item *
queue_take(struct queue *q)
{
	bool auths = q->count[QUEUE_AUTH] > 0;

	if (q->count[QUEUE_SIGN] > 0 && !(auths && q->signs >= QUEUE_BURST)) {
		q->signs++;
		return take_kind(q, QUEUE_SIGN);
	}
	q->signs = 0;
	return auths ? take_kind(q, QUEUE_AUTH) : NULL;
}

void
queue_cut(struct queue *q, struct queue_item *item)
{
	queue_remove(q, item);
}

size_t
queue_len(const struct queue *q, enum queue_kind kind)
{
	return q->count[kind];
}

static void
drop_matching(struct queue *q, enum queue_kind kind, unsigned slot,
	      const uint64_t *id)
{
	struct queue_item *i, *next;

	BUG_ON(slot >= RELAY_MAX);
	for (i = TAILQ_FIRST(&q->line[kind][slot].head); i != NULL; i = next) {
		next = TAILQ_NEXT(i, link);
		if (id != NULL && i->id != *id)
			continue;
		queue_remove(q, i);
		queue_item_free(&i);
	}
}

void
queue_drop(struct queue *q, unsigned slot, uint64_t id)
{
	drop_matching(q, QUEUE_AUTH, slot, &id);
}

void
queue_drop_slot(struct queue *q, unsigned slot)
{
	drop_matching(q, QUEUE_AUTH, slot, NULL);
	drop_matching(q, QUEUE_SIGN, slot, NULL);
}
