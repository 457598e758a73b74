/*
 * seen_keep: what was seen outlives the master.
 *
 * Read from the store at the start; what has changed is written every
 * SEEN_KEEP_MS, a batch at a time, and at the end.  A kill costs the last few
 * seconds.  A store that cannot be written costs an event (2108), and what was
 * not written is tried again with longer pauses; requests go on.
 */
#ifndef RMS_SEEN_KEEP_H
#define RMS_SEEN_KEEP_H

#include "shm/base/bug.h"

struct loop;
struct seen;
struct seen_keep;
struct store;

#define SEEN_KEEP_MS	   3000
#define SEEN_KEEP_LONGEST  300000
#define SEEN_KEEP_ROWS_MAX 512 /* of one transaction */

/*
 * Reads what is there into seen (both borrowed for its life) and starts.
 * fail(arg, why) when a batch could not be written, once until one could be
 * again: then why is NULL.  NULL when out of memory.
 */
MUST_USE struct seen_keep *
seen_keep_new(struct loop *l, struct store *store, struct seen *seen,
	      void (*fail)(void *arg, const char *why), void *arg);
/* Writes what has changed, and ends. */
void seen_keep_free(struct seen_keep **k);

#endif
