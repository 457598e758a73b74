/*
 * Feeds arbitrary records to the reader of what was seen, as a damaged store
 * or one of another version would.
 *
 * Input: kind u8, slot u8, length u16 little-endian, record; again and again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "master/seen.h"

#define SLOTS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct twin {
	struct seen *seen;
	size_t n;
};

/* What was taken in packs to a record that is taken in. */
static int
reload(void *arg, struct seen_key key, struct slice record)
{
	struct twin *t = arg;

	if (record.len > SEEN_RECORD_MAX ||
	    seen_load(t->seen, key, record) != 0)
		abort();
	t->n++;
	return 0;
}

static void
look(void *arg, const struct seen_account *a)
{
	(void)arg;
	if (a->account[0] == '\0' || a->mech > MECH_CERT ||
	    (a->sids.len > 0 && sids_count(a->sids) != (int)a->nsids))
		abort();
}

static void
use(struct seen *s)
{
	struct seen_news news;
	struct msg_seen m = {
	    .allowed = true, .entry = 3, .account = SLICE_LIT("new@R")};
	struct twin t = {.seen = seen_new(SLOTS)};

	seen_loaded(s, 1);
	seen_each(s, look, NULL);
	if (t.seen == NULL)
		return;
	/* more than there is room for: the oldest go */
	for (unsigned i = 0; i < 2 * SLOTS; i++) {
		char name[] = "new0@R";

		name[3] = (char)('0' + i);
		m.account = slice_of(name);
		m.allowed = i % 2 == 0;
		seen_report(s, &m, 1000 + i, 1000 + i, &news);
	}
	if (seen_count(s) > SLOTS)
		abort();
	if (seen_each_unsaved(s, SIZE_MAX, reload, &t) != 0)
		abort();
	seen_saved(s, t.n);
	if (seen_unsaved(s) != 0)
		abort();
	seen_free(&t.seen);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen *s = seen_new(SLOTS);

	while (s != NULL && size >= 4) {
		struct seen_key key = {(enum seen_kind)data[0], data[1]};
		size_t len = (size_t)data[2] | (size_t)data[3] << 8;
		char *copy;

		data += 4;
		size -= 4;
		len = MIN(len, size);
		/* On the heap by itself, so that one byte too far is seen. */
		copy = malloc(len > 0 ? len : 1);
		if (copy == NULL)
			break;
		if (len > 0)
			memcpy(copy, data, len);
		(void)seen_load(s, key, (struct slice){copy, len});
		free(copy);
		data += len;
		size -= len;
	}
	if (s != NULL)
		use(s);
	seen_free(&s);
	return 0;
}
