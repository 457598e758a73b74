/*
 * The authorization table: what it decides, also when it is large.
 */
#include <errno.h>

#include "shm/base/clock.h"
#include "tests/unit/shm/table_fixture.h"

/* --- decisions
 * ----------------------------------------------------------------- */

static void
an_account_is_found_by_sid_principal_or_certificate(void **state)
{
	struct table_in in[] = {
	    BY_SID(1, USER, SERVER_EXCHANGE),
	    BY_NAME(2, "sp01$@R.TEST", SERVER_SHAREPOINT),
	    BY_CERT(3, "CN=fci01", SERVER_FCI),
	};
	struct table *t = build(in, ARRAY_LEN(in));
	struct table_hit h;

	(void)state;
	person(MECH_KERBEROS, "exch01$@CONTOSO.TEST");
	has_sid(SID_USER, USER);
	h = decide(t);
	assert_int_equal(h.verdict, VERDICT_ALLOW);
	assert_int_equal(h.role, SERVER_EXCHANGE);
	assert_int_equal(h.entry, 1);
	assert_int_equal(h.kind, SUBJECT_SID);
	assert_true(slice_is(h.name, "a name"));
	assert_int_equal(h.matches, 1);
	assert_false(h.conflict);
	assert_int_equal(h.other, 0);

	person(MECH_NTLM, "sp01$@R.TEST");
	assert_int_equal(decide(t).entry, 2);
	person(MECH_CERT, "CN=fci01");
	assert_int_equal(decide(t).entry, 3);
	assert_int_equal(decide(t).role, SERVER_FCI);
	table_unmap(&t);
	assert_null(t);
}

/* An entry may name the issuer too: then no other's certificate will do. */
static void
a_certificate_is_found_with_its_issuer(void **state)
{
	struct table_in in[] = {
	    BY_CERT(1, "<I>CN=Root A<S>CN=fci01", SERVER_FCI),
	    BY_CERT(2, "CN=fci02", SERVER_FCI),
	    BY_CERT(3, "<I>CN=Root A<S>CN=fci02", SERVER_SHAREPOINT),
	};
	struct table *t = build(in, ARRAY_LEN(in));
	struct table_hit h;

	(void)state;
	person(MECH_CERT, "CN=fci01");
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	snprintf(who.id.spn, sizeof(who.id.spn), "CN=Root B");
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	snprintf(who.id.spn, sizeof(who.id.spn), "CN=Root A");
	assert_int_equal(decide(t).entry, 1);
	/* both name it: that is a conflict like any other */
	person(MECH_CERT, "CN=fci02");
	snprintf(who.id.spn, sizeof(who.id.spn), "CN=Root A");
	h = decide(t);
	assert_int_equal(h.matches, 2);
	assert_true(h.conflict);
	/* nor is it a way for who is no certificate */
	person(MECH_KERBEROS, "CN=fci01");
	snprintf(who.id.spn, sizeof(who.id.spn), "CN=Root A");
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	/* too long for any entry: looked up without it */
	person(MECH_CERT, "");
	memset(who.id.principal, 'x', sizeof(who.id.principal) - 1);
	memset(who.id.spn, 'y', sizeof(who.id.spn) - 1);
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	table_unmap(&t);
}

/* One who can choose a certificate's subject must not become a principal. */
static void
kinds_do_not_pass_for_each_other(void **state)
{
	struct slice s = sid(USER);
	char raw[SID_BYTES_MAX + 1] = {0};
	struct table_in in[] = {
	    BY_NAME(1, "CN=x", SERVER_EXCHANGE),
	    BY_CERT(2, "exch01$@R", SERVER_EXCHANGE),
	    entry(3, SUBJECT_SID, s, SERVER_EXCHANGE),
	};
	struct table *t = build(in, ARRAY_LEN(in));

	(void)state;
	person(MECH_CERT, "CN=x");
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	person(MECH_KERBEROS, "exch01$@R");
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	memcpy(raw, s.p, s.len);
	person(MECH_KERBEROS, raw);
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	/* Byte for byte. */
	person(MECH_CERT, "EXCH01$@R");
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	person(MECH_CERT, "exch01$@R ");
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	table_unmap(&t);
}

static void
nobody_gets_in_without_a_match(void **state)
{
	struct table_in in[] = {BY_SID(1, USER, SERVER_EXCHANGE)};
	struct table *t = build(in, 1), *empty = build(NULL, 0);
	struct table_hit h;

	(void)state;
	person(MECH_KERBEROS, "stranger@R");
	has_sid(SID_USER, STRANGER);
	has_sid(SID_GROUP, GROUP_A);
	h = decide(t);
	assert_int_equal(h.verdict, VERDICT_NO_MATCH);
	assert_int_equal(h.role, SERVER_NONE);
	assert_int_equal(h.entry, 0);
	person(MECH_KERBEROS, "");
	assert_int_equal(decide(t).verdict, VERDICT_NO_MATCH);
	assert_int_equal(decide(empty).verdict, VERDICT_EMPTY);
	assert_int_equal(table_len(empty), 0);
	assert_int_equal(decide(NULL).verdict, VERDICT_NO_TABLE);
	assert_int_equal(decide(NULL).role, SERVER_NONE);
	table_unmap(&t);
	table_unmap(&empty);
}

static void
the_account_goes_before_its_groups(void **state)
{
	struct table_in in[] = {
	    BY_SID(1, GROUP_A, SERVER_FCI),
	    BY_SID(2, USER, SERVER_EXCHANGE),
	    BY_SID(3, GROUP_B, SERVER_SHAREPOINT),
	};
	struct table *t = build(in, ARRAY_LEN(in));
	struct table_hit h;

	(void)state;
	person(MECH_KERBEROS, "x@R");
	has_sid(SID_PRIMARY_GROUP, GROUP_A);
	has_sid(SID_USER, USER);
	has_sid(SID_EXTRA, GROUP_B);
	h = decide(t);
	assert_int_equal(h.entry, 2);
	assert_int_equal(h.role, SERVER_EXCHANGE);
	assert_int_equal(h.matches, 3);
	assert_true(h.conflict);
	assert_int_equal(h.other, 1);
	table_unmap(&t);
}

static void
among_equals_less_privilege_then_the_lower_id(void **state)
{
	struct table_in in[] = {
	    BY_SID(5, GROUP_A, SERVER_EXCHANGE),
	    BY_SID(9, GROUP_B, SERVER_FCI),
	    BY_SID(7, "S-1-5-21-1-2-3-2003", SERVER_SHAREPOINT),
	    BY_SID(8, "S-1-5-21-1-2-3-2004", SERVER_SHAREPOINT),
	};
	struct table *t = build(in, ARRAY_LEN(in));
	struct table_hit h;

	(void)state;
	person(MECH_KERBEROS, "x@R");
	has_sid(SID_GROUP, GROUP_A);
	h = decide(t);
	assert_int_equal(h.entry, 5);
	assert_false(h.conflict);
	has_sid(SID_RESOURCE, GROUP_B);
	h = decide(t);
	assert_int_equal(h.entry, 9); /* although 5 is lower */
	assert_true(h.conflict);
	assert_int_equal(h.other, 5);
	has_sid(SID_GROUP, "S-1-5-21-1-2-3-2004");
	has_sid(SID_GROUP, "S-1-5-21-1-2-3-2003");
	h = decide(t);
	assert_int_equal(h.entry, 7);
	assert_int_equal(h.other, 9); /* the best of those that disagree */
	assert_int_equal(h.matches, 4);
	table_unmap(&t);
}

static void
entries_that_agree_are_no_conflict(void **state)
{
	struct table_in in[] = {
	    BY_SID(1, GROUP_A, SERVER_FCI),
	    BY_SID(2, GROUP_B, SERVER_FCI),
	    BY_NAME(3, "x@R", SERVER_FCI),
	};
	struct table *t = build(in, ARRAY_LEN(in));
	struct table_hit h;

	(void)state;
	person(MECH_KERBEROS, "x@R");
	has_sid(SID_GROUP, GROUP_A);
	has_sid(SID_GROUP, GROUP_B);
	/* The same group twice is one match. */
	has_sid(SID_PRIMARY_GROUP, GROUP_A);
	h = decide(t);
	assert_int_equal(h.entry, 3);
	assert_int_equal(h.matches, 3);
	assert_false(h.conflict);
	assert_int_equal(h.other, 0);
	table_unmap(&t);
}

/* What is told of a decision is the decision, in order and with its cause. */
static void
the_entries_that_match_are_told_in_order(void **state)
{
	struct table_in in[] = {
	    BY_SID(5, GROUP_A, SERVER_EXCHANGE), BY_SID(9, GROUP_B, SERVER_FCI),
	    BY_NAME(30, "x@R", SERVER_EXCHANGE), BY_SID(2, USER, SERVER_FCI),
	    BY_SID(8, STRANGER, SERVER_FCI),
	};
	struct table_matching m[8];
	struct table *t;

	(void)state;
	in[3].expires = NOW; /* the account's own, but no more */
	t = build(in, ARRAY_LEN(in));
	person(MECH_KERBEROS, "x@R");
	has_sid(SID_USER, USER);
	has_sid(SID_GROUP, GROUP_A);
	has_sid(SID_EXTRA, GROUP_B);
	memset(m, 0xee, sizeof(m));
	assert_int_equal(table_matching(t, &who.id, NOW, m, 8), 4);
	assert_int_equal(m[0].entry.id, decide(t).entry);
	assert_int_equal(m[0].entry.id, 30);
	assert_true(m[0].account && m[0].live);
	assert_true(m[0].by == TABLE_BY_PRINCIPAL);
	assert_int_equal(m[1].entry.id, 9); /* less privilege than 5 */
	assert_false(m[1].account);
	assert_int_equal(m[1].by, 2);
	assert_int_equal(m[2].entry.id, 5);
	assert_int_equal(m[2].by, 1);
	assert_int_equal(m[3].entry.id, 2);
	assert_true(m[3].account && !m[3].live);
	assert_int_equal(m[3].by, 0);
	/* all are counted, no more written than there is room for */
	memset(m, 0xee, sizeof(m));
	assert_int_equal(table_matching(t, &who.id, NOW, m, 1), 4);
	assert_int_equal(m[0].entry.id, 30);
	assert_int_equal(m[1].entry.id, 0xeeeeeeee);
	assert_int_equal(table_matching(t, &who.id, NOW, NULL, 0), 4);
	assert_int_equal(table_matching(NULL, &who.id, NOW, m, 8), 0);
	table_unmap(&t);
}

/* A SID that is both the user's and listed as a group names the account. */
static void
a_sid_seen_as_user_and_group_counts_as_user(void **state)
{
	struct table_in in[] = {
	    BY_SID(1, GROUP_A, SERVER_FCI),
	    BY_SID(2, USER, SERVER_EXCHANGE),
	};
	struct table *t = build(in, ARRAY_LEN(in));

	(void)state;
	person(MECH_KERBEROS, "x@R");
	has_sid(SID_GROUP, GROUP_A);
	has_sid(SID_EXTRA, USER);
	assert_int_equal(decide(t).entry, 1);
	has_sid(SID_USER, USER);
	assert_int_equal(decide(t).entry, 2);
	table_unmap(&t);
}

static void
an_expired_entry_does_not_count(void **state)
{
	struct table_in in[] = {
	    BY_SID(1, USER, SERVER_EXCHANGE),
	    BY_SID(2, GROUP_A, SERVER_FCI),
	};
	struct table *t;
	struct table_hit h;

	(void)state;
	in[0].expires = NOW;
	t = build(in, ARRAY_LEN(in));
	person(MECH_KERBEROS, "x@R");
	has_sid(SID_USER, USER);
	h = decide(t);
	assert_int_equal(h.verdict, VERDICT_EXPIRED);
	assert_int_equal(h.role, SERVER_NONE);
	assert_int_equal(h.entry, 1);
	assert_true(slice_is(h.name, "a name"));
	/* A second earlier it held. */
	table_decide(t, &who.id, NOW - 1, &h);
	assert_int_equal(h.verdict, VERDICT_ALLOW);
	/* Another match decides, and the dead one is no conflict. */
	has_sid(SID_GROUP, GROUP_A);
	h = decide(t);
	assert_int_equal(h.verdict, VERDICT_ALLOW);
	assert_int_equal(h.entry, 2);
	assert_int_equal(h.matches, 1);
	assert_false(h.conflict);
	table_unmap(&t);
}

/* --- size
 * ------------------------------------------------------------------------ */

#define MANY 100000

static void
a_hundred_thousand_entries(void **state)
{
	struct table_in *in = calloc(MANY, sizeof(*in)), out;
	uint8_t(*key)[28] = calloc(MANY, sizeof(*key));
	uint64_t start;
	struct table *t;
	struct table_hit h;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		char text[64];
		uint8_t b[SID_BYTES_MAX];

		snprintf(text, sizeof(text), "S-1-5-21-11-22-33-%u", i);
		assert_int_equal(sid_parse(slice_of(text), b), 28);
		memcpy(key[i], b, 28);
		in[i] =
		    entry(i + 1, SUBJECT_SID,
			  (struct slice){(const char *)key[i], 28}, SERVER_FCI);
	}
	t = build(in, MANY);
	assert_int_equal(table_len(t), MANY);
	assert_true(table_generation(t) == 42);
	assert_true(table_built_ns(t) <= clock_real_ns());
	for (uint32_t i = 0; i < MANY; i += 7) {
		person(MECH_KERBEROS, "x@R");
		who.id.nsids = 1;
		who.sids[0].len = 28;
		memcpy(who.sids[0].bytes, key[i], 28);
		h = decide(t);
		assert_int_equal(h.entry, i + 1);
		table_entry(t, i, &out);
		assert_int_equal(out.id, i + 1);
		assert_true(slice_eq(out.key, in[i].key));
		assert_true(slice_eq(out.name, in[i].name));
		assert_int_equal(out.role, SERVER_FCI);
		assert_int_equal(out.kind, SUBJECT_SID);
	}
	/* An account with 1,015 groups, none of them in the table. */
	person(MECH_KERBEROS, "x@R");
	for (int i = 0; i < 1015; i++) {
		char text[64];

		snprintf(text, sizeof(text), "S-1-5-21-11-22-34-%d", i);
		has_sid(SID_GROUP, text);
	}
	start = clock_mono_ns();
	h = decide(t);
	print_message("1,015 groups among %d entries: %llu us\n", MANY,
		      (unsigned long long)((clock_mono_ns() - start) / 1000));
	assert_int_equal(h.verdict, VERDICT_NO_MATCH);
	table_unmap(&t);
	free(in);
	free(key);
}

static uint32_t
bit_of_rid(const struct hash_key *key, uint32_t rid)
{
	char text[64];
	uint8_t b[SID_BYTES_MAX];

	snprintf(text, sizeof(text), "S-1-5-21-11-22-682003330-%u", rid);
	assert_int_equal(sid_parse(slice_of(text), b), 28);
	return table_filter_bit(key, 262144, SUBJECT_SID, b, 28);
}

/* RIDs that follow each other: with the first key they fell upon each other
 * when the filter multiplied once only. */
static void
groups_of_one_domain_share_few_bits(void **state)
{
	struct hash_key keys[4] = {
	    {UINT64_C(0x55461fde64ae2224), UINT64_C(0x460705599be75da3)}};

	(void)state;
	for (size_t i = 1; i < ARRAY_LEN(keys); i++)
		hash_key_new(&keys[i]);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		uint8_t *filter = calloc(262144, 1);
		unsigned shared = 0;

		for (uint32_t rid = 1000; rid < 1000 + MANY; rid++) {
			uint32_t bit = bit_of_rid(&keys[i], rid);

			filter[bit / 8] |= (uint8_t)(1U << bit % 8);
		}
		for (uint32_t rid = 1000 + MANY; rid < 11000 + MANY; rid++) {
			uint32_t bit = bit_of_rid(&keys[i], rid);

			shared += filter[bit / 8] >> bit % 8 & 1;
		}
		assert_in_range(shared, 100, 800); /* 1 in 21 is to be had */
		free(filter);
	}
}

static void
every_sid_of_the_largest_identity_may_match(void **state)
{
	static struct table_matching m[IDENTITY_SIDS_MAX + 1];
	struct table_in *in = calloc(IDENTITY_SIDS_MAX + 1, sizeof(*in));
	struct table *t;

	(void)state;
	person(MECH_KERBEROS, "x@R");
	for (uint32_t i = 0; i < IDENTITY_SIDS_MAX; i++) {
		char text[64];

		snprintf(text, sizeof(text), "S-1-5-21-1-1-1-%u", i);
		has_sid(SID_GROUP, text);
		in[i] = entry(i + 1, SUBJECT_SID,
			      (struct slice){(const char *)who.sids[i].bytes,
					     who.sids[i].len},
			      SERVER_FCI);
	}
	in[IDENTITY_SIDS_MAX] = BY_NAME(99999, "x@R", SERVER_EXCHANGE);
	t = build(in, IDENTITY_SIDS_MAX + 1);
	assert_int_equal(decide(t).matches, IDENTITY_SIDS_MAX + 1);
	assert_int_equal(decide(t).entry, 99999);
	assert_int_equal(decide(t).other, 1);
	assert_int_equal(table_matching(t, &who.id, NOW, m, ARRAY_LEN(m)),
			 ARRAY_LEN(m));
	assert_int_equal(m[0].by, TABLE_BY_PRINCIPAL);
	for (uint32_t i = 0; i < IDENTITY_SIDS_MAX; i++) {
		assert_int_equal(m[i + 1].entry.id, i + 1);
		assert_int_equal(m[i + 1].by, i);
	}
	table_unmap(&t);
	free(in);
}

/* --- names
 * --------------------------------------------------------------------
 */

static void
roles_have_names_both_ways(void **state)
{
	enum server_role r;

	(void)state;
	for (unsigned i = SERVER_EXCHANGE; i < SERVER_ROLE_MAX; i++) {
		assert_int_equal(
		    server_role_parse(
			slice_of(server_role_name((enum server_role)i)), &r),
		    0);
		assert_int_equal(r, i);
	}
	assert_int_equal(server_role_parse(SLICE_LIT("Exchange"), &r), 0);
	assert_int_equal(server_role_parse(SLICE_LIT(""), &r), -EINVAL);
	assert_int_equal(server_role_parse(SLICE_LIT("exchang"), &r), -EINVAL);
	assert_string_equal(server_role_name(SERVER_NONE), "");
	for (unsigned v = VERDICT_ALLOW; v <= VERDICT_NO_TABLE; v++)
		assert_true(strlen(verdict_text((enum verdict)v)) > 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		an_account_is_found_by_sid_principal_or_certificate),
	    cmocka_unit_test(a_certificate_is_found_with_its_issuer),
	    cmocka_unit_test(kinds_do_not_pass_for_each_other),
	    cmocka_unit_test(nobody_gets_in_without_a_match),
	    cmocka_unit_test(the_account_goes_before_its_groups),
	    cmocka_unit_test(among_equals_less_privilege_then_the_lower_id),
	    cmocka_unit_test(entries_that_agree_are_no_conflict),
	    cmocka_unit_test(the_entries_that_match_are_told_in_order),
	    cmocka_unit_test(a_sid_seen_as_user_and_group_counts_as_user),
	    cmocka_unit_test(an_expired_entry_does_not_count),
	    cmocka_unit_test(a_hundred_thousand_entries),
	    cmocka_unit_test(groups_of_one_domain_share_few_bits),
	    cmocka_unit_test(every_sid_of_the_largest_identity_may_match),
	    cmocka_unit_test(roles_have_names_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
