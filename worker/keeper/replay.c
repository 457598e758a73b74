/*
 * Purpose: a set of numbers that forgets by time and is bounded in size.
 *
 * Runs in: the keeper.
 * Trusts:  its caller.
 * Touches: its own memory.
 * Failure: -errno; the caller then refuses.
 */
#include "worker/keeper/replay.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"

#define SET_MIN 1024 /* cells; a power of two */

struct set { /* open addressing, at most three quarters full; 0: free cell */
	uint64_t *cell;
	size_t cells;
	size_t n;
};

struct replay {
	struct hash_key key;
	size_t max;
	struct set now, old;
	uint64_t since_ns; /* when `now` was begun */
};

struct replay *
replay_new(size_t max)
{
	struct replay *r = calloc(1, sizeof(*r));

	BUG_ON(max == 0);
	if (r == NULL)
		return NULL;
	hash_key_new(&r->key);
	r->max = max;
	return r;
}

void
replay_free(struct replay **r)
{
	if (*r == NULL)
		return;
	free((*r)->now.cell);
	free((*r)->old.cell);
	free(*r);
	*r = NULL;
}

uint64_t
replay_hash(const struct replay *r, struct slice authenticator)
{
	uint64_t h = hash_bytes(&r->key, authenticator.p, authenticator.len);

	return h == 0 ? 1 : h;
}

/* The cell that holds h, or the free one where it would go. */
static uint64_t *
set_cell(const struct set *s, uint64_t h)
{
	size_t i = (size_t)h & (s->cells - 1);

	while (s->cell[i] != 0 && s->cell[i] != h)
		i = (i + 1) & (s->cells - 1);
	return &s->cell[i];
}

static bool
set_has(const struct set *s, uint64_t h)
{
	return s->n > 0 && *set_cell(s, h) == h;
}

static int
set_grow(struct set *s)
{
	struct set bigger = {NULL, s->cells == 0 ? SET_MIN : s->cells * 2,
			     s->n};

	bigger.cell = calloc(bigger.cells, sizeof(*bigger.cell));
	if (bigger.cell == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->cells; i++)
		if (s->cell[i] != 0)
			*set_cell(&bigger, s->cell[i]) = s->cell[i];
	free(s->cell);
	*s = bigger;
	return 0;
}

bool
replay_has(const struct replay *r, uint64_t hash)
{
	return set_has(&r->now, hash) || set_has(&r->old, hash);
}

static void
replay_turn(struct replay *r, uint64_t now_ns)
{
	uint64_t window = REPLAY_WINDOW_MS * NS_PER_MS;

	if (r->since_ns == 0)
		r->since_ns = now_ns;
	if (now_ns - r->since_ns < window)
		return;
	free(r->old.cell);
	/* After a long silence both halves are too old. */
	if (now_ns - r->since_ns >= 2 * window) {
		free(r->now.cell);
		r->old = (struct set){NULL, 0, 0};
	} else {
		r->old = r->now;
	}
	r->now = (struct set){NULL, 0, 0};
	r->since_ns = now_ns;
}

int
replay_add(struct replay *r, uint64_t hash, uint64_t now_ns)
{
	BUG_ON(hash == 0);
	replay_turn(r, now_ns);
	if (replay_has(r, hash))
		return -EEXIST;
	if (r->now.n >= r->max)
		return -ENOBUFS;
	if (r->now.n * 4 >= r->now.cells * 3 && set_grow(&r->now) != 0)
		return -ENOBUFS;
	*set_cell(&r->now, hash) = hash;
	r->now.n++;
	return 0;
}
