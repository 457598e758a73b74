/*
 * Clocks: they go forward, the turn's stands still, and the text is RFC 3339.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"

static void
clocks_go_forward(void **state)
{
	uint64_t m = clock_mono_ns(), b = clock_boot_ns(), r = clock_real_ns();

	(void)state;
	usleep(2000);
	assert_true(clock_mono_ns() - m >= 2 * NS_PER_MS);
	assert_true(clock_boot_ns() - b >= 2 * NS_PER_MS);
	assert_true(clock_real_ns() / NS_PER_S >= (uint64_t)time(NULL) - 1);
	assert_true(r / NS_PER_S > UINT64_C(1600000000));
	/* Boot counts suspends too; read second, it is never behind. */
	m = clock_mono_ns();
	assert_true(clock_boot_ns() >= m);
}

static void
the_clock_of_a_turn_stands_until_the_turn_is_over(void **state)
{
	uint64_t t;

	(void)state;
	clock_turn_over();
	t = clock_turn_ns(); /* nobody asked before: a fresh one */
	assert_true(clock_mono_ns() >= t);
	usleep(1000);
	assert_true(clock_turn_ns() == t);
	clock_turn();
	assert_true(clock_turn_ns() >= t + NS_PER_MS);
	t = clock_turn_ns();
	usleep(1000);
	clock_turn_over();
	assert_true(clock_turn_ns() >= t + NS_PER_MS);
}

static void
times_are_written_in_utc_with_milliseconds(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} c[] = {
	    {0, "1970-01-01T00:00:00.000Z"},
	    {999999, "1970-01-01T00:00:00.000Z"},
	    {1000000, "1970-01-01T00:00:00.001Z"},
	    {UINT64_C(951782399999000000), "2000-02-28T23:59:59.999Z"},
	    {UINT64_C(951868800000000000), "2000-03-01T00:00:00.000Z"},
	    {UINT64_C(1795357020000000000), "2026-11-22T14:17:00.000Z"},
	    {UINT64_C(4294967296123456789), "2106-02-07T06:28:16.123Z"},
	};
	char text[CLOCK_TEXT_LEN];

	(void)state;
	setenv("TZ", "America/New_York", 1);
	tzset();
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		clock_text(c[i].ns, text);
		assert_string_equal(text, c[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clocks_go_forward),
	    cmocka_unit_test(the_clock_of_a_turn_stands_until_the_turn_is_over),
	    cmocka_unit_test(times_are_written_in_utc_with_milliseconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
