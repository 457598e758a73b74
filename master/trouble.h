/*
 * trouble: what went wrong lately, for `rmsctl status`.
 *
 * An event is a line that went by.  Here is what of it may still be so: for
 * each process the last time and reason of those numbers that mean trouble.
 * Some end with a word that it is over (the cloud can be reached again), the
 * others are forgotten when they have not come again for a while.
 *
 * Bounded: one entry for each number and process; a child that lies about
 * itself fills its own.
 */
#ifndef RMS_TROUBLE_H
#define RMS_TROUBLE_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/stats.h"

/* A process is the row of its counters; the master comes after them. */
#define TROUBLE_MASTER STATS_ROWS
#define TROUBLE_ROWS   (STATS_ROWS + 1)
/* So long after the last time one that has no end of its own is told. */
#define TROUBLE_LASTS_NS UINT64_C(600000000000)

struct trouble;

/* NULL when out of memory. */
MUST_USE struct trouble *trouble_new(void);
void trouble_free(struct trouble **t);

/* The event with this number befell the process; nothing for a number that is
 * no trouble. */
void trouble_note(struct trouble *t, unsigned row, uint32_t id,
		  struct slice reason, uint64_t real_ns, uint64_t mono_ns);
/* It is over: for one process, or for all. */
void trouble_over(struct trouble *t, unsigned row, uint32_t id);
void trouble_over_all(struct trouble *t, uint32_t id);
/* The process is gone: what only it could have told the end of, is too. */
void trouble_gone(struct trouble *t, unsigned row);

/*
 * For trouble that is told once while it goes on: how often it had happened by
 * now.  As long as that number grows it is not over.
 */
void trouble_counter(struct trouble *t, unsigned row, uint32_t id,
		     uint64_t counter, uint64_t real_ns, uint64_t mono_ns);

/* One number, of all processes that have it. */
struct trouble_view {
	uint32_t id;
	uint64_t first, last; /* CLOCK_REALTIME ns */
	uint64_t count;
	const char *reason; /* of the last time */
	bool row[TROUBLE_ROWS];
};
/* What there is now, by number. */
void trouble_each(struct trouble *t, uint64_t mono_ns,
		  void (*fn)(void *arg, const struct trouble_view *v),
		  void *arg);

#endif
