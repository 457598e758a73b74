/*
 * Counters: a row belongs to one process and is out of reach for all others,
 * and folding loses nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/fd.h"
#include "shm/stats.h"
#include "shm/base/log.h"

static struct stats *master;

static int
set_up(void **state)
{
	const char *why = NULL;

	(void)state;
	master = stats_new(&why);
	return master == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	stats_free(&master);
	return master == NULL ? 0 : -1;
}

static void
every_process_has_a_row_of_its_own(void **state)
{
	bool used[STATS_ROWS] = {false};

	(void)state;
	for (unsigned s = 0; s < RELAY_MAX; s++) {
		assert_false(used[stats_row_index(ROLE_RELAY, s)]);
		used[stats_row_index(ROLE_RELAY, s)] = true;
	}
	assert_false(used[stats_row_index(ROLE_KEEPER, 0)]);
	used[stats_row_index(ROLE_KEEPER, 0)] = true;
	assert_false(used[stats_row_index(ROLE_CLOUD, 0)]);
	used[stats_row_index(ROLE_CLOUD, 0)] = true;
	assert_false(used[stats_row_index(ROLE_CONSOLE, 0)]);
}

static ino_t
inode(unsigned row)
{
	struct stat st;

	assert_int_equal(fstat(stats_row_fd(master, row), &st), 0);
	return st.st_ino;
}

/* What a process that was taken over can do with all that it was given. */
static void
attack(int fd)
{
	struct stat st;
	uint8_t *p;

	assert_int_equal(fstat(fd, &st), 0);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 0xee, (size_t)st.st_size);
	munmap(p, (size_t)st.st_size);
	/* nor can it take the ground from under the master */
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
}

static void
a_row_is_all_that_its_owner_can_write(void **state)
{
	uint8_t before[sizeof(struct stats_row)];

	(void)state;
	for (unsigned a = 0; a < STATS_ROWS; a++)
		for (unsigned b = 0; b < a; b++)
			assert_true(inode(a) != inode(b));
	stat_add(stats_row(master, 2), STAT_requests, 5);
	stat_add(stats_row(master, 4), STAT_requests, 7);
	memcpy(before, (void *)stats_row(master, 4), sizeof(before));
	attack(stats_row_fd(master, 3));
	assert_true(stat_get(stats_row(master, 2), STAT_requests) == 5);
	assert_memory_equal((void *)stats_row(master, 4), before,
			    sizeof(before));
	assert_true(stat_get(stats_row(master, 3), STAT_requests) ==
		    UINT64_C(0xeeeeeeeeeeeeeeee));
}

static void
the_next_owner_finds_a_whole_row(void **state)
{
	uint64_t total[STAT_MAX] = {0};
	const char *why = NULL;
	struct stats_row *r;

	(void)state;
	attack(stats_row_fd(master, 3));
	assert_null(stats_attach(stats_row_fd(master, 3), 3, &why));
	stats_fold(master, 3, total);
	r = stats_attach(stats_row_fd(master, 3), 3, &why);
	assert_non_null(r);
	assert_true(stat_get(r, STAT_requests) == 0);
	assert_true(atomic_load(&r->heartbeat) == 0);
}

static void
what_a_worker_counts_the_master_reads(void **state)
{
	const char *why = NULL;
	struct stats_row *r = stats_attach(stats_row_fd(master, 5), 5, &why);

	(void)state;
	assert_non_null(r);
	stat_add(r, STAT_requests, 2);
	stat_add(r, STAT_requests, 3);
	stat_add(r, STAT_conns_open, 2);
	stat_sub(r, STAT_conns_open, 1);
	stat_set(r, STAT_up_idle, 9);
	assert_true(stat_get(stats_row(master, 5), STAT_requests) == 5);
	assert_true(stat_get(stats_row(master, 5), STAT_conns_open) == 1);
	assert_true(stat_get(stats_row(master, 5), STAT_up_idle) == 9);
}

static void
folding_keeps_counters_and_forgets_gauges(void **state)
{
	uint64_t total[STAT_MAX] = {0}, sum[STAT_MAX];
	struct stats_row *r = stats_row(master, 0);

	(void)state;
	stat_add(r, STAT_requests, 10);
	stat_set(r, STAT_conns_open, 4);
	stat_add(stats_row(master, 1), STAT_requests, 1);
	stat_set(stats_row(master, 1), STAT_conns_open, 2);
	atomic_store(&r->heartbeat, 77);
	atomic_store(&r->pid, 78);
	stats_sum(master, total, sum);
	assert_true(sum[STAT_requests] == 11);
	assert_true(sum[STAT_conns_open] == 6);
	/* two tables are not one with the sum of their numbers */
	stat_set(stats_row(master, 0), STAT_table_generation, 7);
	stat_set(stats_row(master, 1), STAT_table_generation, 7);
	stats_sum(master, total, sum);
	assert_true(sum[STAT_table_generation] == 0);
	assert_true(sum[STAT_conns_open] == 6);

	stats_fold(master, 0, total);
	assert_true(total[STAT_requests] == 10);
	assert_true(total[STAT_conns_open] == 0);
	assert_true(atomic_load(&r->heartbeat) == 0);
	assert_true(atomic_load(&r->pid) == 0);
	stats_sum(master, total, sum);
	assert_true(sum[STAT_requests] == 11);
	assert_true(sum[STAT_conns_open] == 2);

	/* The next owner of the slot counts from nothing. */
	stat_add(r, STAT_requests, 5);
	stats_fold(master, 0, total);
	stats_sum(master, total, sum);
	assert_true(sum[STAT_requests] == 16);
	stats_fold(master, 0, total);
	assert_true(total[STAT_requests] == 15);
}

/* Whatever a hostile worker writes, the master only ever adds numbers. */
static void
a_mad_row_spoils_numbers_and_nothing_else(void **state)
{
	uint64_t total[STAT_MAX] = {0}, sum[STAT_MAX];

	(void)state;
	memset((void *)stats_row(master, 2), 0xff, sizeof(struct stats_row));
	stats_sum(master, total, sum);
	stats_fold(master, 2, total);
	memset(total, 0, sizeof(total));
	stats_sum(master, total, sum);
	assert_true(sum[STAT_requests] == 0);
}

static void
what_is_not_the_own_row_is_refused(void **state)
{
	static const off_t fields[] = {0, 8, 16};
	int fd = stats_row_fd(master, 0), other;
	const char *why = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		uint8_t keep, flip;

		assert_int_equal(pread(fd, &keep, 1, fields[i]), 1);
		flip = keep ^ 1;
		assert_int_equal(pwrite(fd, &flip, 1, fields[i]), 1);
		assert_null(stats_attach(fd, 0, &why));
		assert_non_null(why);
		assert_int_equal(pwrite(fd, &keep, 1, fields[i]), 1);
	}
	assert_non_null(stats_attach(fd, 0, &why));
	assert_null(stats_attach(fd, 1, &why));
	other = fd_memfd_shared("short", 1024);
	assert_null(stats_attach(other, 0, &why));
	close(other);
	assert_null(stats_attach(-1, 0, &why));
}

static void
every_counter_has_a_name_and_a_meaning(void **state)
{
	(void)state;
	assert_string_equal(stat_name(STAT_requests), "requests");
	assert_true(stat_is_counter(STAT_requests));
	assert_false(stat_is_counter(STAT_conns_open));
	for (unsigned i = 0; i < STAT_MAX; i++)
		assert_true(strlen(stat_meaning((enum stat_id)i)) > 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(every_process_has_a_row_of_its_own),
	    T(a_row_is_all_that_its_owner_can_write),
	    T(the_next_owner_finds_a_whole_row),
	    T(what_a_worker_counts_the_master_reads),
	    T(folding_keeps_counters_and_forgets_gauges),
	    T(a_mad_row_spoils_numbers_and_nothing_else),
	    T(what_is_not_the_own_row_is_refused),
	    T(every_counter_has_a_name_and_a_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
