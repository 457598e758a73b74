/*
 * The byte queue: first in, first out, never beyond its bound.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/buf.h"
#include "shm/base/log.h"

static void
what_goes_in_comes_out(void **state)
{
	struct buf b;
	size_t n;

	(void)state;
	buf_init(&b, 1000);
	assert_null(buf_peek(&b, &n));
	assert_int_equal(n, 0);
	assert_int_equal(buf_put(&b, "hello ", 6), 0);
	assert_int_equal(buf_put(&b, "world", 5), 0);
	assert_int_equal(buf_put(&b, NULL, 0), 0);
	assert_int_equal(buf_len(&b), 11);
	assert_memory_equal(buf_peek(&b, &n), "hello world", 11);
	assert_int_equal(n, 11);
	buf_drain(&b, 6);
	assert_memory_equal(buf_peek(&b, &n), "world", 5);
	buf_drain(&b, 5);
	assert_int_equal(buf_len(&b), 0);
	assert_null(buf_peek(&b, &n)); /* drained, though memory is held */
	buf_fini(&b, 0);
	/* And again. */
	assert_int_equal(buf_put(&b, "x", 1), 0);
	assert_int_equal(buf_len(&b), 1);
	buf_fini(&b, 1);
}

static void
the_bound_holds_and_leaves_the_buffer_as_it_was(void **state)
{
	static const char big[1001];
	struct buf b;
	uint8_t *room;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(buf_put(&b, big, 1001), -ENOBUFS);
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(buf_put(&b, big, 1000), 0);
	assert_int_equal(buf_put(&b, big, 1), -ENOBUFS);
	assert_int_equal(buf_put(&b, big, SIZE_MAX), -ENOBUFS);
	assert_int_equal(buf_room(&b, 1, &room), -ENOBUFS);
	assert_int_equal(buf_len(&b), 1000);
	/* What was drained makes room again. */
	buf_drain(&b, 300);
	assert_int_equal(buf_put(&b, big, 300), 0);
	assert_int_equal(buf_put(&b, big, 1), -ENOBUFS);
	assert_true(b.size <= 1000);
	buf_fini(&b, 0);
}

static void
a_long_stream_stays_small(void **state)
{
	struct buf b;
	uint8_t in = 0, out = 0;

	(void)state;
	buf_init(&b, 4096);
	for (int i = 0; i < 20000; i++) {
		uint8_t *room;
		size_t n = (size_t)(i % 37), got;
		const uint8_t *p;

		assert_int_equal(buf_room(&b, n, &room), 0);
		for (size_t k = 0; k < n; k++)
			room[k] = in++;
		buf_add(&b, n);
		p = buf_peek(&b, &got);
		got = got > 30 ? got - 7 : 0;
		for (size_t k = 0; k < got; k++)
			assert_int_equal(p[k], out++);
		buf_drain(&b, got);
	}
	assert_true(b.size <= 1024);
	buf_fini(&b, 0);
}

static void
a_bound_of_nothing(void **state)
{
	struct buf b;
	uint8_t *room;

	(void)state;
	buf_init(&b, 0);
	assert_int_equal(buf_put(&b, "x", 1), -ENOBUFS);
	assert_int_equal(buf_room(&b, 0, &room), 0);
	buf_add(&b, 0);
	buf_fini(&b, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_goes_in_comes_out),
	    cmocka_unit_test(the_bound_holds_and_leaves_the_buffer_as_it_was),
	    cmocka_unit_test(a_long_stream_stays_small),
	    cmocka_unit_test(a_bound_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
