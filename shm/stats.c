/*
 * Purpose: counters of every process, in rows that only their owner writes.
 *
 * Runs in: every process.
 * Trusts:  nothing in the segment: a number is only ever a number.
 * Touches: one memfd segment.
 * Failure: NULL or -errno at start-up; none later.
 */
#include "shm/stats.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/segment.h"

#define STATS_MAGIC UINT64_C(0x3174617473736d72) /* "rmsstat1" */
#define STATS_PAGE  4096
#define STATS_BYTES ((size_t)STATS_PAGE * (1 + STATS_ROWS))

struct stats_head {
	uint64_t magic;
	uint64_t layout;
	uint32_t rows;
	uint32_t unused;
};
_Static_assert(offsetof(struct stats_head, rows) == 16, "as in stats.h");
_Static_assert(sizeof(struct stats_row) <= STATS_PAGE, "a row is one page");

struct stats {
	uint8_t *mem;
};

enum stat_kind { STAT_KIND_COUNTER, STAT_KIND_GAUGE };

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
	case ROLE_MASTER:
	case ROLE_MAX:
	default:
		bug_die(__FILE__, __LINE__, "this role has no row");
	}
}

int
stats_create(void)
{
	struct stats_head h = {
	    .magic = STATS_MAGIC, .layout = stats_layout(), .rows = STATS_ROWS};
	int fd;

	/* With larger pages a row could not be protected by itself. */
	if (sysconf(_SC_PAGESIZE) != STATS_PAGE)
		return -ENOTSUP;
	fd = fd_memfd_shared("rms-stats", STATS_BYTES);
	if (fd < 0)
		return fd;
	if (pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h)) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

static const char *
stats_check(const struct stats_head *h)
{
	if (h->magic != STATS_MAGIC)
		return "not a stats segment";
	if (h->layout != stats_layout() || h->rows != STATS_ROWS)
		return "made by a different version";
	return NULL;
}

static size_t
stats_offset(unsigned row)
{
	BUG_ON(row >= STATS_ROWS);
	return (size_t)STATS_PAGE * (1 + row);
}

struct stats *
stats_map(int fd, unsigned own, const char **why_r)
{
	struct stats *s = calloc(1, sizeof(*s));

	BUG_ON(own >= STATS_ROWS && own != STATS_OWN_NONE &&
	       own != STATS_OWN_ALL);
	*why_r = "out of memory";
	if (s == NULL)
		return NULL;
	s->mem = segment_map(fd, STATS_BYTES, own == STATS_OWN_ALL, why_r);
	if (s->mem == NULL) {
		free(s);
		return NULL;
	}
	*why_r = stats_check((const void *)s->mem);
	if (*why_r == NULL && own < STATS_ROWS &&
	    mmap(s->mem + stats_offset(own), STATS_PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd,
		 (off_t)stats_offset(own)) == MAP_FAILED)
		*why_r = "cannot map the own row";
	if (*why_r != NULL)
		stats_unmap(&s);
	return s;
}

void
stats_unmap(struct stats **s)
{
	if (*s == NULL)
		return;
	munmap((*s)->mem, STATS_BYTES);
	free(*s);
	*s = NULL;
}

struct stats_row *
stats_row(struct stats *s, unsigned row)
{
	return (struct stats_row *)(void *)(s->mem + stats_offset(row));
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
			sum_r[i] += stat_get(r, i);
	}
}
