/* What is read of a token without a key, and what is refused unread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/keeper/der_make.h"
#include "worker/apreq.h"
#include "shm/base/log.h"

static struct apreq r;
static char *last; /* the token that r borrows from */

static struct slice
sample(void)
{
	return make_apreq(make_ticket("LAB.TEST", "HTTP", "c.lab.test", 18, 3),
			  SLICE_LIT("authenticator"));
}

static enum apreq_kind
kind(struct slice token)
{
	/* A copy of its exact size, so that a sanitizer sees a step too far. */
	char *copy = malloc(token.len == 0 ? 1 : token.len);
	assert_non_null(copy);
	if (token.len > 0)
		memcpy(copy, token.p, token.len);
	free(last);
	last = copy;
	apreq_find(&r, (struct slice){copy, token.len});
	return r.kind;
}

static void
check_sample(struct slice token)
{
	char name[64];

	assert_int_equal(kind(token), APREQ_FOUND);
	assert_int_equal(apreq_principal(&r, name, sizeof(name)), 0);
	assert_string_equal(name, "HTTP/c.lab.test@LAB.TEST");
	assert_int_equal(r.enctype, 18);
	assert_true(r.has_kvno);
	assert_int_equal(r.kvno, 3);
	assert_true(slice_is(r.authenticator, "authenticator"));
	assert_true(slice_eq(r.whole, sample()));
	assert_int_equal(r.ticket.p[0], 0x61);
}

static void
test_found_in_every_wrapping(void **state)
{
	struct slice t = krb5_token(sample());

	(void)state;
	check_sample(t);
	check_sample(
	    gss_token(OID_MSKRB5, cat(SLICE_LIT("\x01\x00"), sample())));
	check_sample(spnego_init(OID_KRB5, t));
	check_sample(spnego_init(cat(OID_MSKRB5, cat(OID_KRB5, OID_NTLM)), t));
	check_sample(spnego_resp(t));
}

static void
test_without_kvno(void **state)
{
	struct slice ticket = make_ticket("R", "HTTP", NULL, 23, -1);

	(void)state;
	assert_int_equal(kind(krb5_token(make_apreq(ticket, SLICE_LIT("x")))),
			 APREQ_FOUND);
	assert_false(r.has_kvno);
	assert_int_equal(r.enctype, 23);
	assert_int_equal(r.nnames, 1);
}

static void
test_large_and_negative_numbers(void **state)
{
	/* etype -128, kvno 2^32 - 1 as Windows may write it */
	struct slice ticket = make_ticket("R", "a", "b", -128, 255);

	(void)state;
	assert_int_equal(kind(krb5_token(make_apreq(ticket, SLICE_LIT("x")))),
			 APREQ_FOUND);
	assert_int_equal(r.enctype, -128);
	assert_int_equal(r.kvno, UINT32_MAX);
}

static void
test_empty_legs(void **state)
{
	(void)state;
	assert_int_equal(kind(spnego_init(OID_KRB5, NOTHING)), APREQ_EMPTY);
	assert_int_equal(kind(spnego_resp(NOTHING)), APREQ_EMPTY);
	/* The token inside is for the first mechanism: not ours to read. */
	assert_int_equal(kind(spnego_init(cat(OID_NTLM, OID_KRB5),
					  SLICE_LIT("NTLMSSP\0..."))),
			 APREQ_EMPTY);
}

static void
test_ntlm_and_others(void **state)
{
	struct slice negoex =
	    SLICE_LIT("\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x1e");

	(void)state;
	assert_int_equal(kind(SLICE_LIT("NTLMSSP\0\1\0\0\0")), APREQ_NTLM);
	assert_int_equal(kind(spnego_init(OID_NTLM, NOTHING)), APREQ_NTLM);
	assert_int_equal(kind(spnego_resp(SLICE_LIT("NTLMSSP\0\3\0\0\0"))),
			 APREQ_NTLM);
	assert_int_equal(kind(spnego_init(negoex, SLICE_LIT("NEGOEXTS"))),
			 APREQ_NO_MECH);
	assert_int_equal(kind(gss_token(negoex, SLICE_LIT("x"))),
			 APREQ_NO_MECH);
	/* where its message is: at most one, and none where none is */
	apreq_find(&r, spnego_init(OID_NTLM, SLICE_LIT("NTLMSSP\0one")));
	assert_true(slice_eq(r.ntlm, SLICE_LIT("NTLMSSP\0one")));
	apreq_find(&r, spnego_resp(SLICE_LIT("NTLMSSP\0two")));
	assert_true(slice_eq(r.ntlm, SLICE_LIT("NTLMSSP\0two")));
	apreq_find(&r, SLICE_LIT("NTLMSSP\0raw"));
	assert_true(slice_eq(r.ntlm, SLICE_LIT("NTLMSSP\0raw")));
	apreq_find(&r, spnego_init(OID_NTLM, NOTHING));
	assert_int_equal(r.ntlm.len, 0);
	apreq_find(&r, spnego_init(negoex, SLICE_LIT("NTLMSSP\0not offered")));
	assert_int_equal(r.kind, APREQ_NO_MECH);
	assert_int_equal(r.ntlm.len, 0);
	apreq_find(&r, spnego_init(OID_NTLM, SLICE_LIT("something")));
	assert_int_equal(r.kind, APREQ_NTLM);
	assert_int_equal(r.ntlm.len, 0);
	assert_int_equal(kind(SLICE_LIT("NTLMSSP")), APREQ_BAD);
}

static void
test_every_cut_is_refused(void **state)
{
	struct slice t = spnego_init(OID_KRB5, krb5_token(sample()));

	(void)state;
	for (size_t n = 0; n < t.len; n++) {
		assert_int_equal(kind((struct slice){t.p, n}), APREQ_BAD);
		assert_non_null(r.why);
		assert_int_equal(r.authenticator.len, 0);
	}
}

static void
test_nothing_may_hang_on(void **state)
{
	struct slice x = SLICE_LIT("\x04\0"), ap = sample();
	struct slice t = krb5_token(ap);

	(void)state;
	assert_int_equal(kind(cat(t, x)), APREQ_BAD);
	assert_int_equal(kind(krb5_token(cat(ap, x))), APREQ_BAD);
	assert_int_equal(kind(spnego_init(OID_KRB5, cat(t, x))), APREQ_BAD);
	assert_int_equal(kind(spnego_init(cat(OID_KRB5, x), t)), APREQ_BAD);
}

/* A second authenticator behind or before the first could show one reader an
 * old one and another a new one. */
static void
test_fields_twice_or_out_of_order(void **state)
{
	struct slice ticket = make_ticket("R", "HTTP", "x", 18, 1);
	struct slice a0 = der_int8(0, 5), a1 = der_int8(1, 14);
	struct slice a2 = der(0xa2, der(3, SLICE_LIT("\0\0\0\0\0")));
	struct slice a3 = der(0xa3, ticket);
	struct slice a4 = der(0xa4, enc_part(18, -1, SLICE_LIT("one")));
	struct slice head = cat(a0, cat(a1, a2));

	(void)state;
#define AP(fields) kind(krb5_token(der(0x6e, der(0x30, fields))))
	assert_int_equal(AP(cat(head, cat(a3, a4))), APREQ_FOUND);
	assert_int_equal(AP(cat(head, cat(a3, cat(a4, a4)))), APREQ_BAD);
	assert_int_equal(AP(cat(head, cat(a4, a3))), APREQ_BAD);
	assert_int_equal(AP(cat(head, a3)), APREQ_BAD);
	assert_int_equal(AP(cat(head, a4)), APREQ_BAD);
	assert_int_equal(AP(cat(cat(a0, a2), cat(a3, a4))), APREQ_BAD);
#undef AP
}

static void
test_wrong_versions_and_types(void **state)
{
	struct slice ticket = make_ticket("R", "HTTP", "x", 18, 1), s;

	(void)state;
	for (int pvno = 4; pvno <= 5; pvno++) {
		for (int type = 13; type <= 14; type++) {
			s = cat(der_int8(0, pvno), der_int8(1, type));
			s = cat(s, der(0xa2, der(3, SLICE_LIT("\0\0\0\0\0"))));
			s = cat(s, der(0xa3, ticket));
			s = cat(s, der(0xa4, enc_part(18, -1, SLICE_LIT("a"))));
			s = krb5_token(der(0x6e, der(0x30, s)));
			assert_int_equal(kind(s), pvno == 5 && type == 14
						      ? APREQ_FOUND
						      : APREQ_BAD);
		}
	}
	/* An AP-REP's token id. */
	assert_int_equal(
	    kind(gss_token(OID_KRB5, cat(SLICE_LIT("\x02\x00"), sample()))),
	    APREQ_BAD);
	/* An authenticator without bytes. */
	assert_int_equal(kind(krb5_token(make_apreq(ticket, SLICE_LIT("")))),
			 APREQ_BAD);
}

/* An AP-REQ with this as its options, which are not looked at. */
static void
check_options(struct slice options, enum apreq_kind expected)
{
	struct slice s = cat(der_int8(0, 5), der_int8(1, 14));

	s = cat(s, options);
	s = cat(s, der(0xa3, make_ticket("R", "HTTP", "x", 18, 1)));
	s = cat(s, der(0xa4, enc_part(18, -1, SLICE_LIT("a"))));
	assert_int_equal(kind(krb5_token(der(0x6e, der(0x30, s)))), expected);
}

static void
test_lengths(void **state)
{
	(void)state;
	/* indefinite, five bytes, more than there is, more than size_t */
	assert_int_equal(kind(SLICE_LIT("\x60\x80\x06\x00\x00\x00")),
			 APREQ_BAD);
	assert_int_equal(kind(SLICE_LIT("\x60\x85\0\0\0\0\1\0")), APREQ_BAD);
	assert_int_equal(kind(SLICE_LIT("\x60\x84\xff\xff\xff\xff\x06")),
			 APREQ_BAD);
	assert_int_equal(kind(SLICE_LIT("\x60\x03\x06\x7f\x2a")), APREQ_BAD);
	/* The same where a reader that skips would read on. */
	check_options(SLICE_LIT("\xa2\x00"), APREQ_FOUND);
	check_options(SLICE_LIT("\xa2\x81\x00"), APREQ_FOUND);
	check_options(SLICE_LIT("\xa2\x80"), APREQ_BAD);
	check_options(SLICE_LIT("\xa2\x84\x7f\xff\xff\xff"), APREQ_BAD);
	check_options(SLICE_LIT("\xa2\x84\xff\xff\xff\xff"), APREQ_BAD);
}

static void
test_too_many(void **state)
{
	struct slice mechs = OID_KRB5, names = NOTHING, s;

	(void)state;
	for (int i = 0; i < 31; i++)
		mechs = cat(mechs, OID_NTLM);
	assert_int_equal(kind(spnego_init(mechs, NOTHING)), APREQ_EMPTY);
	assert_int_equal(kind(spnego_init(cat(mechs, OID_NTLM), NOTHING)),
			 APREQ_BAD);
	for (int i = 0; i <= APREQ_NAMES_MAX; i++) {
		assert_int_equal(kind(krb5_token(NOTHING)), APREQ_BAD);
		names = cat(names, der(0x1b, SLICE_LIT("n")));
		s = cat(der_int8(0, 2), der(0xa1, der(0x30, names)));
		s = cat(
		    cat(der_int8(0, 5), der(0xa1, der(0x1b, slice_of("R")))),
		    der(0xa2, der(0x30, s)));
		s = cat(s, der(0xa3, enc_part(18, 1, SLICE_LIT("t"))));
		s = make_apreq(der(0x61, der(0x30, s)), SLICE_LIT("a"));
		assert_int_equal(kind(krb5_token(s)),
				 i < APREQ_NAMES_MAX ? APREQ_FOUND : APREQ_BAD);
	}
}

static void
test_names_are_escaped_and_bounded(void **state)
{
	struct slice ticket =
	    make_ticket("R/1@x", "a/b", "c@d\\e\n\t\b", 18, 1);
	char name[64];

	(void)state;
	assert_int_equal(kind(krb5_token(make_apreq(ticket, SLICE_LIT("x")))),
			 APREQ_FOUND);
	assert_int_equal(apreq_principal(&r, name, sizeof(name)), 0);
	assert_string_equal(name, "a\\/b/c\\@d\\\\e\\n\\t\\b@R/1\\@x");
	assert_int_equal(apreq_principal(&r, name, 20), -ENAMETOOLONG);
	assert_string_equal(name, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_found_in_every_wrapping),
	    cmocka_unit_test(test_without_kvno),
	    cmocka_unit_test(test_large_and_negative_numbers),
	    cmocka_unit_test(test_empty_legs),
	    cmocka_unit_test(test_ntlm_and_others),
	    cmocka_unit_test(test_every_cut_is_refused),
	    cmocka_unit_test(test_nothing_may_hang_on),
	    cmocka_unit_test(test_fields_twice_or_out_of_order),
	    cmocka_unit_test(test_wrong_versions_and_types),
	    cmocka_unit_test(test_lengths),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_names_are_escaped_and_bounded),
	};

	int n = cmocka_run_group_tests(tests, NULL, NULL);

	free(last);
	return n;
}
