/* Which SIDs and names a PAC gives, and how many. */
#include "tests/unit/keeper/pac_fixture.h"

/* --- what is taken ---------------------------------------------------------
 */

static void
every_list_is_taken_with_its_source(void **state)
{
	(void)state;
	sample();
	assert_int_equal(decode(), 0);
	assert_string_equal(out.user, "EXCH01$");
	assert_string_equal(out.domain, "CONTOSO");
	EXPECT("u:D-1103", "p:D-515", "g:D-1200", "x:S-1-18-1",
	       "x:" OTHER "-1777", "r:D-1300");
}

/* What is in the gaps says nothing, nor does the kind of name before them. */
static void
gaps_may_hold_anything(void **state)
{
	static const char *const names[] = {"", "a", "ab", "abc", "abcd"};
	uint16_t units[8];

	(void)state;
	sample();
	l.pad = 0xff;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct ndr_text t = {units, (uint16_t)i, false};

		for (size_t c = 0; c < i; c++)
			units[c] = (uint16_t)names[i][c];
		l.user = l.domain = l.full = l.home = l.server = t;
		assert_int_equal(decode(), 0);
		assert_string_equal(out.user, names[i]);
		assert_string_equal(out.domain, names[i]);
		assert_int_equal(out.nsids, 6);
	}
	l.user = l.domain = l.full = l.server = NO_TEXT;
	assert_int_equal(decode(), 0);
	assert_string_equal(out.user, "");
	assert_int_equal(out.nsids, 6);
}

static void
lists_that_are_empty_and_there(void **state)
{
	(void)state;
	sample();
	l.ngroups = l.nextra = l.nresource = 0;
	l.empty_groups = l.empty_extra = l.empty_resource = true;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515");
	l.empty_groups = l.empty_extra = l.empty_resource = false;
	l.resource_sid = NULL;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515");
	l.primary = 0;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103");
}

static void
only_enabled_groups_are_taken(void **state)
{
	(void)state;
	sample();
	l.group[1].attributes = OFF;
	l.extra[0].attributes = 0;
	l.extra[1].attributes = ON | DENY;
	l.resource[0].attributes = 0x4; /* enabled is enough */
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "r:D-1300");
	l.resource[0].attributes = RESOURCE & ~0x4U;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515");
	l.group[1].attributes = DENY;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515");
}

/* PrimaryGroupId has no attributes; its entry among the groups has. */
static void
a_primary_group_that_is_listed_has_those_attributes(void **state)
{
	(void)state;
	sample();
	l.nextra = l.nresource = 0;
	l.group[0].attributes = OFF;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "g:D-1200");
	l.group[0].attributes = ON | DENY;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "g:D-1200");
	l.group[0].rid = 516; /* not listed */
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "g:D-1200");
}

static void
what_one_list_denies_no_other_grants(void **state)
{
	(void)state;
	sample();
	l.nresource = 0;
	l.extra[1] = (struct ndr_sid){DOMAIN "-1200", ON | DENY};
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "x:S-1-18-1");
	l.group[1].attributes = DENY;
	l.extra[1].attributes = ON;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "x:S-1-18-1");
	/* The same list, both ways round. */
	l.nextra = 0;
	l.group[0] = (struct ndr_rid){1200, ON};
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515");
	l.group[0] = (struct ndr_rid){1200, DENY};
	l.group[1] = (struct ndr_rid){1200, ON};
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515");
	/* A list that does not count denies nothing either. */
	l.group[0] = (struct ndr_rid){1200, ON};
	l.resource[0] = (struct ndr_rid){1200, DENY};
	l.nresource = 1;
	l.flags = 0;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "g:D-1200");
	l.flags = RES_SET;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515");
}

static void
flags_say_which_lists_count(void **state)
{
	(void)state;
	sample();
	l.flags = 0;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "g:D-1200");
	l.flags = EXTRA_SET;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "g:D-1200", "x:S-1-18-1",
	       "x:" OTHER "-1777");
	l.flags = ~EXTRA_SET;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "g:D-1200", "r:D-1300");
	/* A list that does not count must be a list all the same. */
	l.flags = 0;
	l.extra[1].sid = NULL;
	assert_int_equal(decode(), -EPROTO);
}

/* MS-PAC 2.5: UserId 0, and the first of ExtraSids is the account. */
static void
an_account_of_another_domain(void **state)
{
	(void)state;
	sample();
	l.user_rid = l.primary = 0;
	l.ngroups = l.nresource = 0;
	l.domain_sid = l.resource_sid = NULL;
	assert_int_equal(decode(), 0);
	EXPECT("u:S-1-18-1", "x:" OTHER "-1777");
	l.extra[0].attributes = OFF;
	assert_int_equal(decode(), 0);
	EXPECT("x:" OTHER "-1777");
	l.flags = RES_SET;
	assert_int_equal(decode(), -EPROTO);
	l.flags = EXTRA_SET;
	l.nextra = 0;
	assert_int_equal(decode(), -EPROTO);
}

static void
resource_groups_are_of_their_own_domain(void **state)
{
	(void)state;
	sample();
	l.resource_sid = OTHER;
	l.nextra = 0;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "g:D-1200", "r:" OTHER "-1300");
	l.resource_sid = NULL;
	assert_int_equal(decode(), -EPROTO);
}

static void
no_sid_comes_twice(void **state)
{
	(void)state;
	sample();
	l.group[1] = (struct ndr_rid){1103, ON}; /* the user */
	l.extra[0].sid = DOMAIN "-515";		 /* the primary group */
	l.resource[0].rid = 1777;
	l.resource[1] = (struct ndr_rid){1778, ON};
	l.resource[2] = (struct ndr_rid){1778, ON};
	l.nresource = 3;
	l.resource_sid = OTHER;
	assert_int_equal(decode(), 0);
	EXPECT("u:D-1103", "p:D-515", "x:" OTHER "-1777", "r:" OTHER "-1778");
}

static void
sids_of_every_length(void **state)
{
	(void)state;
	sample();
	l.extra[0].sid = "S-1-1-0";
	l.extra[1].sid = "S-1-0xABCDEF012345-1-2-3-4-5-6-7-8-9-10-11-12-13-14-"
			 "4294967295";
	l.domain_sid = "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14";
	l.nresource = 0;
	assert_int_equal(decode(), 0);
	assert_int_equal(out.nsids, 5);
	assert_true(has("S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-1103"));
	assert_true(has("S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-515"));
	assert_true(has("S-1-1-0"));
	assert_true(has(l.extra[1].sid));
	/* No room for a RID. */
	l.domain_sid = "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15";
	assert_int_equal(decode(), -EPROTO);
	l.domain_sid = DOMAIN;
	l.resource_sid = "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15";
	assert_int_equal(decode(), -EPROTO);
}

/* --- names -----------------------------------------------------------------
 */

static void
names_become_utf8(void **state)
{
	static const uint16_t odd[] = {0xd83d, 0xde00, 0xd83d, 'x',    0xde00,
				       0,      0xdbff, 0xdfff, 0xffff, 0xdc00,
				       0xdc00, 0xd83d, 0xe000, 0xd800};

	(void)state;
	sample();
	l.user = TEXT("J\u00f6rg\u7fff\u0800");
	l.domain = (struct ndr_text){odd, ARRAY_LEN(odd), false};
	assert_int_equal(decode(), 0);
	assert_string_equal(out.user, "J\xc3\xb6rg\xe7\xbf\xbf\xe0\xa0\x80");
	assert_string_equal(out.domain,
			    "\xf0\x9f\x98\x80\xef\xbf\xbd"
			    "x\xef\xbf\xbd\xef\xbf\xbd\xf4\x8f\xbf\xbf"
			    "\xef\xbf\xbf\xef\xbf\xbd\xef\xbf\xbd"
			    "\xef\xbf\xbd\xee\x80\x80\xef\xbf\xbd");
}

static void
names_are_bounded(void **state)
{
	static uint16_t units[32767];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		units[i] = 0x20ac; /* three bytes each */
	sample();
	l.user = (struct ndr_text){units, PAC_NAME_UNITS_MAX, false};
	assert_int_equal(decode(), 0);
	assert_int_equal(strlen(out.user), PAC_NAME_MAX - 1);
	l.user.n++;
	assert_int_equal(decode(), -EPROTO);
	sample();
	l.domain = (struct ndr_text){units, PAC_NAME_UNITS_MAX + 1, false};
	assert_int_equal(decode(), -EPROTO);
	/* Those that nobody reads may be as long as they can be. */
	sample();
	l.home = (struct ndr_text){units, ARRAY_LEN(units), false};
	assert_int_equal(decode(), 0);
	assert_int_equal(out.nsids, 6);
}

/* --- how many ---------------------------------------------------------------
 */

static void
fill_groups(size_t n)
{
	sample();
	l.nextra = l.nresource = 0;
	l.ngroups = n;
	for (size_t i = 0; i < n; i++)
		l.group[i] = (struct ndr_rid){(uint32_t)(2000 + i), ON};
}

static void
as_many_sids_as_there_may_be(void **state)
{
	(void)state;
	fill_groups(IDENTITY_SIDS_MAX - 2); /* user and primary group */
	assert_int_equal(decode(), 0);
	assert_int_equal(out.nsids, IDENTITY_SIDS_MAX);
	assert_true(has(DOMAIN "-2000"));
	assert_true(has(DOMAIN "-3197"));
	assert_false(has(DOMAIN "-3198"));
	/* The same once more, and some that do not count. */
	l.extra[0] = (struct ndr_sid){DOMAIN "-2000", ON};
	l.extra[1] = (struct ndr_sid){DOMAIN "-9999", OFF};
	l.extra[2] = (struct ndr_sid){DOMAIN "-2001", ON | DENY};
	l.nextra = 3;
	assert_int_equal(decode(), 0);
	assert_int_equal(out.nsids, IDENTITY_SIDS_MAX - 1);
	assert_false(has(DOMAIN "-2001"));
}

static void
too_many_sids_are_none(void **state)
{
	(void)state;
	fill_groups(IDENTITY_SIDS_MAX - 1);
	assert_int_equal(decode(), -E2BIG);
	fill_groups(NDR_LIST_MAX);
	assert_int_equal(decode(), -E2BIG);
	fill_groups(IDENTITY_SIDS_MAX - 2);
	l.extra[0] = (struct ndr_sid){"S-1-18-1", ON};
	l.nextra = 1;
	assert_int_equal(decode(), -E2BIG);
	l.flags = 0;
	assert_int_equal(decode(), 0);
	fill_groups(IDENTITY_SIDS_MAX - 2);
	l.resource[0] = (struct ndr_rid){1, ON};
	l.nresource = 1;
	assert_int_equal(decode(), -E2BIG);
	/* Broken counts for more than large. */
	fill_groups(NDR_LIST_MAX);
	l.domain_sid = NULL;
	assert_int_equal(decode(), -EPROTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_list_is_taken_with_its_source),
	    cmocka_unit_test(gaps_may_hold_anything),
	    cmocka_unit_test(lists_that_are_empty_and_there),
	    cmocka_unit_test(only_enabled_groups_are_taken),
	    cmocka_unit_test(
		a_primary_group_that_is_listed_has_those_attributes),
	    cmocka_unit_test(what_one_list_denies_no_other_grants),
	    cmocka_unit_test(flags_say_which_lists_count),
	    cmocka_unit_test(an_account_of_another_domain),
	    cmocka_unit_test(resource_groups_are_of_their_own_domain),
	    cmocka_unit_test(no_sid_comes_twice),
	    cmocka_unit_test(sids_of_every_length),
	    cmocka_unit_test(names_become_utf8),
	    cmocka_unit_test(names_are_bounded),
	    cmocka_unit_test(as_many_sids_as_there_may_be),
	    cmocka_unit_test(too_many_sids_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
