/*
 * What `rmsctl status` calls wrong: as long as it may be so, and no longer.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "master/trouble.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

#define MINUTE	(60 * NS_PER_S)
#define REAL(m) (1000 * NS_PER_S + (m))

static struct trouble *t;
static struct trouble_view seen;
static size_t views;
static char ids[256];

static int
set_up(void **state)
{
	(void)state;
	t = trouble_new();
	return t == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	trouble_free(&t);
	return 0;
}

static void
note(unsigned row, uint32_t id, const char *reason, uint64_t mono_ns)
{
	trouble_note(t, row, id, slice_of(reason), REAL(mono_ns), mono_ns);
}

static void
on_view(void *arg, const struct trouble_view *v)
{
	struct sbuf *b = arg;

	seen = *v;
	views++;
	sbuf_fmt(b, "%u ", v->id);
}

/* The numbers that are told at that time. */
static const char *
now(uint64_t mono_ns)
{
	struct sbuf b;

	views = 0;
	sbuf_init(&b, ids, sizeof(ids));
	sbuf_str(&b, "");
	trouble_each(t, mono_ns, on_view, &b);
	return ids;
}

static void
nothing_is_wrong_at_first(void **state)
{
	(void)state;
	assert_string_equal(now(0), "");
	note(0, 1002, "not a trouble", MINUTE);
	note(0, 4711, "not an event", MINUTE);
	assert_string_equal(now(MINUTE), "");
}

static void
a_failed_request_is_told_for_some_minutes(void **state)
{
	(void)state;
	note(0, 3000, "CLOUD_RESET", MINUTE);
	note(0, 3000, "CLOUD_TIMEOUT", 2 * MINUTE);
	assert_string_equal(now(2 * MINUTE), "3000 ");
	assert_true(seen.first == REAL(MINUTE));
	assert_true(seen.last == REAL(2 * MINUTE));
	assert_true(seen.count == 2);
	assert_string_equal(seen.reason, "CLOUD_TIMEOUT");
	assert_string_equal(now(2 * MINUTE + TROUBLE_LASTS_NS - 1), "3000 ");
	assert_string_equal(now(2 * MINUTE + TROUBLE_LASTS_NS), "");
	/* the next one is another */
	note(0, 3000, "again", 60 * MINUTE);
	assert_string_equal(now(61 * MINUTE), "3000 ");
	assert_true(seen.count == 1);
	assert_true(seen.first == REAL(60 * MINUTE));
}

static void
an_unreachable_cloud_is_told_until_it_is_over(void **state)
{
	(void)state;
	note(0, 3107, "timed out", MINUTE);
	note(2, 3107, "refused", 2 * MINUTE);
	note(1, 3106, "expired", MINUTE);
	assert_string_equal(now(600 * MINUTE), "3106 3107 ");
	assert_true(seen.row[0] && !seen.row[1] && seen.row[2]);
	assert_true(seen.count == 2);
	assert_true(seen.first == REAL(MINUTE));
	assert_true(seen.last == REAL(2 * MINUTE));
	assert_string_equal(seen.reason, "refused");
	trouble_over(t, 0, 3107);
	assert_string_equal(now(600 * MINUTE), "3106 3107 ");
	trouble_over_all(t, 3107);
	assert_string_equal(now(600 * MINUTE), "3106 ");
}

static void
what_only_a_process_knew_goes_with_it(void **state)
{
	unsigned keeper = stats_row_index(ROLE_KEEPER, 0);

	(void)state;
	note(0, 3107, "x", MINUTE);
	note(keeper, 3109, "no such file", MINUTE);
	note(0, 2100, "refused", MINUTE);
	note(TROUBLE_MASTER, 2100, "line 3", MINUTE);
	note(0, 3101, "ended by signal 9", MINUTE);
	trouble_gone(t, 0);
	assert_string_equal(now(2 * MINUTE), "2100 3101 3109 ");
	trouble_gone(t, keeper);
	assert_string_equal(now(2 * MINUTE), "2100 3101 ");
	assert_string_equal(now(99 * MINUTE), "2100 ");
	assert_true(seen.row[TROUBLE_MASTER] && !seen.row[0]);
}

/* A relay tells of a full disk once; lines go on being lost. */
static void
what_goes_on_silently_is_seen_by_its_counter(void **state)
{
	uint64_t at = MINUTE;

	(void)state;
	note(0, 3108, "No space left on device", at);
	for (uint64_t lost = 5; lost < 50; lost += 5) {
		trouble_counter(t, 0, 3108, lost, REAL(at), at);
		assert_string_equal(now(at), "3108 ");
		assert_true(seen.last == REAL(at));
		at += 20 * MINUTE;
	}
	trouble_counter(t, 0, 3108, 45, REAL(at), at);
	assert_string_equal(now(at), "");
	/* what never was is not made by a counter */
	trouble_counter(t, 1, 3108, 7, REAL(at), at);
	trouble_counter(t, 1, 3108, 8, REAL(at), at);
	assert_string_equal(now(at), "");
}

static void
a_long_reason_is_cut(void **state)
{
	static char big[5000];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	note(0, 3000, big, MINUTE);
	assert_string_equal(now(MINUTE), "3000 ");
	assert_in_range(strlen(seen.reason), 100, 600);
	trouble_note(t, 0, 3000, (struct slice){NULL, 0}, 1, 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(nothing_is_wrong_at_first),
	    T(a_failed_request_is_told_for_some_minutes),
	    T(an_unreachable_cloud_is_told_until_it_is_over),
	    T(what_only_a_process_knew_goes_with_it),
	    T(what_goes_on_silently_is_seen_by_its_counter),
	    T(a_long_reason_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
