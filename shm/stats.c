/*
 * Purpose: counters of every process, each in memory of its own.
 *
 * Runs in: every process.
 * Trusts:  nothing in the segment: a number is only ever a number.
 * Touches: one memfd for each row.
 * Failure: NULL or -errno at start-up; none later.
 */
#include "shm/stats.h"

#include <errno.h>

#include "shm/base/fd.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/segment.h"

#define STATS_MAGIC UINT64_C(0x3274617473736d72) /* "rmsstat2" */
#define STATS_BYTES 4096

struct stats_head {
	uint64_t magic;
	uint64_t layout;
	uint32_t row;
	uint32_t unused;
};
struct stats_page {
	struct stats_head head;
	struct stats_row row;
};
_Static_assert(offsetof(struct stats_page, head.row) == 16, "as in stats.h");
_Static_assert(offsetof(struct stats_page, row) == 64, "as in stats.h");
_Static_assert(sizeof(struct stats_page) <= STATS_BYTES, "it fits its memfd");

struct stats {
	int fd[STATS_ROWS];
	struct stats_page *page[STATS_ROWS];
};

enum stat_kind { STAT_KIND_COUNTER, STAT_KIND_GAUGE, STAT_KIND_OWN };

static const struct {
	const char *name;
	enum stat_kind kind;
	const char *meaning;
} stats_def[STAT_MAX] = {
#define STAT(name, kind, meaning) {#name, STAT_KIND_##kind, meaning},
#include "shm/stats.def"
#undef STAT
};

const char *
stat_name(enum stat_id s)
{
	BUG_ON((unsigned)s >= STAT_MAX);
	return stats_def[s].name;
}

const char *
stat_meaning(enum stat_id s)
{
	BUG_ON((unsigned)s >= STAT_MAX);
	return stats_def[s].meaning;
}

bool
stat_is_counter(enum stat_id s)
{
	BUG_ON((unsigned)s >= STAT_MAX);
	return stats_def[s].kind == STAT_KIND_COUNTER;
}

bool
stat_has_sum(enum stat_id s)
{
	BUG_ON((unsigned)s >= STAT_MAX);
	return stats_def[s].kind != STAT_KIND_OWN;
}

/* Of the names in their order: a counter added or moved changes it. */
static uint64_t
stats_layout(void)
{
	struct hash_key h = {sizeof(struct stats_row), STATS_ROWS};

	for (size_t i = 0; i < STAT_MAX; i++)
		h.k0 = hash_bytes(&h, stats_def[i].name,
				  strlen(stats_def[i].name) + 1);
	return h.k0;
}

unsigned
stats_row_index(enum role role, unsigned slot)
{
	switch (role) {
	case ROLE_RELAY:
		BUG_ON(slot >= RELAY_MAX);
		return slot;
	case ROLE_KEEPER:
		return RELAY_MAX;
	case ROLE_CLOUD:
		return RELAY_MAX + 1;
	case ROLE_CONSOLE:
		return RELAY_MAX + 2;
	case ROLE_NTLM:
		BUG_ON(slot >= NTLM_MAX);
		return RELAY_MAX + 3 + slot;
	case ROLE_MASTER:
	case ROLE_MAX:
	default:
		bug_die(__FILE__, __LINE__, "this role has no row");
	}
}

/* ---- the master ------------------------------------------------------ */

static void
stats_put_head(struct stats_page *p, unsigned row)
{
	p->head = (struct stats_head){
	    .magic = STATS_MAGIC, .layout = stats_layout(), .row = row};
}

static const char *
stats_make_row(struct stats *s, unsigned row)
{
	const char *why = NULL;

	s->fd[row] = fd_memfd_shared("rms-stats", STATS_BYTES);
	if (s->fd[row] < 0)
		return "cannot make a row of the counters";
	s->page[row] = segment_map(s->fd[row], STATS_BYTES, true, &why);
	if (s->page[row] != NULL)
		stats_put_head(s->page[row], row);
	return why;
}

struct stats *
stats_new(const char **why_r)
{
	struct stats *s = calloc(1, sizeof(*s));

	*why_r = s == NULL ? "out of memory" : NULL;
	if (s == NULL)
		return NULL;
	memset(s->fd, 0xff, sizeof(s->fd)); /* all -1 */
	for (unsigned row = 0; *why_r == NULL && row < STATS_ROWS; row++)
		*why_r = stats_make_row(s, row);
	if (*why_r != NULL)
		stats_free(&s);
	return s;
}

void
stats_free(struct stats **sp)
{
	struct stats *s = *sp;

	if (s == NULL)
		return;
	for (unsigned row = 0; row < STATS_ROWS; row++) {
		if (s->page[row] != NULL)
			segment_unmap(s->page[row], STATS_BYTES);
		fd_close(&s->fd[row]);
	}
	free(s);
	*sp = NULL;
}

int
stats_row_fd(const struct stats *s, unsigned row)
{
	BUG_ON(row >= STATS_ROWS);
	return s->fd[row];
}

struct stats_row *
stats_row(struct stats *s, unsigned row)
{
	BUG_ON(row >= STATS_ROWS);
	return &s->page[row]->row;
}

void
stats_fold(struct stats *s, unsigned row, uint64_t total[STAT_MAX])
{
	struct stats_row *r = stats_row(s, row);

	for (enum stat_id i = 0; i < STAT_MAX; i++) {
		if (stat_is_counter(i))
			total[i] += stat_get(r, i);
		stat_set(r, i, 0);
	}
	atomic_store_explicit(&r->heartbeat, 0, memory_order_relaxed);
	atomic_store_explicit(&r->pid, 0, memory_order_relaxed);
	atomic_store_explicit(&r->started, 0, memory_order_relaxed);
	/* The last owner could write here; the next one looks. */
	stats_put_head(s->page[row], row);
}

void
stats_sum(struct stats *s, const uint64_t total[STAT_MAX],
	  uint64_t sum_r[STAT_MAX])
{
	for (enum stat_id i = 0; i < STAT_MAX; i++)
		sum_r[i] = stat_is_counter(i) ? total[i] : 0;
	for (unsigned row = 0; row < STATS_ROWS; row++) {
		const struct stats_row *r = stats_row(s, row);

		for (enum stat_id i = 0; i < STAT_MAX; i++)
			if (stat_has_sum(i))
				sum_r[i] += stat_get(r, i);
	}
}

/* ---- a child --------------------------------------------------------- */

struct stats_row *
stats_attach(int fd, unsigned row, const char **why_r)
{
	struct stats_page *p = segment_map(fd, STATS_BYTES, true, why_r);

	BUG_ON(row >= STATS_ROWS);
	if (p == NULL)
		return NULL;
	if (p->head.magic != STATS_MAGIC)
		*why_r = "not a row of counters";
	else if (p->head.layout != stats_layout())
		*why_r = "made by a different version";
	else if (p->head.row != row)
		*why_r = "the row of another process";
	else
		return &p->row;
	segment_unmap(p, STATS_BYTES);
	return NULL;
}
