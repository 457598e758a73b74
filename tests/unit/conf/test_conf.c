/*
 * The tables and their values: what a person may write, what it means, and
 * what they are told when it is wrong.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "conf/check.h"
#include "conf/conf.h"
#include "shm/base/log.h"

static struct conf c;
static char err[400];

static const struct conf_row *
node(const char *name)
{
	size_t n;
	const struct conf_row *t = conf_rows(&n);

	return conf_row_find(t, n, name);
}

static int
set(const char *name, const char *text)
{
	return conf_row_set(node(name), &c, text, err, sizeof(err));
}

static void
test_defaults_are_valid_and_come_back(void **state)
{
	size_t n[3];
	const struct conf_row *t[3] = {conf_rows(&n[0]), conf_settings(&n[1]),
				       conf_listener_rows(&n[2])};
	char text[CONF_TEXT_MAX], again[CONF_TEXT_MAX];
	struct conf_listener l;

	(void)state;
	conf_defaults(&c);
	conf_listener_defaults(&l);
	assert_int_equal(c.body_bytes_max, 16777216);
	assert_int_equal(c.idle_timeout_ms, 120000);
	assert_string_equal(c.log_level.s, "info");
	/* Nobody gets what another has proved unless it is asked for. */
	assert_false(c.connection_auth);
	assert_string_equal(l.connection_auth.s, "node");
	assert_string_equal(c.cloud_auth_scheme.s, "Bearer");
	assert_int_equal(c.nlisteners, 0);
	assert_int_equal(l.port, 80);
	for (int k = 0; k < 3; k++) {
		for (size_t i = 0; i < n[k]; i++) {
			void *base = k == 2 ? (void *)&l : &c;

			assert_true(conf_row_ok(&t[k][i], base));
			conf_row_get(&t[k][i], base, text);
			assert_int_equal(conf_row_set(&t[k][i], base, text, err,
						      sizeof(err)),
					 0);
			conf_row_get(&t[k][i], base, again);
			assert_string_equal(text, again);
			if (t[k][i].type == CONF_T_STR ||
			    t[k][i].type == CONF_T_PATH)
				assert_true(t[k][i].max < CONF_TEXT_MAX);
		}
	}
}

static void
test_numbers_have_bounds(void **state)
{
	(void)state;
	conf_defaults(&c);
	assert_int_equal(set("workers", "64"), 0);
	assert_int_equal(c.workers, 64);
	assert_int_equal(set("workers", "65"), -ERANGE);
	assert_string_equal(err, "workers = 65: too large, choose 0 to 64");
	assert_int_equal(set("workers", "99999999999999999999"), -ERANGE);
	assert_int_equal(set("workers", "-1"), -EINVAL);
	assert_int_equal(set("workers", ""), -EINVAL);
	assert_int_equal(set("workers", " 3"), -EINVAL);
	assert_int_equal(set("workers", "3k"), -EINVAL);
	assert_int_equal(set("workers", "0x10"), -EINVAL);
	assert_int_equal(set("header_count_max", "7"), -ERANGE);
	assert_non_null(strstr(err, "too small, choose 8 to "));
	assert_int_equal(c.workers, 64);
}

static void
test_sizes(void **state)
{
	char text[CONF_TEXT_MAX];

	(void)state;
	conf_defaults(&c);
	assert_int_equal(set("body_bytes_max", "8M"), 0);
	assert_int_equal(c.body_bytes_max, 8 << 20);
	assert_int_equal(set("body_bytes_max", "1G"), 0);
	assert_int_equal(set("body_bytes_max", "64k"), 0);
	assert_int_equal(c.body_bytes_max, 65536);
	conf_row_get(node("body_bytes_max"), &c, text);
	assert_string_equal(text, "64k");
	assert_int_equal(set("body_bytes_max", "65537"), 0);
	conf_row_get(node("body_bytes_max"), &c, text);
	assert_string_equal(text, "65537");
	assert_int_equal(set("body_bytes_max", "2G"), -ERANGE);
	assert_non_null(strstr(err, "choose 1k to 1G"));
	/* Would be small again in 64 bits if it overflowed. */
	assert_int_equal(set("body_bytes_max", "9223372036854775807G"),
			 -ERANGE);
	assert_int_equal(set("body_bytes_max", "17179869185G"), -ERANGE);
	assert_int_equal(set("body_bytes_max", "8MB"), -EINVAL);
	assert_int_equal(set("body_bytes_max", "8s"), -EINVAL);
	assert_int_equal(set("body_bytes_max", "M"), -EINVAL);
}

static void
test_times(void **state)
{
	static const struct {
		const char *text, *back;
		int64_t ms;
	} good[] = {{"250", "250ms", 250},  {"250ms", "250ms", 250},
		    {"90s", "90s", 90000},  {"2m", "2m", 120000},
		    {"1d", "1d", 86400000}, {"24h", "1d", 86400000}};
	char text[CONF_TEXT_MAX];

	(void)state;
	conf_defaults(&c);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(set("idle_timeout_ms", good[i].text), 0);
		assert_int_equal(c.idle_timeout_ms, good[i].ms);
		conf_row_get(node("idle_timeout_ms"), &c, text);
		assert_string_equal(text, good[i].back);
	}
	assert_int_equal(set("drain_ms", "0"), 0);
	conf_row_get(node("drain_ms"), &c, text);
	assert_string_equal(text, "0");
	assert_int_equal(set("idle_timeout_ms", "2d"), -ERANGE);
	assert_int_equal(set("idle_timeout_ms", "5 s"), -EINVAL);
	assert_int_equal(set("idle_timeout_ms", "1.5s"), -EINVAL);
	assert_int_equal(set("idle_timeout_ms", "5k"), -EINVAL);
}

static void
test_words(void **state)
{
	(void)state;
	conf_defaults(&c);
	assert_int_equal(set("connection_auth", "off"), 0);
	assert_false(c.connection_auth);
	assert_int_equal(set("connection_auth", "yes"), 0);
	assert_true(c.connection_auth);
	assert_int_equal(set("connection_auth", "TRUE"), -EINVAL);
	assert_int_equal(set("log_level", "debug"), 0);
	assert_string_equal(c.log_level.s, "debug");
	assert_int_equal(set("log_level", "loud"), -EINVAL);
	assert_string_equal(err, "log_level = loud: not one of the choices, "
				 "write info, err, warn or debug");
	/* A part of a choice, two of them, or none is no choice. */
	assert_int_equal(set("log_level", "deb"), -EINVAL);
	assert_int_equal(set("log_level", "info|err"), -EINVAL);
	assert_int_equal(set("log_level", ""), -EINVAL);
}

static void
test_texts(void **state)
{
	char many[600];

	(void)state;
	conf_defaults(&c);
	assert_int_equal(set("keytab", "krb5.keytab"), -EINVAL);
	assert_string_equal(err, "keytab = krb5.keytab: not an absolute path, "
				 "begin it with /");
	assert_int_equal(set("keytab", "/etc/krb5.keytab"), 0);
	assert_int_equal(set("keytab", ""), 0);
	assert_int_equal(set("state_dir", ""), -ERANGE);
	assert_int_equal(set("keytab", "/a\nb"), -EINVAL);
	assert_null(strchr(err, '\n'));
	memset(many, 'x', sizeof(many));
	many[0] = '/';
	many[200] = '\0';
	assert_int_equal(set("keytab", many), 0);
	many[200] = 'x';
	many[201] = '\0';
	assert_int_equal(set("keytab", many), -ERANGE);
	many[201] = 'x';
	many[599] = '\0';
	assert_int_equal(set("keytab", many), -ERANGE);
	assert_int_equal(set("health_path", "healthz"), -EINVAL);
	assert_int_equal(set("cloud_addresses", "127.0.0.1, ::1"), 0);
	assert_int_equal(set("cloud_addresses", "127.0.0.1,"), -EINVAL);
	assert_int_equal(set("cloud_addresses", "localhost"), -EINVAL);
	assert_int_equal(set("dns_servers", "127.0.0.1:5353,[::1]:53"), 0);
	assert_int_equal(set("dns_servers", "127.0.0.1:0"), -EINVAL);
	assert_int_equal(set("dns_servers", "[::1]x"), -EINVAL);
	assert_int_equal(set("dns_servers", "[::1"), -EINVAL);
	assert_int_equal(set("dns_servers", "[::1]"), 0);
	/* A small buffer cuts the message, it does not overflow. */
	assert_int_equal(conf_row_set(node("keytab"), &c, "x", many, 8),
			 -EINVAL);
	assert_true(strlen(many) < 8);
}

/* Two that were given the same values are the same bytes. */
static void
test_structs_compare(void **state)
{
	struct conf a, b;

	(void)state;
	conf_defaults(&a);
	conf_defaults(&b);
	assert_int_equal(
	    conf_row_set(node("keytab"), &a, "/a/long/path", err, sizeof(err)),
	    0);
	assert_int_equal(
	    conf_row_set(node("keytab"), &a, "/b", err, sizeof(err)), 0);
	assert_int_equal(
	    conf_row_set(node("keytab"), &b, "/b", err, sizeof(err)), 0);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void
test_settings(void **state)
{
	char text[CONF_TEXT_MAX];
#define SET(n, v) conf_setting_set(&c, n, v, err, sizeof(err))

	(void)state;
	conf_defaults(&c);
	assert_int_equal(SET("tenant_url", "https://a.rms.eu.aadrm.com"), 0);
	assert_int_equal(conf_setting_get(&c, "tenant_url", text), 0);
	assert_string_equal(text, "https://a.rms.eu.aadrm.com");
	assert_int_equal(SET("tenant_url", "http://a"), -EINVAL);
	assert_non_null(strstr(err, "begin with https://"));
	assert_string_equal(c.tenant_url.s, "https://a.rms.eu.aadrm.com");
	assert_int_equal(SET("tenant_ulr", "https://a"), -ENOENT);
	assert_string_equal(
	    err, "tenant_ulr: no such setting, did you mean tenant_url?");
	assert_int_equal(SET("workers", "3"), -ENOENT);
	assert_non_null(strstr(err, "rms-connector.conf"));
	assert_int_equal(SET("xyzzy", "3"), -ENOENT);
	assert_null(strstr(err, "did you mean"));
	assert_int_equal(SET("cloud", "AzureChinaCloud"), 0);
	assert_int_equal(SET("cloud", "Azure"), -EINVAL);
	assert_int_equal(SET("cloud_path_prefix", "/_wmcs/oauth2"), 0);
	assert_int_equal(SET("cloud_path_prefix", "/_wmcs/../x"), -EINVAL);
	assert_int_equal(SET("cloud_path_prefix", "/_wmcs/"), -EINVAL);
	assert_int_equal(SET("header_account", "X-Account"), 0);
	assert_int_equal(SET("header_account", "Content-LENGTH"), -EINVAL);
	assert_int_equal(SET("header_account", "X Account"), -EINVAL);
	assert_int_equal(SET("header_account", ""), 0);
	assert_int_equal(SET("credential_fci", "Default"), -EINVAL);
	assert_int_equal(SET("credential_fci", ""), -ERANGE);
	assert_int_equal(SET("tenant_id", "contoso.test"), 0);
	assert_int_equal(SET("tenant_id", "a/b"), -EINVAL);
	assert_int_equal(conf_setting_get(&c, "nope", text), -ENOENT);
	assert_string_equal(text, "");
}

static void
test_https_url(void **state)
{
	static const char *const good[] = {
	    "https://h",     "https://h/",	     "HTTPS://h.example/a/b",
	    "https://h:443", "https://[::1]:8443/x", "https://127.0.0.1:1"};
	static const char *const bad[] = {
	    "https://",	    "https:///x",      "h",
	    "https://h?x",  "https://h/#x",    "https://u@h",
	    "https://h:0",  "https://h:65536", "https://h:",
	    "https://h:x",  "https://[::1",    "https://[::1]x",
	    "https://[x]",  "https://-h",      "https://h..x",
	    "https://h./",  "https://h/a b",   "https://h x",
	    "https://h\\x", "https://h/\x80"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_null(check_https_url(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_non_null(check_https_url(bad[i]));
}

static void
test_nearest_name(void **state)
{
	size_t n;
	const struct conf_row *t = conf_rows(&n);
	char longer[200];

	(void)state;
	assert_string_equal(conf_row_nearest(t, n, "worker"), "workers");
	assert_string_equal(conf_row_nearest(t, n, "krytab"), "keytab");
	assert_string_equal(conf_row_nearest(t, n, "idle_timeout"),
			    "idle_timeout_ms");
	assert_null(conf_row_nearest(t, n, "banana"));
	assert_null(conf_row_nearest(t, n, ""));
	memset(longer, 'w', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_null(conf_row_nearest(t, n, longer));
}

static void
test_restart_diff(void **state)
{
	struct conf a, b;
	char out[200], small[16];

	(void)state;
	conf_defaults(&a);
	b = a;
	assert_int_equal(conf_restart_diff(&a, &b, out, sizeof(out)), 0);
	assert_string_equal(out, "");
	b.idle_timeout_ms++; /* LIVE */
	assert_int_equal(conf_restart_diff(&a, &b, out, sizeof(out)), 0);
	b.workers = 7;
	b.state_dir.s[1] = 'x';
	assert_int_equal(conf_restart_diff(&a, &b, out, sizeof(out)), 2);
	assert_string_equal(out, "workers, state_dir");
	assert_int_equal(conf_restart_diff(&a, &b, small, sizeof(small)), 2);
	assert_string_equal(small, "workers");
}

static void
test_token_url(void **state)
{
	char out[400], small[20];

	(void)state;
	conf_defaults(&c);
	assert_false(conf_token_url(&c, out, sizeof(out)));
	assert_string_equal(out, "");
	assert_int_equal(SET("tenant_id", "contoso.test"), 0);
	assert_true(conf_token_url(&c, out, sizeof(out)));
	assert_string_equal(out, "https://login.microsoftonline.com/"
				 "contoso.test/oauth2/v2.0/token");
	assert_int_equal(SET("cloud", "AzureChinaCloud"), 0);
	assert_true(conf_token_url(&c, out, sizeof(out)));
	assert_string_equal(out, "https://login.partner.microsoftonline.cn/"
				 "contoso.test/oauth2/v2.0/token");
	assert_int_equal(SET("cloud", "AzureUSGovernment"), 0);
	assert_true(conf_token_url(&c, out, sizeof(out)));
	assert_string_equal(out, "https://login.microsoftonline.us/"
				 "contoso.test/oauth2/v2.0/token");
	assert_int_equal(SET("token_url", "https://127.0.0.1:1/t"), 0);
	assert_true(conf_token_url(&c, out, sizeof(out)));
	assert_string_equal(out, "https://127.0.0.1:1/t");
	assert_false(conf_token_url(&c, small, sizeof(small)));
	assert_string_equal(small, "");
}

/* One tenant has one name, however its URL ends. */
static void
test_tenant_base(void **state)
{
	char out[32], small[16] = "x";

	(void)state;
	conf_defaults(&c);
	assert_false(conf_tenant_base(&c, out, sizeof(out)));
	assert_string_equal(out, "");
	assert_int_equal(SET("tenant_url", "https://a.test:444/"), 0);
	assert_true(conf_tenant_base(&c, out, sizeof(out)));
	assert_string_equal(out, "https://a.test:444");
	assert_int_equal(SET("tenant_url", "https://a.test/T"), 0);
	assert_true(conf_tenant_base(&c, out, sizeof(out)));
	assert_string_equal(out, "https://a.test/T");
	assert_false(conf_tenant_base(&c, small, sizeof(small)));
	assert_string_equal(small, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults_are_valid_and_come_back),
	    cmocka_unit_test(test_numbers_have_bounds),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_times),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_structs_compare),
	    cmocka_unit_test(test_settings),
	    cmocka_unit_test(test_https_url),
	    cmocka_unit_test(test_nearest_name),
	    cmocka_unit_test(test_restart_diff),
	    cmocka_unit_test(test_token_url),
	    cmocka_unit_test(test_tenant_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
