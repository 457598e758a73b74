/*
 * Purpose: one input of a fuzz target, read by both parsers.
 *
 * Runs in: tests.
 * Trusts:  nobody.
 * Touches: standard error.
 * Failure: the process ends, and libFuzzer keeps the input.
 */
#include "tests/differ/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"

#define DIFFER_FUZZ_MAX 40000

static void
differ_show(const char *who, const struct differ_msg *m)
{
	static const char *const outcome[] = {"waits for more", "takes",
					      "refuses"};

	fprintf(stderr,
		"%s %s: %s; %zu bytes, persistent %d\n"
		"start [%.*s]\nfields [%.*s]\nbody [%.*s]\n",
		who, outcome[m->outcome], m->why == NULL ? "" : m->why, m->used,
		m->keep_alive, (int)m->start.len, m->start.p,
		(int)m->fields.len, m->fields.p, (int)m->body.len, m->body.p);
}

void
differ_fuzz(enum differ_kind kind, const uint8_t *data, size_t size)
{
	struct differ_msg ours, theirs;
	const char *way;
	char *copy;

	if (size > DIFFER_FUZZ_MAX)
		return;
	/* memory of its own: a read beyond it is seen */
	copy = malloc(size == 0 ? 1 : size);
	BUG_ON(copy == NULL);
	if (size > 0)
		memcpy(copy, data, size);
	differ_ours(&ours, kind, copy, size);
	differ_theirs(&theirs, kind, copy, size);
	way = differ_way(&ours, &theirs);
	if (way != NULL && differ_explain(kind, &ours, &theirs) == NULL) {
		fprintf(stderr, "no row of differ.def explains: %s\n", way);
		differ_show("we", &ours);
		differ_show("llhttp", &theirs);
		abort();
	}
	differ_free(&ours);
	differ_free(&theirs);
	free(copy);
}
