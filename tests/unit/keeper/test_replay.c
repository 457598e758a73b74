/* What is remembered, for how long, and what happens when there is no room. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "shm/base/clock.h"
#include "worker/keeper/replay.h"
#include "shm/base/log.h"

#define START	   (1000 * NS_PER_S)
#define MINUTES(n) (START + (n)*60 * NS_PER_S)

static void
test_hash(void **state)
{
	struct replay *a = replay_new(1), *b = replay_new(1);
	struct slice x = SLICE_LIT("authenticator one");
	struct slice y = SLICE_LIT("authenticator two");

	(void)state;
	assert_true(replay_hash(a, x) == replay_hash(a, x));
	assert_true(replay_hash(a, x) != replay_hash(a, y));
	/* Keyed: nobody can work out collisions. */
	assert_true(replay_hash(a, x) != replay_hash(b, x));
	assert_true(replay_hash(a, x) != 0);
	replay_free(&a);
	replay_free(&b);
	assert_null(a);
}

static void
test_again_is_refused(void **state)
{
	struct replay *r = replay_new(100);

	(void)state;
	assert_false(replay_has(r, 5));
	assert_int_equal(replay_add(r, 5, START), 0);
	assert_true(replay_has(r, 5));
	assert_false(replay_has(r, 6));
	assert_int_equal(replay_add(r, 5, START), -EEXIST);
	replay_free(&r);
}

/* Whenever it was accepted, it is known for the window that it is good for. */
static void
test_known_for_the_window(void **state)
{
	struct replay *r = replay_new(100);
	uint64_t at[] = {0, 5, 9, 10, 11, 19, 25, 60};

	(void)state;
	for (uint64_t i = 0; i < ARRAY_LEN(at); i++) {
		assert_int_equal(replay_add(r, 100 + i, MINUTES(at[i])), 0);
		for (uint64_t j = 0; j <= i; j++) {
			if (at[i] - at[j] < 10)
				assert_true(replay_has(r, 100 + j));
			if (at[i] - at[j] >= 20)
				assert_false(replay_has(r, 100 + j));
		}
	}
	replay_free(&r);
}

static void
test_bound_and_room_again(void **state)
{
	struct replay *r = replay_new(3);

	(void)state;
	for (uint64_t h = 1; h <= 3; h++)
		assert_int_equal(replay_add(r, h, START), 0);
	assert_int_equal(replay_add(r, 4, START), -ENOBUFS);
	assert_false(replay_has(r, 4));
	assert_int_equal(replay_add(r, 3, START), -EEXIST);
	assert_int_equal(replay_add(r, 4, MINUTES(10)), 0);
	assert_true(replay_has(r, 3));
	replay_free(&r);
}

static void
test_many_and_colliding(void **state)
{
	struct replay *r = replay_new(100000);

	(void)state;
	/* Same low bits: all want the same cell. */
	for (uint64_t i = 1; i <= 3000; i++)
		assert_int_equal(replay_add(r, i << 32, START), 0);
	for (uint64_t i = 1; i <= 20000; i++)
		assert_int_equal(replay_add(r, i * 2654435761, START), 0);
	for (uint64_t i = 1; i <= 3000; i++)
		assert_true(replay_has(r, i << 32));
	for (uint64_t i = 1; i <= 20000; i++)
		assert_true(replay_has(r, i * 2654435761));
	assert_false(replay_has(r, 3001ULL << 32));
	replay_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hash),
	    cmocka_unit_test(test_again_is_refused),
	    cmocka_unit_test(test_known_for_the_window),
	    cmocka_unit_test(test_bound_and_room_again),
	    cmocka_unit_test(test_many_and_colliding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
