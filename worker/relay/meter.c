/*
 * Purpose: count what a source or an account uses.
 *
 * Runs in: relay.
 * Trusts:  its caller for the keys, which are keyed hashes.
 * Touches: its own memory.
 * Failure: NULL without memory; what has no meter is not limited, and the
 *          memory's own limits (memory.h) hold.
 */
#include "worker/relay/meter.h"

#include <stdlib.h>
#include <string.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"

struct meter *
meter_get(struct meters *ms, uint64_t key)
{
	size_t i = key % METER_BUCKETS;
	struct meter **b = &ms->bucket[i], *m;

	for (m = *b; m != NULL; m = m->next)
		if (m->key == key)
			return m;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return NULL;
	m->key = key;
	m->next = *b;
	*b = m;
	ms->used[i / 64] |= UINT64_C(1) << i % 64;
	ms->n++;
	return m;
}

static void
meters_sweep_bucket(struct meters *ms, size_t i, uint64_t now)
{
	struct meter **p = &ms->bucket[i], *m;

	while ((m = *p) != NULL) {
		if (m->conns > 0 || m->requests > 0 || m->waits.first != NULL ||
		    m->due > now) {
			p = &m->next;
			continue;
		}
		*p = m->next;
		free(m);
		ms->n--;
	}
	if (ms->bucket[i] == NULL)
		ms->used[i / 64] &= ~(UINT64_C(1) << i % 64);
}

void
meters_sweep(struct meters *ms, uint64_t now)
{
	for (size_t i = 0; i < METER_BUCKETS / 64; i++)
		for (uint64_t bits = ms->used[i]; bits != 0; bits &= bits - 1)
			meters_sweep_bucket(
			    ms, i * 64 + (size_t)__builtin_ctzll(bits), now);
}

void
meters_each(struct meters *ms, void (*fn)(void *arg, struct meter *m),
	    void *arg)
{
	for (size_t i = 0; i < METER_BUCKETS; i++)
		for (struct meter *m = ms->bucket[i]; m != NULL; m = m->next)
			fn(arg, m);
}

void
meters_fini(struct meters *ms)
{
	for (size_t i = 0; i < METER_BUCKETS; i++) {
		struct meter *m = ms->bucket[i], *next;

		for (; m != NULL; m = next) {
			next = m->next;
			free(m);
		}
		ms->bucket[i] = NULL;
	}
	memset(ms->used, 0, sizeof(ms->used));
	ms->n = 0;
}

uint64_t
meter_pace(struct meter *m, uint64_t now, uint64_t rate)
{
	uint64_t step, saved = METER_SAVED_S * NS_PER_S, due;

	if (rate == 0)
		return 0;
	step = MAX(NS_PER_S / rate, UINT64_C(1));
	due = MAX(m->due, now);
	/* one request may always come to a meter that owes nothing */
	if (due > now && due + step > now + saved)
		return due + step - now - saved;
	m->due = due + step;
	return 0;
}
