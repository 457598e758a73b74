/* store: authorized servers: subjects, finding, the table made of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "tests/unit/master/store_fixture.h"

static void
add_find_remove(void **state)
{
	struct store_server s = {
	    .role = SERVER_SHAREPOINT,
	    .expires = 1900000000,
	    .subject = "sp01$@LAB.TEST",
	    .name = "SP farm, K\xc3\xb6ln",
	    .note = "ticket 4711",
	    .id = 99,
	};
	struct store_server f;
	uint32_t id;

	(void)state;
	assert_int_equal(store_server_add(fx, &s, &fx_who, &id, fx_err), 0);
	assert_int_equal(id, 1);
	fx_reopen();
	assert_int_equal(store_servers_count(fx), 1);
	assert_int_equal(store_server_find(fx, "sp01$@LAB.TEST", &f), 0);
	assert_int_equal(f.id, 1);
	assert_int_equal(f.kind, SUBJECT_PRINCIPAL);
	assert_int_equal(f.role, SERVER_SHAREPOINT);
	assert_int_equal(f.expires, 1900000000);
	assert_true(f.added > 1500000000000000000);
	assert_string_equal(f.subject, s.subject);
	assert_string_equal(f.name, s.name);
	assert_string_equal(f.note, s.note);
	assert_int_equal(store_server_find(fx, "1", &f), 0);
	assert_string_equal(f.subject, s.subject);
	assert_int_equal(store_server_find(fx, "2", &f), -ENOENT);
	assert_int_equal(store_server_find(fx, "0", &f), -ENOENT);
	assert_int_equal(store_server_find(fx, "99999999999", &f), -ENOENT);
	assert_int_equal(store_server_find(fx, "", &f), -ENOENT);

	assert_int_equal(
	    store_server_remove(fx, "sp02$@LAB.TEST", &fx_who, fx_err),
	    -ENOENT);
	fx_says("sp02$@LAB.TEST is not among the servers");
	assert_int_equal(store_server_remove(fx, "sp01$", &fx_who, fx_err),
			 -EINVAL);
	fx_says("has no realm");
	assert_int_equal(
	    store_server_remove(fx, "sp01$@LAB.TEST", &fx_who, fx_err), 0);
	assert_int_equal(store_servers_count(fx), 0);
	assert_int_equal(store_server_find(fx, "sp01$@LAB.TEST", &f), -ENOENT);
	/* Numbers are not given twice. */
	assert_int_equal(fx_add("sp01$@LAB.TEST", SERVER_FCI), 2);
	assert_int_equal(store_server_remove(fx, "2", &fx_who, fx_err), 0);
	assert_int_equal(fx_agrees(fx, 0), 4);
}

static void
a_subject_is_there_once(void **state)
{
	(void)state;
	assert_int_equal(fx_add("S-1-5-21-1-2-3-512", SERVER_EXCHANGE), 1);
	assert_int_equal(fx_add("S-1-5-21-1-2-3-512", SERVER_FCI), -EEXIST);
	fx_says("server 1 already");
	fx_says("exchange");
	/* In another way of writing it, too. */
	assert_int_equal(fx_add("s-1-5-21-1-2-3-512", SERVER_FCI), -EEXIST);
	assert_int_equal(fx_add("S-1-0x5-21-1-2-3-512", SERVER_FCI), -EEXIST);
	/* Case of a principal counts. */
	assert_int_equal(fx_add("CN=a$@LAB.TEST", SERVER_FCI), 2);
	assert_int_equal(fx_add("CN=A$@LAB.TEST", SERVER_FCI), 3);
	assert_int_equal(fx_add("CN=a$@LAB.TEST", SERVER_FCI), -EEXIST);
	/* A certificate with the text of a principal is another subject. */
	assert_int_equal(fx_add("cert:CN=a$@LAB.TEST", SERVER_FCI), 4);
	assert_int_equal(store_generation(fx), 4);
}

static void
subject(const char *text, int kind, const char *canonical)
{
	struct store_subject s;
	char back[TABLE_KEY_MAX];
	int r = store_subject_parse(slice_of(text), &s, fx_err);

	if (r != 0)
		fail_msg("%s: %s", text, fx_err);
	assert_int_equal(s.kind, kind);
	assert_int_equal(
	    store_subject_text(s.kind, (struct slice){(char *)s.key, s.len},
			       back),
	    0);
	assert_string_equal(back, canonical);
}

static void
no_subject(const char *text, const char *says)
{
	struct store_subject s;

	fx_err[0] = '\0';
	if (store_subject_parse(slice_of(text), &s, fx_err) != -EINVAL)
		fail_msg("%s was taken", text);
	fx_says(says);
	assert_null(strpbrk(fx_err, "\n\r\x1b"));
}

static void
good_subjects(void **state)
{
	(void)state;
	subject("S-1-5-32-544", SUBJECT_SID, "S-1-5-32-544");
	subject("s-1-5-32-544", SUBJECT_SID, "S-1-5-32-544");
	subject("exch01$@LAB.TEST", SUBJECT_PRINCIPAL, "exch01$@LAB.TEST");
	subject("HTTP/exch 01.lab.test@LAB.TEST", SUBJECT_PRINCIPAL,
		"HTTP/exch 01.lab.test@LAB.TEST");
	subject("a\\@b.test@LAB.TEST", SUBJECT_PRINCIPAL,
		"a\\@b.test@LAB.TEST");
	subject("CONTOSO\\EXCH01$", SUBJECT_PRINCIPAL, "CONTOSO\\EXCH01$");
	subject("J\xc3\xbcrgen@LAB.TEST", SUBJECT_PRINCIPAL,
		"J\xc3\xbcrgen@LAB.TEST");
	subject("\xe2\x82\xac\xf0\x9f\x98\x80@LAB.TEST", SUBJECT_PRINCIPAL,
		"\xe2\x82\xac\xf0\x9f\x98\x80@LAB.TEST");
	subject("cert:CN=exch01,O=Contoso", SUBJECT_CERT,
		"cert:CN=exch01,O=Contoso");
	subject("CERT:CN=x", SUBJECT_CERT, "cert:CN=x");
	subject("cert:CN=a\\, b \\+ c\\<,OU=M\\C3\\BCller+UID=1", SUBJECT_CERT,
		"cert:CN=a\\, b \\+ c\\<,OU=M\\C3\\BCller+UID=1");
	subject("cert:<I>CN=Root,O=x<S>CN=y", SUBJECT_CERT,
		"cert:<I>CN=Root,O=x<S>CN=y");
}

static void
bad_subjects(void **state)
{
	char big[SUBJECT_MAX + 2];

	(void)state;
	no_subject("", "empty");
	no_subject("S-1-", "is not a SID");
	no_subject("S-1-5-21-x", "is not a SID");
	no_subject("S-1-5-21-99999999999", "is not a SID");
	no_subject("S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16",
		   "is not a SID");
	no_subject("exch01$", "has no realm");
	no_subject("exch01$@", "realm after the @");
	no_subject("@LAB.TEST", "no name before");
	no_subject("a@b@LAB.TEST", "more than one @");
	no_subject("a@LAB TEST", "realm after the @");
	no_subject("a@LAB/TEST", "realm after the @");
	no_subject("LAB\\a@LAB.TEST", "mixes");
	no_subject("a\\", "DOMAIN\\NAME");
	no_subject("\\a", "DOMAIN\\NAME");
	no_subject("A\\b\\c", "one backslash");
	no_subject("a\\n@LAB.TEST", "mixes");
	no_subject(" a@LAB.TEST", "space");
	no_subject("a@LAB.TEST ", "space");
	no_subject("a\n@LAB.TEST", "line break");
	no_subject("a@LAB.TEST\r", "line break");
	no_subject("a\x1b[1m@LAB.TEST", "control character");
	no_subject("a\xc2\x85@LAB.TEST", "control character");
	no_subject("a\x7f@LAB.TEST", "control character");
	no_subject("a\xff@LAB.TEST", "UTF-8");
	no_subject("a\xed\xa0\x80@LAB.TEST", "UTF-8");
	no_subject("a\xc0\xaf@LAB.TEST", "UTF-8");
	no_subject("a@LAB.TEST\xe2\x82", "UTF-8");
	no_subject("a\xe0\x80\x80@LAB.TEST", "UTF-8");
	no_subject("a\xf0\x80\x80\x80@LAB.TEST", "UTF-8");
	no_subject("a\xf4\x90\x80\x80@LAB.TEST", "UTF-8");
	no_subject("a\xe2\x82z@LAB.TEST", "UTF-8");
	no_subject("cert:", "no certificate");
	no_subject("cert:exch01", "is not a subject");
	no_subject("cert:=x", "is not a subject");
	no_subject("cert:/O=Contoso/CN=x", "is not a subject");
	no_subject("cert:CN=x, O=Contoso", "no space behind a comma");
	no_subject("cert:CN = x", "is not a subject as RFC 4514");
	no_subject("cert:CN=\"x\"", "special characters");
	no_subject("cert:CN=a<b", "special characters");
	no_subject("cert:CN=M\xc3\xbcller", "beyond ASCII");
	no_subject("cert:<I>CN=Root", "names an issuer and nobody");
	no_subject("cert:<I>CN=Root<S>", "is not a subject");
	no_subject("cert:<I><S>CN=x", "is not a subject");
	no_subject("cert:<I>CN=a<S>CN=b<S>CN=c", "special characters");
	memset(big, 'a', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	memcpy(big + 100, "@", 1);
	no_subject(big, "511 bytes");
	big[SUBJECT_MAX] = '\0';
	subject(big, SUBJECT_PRINCIPAL, big);
	assert_int_equal(fx_add(big, SERVER_FCI), 1);
	big[SUBJECT_MAX] = 'a';
	assert_int_equal(fx_add(big, SERVER_FCI), -EINVAL);
}

static void
bad_entries_change_nothing(void **state)
{
	struct store_server s = {.role = SERVER_FCI, .subject = "a@LAB.TEST"};
	uint32_t id = 7;

	(void)state;
	s.role = SERVER_NONE;
	assert_int_equal(store_server_add(fx, &s, &fx_who, &id, fx_err),
			 -EINVAL);
	fx_says("exchange, sharepoint or fci");
	assert_int_equal(id, 0);
	s.role = (enum server_role)17;
	assert_int_equal(store_server_add(fx, &s, &fx_who, &id, fx_err),
			 -EINVAL);
	s.role = SERVER_FCI;
	memset(s.name, 'x', sizeof(s.name));
	assert_int_equal(store_server_add(fx, &s, &fx_who, &id, fx_err),
			 -EINVAL);
	fx_says("name is too long");
	s.name[0] = '\n';
	s.name[1] = '\0';
	assert_int_equal(store_server_add(fx, &s, &fx_who, &id, fx_err),
			 -EINVAL);
	s.name[0] = '\0';
	memset(s.subject, 'x', sizeof(s.subject));
	assert_int_equal(store_server_add(fx, &s, &fx_who, &id, fx_err),
			 -EINVAL);
	assert_int_equal(store_generation(fx), 0);
	assert_int_equal(store_servers_count(fx), 0);
}

static int
visit(void *arg, const struct store_server *s)
{
	uint32_t *last = arg;

	assert_true(s->id > *last); /* in order */
	*last = s->id;
	return s->id == 500 ? -ETIME : 0;
}

static void
visiting_all_in_order(void **state)
{
	char name[64];
	uint32_t last = 0;

	(void)state;
	assert_int_equal(store_servers_each(fx, visit, &last), 0);
	assert_int_equal(last, 0);
	for (int i = 1; i <= 300; i++) { /* more than one byte of number */
		(void)snprintf(name, sizeof(name), "s%d@LAB.TEST", i);
		assert_int_equal(fx_add(name, SERVER_FCI), i);
	}
	assert_int_equal(store_servers_each(fx, visit, &last), 0);
	assert_int_equal(last, 300);
	for (int i = 301; i <= 501; i++) {
		(void)snprintf(name, sizeof(name), "s%d@LAB.TEST", i);
		assert_int_equal(fx_add(name, SERVER_FCI), i);
	}
	last = 0;
	assert_int_equal(store_servers_each(fx, visit, &last), -ETIME);
	assert_int_equal(last, 500);
}

static void
table_is_of_this_generation(void **state)
{
	struct identity id = {.mech = MECH_KERBEROS};
	struct identity_sid sid = {.source = SID_GROUP};
	struct table_hit hit;
	const char *why = NULL;
	struct table *t;
	int fd = store_table_build(fx), n;

	(void)state;
	assert_true(fd >= 0);
	t = table_map(fd, &why);
	assert_non_null(t);
	assert_int_equal(table_len(t), 0);
	table_unmap(&t);
	close(fd);

	n = fx_add("S-1-5-21-1-2-3-512", SERVER_SHAREPOINT);
	assert_int_equal(n, 1);
	assert_int_equal(fx_add("exch01$@LAB.TEST", SERVER_EXCHANGE), 2);
	fd = store_table_build(fx);
	assert_true(fd >= 0);
	t = table_map(fd, &why);
	assert_non_null(t);
	assert_int_equal(table_len(t), 2);
	assert_int_equal(table_generation(t), store_generation(fx));
	(void)snprintf(id.principal, sizeof(id.principal), "exch01$@LAB.TEST");
	table_decide(t, &id, 1000, &hit);
	assert_int_equal(hit.verdict, VERDICT_ALLOW);
	assert_int_equal(hit.role, SERVER_EXCHANGE);
	assert_int_equal(hit.entry, 2);
	assert_true(slice_is(hit.name, "name of exch01$@LAB.TEST"));
	(void)snprintf(id.principal, sizeof(id.principal), "sp01$@LAB.TEST");
	n = sid_parse(SLICE_LIT("S-1-5-21-1-2-3-512"), sid.bytes);
	assert_true(n > 0);
	sid.len = (uint8_t)n;
	id.sids = &sid;
	id.nsids = 1;
	table_decide(t, &id, 1000, &hit);
	assert_int_equal(hit.verdict, VERDICT_ALLOW);
	assert_int_equal(hit.entry, 1);
	table_unmap(&t);
	close(fd);
}

/* Times are told in nanoseconds, whose 64 bits end in July 2554. */
static void
an_end_beyond_what_can_be_told_is_refused(void **state)
{
	static const uint64_t late[] = {STORE_EXPIRES_MAX + 1,
					UINT64_MAX / NS_PER_S + 1,
					253402214400, /* 9999-12-31 */
					UINT64_MAX};
	struct store_server s = {.role = SERVER_FCI,
				 .subject = "fci01$@LAB.TEST"};
	struct store_server f;
	uint32_t id;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(late); i++) {
		s.expires = late[i];
		assert_int_equal(store_server_add(fx, &s, &fx_who, &id, fx_err),
				 -EINVAL);
		fx_says("2553");
		fx_says("--expires");
	}
	assert_int_equal(store_servers_count(fx), 0);
	s.expires = STORE_EXPIRES_MAX;
	assert_int_equal(store_server_add(fx, &s, &fx_who, &id, fx_err), 0);
	assert_int_equal(store_server_find(fx, "1", &f), 0);
	assert_int_equal(f.expires, STORE_EXPIRES_MAX);
	assert_true(f.expires * NS_PER_S / NS_PER_S == f.expires);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FX_TEST(add_find_remove),
	    FX_TEST(an_end_beyond_what_can_be_told_is_refused),
	    FX_TEST(a_subject_is_there_once),
	    FX_TEST(good_subjects),
	    FX_TEST(bad_subjects),
	    FX_TEST(bad_entries_change_nothing),
	    FX_TEST(visiting_all_in_order),
	    FX_TEST(table_is_of_this_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
