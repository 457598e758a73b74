/*
 * What children say to the master of each other and of sets: it believes no
 * more of it than it must, a liar dies, and nobody else does.
 */
#include "tests/unit/master/said_fixture.h"

/* --- accusations --------------------------------------------------------- */

static void
the_accused_is_replaced(void **state)
{
	struct proc *relay = child(ROLE_RELAY, 1);

	(void)state;
	SAY(child(ROLE_KEEPER, 0), IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, relay->life, S("message too large")});
	assert_ptr_equal(liar, relay);
	assert_non_null(strstr(why_lied, "message too large"));
	assert_non_null(strstr(why_lied, "keeper"));
}

static void
a_healthy_successor_lives(void **state)
{
	struct proc *relay = child(ROLE_RELAY, 1);
	uint64_t before = relay->life++; /* it was replaced meanwhile */

	(void)state;
	SAY(child(ROLE_KEEPER, 0), IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, before, S("x")});
	SAY(child(ROLE_CLOUD, 0), IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, before, S("x")});
	assert_null(liar);
	assert_int_equal(told, 0);
}

static void
an_accuser_without_that_neighbour_lies(void **state)
{
	struct proc *keeper = child(ROLE_KEEPER, 0),
		    *cloud = child(ROLE_CLOUD, 0);

	(void)state;
	SAY(keeper, IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, child(ROLE_RELAY, 1)->life + 1, S("x")});
	assert_ptr_equal(liar, keeper);
	liar = NULL;
	SAY(cloud, IPC_ACCUSE, accuse, {ROLE_KEEPER, 0, keeper->life, S("x")});
	assert_ptr_equal(liar, cloud);
	liar = NULL;
	SAY(child(ROLE_RELAY, 2), IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, child(ROLE_RELAY, 1)->life, S("x")});
	assert_ptr_equal(liar, child(ROLE_RELAY, 2));
}

static void
a_slot_that_is_not_there_is_a_lie(void **state)
{
	struct proc *keeper = child(ROLE_KEEPER, 0);

	(void)state;
	SAY(keeper, IPC_ACCUSE, accuse, {ROLE_RELAY, 40, 1, S("x")});
	assert_ptr_equal(liar, keeper);
}

static void
a_relay_that_accuses_goes_itself(void **state)
{
	(void)state;
	SAY(child(ROLE_RELAY, 0), IPC_ACCUSE, accuse,
	    {ROLE_KEEPER, 0, child(ROLE_KEEPER, 0)->life, S("wrong length")});
	assert_ptr_equal(liar, child(ROLE_RELAY, 0));
	assert_non_null(strstr(why_lied, "wrong length"));
}

/* The keeper knows more than an NTLM process, and nobody else has one. */
static void
ntlm_and_keeper_accuse_each_other(void **state)
{
	struct proc *keeper = child(ROLE_KEEPER, 0),
		    *ntlm = child(ROLE_NTLM, 0);

	(void)state;
	SAY(keeper, IPC_ACCUSE, accuse, {ROLE_NTLM, 0, ntlm->life, S("x")});
	assert_ptr_equal(liar, ntlm);
	liar = NULL;
	ntlm->killed = false;
	SAY(ntlm, IPC_ACCUSE, accuse, {ROLE_KEEPER, 0, keeper->life, S("x")});
	assert_ptr_equal(liar, ntlm);
	liar = NULL;
	SAY(child(ROLE_RELAY, 0), IPC_ACCUSE, accuse,
	    {ROLE_NTLM, 0, ntlm->life, S("x")});
	assert_ptr_equal(liar, child(ROLE_RELAY, 0));
}

/* --- sets ------------------------------------------------------------------
 */

static void
ready_is_said_once_for_each_set(void **state)
{
	struct proc *p = child(ROLE_RELAY, 0);

	(void)state;
	p->set_first = 4;
	p->set_last = 6;
	SAY(p, IPC_READY, set, {4});
	assert_int_equal(told, 1);
	assert_non_null(strstr(last, "\"id\":1101"));
	SAY(p, IPC_READY, set, {6}); /* 5 it did not take */
	assert_int_equal(told, 1);
	assert_null(liar);
	assert_true(p->set == 6);
}

static void
ready_for_what_was_not_sent_is_a_lie(void **state)
{
	static const uint64_t bad[] = {0, 1, 3, 7, UINT64_MAX};
	struct proc *p = child(ROLE_CLOUD, 0);

	(void)state;
	p->set_first = 4;
	p->set_last = 6;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		SAY(p, IPC_READY, set, {bad[i]});
		assert_ptr_equal(liar, p);
		liar = NULL;
		p->killed = false;
	}
	p = child(ROLE_RELAY, 2); /* was sent none */
	SAY(p, IPC_READY, set, {0});
	assert_ptr_equal(liar, p);
	assert_int_equal(told, 0);
}

static void
ready_repeated_is_a_lie(void **state)
{
	struct proc *p = child(ROLE_RELAY, 0);

	(void)state;
	p->set_first = 4;
	p->set_last = 6;
	SAY(p, IPC_READY, set, {5});
	assert_null(liar);
	SAY(p, IPC_READY, set, {5});
	assert_ptr_equal(liar, p);
	liar = NULL;
	p->killed = false;
	SAY(p, IPC_READY, set, {4});
	assert_ptr_equal(liar, p);
	assert_int_equal(told, 1);
}

static void
refused_is_said_once_for_each_set(void **state)
{
	struct proc *p = child(ROLE_RELAY, 0);

	(void)state;
	p->set_first = 4;
	p->set_last = 6;
	SAY(p, IPC_READY, set, {4});
	SAY(p, IPC_REFUSED, refused, {5, S("CERT: no memory")});
	assert_null(liar);
	assert_true(p->set == 4 && p->refused == 5);
	SAY(p, IPC_READY, set, {6});
	assert_null(liar);
	assert_true(p->set == 6);
	assert_int_equal(told, 1);
}

static void
refused_for_what_was_not_sent_is_a_lie(void **state)
{
	static const uint64_t bad[] = {0, 3, 4, 5, 7};
	struct proc *p = child(ROLE_RELAY, 0);

	(void)state;
	p->set_first = 4;
	p->set_last = 6;
	SAY(p, IPC_READY, set, {4});
	SAY(p, IPC_REFUSED, refused, {5, S("")});
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		SAY(p, IPC_REFUSED, refused, {bad[i], S("")});
		assert_ptr_equal(liar, p);
		liar = NULL;
		p->killed = false;
	}
	SAY(p, IPC_READY, set, {5}); /* it said that it has not */
	assert_ptr_equal(liar, p);
}

/* Set 1 is in force everywhere, set 2 goes out; these have it. */
static void
roll_out(size_t have_it)
{
	for (size_t i = 0; i < supervise_count(m.supervise); i++) {
		struct proc *p = supervise_proc(m.supervise, i);

		p->set = p->set_first = 1;
		p->set_last = 2;
	}
	rollout_begin(m.rollout, 2);
	for (size_t i = 0; i < have_it; i++)
		SAY(supervise_proc(m.supervise, i), IPC_READY, set, {2});
}

static void
a_set_is_in_force_when_all_have_it(void **state)
{
	(void)state;
	roll_out(supervise_count(m.supervise) - 1);
	assert_int_equal(rolled_out, 0);
	SAY(child(ROLE_RELAY, 2), IPC_READY, set, {2});
	assert_int_equal(rolled_out, 1);
	assert_int_equal(wrong.n, 0);
}

static void
who_refused_is_named_with_the_reason(void **state)
{
	(void)state;
	roll_out(supervise_count(m.supervise) - 1);
	SAY(child(ROLE_RELAY, 2), IPC_REFUSED, refused,
	    {2, S("CERT: Cannot allocate memory")});
	assert_int_equal(rolled_out, 1);
	assert_int_equal(wrong.n, 1);
	assert_string_equal(wrong.text[0],
			    "relay 2: goes on with what it had: CERT: Cannot "
			    "allocate memory");
}

static void
who_says_nothing_is_not_waited_for_for_ever(void **state)
{
	struct proc *p = child(ROLE_RELAY, 1);

	(void)state;
	roll_out(3); /* keeper, cloud agent, NTLM */
	SAY(child(ROLE_RELAY, 0), IPC_REFUSED, refused, {2, S("no")});
	p->state = PROC_WAITING;
	snprintf(p->last_end, sizeof(p->last_end), "exited with status 78");
	loop_run(m.loop);
	p->state = PROC_STARTING;
	assert_int_equal(rolled_out, 1);
	assert_int_equal(wrong.n, 3);
	assert_string_equal(wrong.text[0],
			    "relay 0: goes on with what it had: no");
	assert_string_equal(wrong.text[1],
			    "relay 1: does not run: exited with status 78");
	assert_string_equal(wrong.text[2],
			    "relay 2: has not said in time that it has it");
	/* and what comes later is no second end */
	SAY(child(ROLE_RELAY, 1), IPC_READY, set, {2});
	SAY(child(ROLE_RELAY, 2), IPC_READY, set, {2});
	assert_int_equal(rolled_out, 1);
}

static void
a_stop_ends_the_waiting(void **state)
{
	(void)state;
	roll_out(2);
	supervise_drain(m.supervise, 1);
	rollout_look(m.rollout);
	assert_int_equal(rolled_out, 1);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    T(the_accused_is_replaced),
	    T(a_healthy_successor_lives),
	    T(an_accuser_without_that_neighbour_lies),
	    T(a_slot_that_is_not_there_is_a_lie),
	    T(a_relay_that_accuses_goes_itself),
	    T(ntlm_and_keeper_accuse_each_other),
	    T(ready_is_said_once_for_each_set),
	    T(ready_for_what_was_not_sent_is_a_lie),
	    T(ready_repeated_is_a_lie),
	    T(refused_is_said_once_for_each_set),
	    T(refused_for_what_was_not_sent_is_a_lie),
	    T(a_set_is_in_force_when_all_have_it),
	    T(who_refused_is_named_with_the_reason),
	    T(who_says_nothing_is_not_waited_for_for_ever),
	    T(a_stop_ends_the_waiting),
	};

	(void)argc;
	if (strstr(argv[0], "/rms-") != NULL)
		return poll(&(struct pollfd){.fd = 3}, 1, -1) == 1 ? 0 : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
