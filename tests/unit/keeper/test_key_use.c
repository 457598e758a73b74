/* What is told of each key, and what happens when there are too many. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "worker/keeper/key_use.h"
#include "shm/base/log.h"

static struct loop *l;
static struct key_use *u;
static struct msg_key_use last;
static uint64_t told, tickets;
static bool runs;

static void
tell(void *arg, const struct msg_key_use *m)
{
	(void)arg;
	last = *m;
	told++;
	tickets += m->count;
	if (runs)
		loop_stop(l, 0);
}

static void
run(void)
{
	runs = true;
	loop_run(l);
	runs = false;
}

static int
set_up(void **state)
{
	(void)state;
	l = loop_new();
	u = key_use_new(l, tell, NULL);
	assert_non_null(u);
	told = tickets = 0;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	key_use_free(&u);
	loop_free(&l);
	return 0;
}

static void
note(const char *spn, uint32_t kvno, int32_t enctype, uint64_t at_s)
{
	struct identity *id = identity_new();

	id->mech = MECH_KERBEROS;
	snprintf(id->spn, sizeof(id->spn), "%s", spn);
	id->kvno = kvno;
	id->enctype = enctype;
	id->expires = at_s + 100 * kvno;
	key_use_note(u, id, at_s * NS_PER_S);
	identity_free(&id);
}

static void
test_each_key_is_told_once(void **state)
{
	(void)state;
	note("HTTP/a@R", 2, 18, 1000);
	note("HTTP/a@R", 2, 18, 1007);
	assert_true(told == 0);
	run();
	assert_true(told == 1);
	assert_string_equal(last.principal, "HTTP/a@R");
	assert_true(last.kvno == 2 && last.enctype == 18 && last.count == 2);
	assert_true(last.first_ns == 1000 * NS_PER_S);
	assert_true(last.last_ns == 1007 * NS_PER_S);
	assert_true(last.life_s == 200);
	/* What was told is not told again. */
	note("HTTP/a@R", 3, 18, 1010);
	run();
	assert_true(told == 2 && last.kvno == 3 && last.count == 1);
}

static void
test_what_has_no_key(void **state)
{
	(void)state;
	note("", 2, 18, 1000);
	note("HTTP/a@R", 0, 0, 1000); /* a later leg */
	note("HTTP/a@R", 1, 18, 1000);
	run();
	assert_true(told == 1 && tickets == 1);
}

/* The oldest makes room, and what it had is told before. */
static void
test_too_many(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3 * KEY_USE_MAX; i++)
		note("HTTP/a@R", i, 18, 1000 + i);
	assert_true(told == 2 * KEY_USE_MAX);
	run();
	assert_true(tickets == 3 * KEY_USE_MAX);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_each_key_is_told_once),
	    TEST(test_what_has_no_key),
	    TEST(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
