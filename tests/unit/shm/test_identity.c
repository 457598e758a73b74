/*
 * Identities through a message, and SIDs in both forms.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/identity.h"
#include "shm/ipc.h"
#include "shm/base/log.h"

static uint8_t body[IPC_BODY_MAX];

/* --- SIDs --------------------------------------------------------------------
 */

static int
parse(const char *text, uint8_t out[SID_BYTES_MAX])
{
	return sid_parse(slice_of(text), out);
}

static void
known_sids_have_their_bytes(void **state)
{
	static const struct {
		const char *text;
		uint8_t bytes[28];
		int len;
	} known[] = {
	    {"S-1-1-0", {1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 12},
	    {"S-1-5-11", {1, 1, 0, 0, 0, 0, 0, 5, 11, 0, 0, 0}, 12},
	    {"S-1-5-32-544",
	     {1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0},
	     16},
	    {"S-1-5-21-1004336348-1177238915-682003330-512",
	     {1,    5,	  0,	0,    0,    0,	  0,	5,    21,   0,
	      0,    0,	  0xdc, 0xf4, 0xdc, 0x3b, 0x83, 0x3d, 0x2b, 0x46,
	      0x82, 0x8b, 0xa6, 0x28, 0,    2,	  0,	0},
	     28},
	};
	uint8_t bytes[SID_BYTES_MAX];
	char text[SID_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		assert_int_equal(parse(known[i].text, bytes), known[i].len);
		assert_memory_equal(bytes, known[i].bytes,
				    (size_t)known[i].len);
		assert_int_equal(sid_text(bytes, (size_t)known[i].len, text),
				 0);
		assert_string_equal(text, known[i].text);
	}
}

static void
other_spellings_become_the_canonical_one(void **state)
{
	static const char *const same[][2] = {
	    {"s-1-5-18", "S-1-5-18"},
	    {"S-1-0x000000000005-18", "S-1-5-18"},
	    {"S-1-0X5-18", "S-1-5-18"},
	    {"S-1-0000000005-0018", "S-1-5-18"},
	    {"S-1-0xffffffffffff-1", "S-1-0xFFFFFFFFFFFF-1"},
	    {"S-1-0x100000000-7", "S-1-0x000100000000-7"},
	    {"S-1-4294967295-4294967295", "S-1-4294967295-4294967295"},
	};
	uint8_t bytes[SID_BYTES_MAX];
	char text[SID_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		int len = parse(same[i][0], bytes);

		assert_true(len > 0);
		assert_int_equal(sid_text(bytes, (size_t)len, text), 0);
		assert_string_equal(text, same[i][1]);
	}
}

static void
the_longest_sid_fits(void **state)
{
	char text[256] = "S-1-0xABCDEF012345", out[SID_TEXT_MAX];
	uint8_t bytes[SID_BYTES_MAX];

	(void)state;
	for (int i = 0; i < 15; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "-4294967295");
	assert_int_equal(parse(text, bytes), SID_BYTES_MAX);
	assert_int_equal(sid_text(bytes, SID_BYTES_MAX, out), 0);
	assert_string_equal(out, text);
	/* One subauthority too many. */
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "-1");
	assert_int_equal(parse(text, bytes), -EINVAL);
}

static void
what_is_not_a_sid_is_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "S",
	    "S-",
	    "S-1",
	    "S-1-",
	    "S-1-5",
	    "S-1-5-",
	    "S-1--5",
	    "S-2-5-18",
	    "S-01-5-18",
	    "X-1-5-18",
	    " S-1-5-18",
	    "S-1-5-18 ",
	    "S-1-5-18-",
	    "S-1-5--18",
	    "S-1-5-4294967296",
	    "S-1-5-99999999999",
	    "S-1-5-00000000018",
	    "S-1-4294967296-1",
	    "S-1-0x-1",
	    "S-1-0x1000000000000-1",
	    "S-1-0xg-1",
	    "S-1-5-0x12",
	    "S-1-5-+1",
	    "S-1-5-1a",
	    "S:1:5:18",
	    "SS-1-5-18",
	};
	uint8_t bytes[SID_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse(bad[i], bytes), -EINVAL);
	assert_int_equal(sid_parse((struct slice){"S-1-5-18\0", 9}, bytes),
			 -EINVAL);
	assert_int_equal(sid_parse((struct slice){NULL, 0}, bytes), -EINVAL);
}

static void
binary_that_is_not_a_sid_has_no_text(void **state)
{
	uint8_t b[SID_BYTES_MAX + 4] = {1, 1, 0, 0, 0, 0, 0, 5, 18};
	char text[SID_TEXT_MAX] = "left over";

	(void)state;
	assert_int_equal(sid_text(b, 12, text), 0);
	assert_string_equal(text, "S-1-5-18");
	for (size_t len = 0; len < sizeof(b); len++) {
		if (len == 12)
			continue;
		assert_int_equal(sid_text(b, len, text), -EINVAL);
		assert_string_equal(text, "");
	}
	b[0] = 2;
	assert_int_equal(sid_text(b, 12, text), -EINVAL);
	b[0] = 1;
	b[1] = 16;
	assert_false(sid_valid(b, 8 + 4 * 16));
	b[1] = 0;
	assert_false(sid_valid(b, 8));
}

/* --- identities
 * ---------------------------------------------------------------- */

static struct identity *
sample(size_t nsids)
{
	struct identity *id = identity_new();

	assert_non_null(id);
	id->mech = MECH_KERBEROS;
	id->bound = true;
	id->bound_before = true;
	id->expires = UINT64_C(1893456000);
	id->kvno = 7;
	id->enctype = 18;
	snprintf(id->principal, sizeof(id->principal), "EXCH01$@CONTOSO.TEST");
	snprintf(id->spn, sizeof(id->spn), "HTTP/rms.contoso.test");
	id->nsids = nsids;
	if (nsids > 0) {
		id->sids = calloc(nsids, sizeof(id->sids[0]));
		assert_non_null(id->sids);
	}
	for (size_t i = 0; i < nsids; i++) {
		char text[64];
		int len;

		snprintf(text, sizeof(text), "S-1-5-21-1-2-3-%zu", i + 1000);
		len = sid_parse(slice_of(text), id->sids[i].bytes);
		assert_true(len > 0);
		id->sids[i].len = (uint8_t)len;
		id->sids[i].source = (uint8_t)(i % (SID_WINBIND + 1));
	}
	return id;
}

static size_t
packed(const struct identity *id)
{
	struct pack k;

	pack_init(&k, body, sizeof(body));
	identity_pack(&k, id);
	assert_false(k.full);
	return k.len;
}

/* Where the reason stands in the sample's message. */
#define LACK_AT (1 + 1 + 8 + (4 + 20) + (4 + 21) + 4 + 4)

static struct identity *
unpacked(size_t len)
{
	struct unpack u;
	struct identity *id;

	unpack_init(&u, body, len);
	id = identity_unpack(&u);
	if (id != NULL && !unpack_done(&u))
		identity_free(&id);
	return id;
}

static void
an_identity_comes_back_whole(void **state)
{
	static const size_t counts[] = {0, 1, 1015, IDENTITY_SIDS_MAX};

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
		struct identity *in = sample(counts[c]), *out;

		out = unpacked(packed(in));
		assert_non_null(out);
		assert_int_equal(out->mech, MECH_KERBEROS);
		assert_true(out->bound && out->bound_before);
		assert_true(out->expires == in->expires);
		assert_string_equal(out->principal, in->principal);
		assert_string_equal(out->spn, in->spn);
		assert_int_equal(out->kvno, 7);
		assert_int_equal(out->enctype, 18);
		assert_int_equal(out->nsids, counts[c]);
		if (counts[c] > 0)
			assert_memory_equal(out->sids, in->sids,
					    counts[c] * sizeof(in->sids[0]));
		identity_free(&in);
		identity_free(&out);
		assert_null(out);
	}
}

static void
a_cut_identity_is_none(void **state)
{
	struct identity *in = sample(3), *out;
	size_t n = packed(in);

	(void)state;
	for (size_t i = 0; i < n; i++)
		assert_null(unpacked(i));
	out = unpacked(n);
	assert_non_null(out);
	identity_free(&out);
	identity_free(&in);
}

static void
fields_that_cannot_be_are_refused(void **state)
{
	struct identity *id = sample(2);
	size_t n;

	(void)state;
	id->mech = MECH_NONE;
	assert_null(unpacked(packed(id)));
	id->mech = MECH_CERT + 1;
	assert_null(unpacked(packed(id)));
	id->mech = MECH_NTLM;
	id->sids[1].source = SID_WINBIND + 1;
	assert_null(unpacked(packed(id)));
	id->sids[1].source = 0;
	id->sids[1].bytes[0] = 2;
	assert_null(unpacked(packed(id)));
	id->sids[1].bytes[0] = 1;
	id->sids[1].bytes[1] = 4; /* says less than is there */
	assert_null(unpacked(packed(id)));
	id->sids[1].bytes[1] = 5;
	id->principal[0] = '\0';
	assert_null(unpacked(packed(id)));
	id->principal[0] = 'E';
	n = packed(id);
	body[LACK_AT] = LACK_SIGNATURE; /* and yet there are SIDs */
	assert_null(unpacked(n));
	n = packed(id);
	body[1] = 3; /* bound */
	assert_null(unpacked(n));
	body[1] = 1;
	body[16] = '\0'; /* inside of the principal */
	assert_null(unpacked(n));
	identity_free(&id);
}

static void
why_there_are_no_sids_comes_along(void **state)
{
	struct identity *in = sample(0), *out;
	size_t n;

	(void)state;
	for (unsigned lack = 0; lack < LACK_MAX; lack++) {
		in->lack = (enum sid_lack)lack;
		n = packed(in);
		assert_int_equal(body[LACK_AT], lack);
		out = unpacked(n);
		assert_non_null(out);
		assert_int_equal(out->lack, lack);
		assert_true(strlen(sid_lack_text(in->lack)) > 10);
		identity_free(&out);
	}
	body[LACK_AT] = LACK_MAX;
	assert_null(unpacked(n));
	assert_string_equal(sid_lack_text(LACK_MAX), "?");
	identity_free(&in);
}

/* Texts as long and SIDs as many as they can be. */
static void
the_largest_identity_has_the_size_that_is_planned(void **state)
{
	struct identity *id = sample(IDENTITY_SIDS_MAX);

	(void)state;
	memset(id->principal, 'p', sizeof(id->principal) - 1);
	memset(id->spn, 's', sizeof(id->spn) - 1);
	for (size_t i = 0; i < id->nsids; i++) {
		id->sids[i].len = SID_BYTES_MAX;
		id->sids[i].bytes[1] = 15;
	}
	/* Both bounds count the NUL, which does not travel. */
	assert_int_equal(packed(id), IDENTITY_PACKED_MAX - 2);
	identity_free(&id);
}

/* A count is no licence to allocate: 4 billion SIDs in 100 bytes. */
static void
a_count_without_bytes_behind_it_is_refused(void **state)
{
	struct identity *id = sample(0);
	size_t n = packed(id);

	(void)state;
	memset(body + n - 4, 0xff, 4);
	assert_null(unpacked(n));
	memset(body + n - 4, 0, 4);
	body[n - 4] = 200;
	assert_null(unpacked(n));
	identity_free(&id);
}

static void
mechanisms_and_sources_have_names(void **state)
{
	(void)state;
	assert_string_equal(mech_name(MECH_KERBEROS), "kerberos");
	assert_string_equal(mech_name(MECH_NTLM), "ntlm");
	assert_string_equal(mech_name(MECH_CERT), "cert");
	assert_string_equal(mech_name((enum auth_mech)99), "?");
	assert_string_equal(sid_source_name(SID_USER), "user");
	assert_string_equal(sid_source_name(SID_RESOURCE), "resource");
	assert_string_equal(sid_source_name(SID_WINBIND), "winbind");
	assert_string_equal(sid_source_name((enum sid_source)6), "?");
}

/* --- lists of SIDs -----------------------------------------------------------
 */

static void
a_list_of_sids_comes_back(void **state)
{
	static struct identity_sid in[IDENTITY_SIDS_MAX];
	struct identity_sid out;
	struct slice s;
	struct pack k;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(in); i++) {
		/* the longest there is */
		in[i] = (struct identity_sid){
		    (uint8_t)(i % 5), SID_BYTES_MAX, {1, 15}};
		in[i].bytes[SID_BYTES_MAX - 1] = (uint8_t)i;
	}
	pack_init(&k, body, sizeof(body));
	sids_pack(&k, in, ARRAY_LEN(in));
	assert_false(k.full);
	assert_int_equal(k.len, SIDS_PACKED_MAX);
	s = (struct slice){(char *)k.p, k.len};
	assert_int_equal(sids_count(s), IDENTITY_SIDS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(in); i++) {
		assert_true(sids_next(&s, &out));
		assert_memory_equal(&out, &in[i], sizeof(out));
	}
	assert_false(sids_next(&s, &out));
	assert_int_equal(s.len, 0);
	assert_int_equal(sids_count(s), 0);
	/* one more than an identity has */
	sids_pack(&k, in, 1);
	assert_int_equal(sids_count((struct slice){(char *)k.p, k.len}),
			 -EINVAL);
}

static void
what_is_no_list_of_sids_is_refused(void **state)
{
	static const char one[] = "\2\14\1\1\0\0\0\0\0\5\25\0\0\0";
	char bad[sizeof(one)];

	(void)state;
	assert_int_equal(sids_count((struct slice){one, sizeof(one) - 1}), 1);
	for (size_t n = 1; n < sizeof(one) - 1; n++)
		assert_int_equal(sids_count((struct slice){one, n}), -EINVAL);
	memcpy(bad, one, sizeof(bad));
	bad[0] = SID_WINBIND + 1; /* a source that there is not */
	assert_int_equal(sids_count((struct slice){bad, sizeof(bad) - 1}),
			 -EINVAL);
	memcpy(bad, one, sizeof(bad));
	bad[3] = 2; /* more subauthorities than bytes */
	assert_int_equal(sids_count((struct slice){bad, sizeof(bad) - 1}),
			 -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_sids_have_their_bytes),
	    cmocka_unit_test(other_spellings_become_the_canonical_one),
	    cmocka_unit_test(the_longest_sid_fits),
	    cmocka_unit_test(what_is_not_a_sid_is_refused),
	    cmocka_unit_test(binary_that_is_not_a_sid_has_no_text),
	    cmocka_unit_test(an_identity_comes_back_whole),
	    cmocka_unit_test(a_cut_identity_is_none),
	    cmocka_unit_test(fields_that_cannot_be_are_refused),
	    cmocka_unit_test(why_there_are_no_sids_comes_along),
	    cmocka_unit_test(the_largest_identity_has_the_size_that_is_planned),
	    cmocka_unit_test(a_count_without_bytes_behind_it_is_refused),
	    cmocka_unit_test(mechanisms_and_sources_have_names),
	    cmocka_unit_test(a_list_of_sids_comes_back),
	    cmocka_unit_test(what_is_no_list_of_sids_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
