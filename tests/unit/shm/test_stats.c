/*
 * Counters: a row belongs to one process, and folding loses nothing.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/fd.h"
#include "shm/stats.h"
#include "shm/base/log.h"

static int fd = -1;
static struct stats *master;

static struct stats *
map(unsigned own)
{
	const char *why = NULL;
	struct stats *s = stats_map(fd, own, &why);

	assert_non_null(s);
	return s;
}

static int
set_up(void **state)
{
	(void)state;
	fd = stats_create();
	if (fd < 0)
		return -1;
	master = map(STATS_OWN_ALL);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	stats_unmap(&master);
	fd_close(&fd);
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
	assert_true((uintptr_t)stats_row(master, 1) % 4096 == 0);
}

/* True when writing to that row through a mapping that owns `own` works. */
static bool
can_write(unsigned own, unsigned row)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct stats *s = map(own);

		signal(SIGSEGV, SIG_DFL);
		close(STDERR_FILENO);
		stat_add(stats_row(s, row), STAT_requests, 1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
a_process_writes_its_own_row_only(void **state)
{
	(void)state;
	assert_true(can_write(3, 3));
	assert_false(can_write(3, 2));
	assert_false(can_write(3, 4));
	assert_true(can_write(STATS_ROWS - 1, STATS_ROWS - 1));
	assert_false(can_write(STATS_OWN_NONE, 0));
	assert_true(can_write(STATS_OWN_ALL, 0));
	assert_true(can_write(STATS_OWN_ALL, STATS_ROWS - 1));
	assert_true(stat_get(stats_row(master, 3), STAT_requests) == 1);
	assert_true(stat_get(stats_row(master, 2), STAT_requests) == 0);
}

static void
what_a_worker_counts_the_master_reads(void **state)
{
	struct stats *w = map(5);
	struct stats_row *r = stats_row(w, 5);

	(void)state;
	stat_add(r, STAT_requests, 2);
	stat_add(r, STAT_requests, 3);
	stat_add(r, STAT_conns_open, 2);
	stat_sub(r, STAT_conns_open, 1);
	stat_set(r, STAT_up_idle, 9);
	assert_true(stat_get(stats_row(master, 5), STAT_requests) == 5);
	assert_true(stat_get(stats_row(master, 5), STAT_conns_open) == 1);
	assert_true(stat_get(stats_row(master, 5), STAT_up_idle) == 9);
	stats_unmap(&w);
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
	memset((void *)stats_row(master, 2), 0xff, 4096);
	stats_sum(master, total, sum);
	stats_fold(master, 2, total);
	memset(total, 0, sizeof(total));
	stats_sum(master, total, sum);
	assert_true(sum[STAT_requests] == 0);
}

static void
a_foreign_segment_is_refused(void **state)
{
	static const off_t fields[] = {0, 8, 16};
	const char *why = NULL;
	int other;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		uint8_t keep, flip;

		assert_int_equal(pread(fd, &keep, 1, fields[i]), 1);
		flip = keep ^ 1;
		assert_int_equal(pwrite(fd, &flip, 1, fields[i]), 1);
		assert_null(stats_map(fd, 0, &why));
		assert_non_null(why);
		assert_int_equal(pwrite(fd, &keep, 1, fields[i]), 1);
	}
	other = fd_memfd_shared("short", 4096);
	assert_null(stats_map(other, 0, &why));
	close(other);
	assert_null(stats_map(-1, 0, &why));
	/* Nobody can take the ground from under the others. */
	assert_int_equal(ftruncate(fd, 0), -1);
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
	    T(a_process_writes_its_own_row_only),
	    T(what_a_worker_counts_the_master_reads),
	    T(folding_keeps_counters_and_forgets_gauges),
	    T(a_mad_row_spoils_numbers_and_nothing_else),
	    T(a_foreign_segment_is_refused),
	    T(every_counter_has_a_name_and_a_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
