/*
 * Purpose: read and write what was seen, in batches on a timer.
 *
 * Runs in: the master.
 * Trusts:  nobody: a record that is not one is left out, and counted.
 * Touches: the store.
 * Failure: an event; the rows wait for the next turn.
 */
#include "master/seen_keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "master/seen.h"
#include "master/store.h"
#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

struct seen_keep {
	struct store *store;
	struct seen *seen;
	struct loop_timer *timer;
	void (*fail)(void *arg, const char *why);
	void *arg;
	uint64_t pause_ms;
	bool failing;
	size_t refused;		 /* records, while reading */
	struct store_seen *into; /* while writing */
};

/* --- reading ----------------------------------------------------------- */

static int
keep_read(void *arg, struct seen_key key, struct slice record)
{
	struct seen_keep *k = arg;
	int r;

	if (key.kind == SEEN_KEY)
		return 0; /* keyuse.c reads those */
	r = seen_load(k->seen, key, record);
	if (r == -EINVAL)
		k->refused++;
	return r == -EINVAL ? 0 : r;
}

static void
keep_load(struct seen_keep *k)
{
	int r = store_seen_each(k->store, keep_read, k);

	if (r != 0)
		log_warn("what was seen of accounts cannot be read: %s; it is "
			 "gathered anew",
			 strerror(-r));
	if (k->refused > 0)
		log_warn("%zu records of accounts that were seen are of "
			 "another version, or damaged; they are left out",
			 k->refused);
	seen_loaded(k->seen, clock_real_ns());
}

/* --- writing ----------------------------------------------------------- */

static int
keep_row(void *arg, struct seen_key key, struct slice record)
{
	struct seen_keep *k = arg;

	return store_seen_row(k->into, key, record);
}

static int
keep_fill(void *arg, struct store_seen *into)
{
	struct seen_keep *k = arg;

	k->into = into;
	return seen_each_unsaved(k->seen, SEEN_KEEP_ROWS_MAX, keep_row, k);
}

/* One batch; false when it could not be written. */
static bool
keep_write(struct seen_keep *k)
{
	size_t n = MIN(seen_unsaved(k->seen), (size_t)SEEN_KEEP_ROWS_MAX);
	char err[STORE_ERR];
	int r;

	if (n == 0)
		return true;
	r = store_seen_put(k->store, keep_fill, k, err);
	if (r == 0)
		seen_saved(k->seen, n);
	if ((r != 0) != k->failing)
		k->fail(k->arg, r != 0 ? err : NULL);
	k->failing = r != 0;
	return r == 0;
}

static void
keep_on_timer(void *arg)
{
	struct seen_keep *k = arg;

	if (keep_write(k))
		k->pause_ms = SEEN_KEEP_MS;
	else
		k->pause_ms = MIN(k->pause_ms * 2, (uint64_t)SEEN_KEEP_LONGEST);
	loop_timer_set(k->timer, k->pause_ms);
}

/* --- life -------------------------------------------------------------- */

struct seen_keep *
seen_keep_new(struct loop *l, struct store *store, struct seen *seen,
	      void (*fail)(void *arg, const char *why), void *arg)
{
	struct seen_keep *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	k->store = store;
	k->seen = seen;
	k->fail = fail;
	k->arg = arg;
	k->pause_ms = SEEN_KEEP_MS;
	k->timer = loop_timer_new(l, keep_on_timer, k);
	if (k->timer == NULL) {
		free(k);
		return NULL;
	}
	keep_load(k);
	loop_timer_set(k->timer, SEEN_KEEP_MS);
	return k;
}

void
seen_keep_free(struct seen_keep **kp)
{
	struct seen_keep *k = *kp;

	if (k == NULL)
		return;
	while (seen_unsaved(k->seen) > 0 && keep_write(k))
		;
	loop_timer_free(&k->timer);
	free(k);
	*kp = NULL;
}
