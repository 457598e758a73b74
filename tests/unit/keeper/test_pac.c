/* Which SIDs a PAC gives, and what is no PAC to us. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "tests/unit/keeper/ndr_make.h"
#include "worker/keeper/pac.h"
#include "shm/base/log.h"

#define ON	  0x00000007U /* mandatory, default, enabled */
#define OFF	  0x00000003U
#define DENY	  0x00000010U
#define RESOURCE  0x20000007U
#define EXTRA_SET 0x20U
#define RES_SET	  0x200U

#define DOMAIN "S-1-5-21-1111111111-2222222222-3333333333"
#define OTHER  "S-1-5-21-1004336348-1177238915-682003330"
#define TEXT(s)                                                              \
	((struct ndr_text){(const uint16_t *)(u"" s), sizeof(u"" s) / 2 - 1, \
			   false})
#define NO_TEXT ((struct ndr_text){NULL, 0, true})

static struct ndr_logon l;
static struct pac_logon out;
static const char *why;

/* The server EXCH01$, as a Windows DC would put it. */
static void
sample(void)
{
	memset(&l, 0, sizeof(l));
	l.user = TEXT("EXCH01$");
	l.full = TEXT("");
	l.script = l.profile = l.home = l.drive = NO_TEXT;
	l.server = TEXT("DC1");
	l.domain = TEXT("CONTOSO");
	l.domain_sid = DOMAIN;
	l.user_rid = 1103;
	l.primary = 515;
	l.flags = EXTRA_SET | RES_SET;
	l.group[0] = (struct ndr_rid){515, ON};
	l.group[1] = (struct ndr_rid){1200, ON};
	l.ngroups = 2;
	l.extra[0] = (struct ndr_sid){"S-1-18-1", ON};
	l.extra[1] = (struct ndr_sid){OTHER "-1777", ON};
	l.nextra = 2;
	l.resource_sid = DOMAIN;
	l.resource[0] = (struct ndr_rid){1300, RESOURCE};
	l.nresource = 1;
}

/* Invariants of every result. */
static void
check_result(int e)
{
	assert_true(out.nsids <= IDENTITY_SIDS_MAX);
	assert_true(strlen(out.user) < PAC_NAME_MAX);
	assert_true(strlen(out.domain) < PAC_NAME_MAX);
	if (e != 0) {
		assert_non_null(why);
		assert_int_equal(out.nsids, 0);
		assert_string_equal(out.user, "");
		assert_string_equal(out.domain, "");
		return;
	}
	assert_null(why);
	for (size_t i = 0; i < out.nsids; i++) {
		assert_true(sid_valid(out.sid[i].bytes, out.sid[i].len));
		if (i > 0)
			assert_true(out.sid[i - 1].source <= out.sid[i].source);
	}
}

static int
decode_bytes(const uint8_t *p, size_t len)
{
	/* Of its exact size, so that a sanitizer sees a step too far; what
	 * stood in the result before must not shine through. */
	uint8_t *copy = malloc(len == 0 ? 1 : len);
	int e;

	assert_non_null(copy);
	memcpy(copy, p, len);
	memset(&out, 0xa5, sizeof(out));
	e = pac_decode((struct slice){(const char *)copy, len}, &out, &why);
	free(copy);
	check_result(e);
	return e;
}

static int
decode(void)
{
	const struct ndr_made *m = ndr_make(&l);

	return decode_bytes(m->p, m->len);
}

/* The SIDs are exactly these: "u:…" user, p, g, x, r; DOMAIN is written "D". */
static void
expect(const char *const *sids, size_t n)
{
	static const char letter[] = "upgxr";
	char text[SID_TEXT_MAX], got[SID_TEXT_MAX + 4];

	for (size_t i = 0; i < n && i < out.nsids; i++) {
		const char *s;

		assert_int_equal(
		    sid_text(out.sid[i].bytes, out.sid[i].len, text), 0);
		s = strncmp(text, DOMAIN "-", sizeof(DOMAIN)) == 0
			? text + sizeof(DOMAIN) - 1
			: text;
		snprintf(got, sizeof(got), "%c:%s%s", letter[out.sid[i].source],
			 s == text ? "" : "D", s);
		assert_string_equal(got, sids[i]);
	}
	assert_int_equal(out.nsids, n);
}

#define EXPECT(...)                                            \
	do {                                                   \
		static const char *const e_[] = {__VA_ARGS__}; \
		expect(e_, ARRAY_LEN(e_));                     \
	} while (0)

static bool
has(const char *sid)
{
	uint8_t b[SID_BYTES_MAX];
	int len = sid_parse(slice_of(sid), b);

	assert_true(len > 0);
	for (size_t i = 0; i < out.nsids; i++)
		if (out.sid[i].len == len &&
		    memcmp(out.sid[i].bytes, b, (size_t)len) == 0)
			return true;
	return false;
}

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

/* --- what is no PAC ---------------------------------------------------------
 */

static void
every_cut_is_refused(void **state)
{
	struct ndr_made *m;
	size_t len;

	(void)state;
	sample();
	m = ndr_make(&l);
	len = m->len;
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(decode_bytes(m->p, cut), -EPROTO);
	/* Its length says so: every object but the whole one. */
	for (size_t size = 0; size < len - NDR_HEAD; size += 8) {
		ndr_set32(m, 8, (uint32_t)size);
		assert_int_equal(decode_bytes(m->p, NDR_HEAD + size), -EPROTO);
		assert_int_equal(decode_bytes(m->p, len), -EPROTO);
	}
	assert_int_equal(decode_bytes(m->p, 0), -EPROTO);
}

static void
headers(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		int result;
	} spoilt[] = {
	    {0, 0, -EPROTO},	{0, 2, -EPROTO},     {1, 0, -EPROTO},
	    {1, 0x11, -EPROTO}, {2, 7, -EPROTO},     {2, 16, -EPROTO},
	    {3, 1, -EPROTO},	{4, 0, 0},	     {7, 1, 0},
	    {11, 1, -EPROTO},	{11, 0xff, -EPROTO}, {12, 1, 0},
	    {15, 0xff, 0},
	};
	struct ndr_made *m;
	uint32_t size;

	(void)state;
	sample();
	for (size_t i = 0; i < ARRAY_LEN(spoilt); i++) {
		m = ndr_make(&l);
		m->p[spoilt[i].at] = spoilt[i].value;
		assert_int_equal(decode_bytes(m->p, m->len), spoilt[i].result);
	}
	m = ndr_make(&l);
	size = (uint32_t)m->len - NDR_HEAD;
	for (uint32_t off = 1; off < 8; off++) {
		ndr_set32(m, 8, size - off);
		assert_int_equal(decode_bytes(m->p, m->len), -EPROTO);
		ndr_set32(m, 8, size + off);
		assert_int_equal(decode_bytes(m->p, m->len + off), -EPROTO);
	}
	ndr_set32(m, 8, size + 8);
	assert_int_equal(decode_bytes(m->p, m->len), -EPROTO);
	/* More than its own length needs, within the object and behind it. */
	assert_int_equal(decode_bytes(m->p, m->len + 8), 0);
	ndr_set32(m, 8, size);
	assert_int_equal(decode_bytes(m->p, m->len + 5), 0);
	assert_int_equal(out.nsids, 6);
}

static void
pointers_and_counts_agree(void **state)
{
	static const struct {
		enum ndr_field at;
		uint32_t value;
	} spoilt[] = {
	    {AT_TOP_REF, 0},
	    /* lengths of a text: bytes in the lower half, room above */
	    {AT_USER_BYTES, 0x000e000d},
	    {AT_USER_BYTES, 0x000d000e},
	    {AT_USER_BYTES, 0x000e0010},
	    {AT_USER_BYTES, 0x000c000e},
	    {AT_USER_BYTES, 0x0010000e},
	    {AT_USER_BYTES, 0x000e000c},
	    {AT_USER_BYTES, 0xfffffffe},
	    {AT_USER_REF, 0},
	    {AT_USER_MAX, 6},
	    {AT_USER_MAX, 8},
	    {AT_USER_MAX, UINT32_MAX},
	    {AT_USER_OFFSET, 1},
	    {AT_USER_OFFSET, UINT32_MAX},
	    {AT_USER_ACTUAL, 6},
	    {AT_USER_ACTUAL, 8},
	    {AT_USER_ACTUAL, UINT32_MAX},
	    {AT_FULL_BYTES, 0x00020002},
	    {AT_DOMAIN_BYTES, 0x000e0010},
	    {AT_DOMAIN_REF, 0},
	    {AT_DOMAIN_MAX, 8},
	    {AT_DOMAIN_ACTUAL, 0},
	    {AT_NGROUPS, 0},
	    {AT_NGROUPS, 1},
	    {AT_NGROUPS, 3},
	    {AT_NGROUPS, UINT32_MAX},
	    {AT_NGROUPS, 0x20000002},
	    {AT_GROUPS_REF, 0},
	    {AT_GROUPS_MAX, 0},
	    {AT_GROUPS_MAX, 3},
	    {AT_GROUPS_MAX, UINT32_MAX},
	    {AT_DOMAIN_SID_REF, 0},
	    {AT_DOMAIN_SID_SUBS, 0},
	    {AT_DOMAIN_SID_SUBS, 3},
	    {AT_DOMAIN_SID_SUBS, 5},
	    {AT_DOMAIN_SID_SUBS, 16},
	    {AT_DOMAIN_SID_SUBS, UINT32_MAX},
	    {AT_DOMAIN_SID, 0x0402}, /* revision 2 */
	    {AT_DOMAIN_SID, 0x0301}, /* says less than is there */
	    {AT_DOMAIN_SID, 0x0501},
	    {AT_NEXTRA, 0},
	    {AT_NEXTRA, 1},
	    {AT_NEXTRA, 3},
	    {AT_NEXTRA, UINT32_MAX},
	    {AT_EXTRA_REF, 0},
	    {AT_EXTRA_MAX, 1},
	    {AT_EXTRA_MAX, UINT32_MAX},
	    {AT_EXTRA, 0}, /* the first pointer */
	    {AT_EXTRA_SID_SUBS, 0},
	    {AT_EXTRA_SID_SUBS, 2},
	    {AT_EXTRA_SID_SUBS, 0x40000001},
	    {AT_EXTRA_SID, 0x0100},
	    {AT_RESOURCE_DOMAIN_REF, 0},
	    {AT_RESOURCE_DOMAIN_SUBS, 15},
	    {AT_RESOURCE_DOMAIN, 0x0001},
	    {AT_NRESOURCE, 0},
	    {AT_NRESOURCE, 2},
	    {AT_RESOURCE_REF, 0},
	    {AT_RESOURCE_MAX, 0},
	    {AT_RESOURCE_MAX, 2},
	};
	struct ndr_made *m;

	(void)state;
	sample();
	for (size_t i = 0; i < ARRAY_LEN(spoilt); i++) {
		m = ndr_make(&l);
		assert_true(m->at[spoilt[i].at] >= NDR_HEAD);
		ndr_set32(m, m->at[spoilt[i].at], spoilt[i].value);
		if (decode_bytes(m->p, m->len) != -EPROTO)
			fail_msg("field %u as %#x is taken",
				 (unsigned)spoilt[i].at, spoilt[i].value);
	}
	/* A pointer is there or not: its value is of no account. */
	m = ndr_make(&l);
	ndr_set32(m, m->at[AT_GROUPS_REF], 1);
	ndr_set32(m, m->at[AT_EXTRA_REF], 1);
	ndr_set32(m, m->at[AT_EXTRA], 1);
	assert_int_equal(decode_bytes(m->p, m->len), 0);
	assert_int_equal(out.nsids, 6);
}

/* A text with more room than it uses: Windows has the NUL there. */
static void
a_text_may_have_room_left(void **state)
{
	struct ndr_made *m;

	(void)state;
	sample();
	m = ndr_make(&l);
	ndr_set32(m, m->at[AT_USER_BYTES], 0x0010000e);
	ndr_set32(m, m->at[AT_USER_MAX], 8);
	assert_int_equal(decode_bytes(m->p, m->len), 0);
	assert_string_equal(out.user, "EXCH01$");
	assert_int_equal(out.nsids, 6);
}

/* Lengths of which every one would do by itself. */
static void
lengths_of_a_text(void **state)
{
	static const struct {
		uint16_t bytes, room, max, actual;
	} wrong[] = {
	    {15, 16, 8, 7}, {13, 14, 7, 6}, {14, 15, 7, 7}, {14, 12, 6, 7}};
	static const uint16_t units[3];
	struct ndr_made *m;

	(void)state;
	sample();
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		m = ndr_make(&l);
		ndr_set32(m, m->at[AT_USER_BYTES],
			  wrong[i].bytes | (uint32_t)wrong[i].room << 16);
		ndr_set32(m, m->at[AT_USER_MAX], wrong[i].max);
		ndr_set32(m, m->at[AT_USER_ACTUAL], wrong[i].actual);
		assert_int_equal(decode_bytes(m->p, m->len), -EPROTO);
	}
	/* A text that is not there has no length, but may have room. */
	l.script = (struct ndr_text){units, 3, true};
	assert_int_equal(decode(), -EPROTO);
	l.script.n = 0;
	m = ndr_make(&l);
	ndr_set32(m, m->at[AT_FULL_BYTES] + 8, 0x00040000);
	assert_int_equal(decode_bytes(m->p, m->len), 0);
}

static void
a_domain_is_needed_for_rids(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 3; which++) {
		sample();
		l.nresource = 0;
		l.domain_sid = NULL;
		if (which != 0)
			l.user_rid = 0;
		if (which != 1)
			l.primary = 0;
		if (which != 2)
			l.ngroups = 0;
		assert_int_equal(decode(), -EPROTO);
	}
	l.ngroups = 0;
	assert_int_equal(decode(), 0);
}

/* Nothing that is one bit away leads astray; the invariants hold. */
static void
every_bit_may_be_wrong(void **state)
{
	struct ndr_made *m;
	size_t taken = 0;

	(void)state;
	sample();
	m = ndr_make(&l);
	for (size_t bit = 0; bit < m->len * 8; bit++) {
		m->p[bit / 8] ^= (uint8_t)(1U << bit % 8);
		taken += decode_bytes(m->p, m->len) == 0;
		m->p[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_true(taken > 0);
	assert_int_equal(decode_bytes(m->p, m->len), 0);
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
	    cmocka_unit_test(every_cut_is_refused),
	    cmocka_unit_test(headers),
	    cmocka_unit_test(pointers_and_counts_agree),
	    cmocka_unit_test(a_text_may_have_room_left),
	    cmocka_unit_test(lengths_of_a_text),
	    cmocka_unit_test(a_domain_is_needed_for_rids),
	    cmocka_unit_test(every_bit_may_be_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
