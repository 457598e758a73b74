/* What is remembered, for how long, and what happens when there is no room. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/replay_log.h"
#include "worker/keeper/replay.h"
#include "shm/base/log.h"

#define START	   (1000 * NS_PER_S)
#define MINUTES(n) (START + (n)*60 * NS_PER_S)

static void
test_hash(void **state)
{
	struct replay *a = replay_new(1, NULL, START),
		      *b = replay_new(1, NULL, START);
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
	struct replay *r = replay_new(100, NULL, START);

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
	struct replay *r = replay_new(100, NULL, START);
	uint64_t at[] = {0, 5, 9, 10, 11, 20, 26, 60};

	(void)state;
	for (uint64_t i = 0; i < ARRAY_LEN(at); i++) {
		assert_int_equal(replay_add(r, 100 + i, MINUTES(at[i])), 0);
		for (uint64_t j = 0; j <= i; j++) {
			if (at[i] - at[j] <= 10)
				assert_true(replay_has(r, 100 + j));
			if (at[i] - at[j] > 20)
				assert_false(replay_has(r, 100 + j));
		}
	}
	replay_free(&r);
}

#define SECONDS(n) (START + (n)*NS_PER_S)

/*
 * Each entry, of the first moment of a half or of its last, is known until the
 * last in which krb5 would take it: from skew before the client's time to skew
 * behind it, and the rest of that second.
 */
static void
test_window_goes_by_the_skew(void **state)
{
	static const int skew[] = {0, 1, 30, 300, 301, 900, 3600};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(skew); i++) {
		struct replay *r = replay_new(100, NULL, START);
		uint64_t window = 2 * (uint64_t)skew[i] + 1;
		uint64_t late = SECONDS(window) - 1;

		replay_allow(r, skew[i]);
		assert_int_equal(replay_add(r, 1, START), 0);
		assert_int_equal(replay_add(r, 2, late), 0);
		assert_int_equal(replay_add(r, 1, late), -EEXIST);
		/* The halves turn here. */
		assert_int_equal(replay_add(r, 3, SECONDS(window)), 0);
		late += window * NS_PER_S;
		assert_int_equal(replay_add(r, 2, late), -EEXIST);
		assert_int_equal(replay_add(r, 3, late), -EEXIST);
		/* And what is too old goes, with the shorter ones early. */
		assert_int_equal(replay_add(r, 4, SECONDS(2 * window)), 0);
		assert_false(replay_has(r, 1) || replay_has(r, 2));
		assert_true(replay_has(r, 3));
		replay_free(&r);
	}
}

/* A reload that allows more reaches what is remembered already. */
static void
test_skew_grows(void **state)
{
	struct replay *r = replay_new(100, NULL, START);

	(void)state;
	assert_int_equal(replay_add(r, 1, START), 0);
	replay_allow(r, 3600);
	assert_int_equal(replay_add(r, 2, MINUTES(60)), 0);
	assert_int_equal(replay_add(r, 1, MINUTES(120)), -EEXIST);
	replay_free(&r);
}

static void
test_bound_and_room_again(void **state)
{
	struct replay *r = replay_new(3, NULL, START);

	(void)state;
	for (uint64_t h = 1; h <= 3; h++)
		assert_int_equal(replay_add(r, h, START), 0);
	assert_int_equal(replay_add(r, 4, START), -ENOBUFS);
	assert_false(replay_has(r, 4));
	assert_int_equal(replay_add(r, 3, START), -EEXIST);
	assert_int_equal(replay_add(r, 4, MINUTES(10)), -ENOBUFS);
	assert_int_equal(replay_add(r, 4, MINUTES(11)), 0);
	assert_true(replay_has(r, 3));
	replay_free(&r);
}

static void
test_many_and_colliding(void **state)
{
	struct replay *r = replay_new(100000, NULL, START);

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

/* --- over the lives of keepers ------------------------------------------ */

static struct replay_log *
make_log(void)
{
	const char *why = "";
	int fd = replay_log_create();
	struct replay_log *l;

	assert_true(fd >= 0);
	l = replay_log_map(fd, &why);
	assert_non_null(l);
	close(fd);
	return l;
}

/* The next keeper, at that time. */
static struct replay *
next(struct replay **r, struct replay_log *l, uint64_t at)
{
	replay_free(r);
	return replay_new(1000, l, at);
}

static void
test_the_next_keeper_knows(void **state)
{
	struct slice x = SLICE_LIT("authenticator");
	struct replay_log *l = make_log();
	struct replay *r = replay_new(1000, l, START);
	uint64_t hash = replay_hash(r, x);

	(void)state;
	assert_int_equal(replay_add(r, hash, START), 0);
	for (uint64_t h = 1; h <= 500; h++)
		assert_int_equal(replay_add(r, h, MINUTES(1)), 0);
	r = next(&r, l, MINUTES(2));
	assert_true(replay_hash(r, x) == hash);
	assert_int_equal(replay_count(r), 501);
	assert_int_equal(replay_add(r, hash, MINUTES(2)), -EEXIST);
	assert_int_equal(replay_add(r, 500, MINUTES(2)), -EEXIST);
	assert_int_equal(replay_add(r, 501, MINUTES(2)), 0);
	/* The halves turn as if there had been one keeper. */
	assert_int_equal(replay_add(r, 502, MINUTES(11)), 0);
	r = next(&r, l, MINUTES(12));
	assert_int_equal(replay_count(r), 503);
	assert_true(replay_has(r, 501) && replay_has(r, 502));
	assert_int_equal(replay_add(r, 503, MINUTES(22)), 0);
	r = next(&r, l, MINUTES(23));
	assert_true(replay_has(r, 502) && !replay_has(r, 501));
	assert_false(replay_has(r, hash));
	/* After a long silence nothing is left. */
	assert_int_equal(replay_add(r, 600, MINUTES(300)), 0);
	assert_int_equal(replay_count(r), 1);
	replay_free(&r);
	replay_log_unmap(&l);
}

/* The window is the next keeper's, of what the one before has written too. */
static void
test_the_next_keeper_allows_more(void **state)
{
	struct replay_log *l = make_log();
	struct replay *r = replay_new(1000, l, START);

	(void)state;
	replay_allow(r, 1800);
	assert_int_equal(replay_add(r, 7, START), 0);
	r = next(&r, l, MINUTES(20));
	replay_allow(r, 1800);
	assert_int_equal(replay_add(r, 8, MINUTES(59)), 0);
	r = next(&r, l, MINUTES(59));
	replay_allow(r, 1800);
	assert_int_equal(replay_add(r, 7, MINUTES(60)), -EEXIST);
	assert_int_equal(replay_add(r, 9, MINUTES(61)), 0);
	r = next(&r, l, MINUTES(62));
	replay_allow(r, 1800);
	assert_int_equal(replay_add(r, 8, MINUTES(119)), -EEXIST);
	assert_int_equal(replay_add(r, 9, MINUTES(121)), -EEXIST);
	replay_free(&r);
	replay_log_unmap(&l);
}

/* Killed between two stores: each entry that was counted is whole. */
static void
test_killed_while_it_writes(void **state)
{
	struct replay_log *l = make_log();
	struct replay *r = replay_new(1000, l, START);

	(void)state;
	assert_int_equal(replay_add(r, 7, START), 0);
	replay_log_entries(l, r == NULL)[0] = 0; /* of a half not in use */
	replay_log_entries(l, 1)[1] = 8;	 /* not yet counted */
	r = next(&r, l, MINUTES(1));
	assert_true(replay_has(r, 7) && !replay_has(r, 8));
	/* A half that was emptied and has no new time yet. */
	atomic_store(&l->half[0].n, 0);
	r = next(&r, l, MINUTES(2));
	assert_int_equal(replay_count(r), 1);
	replay_free(&r);
	replay_log_unmap(&l);
}

/* Memory of what is too old is given back, though nobody may resize it. */
static void
test_memory_is_given_back(void **state)
{
	struct replay_log *l = make_log();

	(void)state;
	for (unsigned h = 0; h < 2; h++)
		replay_log_entries(l, h)[REPLAY_LOG_MAX - 1] = 7;
	replay_log_drop(l, 1);
	assert_true(replay_log_entries(l, 0)[REPLAY_LOG_MAX - 1] == 7);
	assert_true(replay_log_entries(l, 1)[REPLAY_LOG_MAX - 1] == 0);
	replay_log_unmap(&l);
	assert_null(l);
}

/* What nobody here has written. */
static void
test_log_that_is_none(void **state)
{
	struct replay_log *l = make_log();
	struct replay *r = NULL;

	(void)state;
	for (int how = 0; how < 3; how++) {
		r = next(&r, l, START);
		assert_int_equal(replay_add(r, 7, START), 0);
		if (how == 0)
			atomic_store(&l->layout, 1);
		else if (how == 1)
			atomic_store(&l->half[0].n, UINT64_MAX);
		else
			atomic_store(&l->half[1].since_ns, MINUTES(100));
		r = next(&r, l, MINUTES(1));
		assert_int_equal(replay_count(r), 0);
		assert_int_equal(replay_add(r, 7, MINUTES(1)), 0);
		r = next(&r, l, MINUTES(2));
		assert_true(replay_has(r, 7));
		atomic_store(&l->layout, 0);
	}
	replay_free(&r);
	replay_log_unmap(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hash),
	    cmocka_unit_test(test_again_is_refused),
	    cmocka_unit_test(test_known_for_the_window),
	    cmocka_unit_test(test_window_goes_by_the_skew),
	    cmocka_unit_test(test_skew_grows),
	    cmocka_unit_test(test_bound_and_room_again),
	    cmocka_unit_test(test_many_and_colliding),
	    cmocka_unit_test(test_the_next_keeper_knows),
	    cmocka_unit_test(test_the_next_keeper_allows_more),
	    cmocka_unit_test(test_killed_while_it_writes),
	    cmocka_unit_test(test_log_that_is_none),
	    cmocka_unit_test(test_memory_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
