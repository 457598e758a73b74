/*
 * Purpose: a set of numbers that forgets by time and is bounded in size.
 *
 * Runs in: the keeper.
 * Trusts:  its caller.
 * Touches: its own memory, the log.
 * Failure: -errno; the caller then refuses.
 */
#include "worker/keeper/replay.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/replay_log.h"
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
	uint64_t window_ns;
	struct set now, old;
	uint64_t since_ns;	/* when `now` was begun; 0: not yet */
	struct replay_log *log; /* NULL: none */
	unsigned half;		/* of the log, that `now` goes to */
};

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

/* Room for n in an empty one, at once: growing step by step costs as much
 * again. */
static int
set_reserve(struct set *s, uint64_t n)
{
	size_t cells = SET_MIN;

	BUG_ON(s->cells != 0 || n > REPLAY_LOG_MAX);
	while (n * 4 >= cells * 3)
		cells *= 2;
	s->cell = calloc(cells, sizeof(*s->cell));
	if (s->cell == NULL)
		return -ENOMEM;
	s->cells = cells;
	return 0;
}

static int
set_add(struct set *s, uint64_t hash)
{
	if (s->n * 4 >= s->cells * 3 && set_grow(s) != 0)
		return -ENOMEM;
	*set_cell(s, hash) = hash;
	s->n++;
	return 0;
}

bool
replay_has(const struct replay *r, uint64_t hash)
{
	return set_has(&r->now, hash) || set_has(&r->old, hash);
}

size_t
replay_count(const struct replay *r)
{
	return r->now.n + r->old.n;
}

/* --- the log ------------------------------------------------------------ */

static void
log_begin(struct replay_log *l, const struct hash_key *key)
{
	atomic_store(&l->layout, 0);
	for (unsigned h = 0; h < 2; h++) {
		atomic_store(&l->half[h].n, 0);
		atomic_store(&l->half[h].since_ns, 0);
	}
	l->key = *key;
	atomic_store(&l->layout, REPLAY_LOG_LAYOUT);
}

/* `now` has begun anew: so does the half that it goes to. */
static void
log_turn(struct replay *r, uint64_t now_ns)
{
	if (r->log == NULL)
		return;
	r->half ^= 1;
	atomic_store(&r->log->half[r->half].n, 0);
	replay_log_drop(r->log, r->half);
	atomic_store(&r->log->half[r->half].since_ns, now_ns);
}

/* Normally when `now` is; a log that was tampered with may hold less. */
static bool
log_is_full(const struct replay *r)
{
	return r->log != NULL &&
	       atomic_load(&r->log->half[r->half].n) >= r->max;
}

static void
log_add(struct replay *r, uint64_t hash)
{
	uint64_t n;

	if (r->log == NULL)
		return;
	n = atomic_load(&r->log->half[r->half].n);
	BUG_ON(n >= REPLAY_LOG_MAX); /* log_is_full() */
	replay_log_entries(r->log, r->half)[n] = hash;
	atomic_store_explicit(&r->log->half[r->half].n, n + 1,
			      memory_order_release);
}

static bool
log_is_sound(struct replay_log *l, size_t max, uint64_t now_ns)
{
	bool sound = atomic_load(&l->layout) == REPLAY_LOG_LAYOUT;

	for (unsigned h = 0; h < 2; h++)
		sound = sound && atomic_load(&l->half[h].n) <= max &&
			atomic_load(&l->half[h].since_ns) <= now_ns;
	return sound;
}

/* 0 or -ENOMEM. */
static int
log_read(struct replay *r, struct set *s, unsigned half)
{
	const uint64_t *entry = replay_log_entries(r->log, half);
	uint64_t n = atomic_load(&r->log->half[half].n);
	int e = n > 0 ? set_reserve(s, n) : 0;

	for (uint64_t i = 0; e == 0 && i < n; i++)
		if (entry[i] != 0 && !set_has(s, entry[i]))
			e = set_add(s, entry[i]);
	return e;
}

/* What a keeper before has accepted.  0 or -ENOMEM. */
static int
log_take(struct replay *r, uint64_t now_ns)
{
	uint64_t since[2];
	int e;

	if (!log_is_sound(r->log, r->max, now_ns)) {
		log_begin(r->log, &r->key);
		return 0;
	}
	r->key = r->log->key;
	for (unsigned h = 0; h < 2; h++)
		since[h] = atomic_load(&r->log->half[h].since_ns);
	r->half = since[1] > since[0];
	r->since_ns = since[r->half];
	e = log_read(r, &r->now, r->half);
	/* The other one may be of before a long silence: to know more than
	 * needs be does no harm. */
	if (e == 0)
		e = log_read(r, &r->old, r->half ^ 1);
	return e;
}

/* --- the set ------------------------------------------------------------ */

void
replay_allow(struct replay *r, int skew_s)
{
	BUG_ON(skew_s < 0 || skew_s > REPLAY_SKEW_MAX_S);
	r->window_ns = (2 * (uint64_t)skew_s + 1) * NS_PER_S;
}

struct replay *
replay_new(size_t max, struct replay_log *log, uint64_t now_ns)
{
	struct replay *r = calloc(1, sizeof(*r));

	BUG_ON(max == 0 || max > REPLAY_LOG_MAX);
	if (r == NULL)
		return NULL;
	hash_key_new(&r->key);
	r->max = max;
	r->log = log;
	replay_allow(r, REPLAY_SKEW_S);
	if (log != NULL && log_take(r, now_ns) != 0)
		replay_free(&r);
	return r;
}

static void
replay_turn(struct replay *r, uint64_t now_ns)
{
	uint64_t window = r->window_ns;

	if (r->since_ns == 0) {
		r->since_ns = now_ns;
		log_turn(r, now_ns);
	}
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
	log_turn(r, now_ns);
}

int
replay_add(struct replay *r, uint64_t hash, uint64_t now_ns)
{
	BUG_ON(hash == 0);
	replay_turn(r, now_ns);
	if (replay_has(r, hash))
		return -EEXIST;
	if (r->now.n >= r->max || log_is_full(r))
		return -ENOBUFS;
	if (set_add(&r->now, hash) != 0)
		return -ENOBUFS;
	log_add(r, hash);
	return 0;
}
