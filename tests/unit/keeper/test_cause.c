/* Which line of auth_causes.def the administrator is shown. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/keeper/der_make.h"
#include "worker/keeper/cause.h"
#include "shm/base/log.h"

static enum auth_cause
of(krb5_error_code code, bool opens, struct keytab_match m)
{
	struct cause_facts f = {.major = GSS_S_FAILURE,
				.has_ticket = true,
				.code = code,
				.opens = opens,
				.match = m};

	return cause_of(&f);
}

static const krb5_error_code key_codes[] = {
    KRB5_KT_NOTFOUND,	     KRB5_KT_KVNONOTFOUND,
    KRB5KRB_AP_ERR_NOKEY,    KRB5KRB_AP_ERR_BADKEYVER,
    KRB5KRB_AP_ERR_NOT_US,   KRB5KRB_AP_WRONG_PRINC,
    KRB5KRB_AP_ERR_MODIFIED, KRB5KRB_AP_ERR_BAD_INTEGRITY,
};

/* The library's code does not tell these apart; the keytab does. */
static void
test_keys(void **state)
{
	struct keytab_match none = {0}, realm = {.realm = true};
	struct keytab_match spn = {.realm = true, .principal = true};
	struct keytab_match kvno = spn, enctype = spn, both = spn, exact;

	(void)state;
	kvno.kvno = true;
	enctype.enctype = true;
	both.kvno = both.enctype = true; /* but not in one entry */
	exact = both;
	exact.exact = true;
	for (size_t i = 0; i < ARRAY_LEN(key_codes); i++) {
		krb5_error_code c = key_codes[i];

		assert_int_equal(of(c, false, none), CAUSE_WRONG_REALM);
		assert_int_equal(of(c, false, realm), CAUSE_NO_KEY_FOR_SPN);
		assert_int_equal(of(c, false, spn), CAUSE_KVNO);
		assert_int_equal(of(c, false, enctype), CAUSE_KVNO);
		assert_int_equal(of(c, false, kvno), CAUSE_ENCTYPE);
		assert_int_equal(of(c, false, both), CAUSE_ENCTYPE);
		assert_int_equal(of(c, false, exact), CAUSE_WRONG_KEY);
		/* The ticket is sound, so the key is not to blame. */
		assert_int_equal(of(c, true, exact), CAUSE_MALFORMED);
	}
}

static void
test_other_codes(void **state)
{
	static const struct {
		krb5_error_code code;
		enum auth_cause cause;
	} row[] = {
	    {KRB5KRB_AP_ERR_SKEW, CAUSE_CLOCK_SKEW},
	    {KRB5KRB_AP_ERR_TKT_EXPIRED, CAUSE_EXPIRED},
	    {KRB5KRB_AP_ERR_TKT_NYV, CAUSE_EXPIRED},
	    {KRB5KRB_AP_ERR_REPEAT, CAUSE_REPLAY},
	    {KRB5KRB_AP_ERR_ILL_CR_TKT, CAUSE_WRONG_REALM},
	    {KRB5_BAD_ENCTYPE, CAUSE_ENCTYPE},
	    {KRB5_NOPERM_ETYPE, CAUSE_ENCTYPE},
	    {KRB5KRB_AP_ERR_BADMATCH, CAUSE_MALFORMED},
	    {-1750206208, CAUSE_MALFORMED}, /* the first ASN.1 error */
	    {-1750206208 + 20, CAUSE_MALFORMED},
	    {-1750206208 + 256, CAUSE_INTERNAL},
	    {12, CAUSE_INTERNAL}, /* ENOMEM */
	};
	struct keytab_match m = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		assert_int_equal(of(row[i].code, true, m), row[i].cause);
}

static void
test_majors(void **state)
{
	static const struct {
		OM_uint32 major;
		enum auth_cause cause;
	} row[] = {
	    {GSS_S_BAD_BINDINGS, CAUSE_BAD_BINDING},
	    {GSS_S_DEFECTIVE_TOKEN, CAUSE_MALFORMED},
	    {GSS_S_BAD_SIG, CAUSE_MALFORMED},
	    {GSS_S_FAILURE | GSS_S_DUPLICATE_TOKEN, CAUSE_REPLAY},
	    {GSS_S_CREDENTIALS_EXPIRED, CAUSE_EXPIRED},
	    {GSS_S_BAD_MECH, CAUSE_NO_MECH},
	    {GSS_S_NO_CRED, CAUSE_NO_KEYTAB},
	    {GSS_S_FAILURE, CAUSE_INTERNAL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct cause_facts f = {.major = row[i].major};

		assert_int_equal(cause_of(&f), row[i].cause);
		/* krb5 found no fault: then the major says what it is. */
		f.has_ticket = true;
		assert_int_equal(cause_of(&f), row[i].cause);
	}
}

static void
test_words(void **state)
{
	struct slice t = krb5_token(make_apreq(
	    make_ticket("R.TEST", "HTTP", "c", 17, 9), SLICE_LIT("a")));
	struct keytab_match m = {.principal = true, .newest_kvno = 4};
	struct apreq r;
	struct sbuf b;
	char text[200];

	(void)state;
	apreq_find(&r, t);
	assert_int_equal(r.kind, APREQ_FOUND);
	sbuf_init(&b, text, sizeof(text));
	cause_put_ticket(&b, &r, &m);
	assert_string_equal(text, "ticket for HTTP/c@R.TEST, kvno 9, "
				  "aes128-cts-hmac-sha1-96; newest in the "
				  "keytab is kvno 4");
	r.enctype = 999;
	m.kvno = true;
	sbuf_init(&b, text, sizeof(text));
	sbuf_str(&b, "No key");
	cause_put_ticket(&b, &r, &m);
	assert_string_equal(text, "No key; ticket for HTTP/c@R.TEST, kvno 9, "
				  "encryption type 999");
	sbuf_init(&b, text, sizeof(text));
	cause_put_status(&b, GSS_S_BAD_BINDINGS, 0, GSS_C_NO_OID);
	assert_true(b.len > 10 && !b.cut);
}

/* What krb5 makes of garbage in the place of a PAC has no code of its own. */
static void
test_pac(void **state)
{
	struct cause_facts f = {.major = GSS_S_FAILURE,
				.has_ticket = true,
				.opens = true,
				.pac_bad = true};

	(void)state;
	f.code = 34; /* ERANGE */
	assert_int_equal(cause_of(&f), CAUSE_PAC);
	f.code = KRB5KRB_AP_ERR_SKEW;
	assert_int_equal(cause_of(&f), CAUSE_CLOCK_SKEW);
	f.code = 34;
	f.pac_bad = false;
	assert_int_equal(cause_of(&f), CAUSE_INTERNAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_keys),	cmocka_unit_test(test_pac),
	    cmocka_unit_test(test_other_codes), cmocka_unit_test(test_majors),
	    cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
