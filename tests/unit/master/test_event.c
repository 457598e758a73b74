/*
 * What operators and SIEMs rely on: one JSON line per event whatever the
 * texts hold, a bounded memory of them, and no flood.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/budget.h"
#include "master/event.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

static char last[EVENT_JSON_MAX + 1];
static size_t told;
static struct budget budget;

static void
on_event(void *arg, struct slice json)
{
	(void)arg;
	assert_true(json.len < sizeof(last));
	memcpy(last, json.p, json.len);
	last[json.len] = '\0';
	told++;
}

static int
set_up(void **state)
{
	struct event_log *l = event_log_new();

	assert_non_null(l);
	log_set_level(LOG_LVL_ERR - 1); /* nothing to standard error */
	event_log_set_node(l, "n1");
	event_log_follow(l, on_event, NULL);
	told = 0;
	budget = (struct budget){0};
	*state = l;
	return 0;
}

static int
tear_down(void **state)
{
	struct event_log *l = *state;

	event_log_free(&l);
	return 0;
}

static void
every_definition_is_found(void **state)
{
	(void)state;
	assert_string_equal(event_def(1000)->text,
			    "The RMS connector has started.");
	assert_int_equal(event_def(2001)->level, EVENT_WARNING);
	assert_int_equal(event_def(3100)->level, EVENT_ERROR);
	assert_null(event_def(0));
	assert_null(event_def(9999));
}

static void
a_child_tells_only_what_is_its_own(void **state)
{
	static const struct {
		uint32_t id;
		enum role role;
	} theirs[] = {
	    {1102, ROLE_CLOUD}, {1104, ROLE_RELAY}, {1105, ROLE_KEEPER},
	    {2000, ROLE_RELAY}, {2101, ROLE_CLOUD}, {2102, ROLE_CLOUD},
	    {2104, ROLE_RELAY}, {2106, ROLE_RELAY}, {3000, ROLE_RELAY},
	    {3100, ROLE_CLOUD}, {3105, ROLE_CLOUD}, {3106, ROLE_RELAY},
	    {3107, ROLE_RELAY}, {3108, ROLE_RELAY}, {3109, ROLE_KEEPER},
	    {1130, ROLE_RELAY}, {1131, ROLE_RELAY}, {2130, ROLE_RELAY},
	    {2131, ROLE_RELAY}, {3110, ROLE_RELAY}, {3111, ROLE_RELAY},
	    {3112, ROLE_RELAY}, {2141, ROLE_RELAY}, {1110, ROLE_RELAY},
	    {2109, ROLE_RELAY}, {2110, ROLE_RELAY}, {2111, ROLE_RELAY},
	    {2112, ROLE_RELAY}, {2113, ROLE_RELAY},
	};
	size_t allowed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(theirs); i++)
		assert_true(event_from_child(theirs[i].id, theirs[i].role));
	for (uint32_t id = 0; id < 10000; id++)
		for (unsigned r = 0; r < ROLE_MAX; r++)
			allowed += event_from_child(id, (enum role)r) ? 1 : 0;
	assert_int_equal(allowed, ARRAY_LEN(theirs)); /* and nothing else */
}

static void
an_event_names_its_process(void **state)
{
	struct event_args e = {.id = 3109, .process = "keeper 0"};

	event_tell(*state, &e);
	assert_non_null(strstr(last, "\"process\":\"keeper 0\""));
	e.process = NULL;
	event_tell(*state, &e);
	assert_null(strstr(last, "process"));
}

static void
texts_cannot_break_the_line(void **state)
{
	struct event_args e = {
	    .id = 2001,
	    .account = SLICE_LIT("a\"\n{}\x01\xff"),
	    .role = "fci",
	    .entry = 5,
	    .reason = SLICE_LIT("why\r\n"),
	    .count = 3,
	};

	event_tell(*state, &e);
	assert_int_equal(told, 1);
	assert_null(strchr(last, '\n'));
	assert_non_null(
	    strstr(last, "\"account\":\"a\\\"\\u000a{}\\u0001\\ufffd\""));
	assert_non_null(strstr(last, "\"id\":2001,\"level\":\"warning\""));
	assert_non_null(strstr(last, "\"node\":\"n1\""));
	assert_non_null(strstr(last, "\"role\":\"fci\",\"entry\":5"));
	assert_non_null(strstr(last, "\"count\":3"));
	assert_null(strstr(last, "\"sid\""));
}

static void
what_is_too_long_is_cut_not_lost(void **state)
{
	static char big[EVENT_JSON_MAX * 2];
	struct event_args e = {.id = 3000};

	memset(big, 'x', sizeof(big));
	e.reason = e.account = (struct slice){big, sizeof(big)};
	e.more = SLICE_LIT("\"accounts\":[]");
	event_tell(*state, &e);
	assert_int_equal(told, 1);
	assert_int_equal(last[strlen(last) - 1], '}');
	assert_non_null(strstr(last, "\"reason\":\"xxx"));
}

static void
more_members_go_in_as_they_are(void **state)
{
	struct event_args e = {.id = 1004,
			       .more = SLICE_LIT("\"accounts\":[{\"a\":1}]")};

	event_tell(*state, &e);
	assert_non_null(strstr(last, ",\"accounts\":[{\"a\":1}]}"));
}

static void
goes_to_the_file_one_line_each(void **state)
{
	char path[] = "/tmp/test_event.XXXXXX", text[1024];
	int fd = mkstemp(path);
	ssize_t n;

	assert_true(fd >= 0);
	event_log_set_fd(*state, fd);
	event_tellf(*state, 1100, "%s", "one");
	event_tellf(*state, 1100, "two");
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "\"reason\":\"one\"}\n{"));
	assert_non_null(strstr(text, "\"reason\":\"two\"}\n"));
	unlink(path);
	close(fd);
}

static void
a_full_disk_is_an_event_once(void **state)
{
	int fd = open("/dev/full", O_WRONLY);
	uint64_t since;

	assert_true(fd >= 0);
	event_log_set_fd(*state, fd);
	assert_null(event_log_failing(*state, &since));
	event_tellf(*state, 1100, "one");
	assert_int_equal(told, 2);
	assert_non_null(strstr(event_log_failing(*state, &since), "No space"));
	assert_in_range(clock_real_ns() - since, 0, 60 * NS_PER_S);
	assert_non_null(strstr(last, "\"id\":3108"));
	event_tellf(*state, 1100, "two");
	assert_int_equal(told, 3);
	close(fd);
}

static size_t visited;
static char order[64];

static void
visit(void *arg, struct slice json)
{
	struct sbuf *b = arg;
	char copy[EVENT_JSON_MAX];

	memcpy(copy, json.p, json.len);
	copy[json.len] = '\0';
	if (visited++ < 3)
		sbuf_fmt(b, "%s ", strstr(copy, "reason\":\"") + 9);
}

static void
the_last_thousand_are_kept(void **state)
{
	struct sbuf b;

	sbuf_init(&b, order, sizeof(order));
	for (int i = 0; i < EVENT_RING + 5; i++)
		event_tellf(*state, 1100, "e%d", i);
	visited = 0;
	event_log_last(*state, 5000, visit, &b);
	assert_int_equal(visited, EVENT_RING);
	assert_string_equal(order, "e5\"} e6\"} e7\"} ");
	sbuf_init(&b, order, sizeof(order));
	visited = 0;
	event_log_last(*state, 2, visit, &b);
	assert_string_equal(order, "e1003\"} e1004\"} ");
}

static void
the_same_cause_is_told_once_a_minute(void **state)
{
	struct event_args e = {.id = 2000,
			       .address = SLICE_LIT("10.0.0.1"),
			       .reason = SLICE_LIT("no-key-for-spn")};
	uint64_t t = 100 * NS_PER_S;

	assert_true(event_tell_limited(*state, &e, &budget, t));
	for (uint64_t i = 1; i < 8; i++)
		assert_false(event_tell_limited(*state, &e, &budget, t + i));
	e.address = SLICE_LIT("10.0.0.2");
	assert_true(event_tell_limited(*state, &e, &budget, t + 9));
	e.address = SLICE_LIT("10.0.0.1");
	assert_true(
	    event_tell_limited(*state, &e, &budget, t + EVENT_LIMIT_NS));
	assert_non_null(strstr(last, "\"count\":7"));
	assert_int_equal(told, 3);
}

static void
many_causes_do_not_flood(void **state)
{
	char reason[32];
	struct event_args e = {.id = 2000}, keytab = {.id = 3109};
	struct budget other = {0};
	size_t n = 0;

	for (int i = 0; i < 10000; i++) {
		snprintf(reason, sizeof(reason), "cause %d", i);
		e.reason = slice_of(reason);
		n += event_tell_limited(*state, &e, &budget, NS_PER_S) ? 1 : 0;
	}
	assert_int_equal(n, BUDGET_MAX);
	assert_int_equal(told, n);
	/* and later there is room again; others had it all the time */
	assert_true(event_tell_limited(*state, &e, &budget, 120 * NS_PER_S));
	assert_true(event_tell_limited(*state, &keytab, &other, NS_PER_S));
}

/* The account of 2000 is whatever a client says it is. */
static void
accounts_that_are_claimed_are_told_each_but_not_without_end(void **state)
{
	char name[32];
	struct event_args e = {.id = 2000,
			       .address = SLICE_LIT("10.0.0.1"),
			       .reason = SLICE_LIT("wrong password")};
	uint64_t t = NS_PER_S;
	size_t n = 0;

	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "D\\made-up-%d", i);
		e.account = slice_of(name);
		n += event_tell_limited(*state, &e, &budget, t + 1) ? 1 : 0;
	}
	/* and one for all of the others together */
	assert_int_equal(n, EVENT_CLAIMS_MAX + 1);
	/* the first of them is known, and told again when its time is over */
	e.account = SLICE_LIT("D\\made-up-0");
	assert_false(event_tell_limited(*state, &e, &budget, t + 2));
	/* who comes from elsewhere is told at once, by the same name too */
	e.address = SLICE_LIT("10.0.0.2");
	assert_true(event_tell_limited(*state, &e, &budget, t + 2));
	e.address = SLICE_LIT("10.0.0.1");
	assert_true(
	    event_tell_limited(*state, &e, &budget, t + 2 + EVENT_LIMIT_NS));
	assert_non_null(strstr(last, "\"account\":\"D\\\\made-up-0\""));
}

/* Tells number i of those that claim to be somebody, or of others, t_s seconds
 * after the start. */
static bool
tell_one(struct event_log *l, bool claim, int i, uint64_t t_s)
{
	char name[32];
	struct event_args e = {.id = claim ? 2000 : 2001,
			       .address = SLICE_LIT("10.0.0.1"),
			       .reason = SLICE_LIT("why")};

	snprintf(name, sizeof(name), "D\\name-%d", i);
	e.account = slice_of(name);
	budget = (struct budget){0};
	return event_tell_limited(l, &e, &budget, t_s * NS_PER_S);
}

/* The memory of what was told is full of older ones; whoever makes up names has
 * had its share, and 32 others theirs. */
static void
names_without_end_do_not_make_others_forgotten(void **state)
{
	for (int i = 0; i < 20000; i++)
		(void)tell_one(*state, false, 1000 + i, 1);
	for (int i = 0; i <= EVENT_CLAIMS_MAX; i++)
		(void)tell_one(*state, true, i, 2);
	for (int i = 0; i < 32; i++)
		assert_true(tell_one(*state, false, i, 2));
	for (int i = 0; i < 20000; i++)
		assert_false(tell_one(*state, true, 1000 + i, 3));
	for (int i = 0; i < 32; i++)
		assert_false(tell_one(*state, false, i, 3));
}

static void
a_change_of_state_is_always_told(void **state)
{
	struct event_args bad = {.id = 3107, .reason = SLICE_LIT("down")};
	struct event_args good = {.id = 1104};
	uint64_t t = NS_PER_S;

	assert_true(event_tell_limited(*state, &bad, &budget, t));
	assert_false(event_tell_limited(*state, &bad, &budget, t + 1));
	assert_true(event_tell_limited(*state, &good, &budget, t + 2));
	/* after "works again" the next failure is news */
	assert_true(event_tell_limited(*state, &bad, &budget, t + 3));
	assert_true(event_tell_limited(*state, &good, &budget, t + 4));
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(every_definition_is_found),
	    T(a_child_tells_only_what_is_its_own),
	    T(an_event_names_its_process),
	    T(texts_cannot_break_the_line),
	    T(what_is_too_long_is_cut_not_lost),
	    T(more_members_go_in_as_they_are),
	    T(goes_to_the_file_one_line_each),
	    T(a_full_disk_is_an_event_once),
	    T(the_last_thousand_are_kept),
	    T(the_same_cause_is_told_once_a_minute),
	    T(many_causes_do_not_flood),
	    T(accounts_that_are_claimed_are_told_each_but_not_without_end),
	    T(names_without_end_do_not_make_others_forgotten),
	    T(a_change_of_state_is_always_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
