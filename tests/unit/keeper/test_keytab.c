/* Loading a keytab: what is refused and why, and what is said of the rest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "tests/unit/keeper/der_make.h"
#include "worker/keeper/keytab.h"
#include "shm/base/log.h"

static char why[256];

static struct slice
be(unsigned v, size_t bytes)
{
	char b[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};

	return cat(NOTHING, (struct slice){b + 4 - bytes, bytes});
}

static struct slice
counted(const char *s)
{
	return cat(be((unsigned)strlen(s), 2), slice_of(s));
}

/* One entry of the file format: realm R.TEST, two components. */
static struct slice
entry(const char *a, const char *b, unsigned kvno, unsigned enctype,
      size_t key_len)
{
	static const char zero[64];
	struct slice e = cat(be(2, 2), counted("R.TEST"));

	e = cat(e, cat(counted(a), counted(b)));
	e = cat(e, cat(be(1, 4), be(0, 4)));
	e = cat(e, cat(be(kvno & 255, 1), be(enctype, 2)));
	e = cat(e,
		cat(be((unsigned)key_len, 2), (struct slice){zero, key_len}));
	e = cat(e, be(kvno, 4));
	return cat(be((unsigned)e.len, 4), e);
}

static struct slice
file(struct slice entries)
{
	return cat(be(0x0502, 2), entries);
}

static struct keytab *
load(struct slice bytes)
{
	int fd = fd_memfd_sealed("test", bytes.p, bytes.len);
	struct keytab *kt;

	assert_true(fd >= 0);
	why[0] = '\0';
	kt = keytab_load(fd, why, sizeof(why));
	close(fd);
	assert_true((kt == NULL) == (why[0] != '\0'));
	return kt;
}

static struct slice
two(void)
{
	return cat(entry("HTTP", "c.test", 300, 18, 32),
		   entry("host", "c.test", 2, 17, 16));
}

static void
test_loads(void **state)
{
	struct keytab *kt = load(file(two()));
	char text[200];

	(void)state;
	assert_non_null(kt);
	assert_int_equal(keytab_entries(kt), 2);
	assert_true(keytab_has_http(kt));
	assert_non_null(keytab_cred(kt));
	keytab_text(kt, text, sizeof(text));
	assert_string_equal(text,
			    "HTTP/c.test@R.TEST 300 aes256-cts-hmac-sha1-96\n"
			    "host/c.test@R.TEST 2 aes128-cts-hmac-sha1-96\n");
	keytab_text(kt, text, 60);
	assert_string_equal(text + strlen(text) - 4, "...\n");
	keytab_free(&kt);
	assert_null(kt);
}

static void
test_no_http(void **state)
{
	struct keytab *kt = load(file(entry("host", "c", 1, 18, 32)));

	(void)state;
	assert_non_null(kt);
	assert_false(keytab_has_http(kt));
	keytab_free(&kt);
}

static void
test_two_at_once_are_apart(void **state)
{
	struct keytab *a = load(file(two()));
	struct keytab *b = load(file(entry("HTTP", "other", 1, 18, 32)));

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	keytab_free(&a);
	assert_int_equal(keytab_entries(b), 1);
	keytab_free(&b);
}

static void
test_refused(void **state)
{
	struct slice good = file(two());

	(void)state;
	assert_null(load(SLICE_LIT("")));
	assert_null(load(SLICE_LIT("\5\1")));
	assert_null(load(SLICE_LIT("\5\2")));
	assert_null(load(SLICE_LIT("-----BEGIN KEYTAB-----")));
	assert_null(load(cat(good, SLICE_LIT("\0\0\1\0x"))));
	/* Cut anywhere: never taken for a keytab with fewer keys. */
	for (size_t n = good.len - entry("host", "c.test", 2, 17, 16).len + 5;
	     n < good.len; n += 7)
		assert_null(load((struct slice){good.p, n}));
}

static void
test_not_a_file(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_null(keytab_load(fd[0], why, sizeof(why)));
	assert_true(strlen(why) > 5);
	close(fd[0]);
	close(fd[1]);
}

static void
ask(struct keytab *kt, const char *realm, const char *a, const char *b,
    int enctype, int kvno, struct keytab_match *m)
{
	struct apreq r;

	apreq_find(
	    &r, krb5_token(make_apreq(make_ticket(realm, a, b, enctype, kvno),
				      SLICE_LIT("authenticator"))));
	assert_int_equal(r.kind, APREQ_FOUND);
	keytab_match(kt, &r, m);
}

static void
test_match(void **state)
{
	struct keytab *kt = load(file(
	    cat(entry("HTTP", "c", 4, 17, 16), entry("HTTP", "c", 5, 18, 32))));
	struct keytab_match m;

	(void)state;
	assert_non_null(kt);
	ask(kt, "OTHER", "HTTP", "c", 18, 5, &m);
	assert_true(!m.realm && !m.principal && !m.exact);
	ask(kt, "R.TEST", "HTTP", "d", 18, 5, &m);
	assert_true(m.realm && !m.principal && !m.exact);
	ask(kt, "R.TEST", "http", "C", 18, 5, &m);
	assert_true(m.principal && m.kvno && m.enctype && m.exact);
	ask(kt, "R.TEST", "HTTP", "c", 18, 4, &m);
	assert_true(m.kvno && m.enctype && !m.exact);
	ask(kt, "R.TEST", "HTTP", "c", 18, 6, &m);
	assert_true(!m.kvno && m.enctype && m.newest_kvno == 5);
	ask(kt, "R.TEST", "HTTP", "c", 23, 5, &m);
	assert_true(m.kvno && !m.enctype && !m.exact);
	/* A ticket that does not say: any version will do. */
	ask(kt, "R.TEST", "HTTP", "c", 18, -1, &m);
	assert_true(m.kvno && m.exact);
	keytab_free(&kt);
}

static void
test_try_tells_why(void **state)
{
	struct keytab *kt = load(file(two()));
	struct apreq r;
	struct keytab_ticket t;

	(void)state;
	assert_non_null(kt);
	apreq_find(&r,
		   krb5_token(make_apreq(
		       make_ticket("R.TEST", "HTTP", "c.test", 18, 300 & 127),
		       SLICE_LIT("authenticator"))));
	assert_int_not_equal(keytab_try(kt, &r, why, sizeof(why)), 0);
	keytab_open(kt, &r, &t);
	assert_false(t.opens || t.pac_bad);
	assert_string_equal(t.client, "");
	assert_true(strlen(why) > 5);
	keytab_free(&kt);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_loads),
	    cmocka_unit_test(test_no_http),
	    cmocka_unit_test(test_two_at_once_are_apart),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_not_a_file),
	    cmocka_unit_test(test_match),
	    cmocka_unit_test(test_try_tells_why),
	};

	/* No file of the host's. */
	setenv("KRB5_CONFIG", "/dev/null", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
