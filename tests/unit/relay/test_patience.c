/*
 * Patience: a pause, a rate and a total, and that drops do not buy time.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/log.h"
#include "worker/relay/patience.h"

static void
test_pause_only(void **state)
{
	struct patience p = {.pause_ms = 30000, .spent_ms = 10000000};

	(void)state;
	assert_int_equal(patience_ms(&p, NULL), 30000);
}

static void
test_rate(void **state)
{
	struct patience p = {.pause_ms = 30000, .rate = 500};

	(void)state;
	assert_int_equal(patience_ms(&p, NULL), 30000);
	p.spent_ms = 29000;
	assert_int_equal(patience_ms(&p, NULL), 1000);
	p.spent_ms = 40000;
	assert_int_equal(patience_ms(&p, NULL), 1);
	p.bytes = 10000; /* twenty seconds more */
	assert_int_equal(patience_ms(&p, NULL), 10000);
	p.bytes = 1 << 30;
	assert_int_equal(patience_ms(&p, NULL), 30000);
}

/* A byte ten times a second, which starts the pause anew. */
static void
test_drops(void **state)
{
	struct patience p = {.pause_ms = 30000, .rate = 500};

	(void)state;
	while (patience_ms(&p, NULL) > 100) {
		p.spent_ms += 100;
		p.bytes++;
		assert_true(p.spent_ms < 100000);
	}
	/* 30 s, and for 300 bytes half a second more */
	assert_in_range(p.spent_ms, 30000, 31000);
}

static void
test_total(void **state)
{
	struct patience p = {
	    .pause_ms = 30000, .total_ms = 600000, .age_ms = 580000};
	bool total = false;

	(void)state;
	assert_int_equal(patience_ms(&p, &total), 20000);
	assert_true(total);
	p.age_ms = 600001;
	assert_int_equal(patience_ms(&p, &total), 1);
	assert_true(total);
	/* both at once: the pause was long enough to be blamed */
	p.age_ms = 570000;
	assert_int_equal(patience_ms(&p, &total), 30000);
	assert_false(total);
	p.total_ms = 0;
	p.age_ms = 600001;
	assert_int_equal(patience_ms(&p, &total), 30000);
	assert_false(total);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pause_only),
	    cmocka_unit_test(test_rate),
	    cmocka_unit_test(test_drops),
	    cmocka_unit_test(test_total),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
