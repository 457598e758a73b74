/*
 * A process may cause a burst of events, then a trickle; the rest is counted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "master/budget.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

#define T0 (1000 * NS_PER_S)

static unsigned
take(struct budget *b, unsigned n, uint64_t at)
{
	unsigned got = 0;

	for (unsigned i = 0; i < n; i++)
		got += budget_take(b, at) ? 1 : 0;
	return got;
}

static void
a_burst_then_a_trickle(void **state)
{
	struct budget b = {0};

	(void)state;
	assert_int_equal(take(&b, 10 * BUDGET_MAX, T0), BUDGET_MAX);
	assert_int_equal(take(&b, 10, T0 + NS_PER_S - 1), BUDGET_PER_S - 1);
	assert_int_equal(take(&b, 10, T0 + NS_PER_S), 1);
	assert_int_equal(take(&b, 1000, T0 + 4 * NS_PER_S), 3 * BUDGET_PER_S);
	/* an hour of silence is worth no more than a full one */
	assert_int_equal(take(&b, 1000, T0 + 3600 * NS_PER_S), BUDGET_MAX);
}

static void
an_hour_of_lies_is_bounded(void **state)
{
	struct budget b = {0};
	unsigned got = 0;

	(void)state;
	for (uint64_t i = 0; i < 3600 * 1000; i++)
		got += take(&b, 1, T0 + i * (NS_PER_S / 1000));
	assert_in_range(got, 3600 * BUDGET_PER_S,
			3600 * BUDGET_PER_S + BUDGET_MAX);
}

static void
what_was_held_back_is_counted_once(void **state)
{
	struct budget b = {0};

	(void)state;
	assert_int_equal(budget_held(&b, T0), 0);
	take(&b, BUDGET_MAX + 7, T0);
	assert_int_equal(budget_held(&b, T0), 7);
	assert_int_equal(budget_held(&b, T0), 0);
	take(&b, 5, T0);
	assert_int_equal(budget_held(&b, T0 + BUDGET_TELL_NS - 1), 0);
	assert_int_equal(budget_held(&b, T0 + BUDGET_TELL_NS), 5);
	assert_int_equal(budget_held(&b, T0 + 9 * BUDGET_TELL_NS), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_burst_then_a_trickle),
	    cmocka_unit_test(an_hour_of_lies_is_bounded),
	    cmocka_unit_test(what_was_held_back_is_counted_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
