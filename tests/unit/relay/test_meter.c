/*
 * Meters: found again, gone when unused, and a pace that cannot be beaten.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/meter.h"

static struct meters ms;

static int
teardown(void **state)
{
	(void)state;
	meters_fini(&ms);
	return 0;
}

static void
test_found_again(void **state)
{
	struct meter *m[3000];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(m); i++) {
		m[i] = meter_get(&ms, i * 7);
		assert_non_null(m[i]);
		assert_int_equal(m[i]->conns, 0);
		m[i]->conns = (uint32_t)i;
	}
	assert_int_equal(ms.n, ARRAY_LEN(m));
	for (size_t i = 0; i < ARRAY_LEN(m); i++)
		assert_ptr_equal(meter_get(&ms, i * 7), m[i]);
	assert_int_equal(ms.n, ARRAY_LEN(m));
}

static void
test_sweep(void **state)
{
	struct meter *conn = meter_get(&ms, 1);
	struct meter *request = meter_get(&ms, 1 + METER_BUCKETS);
	struct meter *paced = meter_get(&ms, 1 + 2 * METER_BUCKETS);
	struct meter *unused = meter_get(&ms, 1 + 3 * METER_BUCKETS);
	struct meter *waited = meter_get(&ms, 2);

	(void)state;
	assert_non_null(unused);
	conn->conns = 1;
	request->requests = 1;
	waited->waits.first = (struct client *)(void *)&ms;
	assert_int_equal(meter_pace(paced, 100, 1), 0);
	meters_sweep(&ms, 100);
	assert_int_equal(ms.n, 4);
	assert_ptr_equal(meter_get(&ms, 1), conn);
	assert_ptr_equal(meter_get(&ms, 1 + METER_BUCKETS), request);
	assert_ptr_equal(meter_get(&ms, 2), waited);
	/* its second is over */
	meters_sweep(&ms, 100 + NS_PER_S);
	assert_int_equal(ms.n, 3);
	conn->conns = request->requests = 0;
	waited->waits.first = NULL;
	meters_sweep(&ms, 0);
	assert_int_equal(ms.n, 0);
}

/* How many of the requests that come every `every` ns pass. */
static size_t
passed(struct meter *m, uint64_t *now, uint64_t rate, uint64_t every, size_t n)
{
	size_t yes = 0;

	while (n-- > 0) {
		yes += meter_pace(m, *now, rate) == 0;
		*now += every;
	}
	return yes;
}

static void
test_pace(void **state)
{
	struct meter m = {0};
	uint64_t now = 5 * NS_PER_S, wait;

	(void)state;
	/* at once: what two seconds allow */
	assert_int_equal(passed(&m, &now, 10, 0, 100), 20);
	/* then a tenth of a second for each */
	wait = meter_pace(&m, now, 10);
	assert_int_equal(wait, NS_PER_S / 10);
	now += wait - 1;
	assert_int_equal(meter_pace(&m, now, 10), 1);
	now += 1;
	assert_int_equal(meter_pace(&m, now, 10), 0);
	/* the first of a hundred seconds has just come */
	assert_int_equal(passed(&m, &now, 10, NS_PER_S / 100, 10000), 999);
	/* an even pace passes whole, however long */
	now += 10 * NS_PER_S;
	assert_int_equal(passed(&m, &now, 10, NS_PER_S / 10, 1000), 1000);
	/* what was not used long ago is not saved */
	now += 1000 * NS_PER_S;
	assert_int_equal(passed(&m, &now, 10, 0, 100), 20);
}

static void
test_pace_bounds(void **state)
{
	struct meter m = {0};
	uint64_t now = 0;

	(void)state;
	assert_int_equal(passed(&m, &now, 0, 0, 1000), 1000); /* no limit */
	assert_int_equal(m.due, 0);
	assert_int_equal(passed(&m, &now, 1, 0, 10), 2);
	m = (struct meter){0};
	assert_int_equal(passed(&m, &now, 1000000, 1000, 100000), 100000);
	/* a lower rate after a reload: what is owed is not forgotten */
	m = (struct meter){0};
	assert_int_equal(passed(&m, &now, 100, 0, 1000), 200);
	assert_true(meter_pace(&m, now, 1) > 0);
}

#define T(name) cmocka_unit_test_teardown(test_##name, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(found_again),
	    T(sweep),
	    T(pace),
	    T(pace_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
