/*
 * When tokens are fetched, refreshed, given up; Retry-After.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "worker/cloud/token_policy.h"

#define S(n)		     ((n)*NS_PER_S)
#define NOW		     S(UINT64_C(1000000))
#define assert_in(v, lo, hi) assert_in_range((v), (lo), (hi))

static const uint32_t rnds[] = {0, 1, 50, 99, 100, 101, 12345, UINT32_MAX};

static void
test_starts_due(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	assert_int_equal(p.next, NOW);
	assert_false(token_policy_valid(&p, NOW));
}

static void
test_life_counts_from_the_request(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	token_policy_got(&p, NOW, NOW + S(9), 3600, 0, false, 0);
	/* 30 s margin. */
	assert_int_equal(p.until, NOW + S(3570));
	assert_true(token_policy_valid(&p, NOW + S(3570) - 1));
	assert_false(token_policy_valid(&p, NOW + S(3570)));
	/* A short life has a margin of a tenth. */
	token_policy_got(&p, NOW, NOW, 10, 0, false, 0);
	assert_int_equal(p.until, NOW + S(9));
}

static void
test_refresh_with_jitter(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	for (size_t i = 0; i < ARRAY_LEN(rnds); i++) {
		/* Later of half the life and 5 minutes before its end. */
		token_policy_got(&p, NOW, NOW, 3600, 0, false, rnds[i]);
		assert_in(p.next, NOW + S(2640), NOW + S(2970));
		token_policy_got(&p, NOW, NOW, 400, 0, false, rnds[i]);
		assert_in(p.next, NOW + S(160), NOW + S(180));
		/* refresh_in: never earlier. */
		token_policy_got(&p, NOW, NOW, 86400, 43200, false, rnds[i]);
		assert_in(p.next, NOW + S(43200), NOW + S(47520));
		/* One that is no use. */
		token_policy_got(&p, NOW, NOW, 3600, 3600, false, rnds[i]);
		assert_in(p.next, NOW + S(2640), NOW + S(2970));
		/* Not in a circle, however short the life. */
		token_policy_got(&p, NOW, NOW, 1, 0, false, rnds[i]);
		assert_in(p.next, NOW + S(1), NOW + S(2));
	}
}

static void
test_backoff_doubles_to_the_bound(void **state)
{
	static const unsigned want[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
	struct token_policy p;

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rnds); r++) {
		token_policy_init(&p, NOW);
		for (size_t i = 0; i < ARRAY_LEN(want); i++) {
			token_policy_failed(&p, NOW, TOKEN_TROUBLE, 0, 60000,
					    rnds[r]);
			assert_in(p.next - NOW, S(want[i]) / 10 * 9,
				  S(want[i]));
		}
	}
	for (unsigned i = 0; i < 5000; i++)
		token_policy_failed(&p, NOW, TOKEN_TROUBLE, 0, 60000, i);
	assert_in(p.next - NOW, S(54), S(60));
	/* Success starts anew. */
	token_policy_got(&p, NOW, NOW, 3600, 0, false, 0);
	token_policy_failed(&p, NOW, TOKEN_TROUBLE, 0, 60000, 0);
	assert_in(p.next - NOW, S(1) / 10 * 9, S(1));
}

static void
test_failure_keeps_the_token(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	token_policy_got(&p, NOW, NOW, 3600, 0, false, 0);
	token_policy_failed(&p, NOW + S(3000), TOKEN_DENIED, 0, 60000, 0);
	assert_true(token_policy_valid(&p, NOW + S(3569)));
	assert_false(token_policy_valid(&p, NOW + S(3571)));
}

static void
test_refused_and_throttled_pause(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	token_policy_failed(&p, NOW, TOKEN_DENIED, 0, 60000, 0);
	assert_int_equal(p.next, NOW + S(60));
	token_policy_init(&p, NOW);
	token_policy_failed(&p, NOW, TOKEN_DENIED, 0, 3600000, 0);
	assert_int_equal(p.next, NOW + S(60));
	token_policy_init(&p, NOW);
	token_policy_failed(&p, NOW, TOKEN_THROTTLED, 0, 60000, 100);
	assert_int_equal(p.next, NOW + S(5));
}

static void
test_retry_after_binds_everybody(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	token_policy_got(&p, NOW - S(100), NOW - S(100), 3600, 0, false, 0);
	token_policy_failed(&p, NOW, TOKEN_THROTTLED, 120, 1000, 0);
	assert_int_equal(p.next, NOW + S(120));
	token_policy_hurry(&p, NOW + S(1));
	assert_int_equal(p.next, NOW + S(120));
	assert_true(token_policy_stale(&p, NOW + S(1), 5, 5));
	assert_int_equal(p.next, NOW + S(120));
	/* An hour at most. */
	token_policy_failed(&p, NOW, TOKEN_TROUBLE, 100000, 1000, UINT32_MAX);
	assert_in(p.next - NOW, S(3600), S(3960));
}

static void
test_hurry_ends_other_pauses(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	token_policy_failed(&p, NOW, TOKEN_DENIED, 0, 60000, 0);
	token_policy_hurry(&p, NOW + S(2));
	assert_int_equal(p.next, NOW + S(2));
	/* Never later than planned. */
	token_policy_hurry(&p, NOW + S(50));
	assert_int_equal(p.next, NOW + S(2));
}

static void
test_stale_once_per_serial(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	assert_false(token_policy_stale(&p, NOW, 0, 0));
	token_policy_got(&p, NOW, NOW, 3600, 0, false, 0);
	assert_false(token_policy_stale(&p, NOW, 6, 7));
	assert_false(token_policy_stale(&p, NOW, 8, 7));
	assert_true(token_policy_stale(&p, NOW + S(1), 7, 7));
	assert_int_equal(p.next, NOW + S(1));
	token_policy_failed(&p, NOW + S(1), TOKEN_TROUBLE, 0, 60000, 0);
	assert_false(token_policy_stale(&p, NOW + S(2), 7, 7));
	token_policy_got(&p, NOW, NOW + S(5), 3600, 0, false, 0);
	assert_true(token_policy_stale(&p, NOW + S(6), 8, 8));
}

static void
test_stale_waits_when_the_token_was_the_same(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	token_policy_got(&p, NOW, NOW, 3600, 0, true, 0);
	assert_false(token_policy_stale(&p, NOW + S(29), 7, 7));
	assert_true(token_policy_stale(&p, NOW + S(31), 7, 7));
}

static void
test_stale_does_not_repeat_a_refused_request(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	token_policy_got(&p, NOW, NOW, 3600, 0, false, 0);
	token_policy_failed(&p, NOW, TOKEN_DENIED, 0, 60000, 0);
	assert_true(token_policy_stale(&p, NOW + S(1), 7, 7));
	assert_int_equal(p.next, NOW + S(60));
}

static void
test_adopt(void **state)
{
	struct token_policy p;

	(void)state;
	token_policy_init(&p, NOW);
	token_policy_adopt(&p, NOW, NOW - 1);
	assert_false(token_policy_valid(&p, NOW));
	token_policy_adopt(&p, NOW, NOW + S(100));
	assert_true(token_policy_valid(&p, NOW + S(99)));
	assert_int_equal(p.next, NOW);
	token_policy_adopt(&p, NOW, UINT64_MAX);
	assert_int_equal(p.until, NOW + S(TOKEN_EXPIRES_MAX_S));
}

#define AFTER(text, now) token_retry_after(SLICE_LIT(text), now)

static void
test_retry_after(void **state)
{
	/* 784111777 is RFC 9110's own example. */
	static const uint64_t t = 784111777;

	(void)state;
	assert_int_equal(AFTER("", t), 0);
	assert_int_equal(AFTER("soon", t), 0);
	assert_int_equal(AFTER("-5", t), 0);
	assert_int_equal(AFTER("1.5", t), 0);
	assert_int_equal(AFTER("0", t), 1);
	assert_int_equal(AFTER(" 120 \r\n", t), 120);
	assert_int_equal(AFTER("3601", t), 3600);
	assert_int_equal(AFTER("99999999999999999999999", t), 3600);
	assert_int_equal(AFTER("Sun, 06 Nov 1994 08:49:37 GMT", t - 30), 30);
	assert_int_equal(AFTER("Sunday, 06-Nov-94 08:49:37 GMT", t - 30), 30);
	assert_int_equal(AFTER("Sun Nov  6 08:49:37 1994", t - 30), 30);
	assert_int_equal(AFTER("Sun, 06 Nov 1994 08:49:37 GMT", t + 30), 1);
	assert_int_equal(AFTER("Sun, 06 Nov 2094 08:49:37 GMT", t), 3600);
	assert_int_equal(AFTER("Sun, 06 Nov 1994 08:49:37 GMT+1", t), 0);
	assert_int_equal(AFTER("Sun, 06 Nov 1994 08:49:37 GMT                 "
			       "                                        x",
			       t),
			 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_starts_due),
	    cmocka_unit_test(test_life_counts_from_the_request),
	    cmocka_unit_test(test_refresh_with_jitter),
	    cmocka_unit_test(test_backoff_doubles_to_the_bound),
	    cmocka_unit_test(test_failure_keeps_the_token),
	    cmocka_unit_test(test_refused_and_throttled_pause),
	    cmocka_unit_test(test_retry_after_binds_everybody),
	    cmocka_unit_test(test_hurry_ends_other_pauses),
	    cmocka_unit_test(test_stale_once_per_serial),
	    cmocka_unit_test(test_stale_waits_when_the_token_was_the_same),
	    cmocka_unit_test(test_stale_does_not_repeat_a_refused_request),
	    cmocka_unit_test(test_adopt),
	    cmocka_unit_test(test_retry_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
