/*
 * Purpose: compare what two parsers made of the same bytes.
 *
 * Runs in: tests.
 * Trusts:  nobody.
 * Touches: nothing but its arguments.
 * Failure: none; memory that is missing ends the process.
 */
#include "tests/differ/differ.h"

#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/base/str.h"

/* Examples of what is too much. */
#define TEN(x)	      x x x x x x x x x x
#define DIFFER_LONG   TEN(TEN(TEN("123456789")))
#define DIFFER_HUGE   TEN(DIFFER_LONG) DIFFER_LONG
#define DIFFER_FIELDS TEN(TEN("X: y\r\n")) "X: y\r\n"

static const struct differ_row differ_table[] = {
#define STRICTER(way, kind, example, why) \
	{true, way, DIFFER_##kind, example, sizeof(example) - 1, why},
#define OTHER(way, kind, example, why) \
	{false, way, DIFFER_##kind, example, sizeof(example) - 1, why},
#include "tests/differ/differ.def"
#undef STRICTER
#undef OTHER
};

const struct differ_row *
differ_rows(size_t *n_r)
{
	*n_r = ARRAY_LEN(differ_table);
	return differ_table;
}

static void
differ_text_init(struct differ_text *t, size_t size)
{
	*t = (struct differ_text){.p = malloc(size), .size = size};
	BUG_ON(t->p == NULL);
}

void
differ_init(struct differ_msg *m, size_t len)
{
	*m = (struct differ_msg){.outcome = DIFFER_MORE};
	differ_text_init(&m->start, len + 64);
	differ_text_init(&m->fields, len + 64);
	differ_text_init(&m->body, len + 64);
}

void
differ_free(struct differ_msg *m)
{
	free(m->start.p);
	free(m->fields.p);
	free(m->body.p);
}

void
differ_add(struct differ_text *t, const char *p, size_t len)
{
	BUG_ON(len > t->size - t->len);
	if (len > 0)
		memcpy(t->p + t->len, p, len);
	t->len += len;
}

void
differ_add_name(struct differ_text *t, const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = ascii_lower(p[i]);

		differ_add(t, &c, 1);
	}
}

void
differ_add_value(struct differ_text *t, const char *p, size_t len)
{
	while (len > 0 && (p[0] == ' ' || p[0] == '\t')) {
		p++;
		len--;
	}
	while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'))
		len--;
	differ_add(t, p, len);
}

static bool
differ_same(const struct differ_text *a, const struct differ_text *b)
{
	return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* How theirs goes on behind a head that is the same in both. */
static const char *
differ_way_behind(const struct differ_msg *ours,
		  const struct differ_msg *theirs)
{
	if (theirs->in_trailer && (theirs->outcome == DIFFER_REFUSED ||
				   ours->keep_alive != theirs->keep_alive))
		return "a framing field as trailer";
	if (ours->no_body &&
	    (theirs->outcome != DIFFER_TAKEN || ours->used < theirs->used))
		return "a body behind 1xx, 204 or 304";
	if (theirs->outcome == DIFFER_MORE)
		return "llhttp waits for more";
	if (theirs->outcome == DIFFER_REFUSED)
		return ours->blank && strcmp(theirs->why, "HPE_STRICT") == 0
			   ? "white space in a chunk extension"
			   : theirs->why;
	if (!differ_same(&ours->body, &theirs->body))
		return "another body";
	if (ours->used != theirs->used)
		return "another end";
	if (ours->keep_alive == theirs->keep_alive)
		return NULL;
	return ours->keep_alive ? "we keep the connection"
				: "llhttp keeps the connection";
}

static const char *
differ_way_taken(const struct differ_msg *ours, const struct differ_msg *theirs)
{
	const char *way = theirs->why;

	if (theirs->outcome != DIFFER_REFUSED || theirs->head_done) {
		if (!differ_same(&ours->start, &theirs->start))
			return "another start line";
		if (!differ_same(&ours->fields, &theirs->fields))
			return "other fields";
		way = differ_way_behind(ours, theirs);
	}
	return way != NULL && ours->tab
		   ? "a tab beside a length, a coding or an option"
		   : way;
}

const char *
differ_way(const struct differ_msg *ours, const struct differ_msg *theirs)
{
	if (ours->outcome == DIFFER_REFUSED)
		return theirs->outcome == DIFFER_TAKEN ? ours->why : NULL;
	if (ours->outcome == DIFFER_MORE)
		return theirs->outcome == DIFFER_TAKEN ? "we wait for more"
						       : NULL;
	return differ_way_taken(ours, theirs);
}

const struct differ_row *
differ_explain(enum differ_kind kind, const struct differ_msg *ours,
	       const struct differ_msg *theirs)
{
	const char *way = differ_way(ours, theirs);

	for (size_t i = 0; way != NULL && i < ARRAY_LEN(differ_table); i++) {
		const struct differ_row *r = &differ_table[i];

		if (r->kind == kind && strcmp(r->way, way) == 0 &&
		    r->stricter == (ours->outcome == DIFFER_REFUSED))
			return r;
	}
	return NULL;
}
