/*
 * What the events of accounts rely on: each thing is told once, and memory is
 * bounded.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "master/seen.h"
#include "shm/base/clock.h"

#define MINUTE (60 * NS_PER_S)

static struct seen_news
report(struct seen *s, struct msg_seen m, uint64_t mono_ns)
{
	struct seen_news news;

	seen_report(s, &m, 1000 * NS_PER_S + mono_ns, mono_ns, &news);
	return news;
}

static struct msg_seen
allowed(const char *account, bool tls)
{
	return (struct msg_seen){.allowed = true,
				 .tls = tls,
				 .mech = MECH_KERBEROS,
				 .role = SERVER_EXCHANGE,
				 .entry = 7,
				 .generation = 3,
				 .account = slice_of(account),
				 .address = SLICE_LIT("10.0.0.5")};
}

static struct msg_seen
refused(const char *account)
{
	return (struct msg_seen){.tls = true,
				 .verdict = VERDICT_NO_MATCH,
				 .account = slice_of(account)};
}

static void
allowed_is_told_once(void **state)
{
	struct seen *s = seen_new(10);

	(void)state;
	assert_true(report(s, allowed("a$@R", true), 1).allowed);
	assert_false(report(s, allowed("a$@R", true), 2).allowed);
	/* An account is the same whatever the case. */
	assert_false(report(s, allowed("A$@r", true), 3).allowed);
	assert_true(report(s, allowed("b$@R", true), 4).allowed);
	seen_free(&s);
	assert_null(s);
}

static void
allowed_again_after_refused_or_another_entry(void **state)
{
	struct seen *s = seen_new(10);
	struct msg_seen m = allowed("a$@R", true);

	(void)state;
	assert_true(report(s, m, 1).allowed);
	report(s, refused("a$@R"), 2);
	assert_true(report(s, m, 3).allowed);
	m.entry = 8;
	assert_true(report(s, m, 4).allowed);
	assert_false(report(s, m, 5).allowed);
	seen_free(&s);
}

static void
transport_is_told_when_it_changes(void **state)
{
	struct seen *s = seen_new(10);
	struct seen_news n;

	(void)state;
	n = report(s, allowed("a$@R", false), 1);
	assert_true(n.insecure);
	assert_false(n.to_https);
	assert_false(report(s, allowed("a$@R", false), MINUTE + 2).insecure);
	n = report(s, allowed("a$@R", true), MINUTE + 3);
	assert_true(n.to_https);
	assert_false(n.insecure);
	/* Within the pause a change back is not told, after it it is. */
	assert_false(report(s, allowed("a$@R", false), MINUTE + 4).insecure);
	assert_true(report(s, allowed("a$@R", false), 3 * MINUTE).insecure);
	seen_free(&s);
}

static void
first_sight_over_https_is_no_event(void **state)
{
	struct seen *s = seen_new(10);
	struct seen_news n = report(s, allowed("a$@R", true), 1);

	(void)state;
	assert_false(n.insecure);
	assert_false(n.to_https);
	/* and does not delay the first HTTP one */
	assert_true(report(s, allowed("a$@R", false), 2).insecure);
	seen_free(&s);
}

static void
refusals_are_told_once_a_minute_with_a_count(void **state)
{
	struct seen *s = seen_new(10);
	struct seen_news n = report(s, refused("x@R"), 5);

	(void)state;
	assert_true(n.refused);
	assert_int_equal(n.held, 0);
	for (uint64_t i = 0; i < 9; i++)
		assert_false(report(s, refused("x@R"), 6 + i).refused);
	/* another account is not held back by it */
	assert_true(report(s, refused("y@R"), 20).refused);
	n = report(s, refused("x@R"), 5 + MINUTE);
	assert_true(n.refused);
	assert_int_equal(n.held, 9);
	n = report(s, refused("x@R"), 6 + 2 * MINUTE);
	assert_int_equal(n.held, 0);
	seen_free(&s);
}

static void
conflict_is_told_once_per_pair(void **state)
{
	struct seen *s = seen_new(10);
	struct msg_seen m = allowed("a$@R", true);

	(void)state;
	m.other = 9;
	assert_true(report(s, m, 1).conflict);
	assert_false(report(s, m, 2).conflict);
	m.other = 11;
	assert_true(report(s, m, 3).conflict);
	m.other = 0;
	assert_false(report(s, m, 4).conflict);
	m.other = 11;
	assert_true(report(s, m, 5).conflict);
	seen_free(&s);
}

static void
memory_is_bounded_and_drops_the_oldest(void **state)
{
	struct seen *s = seen_new(3);
	char name[32];

	(void)state;
	report(s, allowed("keep@R", true), 1);
	for (uint64_t i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "n%d@R", (int)i);
		report(s, refused(name), 2 + i);
		report(s, allowed("keep@R", true), 2 + i);
		assert_true(seen_count(s) <= 3);
	}
	assert_non_null(seen_find(s, SLICE_LIT("keep@R")));
	assert_non_null(seen_find(s, SLICE_LIT("n49@R")));
	assert_null(seen_find(s, SLICE_LIT("n0@R")));
	seen_free(&s);
}

static void
found_by_principal_sid_and_short_name(void **state)
{
	struct seen *s = seen_new(10);
	struct msg_seen m = allowed("exch01$@LAB.TEST", true);
	const struct seen_account *a;

	(void)state;
	m.sid = SLICE_LIT("S-1-5-21-1-2-3-1001");
	report(s, m, 1);
	report(s, allowed("LAB\\sp01$", true), 2);
	a = seen_find(s, SLICE_LIT("EXCH01$@lab.test"));
	assert_non_null(a);
	assert_string_equal(a->address, "10.0.0.5");
	assert_ptr_equal(seen_find(s, SLICE_LIT("exch01$")), a);
	assert_ptr_equal(seen_find(s, SLICE_LIT("s-1-5-21-1-2-3-1001")), a);
	assert_non_null(seen_find(s, SLICE_LIT("SP01$")));
	assert_null(seen_subject(s, SLICE_LIT("exch01$")));
	assert_null(seen_find(s, SLICE_LIT("")));
	assert_null(seen_find(s, SLICE_LIT("exch0")));
	/* two of that name: neither */
	report(s, allowed("exch01$@OTHER", true), 3);
	assert_null(seen_find(s, SLICE_LIT("exch01$")));
	/* a new SID takes the place of the old */
	m.sid = SLICE_LIT("S-1-5-21-1-2-3-2002");
	report(s, m, 4);
	assert_null(seen_find(s, SLICE_LIT("S-1-5-21-1-2-3-1001")));
	assert_non_null(seen_find(s, SLICE_LIT("S-1-5-21-1-2-3-2002")));
	seen_free(&s);
}

static void
long_and_missing_names_are_harmless(void **state)
{
	static char big[2000];
	struct seen *s = seen_new(2);
	struct msg_seen m = allowed("", true);

	(void)state;
	assert_false(report(s, m, 1).allowed);
	assert_int_equal(seen_count(s), 0);
	memset(big, 'x', sizeof(big));
	m.account = m.sid = m.spn = m.address = m.request =
	    (struct slice){big, sizeof(big)};
	assert_true(report(s, m, 2).allowed);
	assert_int_equal(seen_count(s), 1);
	assert_null(seen_find(s, m.account));
	seen_free(&s);
}

static void
last_decision_is_kept(void **state)
{
	struct seen *s = seen_new(2);
	const struct seen_account *a;

	(void)state;
	report(s, allowed("a@R", true), 1 * NS_PER_S);
	report(s, refused("a@R"), 2 * NS_PER_S);
	a = seen_find(s, SLICE_LIT("a@R"));
	assert_int_equal(a->verdict, VERDICT_NO_MATCH);
	assert_int_equal(a->allowed, 1);
	assert_int_equal(a->refused, 1);
	assert_int_equal(a->first, 1001 * NS_PER_S);
	assert_int_equal(a->last, 1002 * NS_PER_S);
	assert_int_equal(a->last_allowed, 1001 * NS_PER_S);
	assert_int_equal(a->last_refused, 1002 * NS_PER_S);
	seen_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(allowed_is_told_once),
	    cmocka_unit_test(allowed_again_after_refused_or_another_entry),
	    cmocka_unit_test(transport_is_told_when_it_changes),
	    cmocka_unit_test(first_sight_over_https_is_no_event),
	    cmocka_unit_test(refusals_are_told_once_a_minute_with_a_count),
	    cmocka_unit_test(conflict_is_told_once_per_pair),
	    cmocka_unit_test(memory_is_bounded_and_drops_the_oldest),
	    cmocka_unit_test(found_by_principal_sid_and_short_name),
	    cmocka_unit_test(long_and_missing_names_are_harmless),
	    cmocka_unit_test(last_decision_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
