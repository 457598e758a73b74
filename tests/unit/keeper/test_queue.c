/* Who is served next, and who gives way when there is no room. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/keeper/queue.h"
#include "shm/base/log.h"

static struct queue *q;

static int
set_up(void **state)
{
	(void)state;
	q = queue_new(8);
	return q == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	queue_free(&q);
	return 0;
}

/* 0, or the id of what had no room. */
static uint64_t
put(enum queue_kind kind, unsigned slot, uint64_t id)
{
	struct queue_item *i = queue_item_new(kind, slot, id, "body", 4), *out;
	uint64_t r;

	assert_non_null(i);
	out = queue_put(q, i);
	r = out == NULL ? 0 : out->id;
	queue_item_free(&out);
	return r;
}

static uint64_t
take(void)
{
	struct queue_item *i = queue_take(q);
	uint64_t r = i == NULL ? 0 : i->id;

	if (i != NULL)
		assert_memory_equal(i->body, "body", i->len);
	queue_item_free(&i);
	return r;
}

static void
test_first_in_first_out(void **state)
{
	(void)state;
	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(put(QUEUE_AUTH, 5, id), 0);
	assert_int_equal(queue_len(q, QUEUE_AUTH), 3);
	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(take(), id);
	assert_int_equal(take(), 0);
}

static void
test_relays_take_turns(void **state)
{
	(void)state;
	for (uint64_t id = 1; id <= 4; id++)
		assert_int_equal(put(QUEUE_AUTH, 0, id), 0);
	assert_int_equal(put(QUEUE_AUTH, 63, 101), 0);
	assert_int_equal(put(QUEUE_AUTH, 7, 51), 0);
	assert_int_equal(take(), 1);
	assert_int_equal(take(), 51);
	assert_int_equal(take(), 101);
	assert_int_equal(take(), 2);
	assert_int_equal(put(QUEUE_AUTH, 7, 52), 0);
	assert_int_equal(take(), 52);
	assert_int_equal(take(), 3);
}

static void
test_signatures_first_but_not_for_ever(void **state)
{
	(void)state;
	for (uint64_t id = 1; id <= 7; id++)
		assert_int_equal(put(QUEUE_SIGN, 0, id), 0);
	assert_int_equal(put(QUEUE_AUTH, 0, 101), 0);
	assert_int_equal(put(QUEUE_AUTH, 0, 102), 0);
	for (uint64_t id = 1; id <= QUEUE_BURST; id++)
		assert_int_equal(take(), id);
	assert_int_equal(take(), 101);
	for (uint64_t id = QUEUE_BURST + 1; id <= 7; id++)
		assert_int_equal(take(), id);
	assert_int_equal(take(), 102);
	assert_int_equal(take(), 0);
}

static void
test_full(void **state)
{
	(void)state;
	for (uint64_t id = 1; id <= 8; id++)
		assert_int_equal(put(QUEUE_AUTH, 1, id), 0);
	/* Nobody has a longer line: the newcomer has no room. */
	assert_int_equal(put(QUEUE_AUTH, 1, 9), 9);
	/* Signatures have room of their own. */
	assert_int_equal(put(QUEUE_SIGN, 1, 20), 0);
	assert_int_equal(queue_len(q, QUEUE_AUTH), 8);
}

static void
test_a_flood_gives_way(void **state)
{
	(void)state;
	for (uint64_t id = 1; id <= 8; id++)
		assert_int_equal(put(QUEUE_AUTH, 1, id), 0);
	/* Up to an equal share, the newest of the long line goes. */
	for (uint64_t n = 0; n < 4; n++)
		assert_int_equal(put(QUEUE_AUTH, 2, 100 + n), 8 - n);
	assert_int_equal(put(QUEUE_AUTH, 2, 104), 104);
	assert_int_equal(put(QUEUE_AUTH, 1, 9), 9);
	assert_int_equal(queue_len(q, QUEUE_AUTH), 8);
	assert_int_equal(take(), 1);
	assert_int_equal(take(), 100);
}

static void
test_smaller_limit_later(void **state)
{
	(void)state;
	for (uint64_t id = 1; id <= 8; id++)
		assert_int_equal(put(QUEUE_AUTH, 1, id), 0);
	queue_set_max(q, 2);
	assert_int_equal(put(QUEUE_AUTH, 1, 9), 9);
	for (uint64_t id = 1; id <= 7; id++)
		assert_int_equal(take(), id);
	assert_int_equal(put(QUEUE_AUTH, 1, 10), 0);
	assert_int_equal(put(QUEUE_AUTH, 1, 11), 11);
}

static void
test_drop(void **state)
{
	(void)state;
	assert_int_equal(put(QUEUE_AUTH, 1, 1), 0);
	assert_int_equal(put(QUEUE_AUTH, 1, 2), 0);
	assert_int_equal(put(QUEUE_AUTH, 2, 1), 0);
	assert_int_equal(put(QUEUE_SIGN, 1, 1), 0);
	queue_drop(q, 1, 1);
	queue_drop(q, 1, 77);
	assert_int_equal(queue_len(q, QUEUE_AUTH), 2);
	assert_int_equal(queue_len(q, QUEUE_SIGN), 1);
	queue_drop_slot(q, 1);
	assert_int_equal(queue_len(q, QUEUE_AUTH), 1);
	assert_int_equal(queue_len(q, QUEUE_SIGN), 0);
	assert_int_equal(take(), 1);
	assert_int_equal(take(), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(test_first_in_first_out),
	    T(test_relays_take_turns),
	    T(test_signatures_first_but_not_for_ever),
	    T(test_full),
	    T(test_a_flood_gives_way),
	    T(test_smaller_limit_later),
	    T(test_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
