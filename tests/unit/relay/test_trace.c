/*
 * traceparent: what is one by the letter, and that ours are.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/trace.h"

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define ZERO16 "0000000000000000"

static void
test_valid(void **state)
{
	static const char *const good[] = {
	    "00-" TRACE "-" PARENT "-01",
	    "00-" TRACE "-" PARENT "-00",
	    "00-" TRACE "-" PARENT "-ff",
	    "01-" TRACE "-" PARENT "-01",
	    "cc-" TRACE "-" PARENT "-01-what.the.future.will.be.like",
	};
	static const char *const bad[] = {
	    "",
	    "00",
	    "00-" TRACE "-" PARENT "-0",
	    "00-" TRACE "-" PARENT "-01-",
	    "00-" TRACE "-" PARENT "-011",
	    "01-" TRACE "-" PARENT "-01.x",
	    "ff-" TRACE "-" PARENT "-01",
	    "00-" ZERO16 ZERO16 "-" PARENT "-01",
	    "00-" TRACE "-" ZERO16 "-01",
	    "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
	    "0x-" TRACE "-" PARENT "-01",
	    "00-" TRACE "-" PARENT "-0g",
	    "00_" TRACE "-" PARENT "-01",
	    "00-" TRACE "_" PARENT "-01",
	    "00-" TRACE "-" PARENT "_01",
	    " 0-" TRACE "-" PARENT "-01",
	};
	char t[600] = "cc-" TRACE "-" PARENT "-01-";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!trace_is_valid(slice_of(good[i])))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (trace_is_valid(slice_of(bad[i])))
			fail_msg("taken: %s", bad[i]);
	memset(t + strlen(t), 'x', 600 - 1 - strlen(t));
	assert_false(trace_is_valid(slice_of(t)));
}

static void
test_make(void **state)
{
	const struct hash_key key = {1, 2}, other = {1, 3};
	char one[TRACE_LEN + 1], two[TRACE_LEN + 1];

	(void)state;
	trace_make(one, &key, 1);
	assert_true(trace_is_valid(slice_of(one)));
	assert_string_equal(one + 52, "-00");
	trace_make(two, &key, 1);
	assert_string_equal(one, two);
	trace_make(two, &key, 2);
	assert_memory_not_equal(one + TRACE_ID_AT, two + TRACE_ID_AT,
				TRACE_ID_LEN);
	trace_make(two, &other, 1);
	assert_memory_not_equal(one + TRACE_ID_AT, two + TRACE_ID_AT,
				TRACE_ID_LEN);
	for (uint64_t i = 0; i < 10000; i++) {
		trace_make(one, &key, i);
		assert_true(trace_is_valid(slice_of(one)));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_valid),
	    cmocka_unit_test(test_make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
