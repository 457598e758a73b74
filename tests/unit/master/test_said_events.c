/*
 * What children say to the master of events: what is told, what is held back,
 * what is remembered; a liar dies, and nobody else does.
 */
#include "shm/base/clock.h"
#include "tests/unit/master/said_fixture.h"

/* --- events ----------------------------------------------------------------
 */

static void
an_event_names_who_asked_for_it(void **state)
{
	(void)state;
	SAY(child(ROLE_RELAY, 2), IPC_EVENT, event,
	    {.id = 3107, .detail = S("timed out")});
	assert_int_equal(told, 1);
	assert_non_null(strstr(last, "\"process\":\"relay 2\""));
	SAY(child(ROLE_RELAY, 1), IPC_SEEN, seen,
	    {.verdict = VERDICT_NO_MATCH, .account = S("a$@R")});
	assert_non_null(strstr(last, "\"id\":2001"));
	assert_non_null(strstr(last, "\"process\":\"relay 1\""));
}

static void
what_another_role_says_ends_the_liar(void **state)
{
	static const struct {
		enum role role;
		uint32_t id;
	} bad[] = {
	    {ROLE_RELAY, 3109},	 {ROLE_RELAY, 3100},  {ROLE_RELAY, 2101},
	    {ROLE_RELAY, 1102},	 {ROLE_RELAY, 1004},  {ROLE_RELAY, 2001},
	    {ROLE_RELAY, 3103},	 {ROLE_RELAY, 0},     {ROLE_RELAY, 4711},
	    {ROLE_KEEPER, 3107}, {ROLE_KEEPER, 1101}, {ROLE_CLOUD, 3109},
	    {ROLE_CLOUD, 1104},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct proc *p = child(bad[i].role, 0);

		SAY(p, IPC_EVENT, event, {.id = bad[i].id});
		assert_ptr_equal(liar, p);
		liar = NULL;
		p->killed = false;
	}
	assert_int_equal(told, 0);
}

static void
a_body_that_is_none_ends_the_liar(void **state)
{
	static const enum ipc_type type[] = {IPC_READY, IPC_REFUSED, IPC_EVENT,
					     IPC_ACCUSE, IPC_SEEN};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(type); i++) {
		struct proc *p = child(ROLE_RELAY, 0);

		say(p, type[i], "\xff\xff\xff", 3);
		assert_ptr_equal(liar, p);
		liar = NULL;
		p->killed = false;
	}
	for (size_t i = 0; i < 2; i++) {
		struct proc *p = child(ROLE_KEEPER, 0);

		say(p, i == 0 ? IPC_KEY_USE : IPC_KEEPER_STATUS, "\xff\xff\xff",
		    3);
		assert_ptr_equal(liar, p);
		liar = NULL;
		p->killed = false;
	}
	assert_int_equal(told, 0);
}

static void
count_tickets(void *arg, const struct msg_key_use *row)
{
	*(uint64_t *)arg += row->count;
	assert_string_equal(row->principal, "HTTP/a@R");
}

static void
the_use_of_keys_adds_up(void **state)
{
	struct proc *k = child(ROLE_KEEPER, 0);
	uint64_t n = 0;

	(void)state;
	SAY(k, IPC_KEY_USE, key_use,
	    {.principal = "HTTP/a@R", .kvno = 2, .count = 3, .last_ns = 5});
	SAY(k, IPC_KEY_USE, key_use,
	    {.principal = "HTTP/a@R", .kvno = 3, .count = 4, .last_ns = 6});
	keyuse_each(m.keyuse, count_tickets, &n);
	assert_true(n == 7);
	assert_null(liar);
	assert_int_equal(told, 0);
	/* None, or time that runs backwards, is no count. */
	SAY(k, IPC_KEY_USE, key_use, {.principal = "HTTP/a@R", .count = 0});
	assert_ptr_equal(liar, k);
	liar = NULL;
	k->killed = false;
	SAY(k, IPC_KEY_USE, key_use,
	    {.principal = "HTTP/a@R", .count = 1, .first_ns = 2, .last_ns = 1});
	assert_ptr_equal(liar, k);
}

/* Accounts that do not exist, failures that did not happen. */
static void
flood(struct proc *p, int n, bool seen)
{
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "made-up-%d-%u", i, p->slot);
		if (seen)
			SAY(p, IPC_SEEN, seen,
			    {.allowed = i % 2 == 0,
			     .mech = MECH_KERBEROS,
			     .verdict =
				 i % 2 == 0 ? VERDICT_ALLOW : VERDICT_NO_MATCH,
			     .entry = 1,
			     .other = (uint32_t)i % 3,
			     .account = slice_of(name)});
		else
			SAY(p, IPC_EVENT, event,
			    {.id = 3000, .detail = slice_of(name)});
	}
}

static void
false_events_do_not_fill_the_disk(void **state)
{
	(void)state;
	flood(child(ROLE_RELAY, 0), 3000, true);
	/* and one that says that there were more */
	assert_in_range(told, BUDGET_MAX, BUDGET_MAX + 10);
	assert_null(liar);
	told = 0;
	flood(child(ROLE_RELAY, 0), 1000, false);
	assert_in_range(told, 0, 10);
}

static void
what_was_held_back_is_told_as_a_number(void **state)
{
	struct proc *p = child(ROLE_RELAY, 0);

	(void)state;
	flood(p, BUDGET_MAX + 1, false);
	assert_int_equal(told, BUDGET_MAX + 1);
	assert_non_null(strstr(last, "\"id\":2107"));
	assert_non_null(strstr(last, "\"process\":\"relay 0\""));
	assert_non_null(strstr(last, "\"count\":1"));
	flood(p, 50, true);
	assert_in_range(told, BUDGET_MAX + 1, BUDGET_MAX + 5);
	/* A minute later: the rest. */
	m.budget[stats_row_index(ROLE_RELAY, 0)].told_ns -= BUDGET_TELL_NS;
	flood(p, 1, false);
	assert_non_null(strstr(last, "\"id\":2107"));
	assert_null(strstr(last, "\"count\":1}"));
}

static void
a_liar_costs_the_others_nothing(void **state)
{
	(void)state;
	flood(child(ROLE_RELAY, 0), 500, true);
	told = 0;
	SAY(child(ROLE_KEEPER, 0), IPC_EVENT, event,
	    {.id = 3109, .detail = S("no such file")});
	assert_int_equal(told, 1);
	SAY(child(ROLE_RELAY, 1), IPC_SEEN, seen,
	    {.verdict = VERDICT_NO_MATCH, .account = S("real$@R")});
	assert_int_equal(told, 2);
	/* nor does it help to start anew */
	child(ROLE_RELAY, 0)->life++;
	flood(child(ROLE_RELAY, 0), 500, false);
	assert_in_range(told, 2, 10);
}

/* --- what is remembered ------------------------------------------------------
 */

static void
on_view(void *arg, const struct trouble_view *v)
{
	sbuf_fmt(arg, "%u ", v->id);
}

static const char *
troubles(void)
{
	static char ids[128];
	struct sbuf b;

	sbuf_init(&b, ids, sizeof(ids));
	sbuf_str(&b, "");
	trouble_each(m.trouble, clock_mono_ns(), on_view, &b);
	return ids;
}

static void
an_unreachable_cloud_is_remembered_until_it_is_back(void **state)
{
	struct proc *p = child(ROLE_RELAY, 0);

	(void)state;
	assert_string_equal(troubles(), "");
	SAY(p, IPC_EVENT, event, {.id = 3107, .detail = S("timed out")});
	SAY(child(ROLE_RELAY, 1), IPC_EVENT, event, {.id = 3106});
	assert_string_equal(troubles(), "3106 3107 ");
	SAY(p, IPC_EVENT, event, {.id = 1104});
	assert_string_equal(troubles(), "");
}

/* Also when the event itself is one too many. */
static void
what_is_held_back_is_remembered(void **state)
{
	(void)state;
	flood(child(ROLE_RELAY, 0), BUDGET_MAX + 1, true);
	assert_string_equal(troubles(), "2107 ");
	SAY(child(ROLE_RELAY, 0), IPC_EVENT, event, {.id = 3107});
	SAY(child(ROLE_RELAY, 0), IPC_EVENT, event, {.id = 2104});
	assert_string_equal(troubles(), "2104 2107 3107 ");
}

static void
a_bad_keytab_is_remembered_until_one_is_good(void **state)
{
	struct proc *k = child(ROLE_KEEPER, 0);

	(void)state;
	k->set_first = 1;
	k->set_last = 3;
	SAY(k, IPC_EVENT, event, {.id = 3109, .detail = S("no such file")});
	SAY(k, IPC_READY, set, {1});
	assert_string_equal(troubles(), "3109 ");
	SAY(k, IPC_EVENT, event, {.id = 3109, .detail = S("not a keytab")});
	SAY(k, IPC_READY, set, {2});
	assert_string_equal(troubles(), "3109 ");
	SAY(k, IPC_READY, set, {3});
	assert_string_equal(troubles(), "");
}

/* The keeper's good keytab says nothing of the file as it is now. */
static void
each_ends_its_own_trouble_of_the_keytab(void **state)
{
	struct proc *k = child(ROLE_KEEPER, 0);

	(void)state;
	master_trouble(&m, NULL, 3109, "open to others");
	SAY(k, IPC_EVENT, event, {.id = 3109, .detail = S("no krb5.conf")});
	SAY(k, IPC_EVENT, event, {.id = 1105, .detail = S("new: HTTP/a@R")});
	assert_string_equal(troubles(), "3109 ");
	trouble_over(m.trouble, TROUBLE_MASTER, 3109);
	assert_string_equal(troubles(), "");
}

static void
an_old_set_is_remembered_until_the_newest_is_taken(void **state)
{
	struct proc *p = child(ROLE_RELAY, 0);

	(void)state;
	master_trouble(&m, p, 2100, "refused");
	p->set_first = 1;
	p->set_last = 3;
	SAY(p, IPC_READY, set, {2});
	assert_string_equal(troubles(), "2100 ");
	SAY(p, IPC_READY, set, {3});
	assert_string_equal(troubles(), "");
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    T(an_event_names_who_asked_for_it),
	    T(what_another_role_says_ends_the_liar),
	    T(a_body_that_is_none_ends_the_liar),
	    T(the_use_of_keys_adds_up),
	    T(each_ends_its_own_trouble_of_the_keytab),
	    T(false_events_do_not_fill_the_disk),
	    T(what_was_held_back_is_told_as_a_number),
	    T(a_liar_costs_the_others_nothing),
	    T(an_unreachable_cloud_is_remembered_until_it_is_back),
	    T(what_is_held_back_is_remembered),
	    T(a_bad_keytab_is_remembered_until_one_is_good),
	    T(an_old_set_is_remembered_until_the_newest_is_taken),
	};

	(void)argc;
	if (strstr(argv[0], "/rms-") != NULL)
		return poll(&(struct pollfd){.fd = 3}, 1, -1) == 1 ? 0 : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
