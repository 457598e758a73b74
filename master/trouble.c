/*
 * Purpose: remember what is wrong until it is over.
 *
 * Runs in: the master.
 * Trusts:  nobody for the reasons: they are text.
 * Touches: its own memory, of a fixed size.
 * Failure: none.
 */
#include "master/trouble.h"

#include <stdio.h>
#include <stdlib.h>

#include "shm/base/log.h"

#define TROUBLE_NO_COUNTER UINT64_MAX

struct trouble_entry {
	uint64_t first, last, last_mono;
	uint64_t count; /* 0: there is no trouble */
	uint64_t counter;
	char reason[512];
};

enum trouble_end {
	TROUBLE_PASSES, /* when it has not come again for a while */
	TROUBLE_STAYS,	/* until trouble_over() */
	TROUBLE_LIVES,	/* and with its process */
};

static const struct {
	uint32_t id;
	enum trouble_end end;
} kinds[] = {
    {2100, TROUBLE_LIVES},  {2104, TROUBLE_PASSES}, {2107, TROUBLE_PASSES},
    {2109, TROUBLE_PASSES}, {2108, TROUBLE_STAYS},  {2140, TROUBLE_STAYS},
    {3000, TROUBLE_PASSES}, {3001, TROUBLE_STAYS},  {3101, TROUBLE_PASSES},
    {3102, TROUBLE_PASSES}, {3103, TROUBLE_PASSES}, {3104, TROUBLE_PASSES},
    {3106, TROUBLE_LIVES},  {3107, TROUBLE_LIVES},  {3108, TROUBLE_LIVES},
    {3109, TROUBLE_LIVES},
};

struct trouble {
	struct trouble_entry entry[ARRAY_LEN(kinds)][TROUBLE_ROWS];
};

struct trouble *
trouble_new(void)
{
	return calloc(1, sizeof(struct trouble));
}

void
trouble_free(struct trouble **t)
{
	free(*t);
	*t = NULL;
}

/* NULL for a number that is no trouble. */
static struct trouble_entry *
trouble_find(struct trouble *t, unsigned row, uint32_t id)
{
	BUG_ON(row >= TROUBLE_ROWS);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		if (kinds[k].id == id)
			return &t->entry[k][row];
	}
	return NULL;
}

static bool
trouble_is_past(size_t kind, const struct trouble_entry *e, uint64_t mono_ns)
{
	return e->count == 0 || (kinds[kind].end == TROUBLE_PASSES &&
				 mono_ns - e->last_mono >= TROUBLE_LASTS_NS);
}

void
trouble_note(struct trouble *t, unsigned row, uint32_t id, struct slice reason,
	     uint64_t real_ns, uint64_t mono_ns)
{
	struct trouble_entry *e = trouble_find(t, row, id);

	if (e == NULL)
		return;
	if (trouble_is_past((size_t)(e - &t->entry[0][0]) / TROUBLE_ROWS, e,
			    mono_ns))
		*e = (struct trouble_entry){.first = real_ns};
	e->last = real_ns;
	e->last_mono = mono_ns;
	e->count++;
	e->counter = TROUBLE_NO_COUNTER;
	snprintf(e->reason, sizeof(e->reason), "%.*s",
		 (int)MIN(reason.len, sizeof(e->reason) - 1),
		 reason.len > 0 ? reason.p : "");
}

void
trouble_over(struct trouble *t, unsigned row, uint32_t id)
{
	struct trouble_entry *e = trouble_find(t, row, id);

	BUG_ON(e == NULL);
	e->count = 0;
}

void
trouble_over_all(struct trouble *t, uint32_t id)
{
	for (unsigned row = 0; row < TROUBLE_ROWS; row++)
		trouble_over(t, row, id);
}

void
trouble_gone(struct trouble *t, unsigned row)
{
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		if (kinds[k].end == TROUBLE_LIVES)
			trouble_over(t, row, kinds[k].id);
	}
}

void
trouble_counter(struct trouble *t, unsigned row, uint32_t id, uint64_t counter,
		uint64_t real_ns, uint64_t mono_ns)
{
	struct trouble_entry *e = trouble_find(t, row, id);

	BUG_ON(e == NULL);
	if (e->count == 0)
		return;
	if (e->counter != TROUBLE_NO_COUNTER && counter != e->counter) {
		e->last = real_ns;
		e->last_mono = mono_ns;
	} else if (mono_ns - e->last_mono >= TROUBLE_LASTS_NS) {
		e->count = 0;
	}
	e->counter = counter;
}

static void
trouble_add(struct trouble_view *v, unsigned row, const struct trouble_entry *e)
{
	v->row[row] = true;
	v->first = v->count == 0 ? e->first : MIN(v->first, e->first);
	if (v->count == 0 || e->last >= v->last) {
		v->last = e->last;
		v->reason = e->reason;
	}
	v->count += e->count;
}

void
trouble_each(struct trouble *t, uint64_t mono_ns,
	     void (*fn)(void *arg, const struct trouble_view *v), void *arg)
{
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		struct trouble_view v = {.id = kinds[k].id};

		for (unsigned row = 0; row < TROUBLE_ROWS; row++) {
			const struct trouble_entry *e = &t->entry[k][row];

			if (!trouble_is_past(k, e, mono_ns))
				trouble_add(&v, row, e);
		}
		if (v.count > 0)
			fn(arg, &v);
	}
}
