/*
 * Straight or through the web proxy: what the directives mean, and what a
 * person is told of those that mean nothing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "conf/check.h"
#include "conf/conf.h"
#include "conf/proxy.h"
#include "shm/base/log.h"

static struct conf c;
static struct conf_proxy p;

static void
use(const char *proxy, const char *no_proxy)
{
	conf_defaults(&c);
	assert_null(check_proxy_url(proxy));
	if (no_proxy[0] != '\0')
		assert_null(check_no_proxy(no_proxy));
	snprintf(c.proxy.s, sizeof(c.proxy.s), "%s", proxy);
	snprintf(c.no_proxy.s, sizeof(c.no_proxy.s), "%s", no_proxy);
}

static void
assert_way(bool tls, const char *host, unsigned port)
{
	assert_int_equal(conf_proxy_for(&c, "tenant.example.com", &p), 0);
	assert_true(p.used);
	assert_int_equal(p.tls, tls);
	assert_string_equal(p.host, host);
	assert_int_equal(p.port, port);
}

static void
test_without_a_proxy_the_way_is_straight(void **state)
{
	(void)state;
	conf_defaults(&c);
	assert_int_equal(conf_proxy_for(&c, "tenant.example.com", &p), 0);
	assert_false(p.used);
}

static void
test_a_url_is_taken_apart(void **state)
{
	(void)state;
	use("http://proxy.example.com:3128", "");
	assert_way(false, "proxy.example.com", 3128);
	use("HTTPS://proxy.example.com:443/", "");
	assert_way(true, "proxy.example.com", 443);
	use("http://192.0.2.1:8080", "");
	assert_way(false, "192.0.2.1", 8080);
	use("https://[2001:db8::1]:65535", "");
	assert_way(true, "2001:db8::1", 65535);
}

static void
test_what_is_no_url_is_no_way(void **state)
{
	static const char *const bad[] = {
	    "proxy.example.com:3128",
	    "socks5://p:1080",
	    "http://p",
	    "http://p:0",
	    "http://p:65536",
	    "http://p:80/x",
	    "http://u:p@p:80",
	    "http://:3128",
	    "http://",
	    "http://[::1]",
	    "http://[::g]:1",
	    "http://p:80?x",
	    "http://p q:80",
	    "http://a:80:90",
	    "https://",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *why = check_proxy_url(bad[i]);

		if (why == NULL)
			fail_msg("%s was taken", bad[i]);
	}
	assert_non_null(strstr(check_proxy_url("http://u:secret@p:80"),
			       "proxy_credential"));
	/* a struct conf that was not checked: closed, not straight */
	conf_defaults(&c);
	snprintf(c.proxy.s, sizeof(c.proxy.s), "nonsense");
	assert_int_equal(conf_proxy_for(&c, "tenant", &p), -EINVAL);
}

static void
test_hosts_that_are_exempt(void **state)
{
	static const struct {
		const char *list, *host;
		bool exempt;
	} t[] = {
	    {"*", "anything", true},
	    {"example.com", "example.com", true},
	    {"example.com", "EXAMPLE.com", true},
	    {"example.com", "a.example.com", true},
	    {"example.com", "badexample.com", false},
	    {"example.com", "example.com.evil.test", false},
	    {".example.com", "a.example.com", true},
	    {".example.com", "example.com", false},
	    {"x, y ,z.test", "y", true},
	    {"x,y,z.test", "q", false},
	    {"192.0.2.1", "192.0.2.1", true},
	    {"192.0.2.1", "192.0.2.11", false},
	    {"10.0.0.0/8", "10.255.1.2", true},
	    {"10.0.0.0/8", "11.0.0.1", false},
	    {"192.0.2.128/25", "192.0.2.127", false},
	    {"192.0.2.128/25", "192.0.2.200", true},
	    {"0.0.0.0/0", "198.51.100.7", true},
	    {"0.0.0.0/0", "2001:db8::1", false},
	    {"2001:db8::/32", "2001:db8:ffff::1", true},
	    {"2001:db8::/33", "2001:db8:8000::1", false},
	    {"[2001:db8::1]", "2001:db8::1", true},
	    {"10.0.0.0/8", "ten.example.com", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		use("http://p:1", t[i].list);
		assert_int_equal(conf_proxy_for(&c, t[i].host, &p), 0);
		if (p.used == t[i].exempt)
			fail_msg("%s of %s", t[i].host, t[i].list);
	}
}

static void
test_lists_that_mean_nothing_are_refused(void **state)
{
	static const char *const bad[] = {
	    "a:80",	 "a,,b",     "a,",	 "10.0.0.0/33", "::/129",
	    "10/8",	 "*.a.test", "http://a", "a b",		"a;b",
	    "10.0.0.0/", "-a",	     "[::1",	 "..a",		"[::1]:80",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (check_no_proxy(bad[i]) == NULL)
			fail_msg("%s was taken", bad[i]);
}

static void
test_pins(void **state)
{
	char pin[80];

	(void)state;
	snprintf(pin, sizeof(pin), "sha256:%064x", 0xabc);
	assert_null(check_issuers(pin));
	assert_null(check_issuers("DigiCert, Inc.; Microsoft Corporation"));
	pin[70] = '\0';
	assert_non_null(check_issuers(pin));
	assert_non_null(check_issuers("a;;b"));
	assert_non_null(check_issuers("sha256:zz"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_without_a_proxy_the_way_is_straight),
	    cmocka_unit_test(test_a_url_is_taken_apart),
	    cmocka_unit_test(test_what_is_no_url_is_no_way),
	    cmocka_unit_test(test_hosts_that_are_exempt),
	    cmocka_unit_test(test_lists_that_mean_nothing_are_refused),
	    cmocka_unit_test(test_pins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
