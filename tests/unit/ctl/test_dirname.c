/* Names as people write them, and the filters made of them: nothing that is
 * in a name may be more than a value. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tools/ctl/dirname.h"

#include "shm/base/log.h"

static struct dirname n;
static char err[DIRNAME_ERR_MAX], mem[DIRFILTER_MAX];

static void
parsed(const char *text, enum dirname_form form, const char *domain,
       const char *name)
{
	if (dirname_parse(text, &n, err) != 0)
		fail_msg("%s: %s", text, err);
	assert_int_equal(n.form, form);
	assert_string_equal(n.domain, domain);
	assert_string_equal(n.name, name);
}

static void
forms_of_names(void **state)
{
	(void)state;
	parsed("EXCH01$", DIRNAME_SAM, "", "EXCH01$");
	parsed("Exchange Servers", DIRNAME_SAM, "", "Exchange Servers");
	parsed("CONTOSO\\Exchange Servers", DIRNAME_NETBIOS, "CONTOSO",
	       "Exchange Servers");
	parsed("CONTOSO\\a\\b", DIRNAME_NETBIOS, "CONTOSO", "a\\b");
	parsed("jo@contoso.test", DIRNAME_UPN, "contoso.test", "jo");
	parsed("a@b@contoso.test", DIRNAME_UPN, "contoso.test", "a@b");
	parsed("CN=a\\,b@c,DC=x", DIRNAME_DN, "", "CN=a\\,b@c,DC=x");
	parsed("2.5.4.3=x", DIRNAME_SAM, "", "2.5.4.3=x");
	parsed("B\xc3\xbcro K\xc3\xb6ln", DIRNAME_SAM, "",
	       "B\xc3\xbcro K\xc3\xb6ln");
}

static void
no_names(void **state)
{
	static const char *const bad[] = {
	    "",	   "CONTOSO\\",	     "\\name", "@contoso.test",
	    "jo@", "BUILTIN\\Users", ".\\jo",  "NT AUTHORITY\\SYSTEM",
	};
	char big[DIRNAME_MAX + 8];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		err[0] = '\0';
		assert_int_equal(dirname_parse(bad[i], &n, err), -EINVAL);
		assert_true(err[0] != '\0');
	}
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(dirname_parse(big, &n, err), -EINVAL);
}

static void
what_needs_no_directory(void **state)
{
	(void)state;
	assert_true(dirname_is_plain("S-1-5-21-1-2-3-512"));
	assert_true(dirname_is_plain("s-1-5-11"));
	assert_true(dirname_is_plain("cert:CN=x"));
	assert_true(dirname_is_plain("exch01$@CONTOSO.TEST"));
	assert_false(dirname_is_plain("EXCH01$"));
	assert_false(dirname_is_plain("CONTOSO\\EXCH01$"));
	assert_false(dirname_is_plain("CN=a@b,DC=x"));
}

static const char *
filter(const char *text)
{
	struct sbuf b;

	assert_int_equal(dirname_parse(text, &n, err), 0);
	sbuf_init(&b, mem, sizeof(mem));
	dirfilter_name(&b, &n);
	assert_false(b.cut);
	return mem;
}

static void
values_stay_values(void **state)
{
	static const char every[] = "*()\\\0\x80\xff/&|!=~<>\n";
	struct sbuf b;

	(void)state;
	sbuf_init(&b, mem, sizeof(mem));
	dirfilter_value(&b, (struct slice){every, sizeof(every) - 1});
	assert_string_equal(mem, "\\2a\\28\\29\\5c\\00\\80\\ff\\2f\\26\\7c\\21"
				 "\\3d\\7e\\3c\\3e\\0a");
	assert_string_equal(filter("X\\a*)(cn=*"),
			    "(&(objectSid=*)(|(sAMAccountName="
			    "a\\2a\\29\\28cn\\3d\\2a)))");
	assert_string_equal(filter("X\\K\xc3\xb6ln"),
			    "(&(objectSid=*)(|(sAMAccountName="
			    "K\\c3\\b6ln)))");
	assert_string_equal(filter("jo@c.test"),
			    "(&(objectSid=*)(|(userPrincipalName=jo\\40c.test)"
			    "(sAMAccountName=jo)))");
	assert_non_null(strstr(filter("a b$"), "(cn=a b$)(displayName=a b$)"));
	assert_string_equal(filter("CN=x*,DC=y"),
			    "(&(objectSid=*)(|(objectClass=*)))");
}

static void
the_longest_name_fits(void **state)
{
	char big[DIRNAME_MAX], sid[] = "S-1-5-21-1-2-3-513";
	struct sbuf b;

	(void)state;
	memset(big, '*', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	(void)filter(big); /* the form with three of it */
	sbuf_init(&b, mem, sizeof(mem));
	dirfilter_members(&b, big, sid);
	assert_false(b.cut);
	assert_non_null(strstr(mem, "(primaryGroupID=513)"));
	sbuf_init(&b, mem, sizeof(mem));
	dirfilter_members(&b, "CN=x", "S-1-5-32-544");
	assert_null(strstr(mem, "primaryGroupID"));
	assert_non_null(strstr(mem, "1941:=CN\\3dx)"));
}

static void
sids(void **state)
{
	static const uint8_t good[] = {1,    2, 0, 0, 0,    0, 0, 5,
				       0x20, 0, 0, 0, 0x20, 2, 0, 0};
	uint8_t bad[sizeof(good)];
	char text[DIRSID_MAX];

	(void)state;
	assert_int_equal(dirsid_text(good, sizeof(good), text), 0);
	assert_string_equal(text, "S-1-5-32-544");
	for (size_t i = 0; i < sizeof(good); i++)
		assert_int_equal(dirsid_text(good, i, text), -EINVAL);
	memcpy(bad, good, sizeof(good));
	bad[0] = 2;
	assert_int_equal(dirsid_text(bad, sizeof(bad), text), -EINVAL);
	bad[0] = 1;
	bad[1] = 16;
	assert_int_equal(dirsid_text(bad, sizeof(bad), text), -EINVAL);
}

static void
domains_of_names(void **state)
{
	char domain[256];

	(void)state;
	dirname_domain_of("DC=contoso,DC=test", domain);
	assert_string_equal(domain, "contoso.test");
	dirname_domain_of("CN=x\\,y,OU=z,dc=a,DC=b,DC=c", domain);
	assert_string_equal(domain, "a.b.c");
	dirname_domain_of("CN=x", domain);
	assert_string_equal(domain, "");
	dirname_domain_of("", domain);
	assert_string_equal(domain, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(forms_of_names),
	    cmocka_unit_test(no_names),
	    cmocka_unit_test(what_needs_no_directory),
	    cmocka_unit_test(values_stay_values),
	    cmocka_unit_test(the_longest_name_fits),
	    cmocka_unit_test(sids),
	    cmocka_unit_test(domains_of_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
