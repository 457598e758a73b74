/*
 * What is counted of keys adds up, over masters too.
 */
#include "store_fixture.h"

#include <stdio.h>
#include <string.h>

#include "master/keyuse.h"
#include "master/store.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

static struct msg_key_use found;
static size_t rows;
static uint64_t tickets;

static void
count(void *arg, const struct msg_key_use *row)
{
	rows++;
	tickets += row->count;
	if (arg == NULL || row->kvno == *(uint32_t *)arg)
		found = *row;
}

static void
look(const struct keyuse *u, uint32_t kvno)
{
	rows = 0;
	tickets = 0;
	found = (struct msg_key_use){0};
	keyuse_each(u, count, &kvno);
}

static void
add(struct keyuse *u, uint32_t kvno, uint64_t n, uint64_t at, uint64_t life)
{
	struct msg_key_use m = {.principal = "HTTP/a@R",
				.kvno = kvno,
				.enctype = 18,
				.count = n,
				.first_ns = at,
				.last_ns = at + 5,
				.life_s = life};

	keyuse_add(u, &m);
}

static void
test_adds_up(void **state)
{
	struct keyuse *u = keyuse_new(7);

	(void)state;
	add(u, 2, 3, 100, 60);
	add(u, 2, 4, 200, 50);
	add(u, 3, 1, 300, 10);
	look(u, 2);
	assert_int_equal(rows, 2);
	assert_true(tickets == 8 && found.count == 7);
	assert_true(found.first_ns == 100 && found.last_ns == 205);
	assert_true(found.life_s == 60 && keyuse_since(u) == 7);
	keyuse_free(&u);
}

/* The one that was not used for longest makes room. */
static void
test_bounded(void **state)
{
	struct keyuse *u = keyuse_new(7);

	(void)state;
	for (uint32_t i = 0; i < KEYUSE_MAX + 10; i++)
		add(u, i, 1, 100 + i, 1);
	look(u, 0);
	assert_int_equal(rows, KEYUSE_MAX);
	assert_true(found.count == 0);
	look(u, 10);
	assert_true(found.count == 1);
	keyuse_free(&u);
}

static void
test_kept(void **state)
{
	struct loop *l = loop_new();
	struct keyuse *u = keyuse_new(1000);
	uint64_t generation = store_generation(fx);

	(void)state;
	assert_int_equal(keyuse_keep(u, l, fx), 0);
	add(u, 2, 3, 100, 60);
	add(u, 3, 1, 300, 10);
	keyuse_free(&u);
	u = keyuse_new(5000);
	assert_int_equal(keyuse_keep(u, l, fx), 0);
	look(u, 2);
	assert_true(rows == 2 && found.count == 3 && found.last_ns == 105);
	assert_string_equal(found.principal, "HTTP/a@R");
	assert_true(keyuse_since(u) == 1000);
	add(u, 2, 1, 900, 60);
	keyuse_free(&u);
	u = keyuse_new(6000);
	assert_int_equal(keyuse_keep(u, l, fx), 0);
	look(u, 2);
	assert_true(rows == 2 && tickets == 5 && found.last_ns == 905);
	/* It is nobody's change. */
	assert_true(store_generation(fx) == generation);
	keyuse_free(&u);
	loop_free(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_adds_up),
	    cmocka_unit_test(test_bounded),
	    FX_TEST(test_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
