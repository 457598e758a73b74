/*
 * What children say to the master: it believes no more of it than it must, a
 * liar dies, and nobody else does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/event.h"
#include "master/keyuse.h"
#include "master/master.h"
#include "master/rollout.h"
#include "master/seen.h"
#include "master/supervise.h"
#include "master/trouble.h"
#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/stats.h"
#include "shm/base/log.h"

static struct master m;
static struct stats *stats;
static char dir[] = "/tmp/test_said.XXXXXX";
static char last[EVENT_JSON_MAX + 1], why_lied[256];
static size_t told;
static struct proc *liar;

static void
on_event(void *arg, struct slice json)
{
	(void)arg;
	memcpy(last, json.p, json.len);
	last[json.len] = '\0';
	told++;
}

static void
on_spawn(void *arg, struct proc *p)
{
	(void)arg;
	(void)p;
}

static void
on_end(void *arg, struct proc *p, enum proc_end end, const char *why)
{
	(void)arg;
	if (end != PROC_END_LIED)
		return;
	assert_null(liar);
	liar = p;
	snprintf(why_lied, sizeof(why_lied), "%s", why);
}

static struct conf_errors wrong;
static unsigned rolled_out;

static void
on_rollout(void *arg, uint64_t set, const struct conf_errors *w)
{
	(void)arg;
	assert_true(set == 2);
	wrong = *w;
	rolled_out++;
	loop_stop(m.loop, 0);
}

static void
on_all_gone(void *arg)
{
	(void)arg;
}

static const struct supervise_ops ops = {on_spawn, master_on_msg, on_end,
					 on_all_gone};

/* Children are this program under another name: see main(). */
static int
set_up(void **state)
{
	struct supervise_conf c = {.relays = 3,
				   .watchdog_ms = 60000,
				   .respawn_max_ms = 200,
				   .ntlm_slots = 1,
				   .ntlm = true};
	static const char *const name[] = {"rms-keeper", "rms-cloud",
					   "rms-relay", "rms-ntlm"};
	char path[64], self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *why;

	(void)state;
	log_set_level(LOG_LVL_ERR - 1);
	snprintf(dir, sizeof(dir), "/tmp/test_said.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_true(n > 0);
	self[n] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, name[i]);
		assert_int_equal(symlink(self, path), 0);
	}
	snprintf(c.bin_dir, sizeof(c.bin_dir), "%s", dir);
	m = (struct master){.event_fd = -1};
	m.loop = loop_new();
	m.events = event_log_new();
	m.seen = seen_new(100);
	m.trouble = trouble_new();
	m.keyuse = keyuse_new(1);
	stats = stats_new(&why);
	m.supervise = supervise_new(m.loop, &c, stats, &ops, &m);
	assert_non_null(m.supervise);
	m.rollout = rollout_new(m.loop, m.supervise, 50, on_rollout, NULL);
	assert_non_null(m.rollout);
	event_log_follow(m.events, on_event, NULL);
	supervise_start(m.supervise);
	told = rolled_out = 0;
	liar = NULL;
	return 0;
}

static int
tear_down(void **state)
{
	char cmd[64];

	(void)state;
	rollout_free(&m.rollout);
	supervise_free(&m.supervise);
	stats_free(&stats);
	seen_free(&m.seen);
	trouble_free(&m.trouble);
	keyuse_free(&m.keyuse);
	event_log_free(&m.events);
	loop_free(&m.loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static struct proc *
child(enum role role, unsigned slot)
{
	struct proc *p = supervise_find(m.supervise, role, slot);

	assert_non_null(p);
	return p;
}

static void
say(struct proc *p, enum ipc_type type, const void *body, size_t len)
{
	struct ipc_msg msg = {.type = type, .body = body, .len = len, .fd = -1};

	assert_null(ipc_check(p->role, ROLE_MASTER,
			      &(struct ipc_head){.type = type}, 16, 0));
	master_on_msg(&m, p, &msg);
}

#define SAY(p, TYPE, X, ...)                                             \
	do {                                                             \
		uint8_t body_[4096];                                     \
		struct msg_##X m_ = __VA_ARGS__;                         \
		size_t len_ = msg_##X##_pack(&m_, body_, sizeof(body_)); \
                                                                         \
		assert_true(len_ > 0);                                   \
		say(p, TYPE, body_, len_);                               \
	} while (0)

#define S(text) SLICE_LIT(text)

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
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
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
