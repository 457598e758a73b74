/*
 * Paths, operations and pages: what a client, an installer and the log see.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/service.h"

#define LIC "/_wmcs/licensing/license.asmx"

/* ---- paths ------------------------------------------------------------- */

static enum service found;

static enum path_kind
find_n(const char *path, size_t len)
{
	/* a copy of its own: a read beyond it is seen by ASan */
	char *copy = malloc(len + 1);
	enum path_kind k;

	memcpy(copy, path, len);
	found = SERVICE_MAX;
	k = service_find((struct slice){copy, len}, SLICE_LIT("/healthz"),
			 &found);
	free(copy);
	return k;
}

static enum path_kind
find(const char *path)
{
	return find_n(path, strlen(path));
}

static void
service_is(const char *path, enum service s)
{
	if (find(path) != PATH_SERVICE)
		fail_msg("%s is no service", path);
	assert_int_equal(found, s);
}

static void
all_are(enum path_kind kind, const char *const *path)
{
	for (; *path != NULL; path++)
		if (find(*path) != kind)
			fail_msg("%s is %d", *path, (int)find(*path));
}

static void
test_every_service(void **state)
{
	char t[128];

	(void)state;
	for (int s = 0; s < SERVICE_MAX; s++) {
		snprintf(t, sizeof(t), "/_wmcs/%s",
			 service_path((enum service)s));
		service_is(t, (enum service)s);
		assert_true(service_takes_post(slice_of(t)));
		assert_true(service_title((enum service)s)[0] != '\0');
	}
}

static void
test_case_and_slashes(void **state)
{
	(void)state;
	service_is(LIC, SERVICE_LICENSE);
	service_is("/_WMCS/Licensing/LICENSE.ASMX", SERVICE_LICENSE);
	service_is("//_wmcs///licensing//license.asmx", SERVICE_LICENSE);
	service_is("/_wmcs/certification/servercertification.asmx",
		   SERVICE_SERVER_CERTIFICATION);
	service_is("/_wmcs/certification/server.asmx",
		   SERVICE_CERTIFICATION_SERVER);
	service_is("/_wmcs/licensing/server.asmx", SERVICE_LICENSING_SERVER);
}

static void
test_rmso_uri_and_health(void **state)
{
	(void)state;
	assert_int_equal(find("/_wmcs/GetRmsoUri.aspx"), PATH_RMSO_URI);
	assert_int_equal(find("/_WMCS//getrmsouri.ASPX"), PATH_RMSO_URI);
	assert_int_equal(find("/healthz"), PATH_HEALTH);
	/* exact */
	assert_int_equal(find("/HEALTHZ"), PATH_UNKNOWN);
	assert_int_equal(find("//healthz"), PATH_UNKNOWN);
	assert_int_equal(find("/healthz/"), PATH_UNKNOWN);
	/* without a health path nothing is one, "" neither */
	assert_int_equal(service_find(SLICE_LIT(""), SLICE_LIT(""), &found),
			 PATH_UNKNOWN);
	assert_false(service_takes_post(SLICE_LIT("/healthz")));
	assert_false(service_takes_post(SLICE_LIT("/_wmcs/GetRmsoUri.aspx")));
	assert_false(service_takes_post(SLICE_LIT("/x")));
}

static void
test_unknown(void **state)
{
	static const char *const paths[] = {
	    "/",
	    "/_wmcs",
	    "/_wmcs/",
	    "/_wmcs/licensing",
	    "/_wmcs/licensing/",
	    LIC "/",
	    LIC "/AcquireLicense",
	    LIC "x",
	    LIC ".",
	    LIC ";x",
	    LIC "%20",
	    LIC "::$DATA",
	    "/x" LIC,
	    "/_wmcs/groupexpansion/groupexpansion.asmx",
	    "/_wmcs/licensing/certification.asmx",
	    "/_wmc%73/licensing/license.asmx",
	    "/_wmcs/licensing/%6cicense.asmx",
	    "/_wmcs/licensing/license%252easmx",
	    "/_wmcs/x.y/z..",
	    "/a%",
	    "/a%2",
	    "/a%zz",
	    NULL,
	};

	(void)state;
	all_are(PATH_UNKNOWN, paths);
}

static void
test_dots(void **state)
{
	static const char *const paths[] = {
	    "/..",
	    "/.",
	    "/../" LIC,
	    "/." LIC,
	    "/_wmcs/x/../licensing/license.asmx",
	    "/_wmcs/./licensing/license.asmx",
	    "/_wmcs/licensing/license.asmx/..",
	    "/_wmcs/licensing//../license.asmx",
	    "/_wmcs/..;/licensing/license.asmx",
	    "/_wmcs/.../x",
	    "/_wmcs/..x",
	    NULL,
	};

	(void)state;
	all_are(PATH_BAD, paths);
}

static void
test_encoded(void **state)
{
	static const char *const paths[] = {
	    "/_wmcs%2flicensing/license.asmx",
	    "/_wmcs%2Flicensing/license.asmx",
	    "/_wmcs/%2e%2e/licensing/license.asmx",
	    "/_wmcs/.%2E/licensing/license.asmx",
	    "/_wmcs/licensing/license%2easmx",
	    "/_wmcs%5clicensing/license.asmx",
	    "/_wmcs%5Clicensing/license.asmx",
	    LIC "%00",
	    LIC "%00.txt",
	    "/_wmcs\\licensing\\license.asmx",
	    NULL,
	};

	(void)state;
	all_are(PATH_BAD, paths);
	assert_int_equal(find_n("/_wmcs/a%2fb", 10), PATH_UNKNOWN); /* "%2" */
}

static void
test_long_paths(void **state)
{
	static char t[8192];

	(void)state;
	memset(t, 'a', sizeof(t));
	t[0] = '/';
	assert_int_equal(find_n(t, sizeof(t)), PATH_UNKNOWN);
	/* what is bad stays bad behind the part that can be ours */
	memcpy(t + sizeof(t) - 4, "/../", 4);
	assert_int_equal(find_n(t, sizeof(t)), PATH_BAD);
	/* slashes count as one, however many */
	memset(t, '/', sizeof(t));
	memcpy(t + sizeof(t) - sizeof(LIC) + 1, LIC, sizeof(LIC) - 1);
	assert_int_equal(find_n(t, sizeof(t)), PATH_SERVICE);
}

/* ---- operations -------------------------------------------------------- */

#define NS "http://microsoft.com/DRM/LicensingService/"

static enum op
by_action(const char *action)
{
	return service_op(SERVICE_LICENSE, slice_of(action),
			  (struct slice){NULL, 0});
}

static enum op
by_type(const char *type)
{
	return service_op(SERVICE_LICENSE, (struct slice){NULL, 0},
			  slice_of(type));
}

static void
test_op_names(void **state)
{
	(void)state;
	assert_string_equal(op_name(OP_UNKNOWN), "");
	assert_string_equal(op_name(OP_AcquireLicense), "AcquireLicense");
	assert_string_equal(op_name(OP_EditIssuanceLicense),
			    "EditIssuanceLicense");
}

static void
test_op_soap_action(void **state)
{
	(void)state;
	assert_int_equal(by_action("\"" NS "AcquireLicense\""),
			 OP_AcquireLicense);
	assert_int_equal(by_action(NS "AcquirePreLicense"),
			 OP_AcquirePreLicense);
	assert_int_equal(by_action("AcquireLicense"), OP_AcquireLicense);
	assert_int_equal(by_action("\"" NS "acquirelicense\""), OP_UNKNOWN);
	assert_int_equal(by_action(NS), OP_UNKNOWN);
	assert_int_equal(by_action("\""), OP_UNKNOWN);
	assert_int_equal(by_action("\"\""), OP_UNKNOWN);
	assert_int_equal(by_action("/"), OP_UNKNOWN);
	/* of another service */
	assert_int_equal(by_action("\"" NS "Certify\""), OP_UNKNOWN);
	assert_int_equal(by_action(""), OP_UNKNOWN);
}

static void
test_op_same_name_other_service(void **state)
{
	(void)state;
	assert_int_equal(service_op(SERVICE_CERTIFICATION,
				    SLICE_LIT("x/Certify"), SLICE_LIT("")),
			 OP_Certify);
	assert_int_equal(service_op(SERVICE_SERVER_CERTIFICATION,
				    SLICE_LIT("x/Certify"), SLICE_LIT("")),
			 OP_Certify);
	assert_int_equal(service_op(SERVICE_LICENSING_SERVER,
				    SLICE_LIT("x/GetServerInfo"),
				    SLICE_LIT("")),
			 OP_GetServerInfo);
}

static void
test_op_soap12_action(void **state)
{
	(void)state;
	assert_int_equal(by_type("application/soap+xml; charset=utf-8; "
				 "action=\"" NS "AcquireLicense\""),
			 OP_AcquireLicense);
	assert_int_equal(by_type("application/soap+xml;action=\"" NS
				 "AcquireLicense\";charset=utf-8"),
			 OP_AcquireLicense);
	/* parameter names are without case, values may go unquoted */
	assert_int_equal(
	    by_type("application/soap+xml; Action=\"" NS "AcquireLicense\""),
	    OP_AcquireLicense);
	assert_int_equal(by_type("application/soap+xml; action=" NS
				 "AcquireLicense; charset=utf-8"),
			 OP_AcquireLicense);
	/* not a part of another parameter's name or value */
	assert_int_equal(
	    by_type("application/soap+xml; reaction=\"" NS "AcquireLicense\""),
	    OP_UNKNOWN);
	assert_int_equal(by_type("application/soap+xml; x=\"; action=" NS
				 "AcquireLicense\""),
			 OP_UNKNOWN);
	assert_int_equal(by_type("text/xml; action=\"unterminated/Acquire"),
			 OP_UNKNOWN);
	assert_int_equal(by_type("text/xml; action="), OP_UNKNOWN);
	assert_int_equal(by_type("text/xml; action"), OP_UNKNOWN);
	assert_int_equal(by_type("text/xml;"), OP_UNKNOWN);
	assert_int_equal(by_type("action=\"" NS "AcquireLicense\""),
			 OP_UNKNOWN);
}

static void
test_op_order(void **state)
{
	(void)state;
	assert_int_equal(
	    service_op(SERVICE_LICENSE, SLICE_LIT("x/AcquireLicense"),
		       SLICE_LIT("a/b; action=\"x/AcquirePreLicense\"")),
	    OP_AcquireLicense);
	assert_int_equal(
	    service_op(SERVICE_LICENSE, SLICE_LIT("x/Other"),
		       SLICE_LIT("a/b; action=\"x/AcquirePreLicense\"")),
	    OP_AcquirePreLicense);
}

static void
test_op_of_exchange(void **state)
{
	(void)state;
	assert_true(op_is_of_exchange(OP_AcquirePreLicense));
	assert_true(op_is_of_exchange(OP_GetServerInfo));
	assert_false(op_is_of_exchange(OP_AcquireLicense));
	assert_false(op_is_of_exchange(OP_UNKNOWN));
}

/* ---- pages ------------------------------------------------------------- */

static char page[16384]; /* what local.c has room for */

static void
has(const char *word)
{
	if (strstr(page, word) == NULL)
		fail_msg("\"%s\" is not in the page", word);
}

static void
test_page(void **state)
{
	struct sbuf b;

	(void)state;
	for (int s = 0; s < SERVICE_MAX; s++) {
		sbuf_init(&b, page, sizeof(page));
		service_page(&b, (enum service)s);
		assert_false(b.cut);
		has(service_title((enum service)s));
	}
	/* what the installation guide tells people to look for */
	sbuf_init(&b, page, sizeof(page));
	service_page(&b, SERVICE_SERVER_CERTIFICATION);
	has("ServerCertificationWebService");
	has("<li>Certify</li>");
}

static void
test_wsdl(void **state)
{
	char base[256], t[320];
	struct sbuf b;

	(void)state;
	memset(base, 'h', sizeof(base) - 1);
	base[sizeof(base) - 1] = '\0';
	memcpy(base, "https://", 8);
	for (int s = 0; s < SERVICE_MAX; s++) {
		sbuf_init(&b, page, sizeof(page));
		service_wsdl(&b, (enum service)s, slice_of(base));
		assert_false(b.cut);
		snprintf(t, sizeof(t), "location=\"%s/_wmcs/%s\"", base,
			 service_path((enum service)s));
		has(t);
		has("</w:definitions>");
	}
	sbuf_init(&b, page, sizeof(page));
	service_wsdl(&b, SERVICE_LICENSE, slice_of(base));
	has("soapAction=\"" NS "AcquireLicense\"");
	has("soapAction=\"" NS "AcquirePreLicense\"");
}

/* The path that was found last is remembered. */
static void
one_path_is_not_taken_for_another(void **state)
{
	static const char license[] = "/_wmcs/licensing/license.asmx";
	static const char publish[] = "/_wmcs/licensing/publish.asmx";

	(void)state;
	_Static_assert(sizeof(license) == sizeof(publish), "as long");
	for (int i = 0; i < 3; i++) {
		service_is(license, SERVICE_LICENSE);
		service_is(license, SERVICE_LICENSE);
		service_is(publish, SERVICE_PUBLISH);
		assert_int_equal(find("/_wmcs/licensing/licence.asmx"),
				 PATH_UNKNOWN);
		assert_int_equal(find_n(publish, sizeof(publish) - 2),
				 PATH_UNKNOWN);
		assert_int_equal(find_n(publish, sizeof(publish)),
				 PATH_UNKNOWN);
		assert_int_equal(find_n(publish, 0), PATH_UNKNOWN);
	}
	/* another function of the connector comes first, also then */
	service_is(license, SERVICE_LICENSE);
	assert_int_equal(
	    service_find(slice_of(license), slice_of(license), &found),
	    PATH_HEALTH);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_path_is_not_taken_for_another),
	    cmocka_unit_test(test_every_service),
	    cmocka_unit_test(test_case_and_slashes),
	    cmocka_unit_test(test_rmso_uri_and_health),
	    cmocka_unit_test(test_unknown),
	    cmocka_unit_test(test_dots),
	    cmocka_unit_test(test_encoded),
	    cmocka_unit_test(test_long_paths),
	    cmocka_unit_test(test_op_names),
	    cmocka_unit_test(test_op_soap_action),
	    cmocka_unit_test(test_op_same_name_other_service),
	    cmocka_unit_test(test_op_soap12_action),
	    cmocka_unit_test(test_op_order),
	    cmocka_unit_test(test_op_of_exchange),
	    cmocka_unit_test(test_page),
	    cmocka_unit_test(test_wsdl),
	};

	return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
