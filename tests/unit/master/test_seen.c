/*
 * What the events of accounts rely on: each thing is told once, and memory is
 * bounded.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "master/seen.h"
#include "shm/base/clock.h"
#include "shm/trail.h"

#define MINUTE (60 * NS_PER_S)

static struct seen_news
report(struct seen *s, struct msg_seen m, uint64_t mono_ns)
{
	struct seen_news news;

	seen_report(s, &m, 1000 * NS_PER_S + mono_ns, mono_ns, &news);
	return news;
}

/* User S-1-5-21 and group S-1-5-32-N, packed. */
static struct slice
sids(char mem[32], char n)
{
	static const char user[] = "\0\14\1\1\0\0\0\0\0\5\25\0\0\0";
	static const char group[] = "\2\20\1\2\0\0\0\0\0\5\40\0\0\0N\0\0\0";

	memcpy(mem, user, sizeof(user) - 1);
	memcpy(mem + sizeof(user) - 1, group, sizeof(group) - 1);
	mem[sizeof(user) - 1 + 14] = n;
	return (struct slice){mem, sizeof(user) + sizeof(group) - 2};
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

/* As a note of a request has it: the front of a name, and a hash of it all. */
static void
found_by_what_a_note_holds(void **state)
{
	static const char *const name[] = {"CN=front,O=One", "CN=front,O=Two",
					   "cn=FRONT"};
	struct seen *s = seen_new(10);
	const struct seen_account *a;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		(void)report(s, allowed(name[i], true), i + 1);
	for (size_t i = 0; i < 2; i++) {
		a = seen_noted(s, trail_hash(slice_of(name[i])),
			       SLICE_LIT("cn=front"));
		assert_non_null(a);
		assert_string_equal(a->account, name[i]);
		assert_null(seen_noted(s, trail_hash(slice_of(name[i])),
				       SLICE_LIT("CN=other")));
	}
	a = seen_noted(s, trail_hash(SLICE_LIT("cn=FRONT,o=one")),
		       SLICE_LIT("CN=front,O=One"));
	assert_non_null(a);
	assert_string_equal(a->account, name[0]);
	/* One that is not remembered is not one of a longer name. */
	assert_null(
	    seen_noted(s, trail_hash(slice_of(name[2])), slice_of(name[2])));
	seen_free(&s);
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

/* --- how it comes ----------------------------------------------------------
 */

static void
each_way_has_its_last_time(void **state)
{
	struct seen *s = seen_new(2);
	struct msg_seen m = allowed("a@R", false);
	const struct seen_account *a;

	(void)state;
	report(s, m, 1);
	m.tls = true;
	m.enctype = 18;
	report(s, m, 2);
	m.bound = true;
	m.mech = MECH_NTLM;
	report(s, m, 3);
	m.mech = MECH_KERBEROS;
	m.enctype = 23;
	report(s, m, 4);
	a = seen_find(s, SLICE_LIT("a@R"));
	assert_int_equal(a->way[WAY_HTTP], 1000 * NS_PER_S + 1);
	assert_int_equal(a->way[WAY_HTTPS], 1000 * NS_PER_S + 4);
	/* over HTTP there is nothing to bind to */
	assert_int_equal(a->way[WAY_UNBOUND], 1000 * NS_PER_S + 2);
	assert_int_equal(a->way[WAY_BOUND], 1000 * NS_PER_S + 4);
	assert_int_equal(a->way[WAY_NTLM], 1000 * NS_PER_S + 3);
	assert_int_equal(a->way[WAY_KERBEROS], 1000 * NS_PER_S + 4);
	assert_int_equal(a->way[WAY_WEAK], 1000 * NS_PER_S + 4);
	assert_int_equal(a->way[WAY_CERT], 0);
	seen_free(&s);
}

static void
an_entry_has_its_last_time(void **state)
{
	struct seen *s = seen_new(2);
	struct msg_seen m = allowed("a@R", true);

	(void)state;
	assert_null(seen_entry(s, 7));
	report(s, m, 1);
	report(s, refused("a@R"), 2);
	m.account = SLICE_LIT("b@R");
	report(s, m, 3);
	assert_non_null(seen_entry(s, 7));
	assert_int_equal(seen_entry(s, 7)->first, 1000 * NS_PER_S + 1);
	assert_int_equal(seen_entry(s, 7)->last, 1000 * NS_PER_S + 3);
	assert_int_equal(seen_entry(s, 7)->reports, 2);
	/* also when the accounts are forgotten */
	report(s, refused("c@R"), 4);
	report(s, refused("d@R"), 5);
	assert_non_null(seen_entry(s, 7));
	assert_null(seen_entry(s, 7 + 4096)); /* of the same chain */
	seen_free(&s);
}

static void
strangers_do_not_displace_servers(void **state)
{
	struct seen *s = seen_new(8);
	char name[32];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "server%u@R", i);
		report(s, allowed(name, true), 1 + i);
	}
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "stranger%u@R", i);
		report(s, refused(name), 10 + i);
	}
	assert_int_equal(seen_count(s), 8);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "server%u@R", i);
		assert_non_null(seen_find(s, slice_of(name)));
	}
	/* a new server takes the place of a stranger */
	report(s, allowed("server4@R", true), 200);
	assert_non_null(seen_find(s, SLICE_LIT("server0@R")));
	assert_null(seen_find(s, SLICE_LIT("stranger96@R")));
	assert_non_null(seen_find(s, SLICE_LIT("stranger97@R")));
	seen_free(&s);
}

/* --- SIDs ------------------------------------------------------------------
 */

static void
sids_are_told_once_and_then_by_their_hash(void **state)
{
	struct seen *s = seen_new(2);
	struct msg_seen m = allowed("a@R", true);
	const struct seen_account *a;
	char mem[32];

	(void)state;
	m.nsids = 2;
	m.sids_hash = 5;
	m.sids = sids(mem, 1);
	report(s, m, 1);
	a = seen_find(s, SLICE_LIT("a@R"));
	assert_true(slice_eq(a->sids, m.sids));
	assert_int_equal(a->sids_ns, 1000 * NS_PER_S + 1);
	/* the same: no older than this report */
	m.sids.len = 0;
	report(s, m, 2);
	assert_int_equal(a->sids.len, 32);
	assert_int_equal(a->sids_ns, 1000 * NS_PER_S + 2);
	/* others that did not come along: then none are known */
	m.sids_hash = 6;
	report(s, m, 3);
	assert_int_equal(a->sids.len, 0);
	assert_int_equal(a->nsids, 2);
	m.sids = sids(mem, 2);
	report(s, m, 4);
	assert_true(slice_eq(a->sids, m.sids));
	/* none at all, and why */
	m = allowed("a@R", true);
	m.lack = LACK_SIGNATURE;
	report(s, m, 5);
	assert_int_equal(a->sids.len, 0);
	assert_int_equal(a->nsids, 0);
	assert_int_equal(a->lack, LACK_SIGNATURE);
	seen_free(&s);
}

static void
sids_have_a_bound_and_the_oldest_go_first(void **state)
{
	struct seen *s = seen_new(8);
	struct msg_seen m = allowed("a@R", true);
	char mem[32];

	(void)state;
	seen_set_sids_room(s, 70); /* of two accounts */
	m.nsids = 2;
	m.sids_hash = 5;
	m.sids = sids(mem, 1);
	report(s, m, 1);
	m.account = SLICE_LIT("b@R");
	report(s, m, 2);
	m.account = SLICE_LIT("a@R");
	m.sids.len = 0;
	report(s, m, 3); /* a is newer than b now */
	m.sids = sids(mem, 1);
	m.account = SLICE_LIT("c@R");
	report(s, m, 4);
	assert_int_equal(seen_find(s, SLICE_LIT("a@R"))->sids.len, 32);
	assert_int_equal(seen_find(s, SLICE_LIT("b@R"))->sids.len, 0);
	assert_int_equal(seen_find(s, SLICE_LIT("c@R"))->sids.len, 32);
	/* a list for which there is no room at all takes nobody else's */
	seen_set_sids_room(s, 31);
	m.account = SLICE_LIT("d@R");
	report(s, m, 5);
	assert_int_equal(seen_find(s, SLICE_LIT("d@R"))->sids.len, 0);
	assert_int_equal(seen_find(s, SLICE_LIT("c@R"))->sids.len, 32);
	seen_free(&s);
}

/* --- records ---------------------------------------------------------------
 */

struct saved {
	size_t n;
	struct {
		struct seen_key key;
		size_t len;
		char bytes[SEEN_RECORD_MAX];
	} row[64];
};
static struct saved saved;

/* As the store: a row takes the place of that with its key. */
static int
save_row(void *arg, struct seen_key key, struct slice record)
{
	size_t i = 0;

	(void)arg;
	while (i < saved.n && (saved.row[i].key.kind != key.kind ||
			       saved.row[i].key.slot != key.slot))
		i++;
	assert_true(i < ARRAY_LEN(saved.row));
	saved.n = MAX(saved.n, i + 1);
	saved.row[i].key = key;
	saved.row[i].len = record.len;
	memcpy(saved.row[i].bytes, record.p, record.len);
	return 0;
}

static void
save(struct seen *s)
{
	size_t n = seen_unsaved(s);

	assert_int_equal(seen_each_unsaved(s, n, save_row, NULL), 0);
	seen_saved(s, n);
	assert_int_equal(seen_unsaved(s), 0);
}

/* Another life, from what was saved. */
static struct seen *
again(size_t max)
{
	struct seen *s = seen_new(max);

	/* as the store: the smaller kind first */
	for (unsigned i = 0; i < (SEEN_SIDS + 1) * saved.n; i++) {
		size_t at = i % saved.n;
		struct slice r = {saved.row[at].bytes, saved.row[at].len};

		if (saved.row[at].key.kind == (enum seen_kind)(i / saved.n))
			assert_int_equal(seen_load(s, saved.row[at].key, r), 0);
	}
	seen_loaded(s, 77);
	return s;
}

static void
what_was_seen_outlives_the_process(void **state)
{
	struct seen *s = seen_new(4);
	struct msg_seen m = allowed("a$@R", false);
	const struct seen_account *a;
	char mem[32];

	(void)state;
	saved.n = 0;
	seen_loaded(s, 77);
	m.sid = SLICE_LIT("S-1-5-21-1-2-3-1001");
	m.listener = SLICE_LIT("plain");
	m.nsids = 2;
	m.sids_hash = 5;
	m.sids = sids(mem, 1);
	m.other = 9;
	assert_true(report(s, m, 1).insecure);
	report(s, refused("x@R"), 2);
	save(s);
	seen_free(&s);

	s = again(4);
	assert_int_equal(seen_since(s), 77);
	assert_int_equal(seen_unsaved(s), 0);
	assert_int_equal(seen_count(s), 2);
	a = seen_find(s, SLICE_LIT("S-1-5-21-1-2-3-1001"));
	assert_non_null(a);
	assert_string_equal(a->account, "a$@R");
	assert_string_equal(a->listener, "plain");
	assert_int_equal(a->way[WAY_HTTP], 1000 * NS_PER_S + 1);
	assert_true(slice_eq(a->sids, m.sids));
	assert_int_equal(a->allowed, 1);
	assert_int_equal(seen_entry(s, 7)->last, 1000 * NS_PER_S + 1);
	/* What was told is not told again ... */
	m.sids.len = 0;
	assert_memory_equal(&(struct seen_news){0},
			    &(struct seen_news[]){report(s, m, 3)}[0],
			    sizeof(struct seen_news));
	/* ... and what is new is, without a pause that was another life's. */
	m.tls = true;
	assert_true(report(s, m, 4).to_https);
	report(s, refused("a$@R"), 5);
	assert_true(report(s, m, 6).allowed);
	seen_free(&s);
}

/* n different SIDs, as long as SIDs may be. */
static struct slice
many_sids(char *mem, unsigned n)
{
	char *to = mem;

	for (unsigned i = 0; i < n; i++) {
		char head[] = {SID_GROUP, SID_BYTES_MAX, 1, 15, 0, 0, 0, 0, 0,
			       5};

		memset(to, 0, 2 + SID_BYTES_MAX);
		memcpy(to, head, sizeof(head));
		to[10] = (char)i;
		to[11] = (char)(i >> 8);
		to += 2 + SID_BYTES_MAX;
	}
	return (struct slice){mem, (size_t)(to - mem)};
}

static void
the_longest_list_outlives_the_process(void **state)
{
	static char mem[SIDS_PACKED_MAX];
	struct seen *s = seen_new(2);
	struct msg_seen m = allowed("a@R", true);

	(void)state;
	saved.n = 0;
	seen_loaded(s, 77);
	m.nsids = IDENTITY_SIDS_MAX;
	m.sids_hash = 5;
	m.sids = many_sids(mem, IDENTITY_SIDS_MAX);
	assert_int_equal(m.sids.len, SIDS_PACKED_MAX);
	assert_int_equal(sids_count(m.sids), IDENTITY_SIDS_MAX);
	report(s, m, 1);
	save(s);
	/* written once: what does not change is not written again */
	m.sids.len = 0;
	report(s, m, 2);
	assert_int_equal(seen_unsaved(s), 2); /* account and entry */
	m.sids.len = SIDS_PACKED_MAX;	      /* by another relay */
	report(s, m, 3);
	assert_int_equal(seen_unsaved(s), 2);
	save(s);
	seen_free(&s);

	s = again(2);
	assert_int_equal(seen_unsaved(s), 0);
	assert_true(slice_eq(seen_find(s, SLICE_LIT("a@R"))->sids, m.sids));
	assert_int_equal(seen_find(s, SLICE_LIT("a@R"))->sids_ns,
			 1000 * NS_PER_S + 3);
	seen_free(&s);
}

/* The kill came before the record of its SIDs was written: that in its slot is
 * of another account, or of a list that it had before. */
static void
sids_of_another_account_or_time_are_not_taken(void **state)
{
	static char before[SEEN_RECORD_MAX];
	struct msg_seen m;
	struct seen *s;
	char mem[32];
	size_t i, len = 0;

	(void)state;
	for (int turn = 0; turn < 3; turn++) {
		s = seen_new(1);
		saved.n = 0;
		m = allowed(turn == 1 ? "b@R" : "a@R", true);
		m.nsids = 2;
		m.sids_hash = turn == 2 ? 6 : 5;
		m.sids = sids(mem, 1);
		report(s, m, 1);
		save(s);
		seen_free(&s);
		for (i = 0; saved.row[i].key.kind != SEEN_SIDS; i++)
			continue;
		if (turn == 0) {
			len = saved.row[i].len;
			memcpy(before, saved.row[i].bytes, len);
		} else {
			assert_int_equal(saved.row[i].len, len);
			memcpy(saved.row[i].bytes, before, len);
		}
		s = again(1);
		assert_int_equal(seen_find(s, m.account)->sids.len,
				 turn == 0 ? m.sids.len : 0);
		seen_free(&s);
	}
}

static void
the_oldest_goes_first_in_the_next_life_too(void **state)
{
	struct seen *s = seen_new(3);

	(void)state;
	saved.n = 0;
	seen_loaded(s, 77);
	report(s, allowed("a@R", true), 1);
	report(s, allowed("b@R", true), 2);
	report(s, allowed("c@R", true), 3);
	report(s, allowed("a@R", true), 4);
	save(s);
	seen_free(&s);
	s = again(3);
	report(s, allowed("d@R", true), 5);
	assert_null(seen_find(s, SLICE_LIT("b@R")));
	assert_non_null(seen_find(s, SLICE_LIT("a@R")));
	/* its record takes the place of the one that is gone */
	save(s);
	seen_free(&s);
	s = again(3);
	assert_int_equal(seen_count(s), 3);
	assert_null(seen_find(s, SLICE_LIT("b@R")));
	assert_non_null(seen_find(s, SLICE_LIT("d@R")));
	seen_free(&s);
}

/* Forgotten and seen again, and the kill came before the old was written
 * over. */
static void
of_two_records_of_an_account_the_later_counts(void **state)
{
	struct seen *s = seen_new(2);
	struct seen_key key;

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		saved.n = 0;
		report(s, allowed("a@R", true), 1);
		save(s);
		report(s, allowed("a@R", true), 9);
		key = saved.row[0].key;
		saved.row[0].key.slot = 1 - key.slot;
		save(s);
		/* now 1 has the first report, 0 the second */
		if (turn == 1)
			saved.row[0].key.slot = 1 - saved.row[0].key.slot;
		seen_free(&s);
		s = again(2);
		assert_int_equal(seen_count(s), 1);
		assert_true(seen_find(s, SLICE_LIT("a@R"))->last >=
			    1000 * NS_PER_S + 9);
	}
	seen_free(&s);
}

static void
a_record_that_is_none_is_refused(void **state)
{
	struct seen *s = seen_new(4), *into;
	struct msg_seen m = allowed("a@R", true);
	char mem[32];

	(void)state;
	saved.n = 0;
	seen_loaded(s, 77);
	m.nsids = 2;
	m.sids_hash = 5;
	m.sids = sids(mem, 1);
	report(s, m, 1);
	save(s);
	seen_free(&s);
	assert_int_equal(saved.n, 4); /* since, account, its SIDs, entry */
	for (size_t i = 0; i < saved.n; i++) {
		struct slice r = {saved.row[i].bytes, saved.row[i].len};
		struct seen_key key = saved.row[i].key;

		into = seen_new(4);
		for (; r.len > 0; r.len--) {
			if (r.len == saved.row[i].len)
				continue;
			assert_int_equal(seen_load(into, key, r), -EINVAL);
		}
		assert_int_equal(seen_load(into, key, r), -EINVAL);
		r.len = saved.row[i].len;
		/* no such slot, no such kind, another version */
		key.slot = 1U << 30;
		if (key.kind != SEEN_SINCE)
			assert_int_equal(seen_load(into, key, r), -EINVAL);
		key = saved.row[i].key;
		key.kind = SEEN_ENTRY + 1;
		assert_int_equal(seen_load(into, key, r), -EINVAL);
		saved.row[i].bytes[0]++;
		assert_int_equal(seen_load(into, saved.row[i].key, r), -EINVAL);
		assert_int_equal(seen_count(into), 0);
		seen_free(&into);
	}
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
	    cmocka_unit_test(each_way_has_its_last_time),
	    cmocka_unit_test(an_entry_has_its_last_time),
	    cmocka_unit_test(strangers_do_not_displace_servers),
	    cmocka_unit_test(sids_are_told_once_and_then_by_their_hash),
	    cmocka_unit_test(sids_have_a_bound_and_the_oldest_go_first),
	    cmocka_unit_test(what_was_seen_outlives_the_process),
	    cmocka_unit_test(the_longest_list_outlives_the_process),
	    cmocka_unit_test(sids_of_another_account_or_time_are_not_taken),
	    cmocka_unit_test(the_oldest_goes_first_in_the_next_life_too),
	    cmocka_unit_test(of_two_records_of_an_account_the_later_counts),
	    cmocka_unit_test(a_record_that_is_none_is_refused),
	    cmocka_unit_test(found_by_what_a_note_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
