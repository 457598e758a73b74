/* What is no PAC to us. */
#include "tests/unit/keeper/pac_fixture.h"

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
