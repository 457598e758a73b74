/*
 * What relays report is merged, and bounded: one in the wrong hands can make
 * the others wait, no more.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/cloud/health_keep.h"

#define T0 (UINT64_C(1000) * NS_PER_S)

static struct health_keep k;
static struct token_value v;

static int
begin(void **state)
{
	(void)state;
	memset(&k, 0, sizeof(k));
	memset(&v, 0, sizeof(v));
	return 0;
}

static bool
report(unsigned slot, enum cloud_health what, uint32_t credential, uint32_t ms,
       uint64_t now)
{
	struct msg_cloud_health m = {
	    .what = (uint8_t)what, .credential = credential, .ms = ms};

	return health_keep_take(&k, &v, slot, &m, now);
}

static void
test_waits_of_all_and_of_one(void **state)
{
	(void)state;
	assert_true(report(0, CLOUD_WAIT, 0, 2000, T0));
	assert_int_equal(v.health.wait_all, T0 + 2 * NS_PER_S);
	assert_false(report(1, CLOUD_WAIT, 0, 1000, T0)); /* sooner: no news */
	assert_true(report(1, CLOUD_WAIT, 7, 5000, T0));
	assert_true(report(0, CLOUD_WAIT, 9, 6000, T0));
	assert_int_equal(v.health.wait_all, T0 + 2 * NS_PER_S);
	for (uint32_t id = 20; id < 40; id++) /* more than there is room for */
		(void)report(id % 8, CLOUD_WAIT, id, 5000, T0);
	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++)
		assert_true(v.health.wait_cred[i] != 0);
}

static void
test_words_are_bounded_in_length(void **state)
{
	(void)state;
	assert_true(report(0, CLOUD_WAIT, 0, UINT32_MAX, T0));
	assert_int_equal(v.health.wait_all,
			 T0 + HEALTH_WAIT_MAX_MS * NS_PER_MS);
	assert_true(report(0, CLOUD_DOWN, 0, UINT32_MAX, T0));
	assert_int_equal(v.health.down_until,
			 T0 + HEALTH_DOWN_MAX_MS * NS_PER_MS);
}

static void
test_words_are_bounded_in_number(void **state)
{
	unsigned n = 0;

	(void)state;
	for (uint32_t i = 1; i <= 1000; i++)
		n += report(3, CLOUD_WAIT, 0, i * 10, T0) ? 1 : 0;
	assert_int_equal(n, HEALTH_REPORTS_MAX);
	/* another relay is heard, and this one again in the next second */
	assert_true(report(4, CLOUD_WAIT, 0, 20000, T0));
	assert_true(report(3, CLOUD_WAIT, 0, 30000, T0 + NS_PER_S));
}

static void
test_down_and_up(void **state)
{
	(void)state;
	assert_true(report(0, CLOUD_DOWN, 0, 5000, T0));
	assert_int_equal(v.health.down_since, T0);
	assert_true(report(1, CLOUD_UP, 0, 0, T0 + 1));
	assert_int_equal(v.health.down_until, T0 + 1);
	assert_false(report(2, CLOUD_UP, 0, 0, T0 + 2));
}

static void
test_bad_addresses_are_those_we_know(void **state)
{
	struct msg_cloud_health m = {.what = CLOUD_BAD,
				     .ms = 1000,
				     .family = 4,
				     .addr = {"\xc0\0\2\1", 4}};

	(void)state;
	v.naddr = 2;
	v.addr[1].family = 4;
	memcpy(v.addr[1].bytes, "\xc0\0\2\1", 4);
	assert_true(health_keep_take(&k, &v, 0, &m, T0));
	assert_int_equal(v.health.bad[0], 0);
	assert_int_equal(v.health.bad[1], T0 + NS_PER_S);
	m.addr.p = "\xc0\0\2\2";
	assert_false(health_keep_take(&k, &v, 0, &m, T0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_waits_of_all_and_of_one, begin),
	    cmocka_unit_test_setup(test_words_are_bounded_in_length, begin),
	    cmocka_unit_test_setup(test_words_are_bounded_in_number, begin),
	    cmocka_unit_test_setup(test_down_and_up, begin),
	    cmocka_unit_test_setup(test_bad_addresses_are_those_we_know, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
