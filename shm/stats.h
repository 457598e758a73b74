/*
 * stats: what every process counts, in memory that the master reads.
 *
 * One memfd for each row, one page large:
 *
 *	offset	size	field		writer	readers
 *	0	8	magic		master	its process, once at attach
 *	8	8	layout hash	master	its process, once at attach
 *	16	4	row		master	its process, once at attach
 *	64	-	struct stats_row	the process that owns the row
 *
 * Rows: relay slots 0..RELAY_MAX-1, then the keeper, then the cloud agent,
 * then the console, then the NTLM slots 0..NTLM_MAX-1.
 *
 * 1. A process gets the descriptor of its own row and of no other: whoever
 *    takes it over can lie only about its own numbers.  (A read-only mapping
 *    of a descriptor that may write is no bar: mprotect() lifts it.)
 * 2. Exactly one process writes a row, with relaxed stores; readers use
 *    relaxed loads and may see two counters a moment apart.
 * 3. A row is folded into the master's totals, and its head written anew,
 *    before its slot is reused.
 * 4. Nothing here is a length, an index or a pointer for the master.
 */
#ifndef RMS_STATS_H
#define RMS_STATS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/role.h"

enum stat_id {
#define STAT(name, kind, meaning) STAT_##name,
#include "shm/stats.def"
#undef STAT
	STAT_MAX
};

#define STATS_ROWS (RELAY_MAX + 3 + NTLM_MAX)

struct stats_row {
	_Alignas(64) _Atomic uint64_t heartbeat; /* CLOCK_MONOTONIC ns */
	_Atomic uint64_t pid;
	_Atomic uint64_t started; /* CLOCK_REALTIME ns */
	_Atomic uint64_t v[STAT_MAX];
};

struct stats; /* the master's mappings of all rows */

/* Row of a process; BUG for the master, which has none. */
unsigned stats_row_index(enum role role, unsigned slot);

/* Master: makes every row.  NULL with a reason in *why_r. */
MUST_USE struct stats *stats_new(const char **why_r);
void stats_free(struct stats **s);
/* The row's descriptor, for its process and nobody else.  Borrowed. */
int stats_row_fd(const struct stats *s, unsigned row);
/* The row's counters. */
struct stats_row *stats_row(struct stats *s, unsigned row);

/*
 * A child: maps its row, for the life of the process.  fd stays the caller's.
 * NULL with a reason in *why_r when it is not this row, or of another version.
 */
MUST_USE struct stats_row *stats_attach(int fd, unsigned row,
					const char **why_r);

static inline void
stat_add(struct stats_row *r, enum stat_id s, uint64_t n)
{
	/* One writer: no locked instruction needed. */
	atomic_store_explicit(
	    &r->v[s], atomic_load_explicit(&r->v[s], memory_order_relaxed) + n,
	    memory_order_relaxed);
}

static inline void
stat_sub(struct stats_row *r, enum stat_id s, uint64_t n)
{
	stat_add(r, s, 0 - n);
}

static inline void
stat_set(struct stats_row *r, enum stat_id s, uint64_t n)
{
	atomic_store_explicit(&r->v[s], n, memory_order_relaxed);
}

static inline uint64_t
stat_get(const struct stats_row *r, enum stat_id s)
{
	return atomic_load_explicit(&r->v[s], memory_order_relaxed);
}

const char *stat_name(enum stat_id s);
const char *stat_meaning(enum stat_id s);
bool stat_is_counter(enum stat_id s);
/* Not of what says something of its process alone. */
bool stat_has_sum(enum stat_id s);

/* Adds the counters of row to total[] and clears the row. */
void stats_fold(struct stats *s, unsigned row, uint64_t total[STAT_MAX]);
/* total[] plus every row; gauges summed over the rows; 0 without a sum. */
void stats_sum(struct stats *s, const uint64_t total[STAT_MAX],
	       uint64_t sum_r[STAT_MAX]);

#endif
