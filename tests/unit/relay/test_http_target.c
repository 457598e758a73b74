/*
 * Heads of requests: the request line and Host, which say what is asked for
 * and of whom.
 */
#include "tests/unit/relay/http_fixture.h"

static void
test_request_lines(void **state)
{
	static const char *const bad[] = {
	    "GET",
	    "GET /",
	    "GET / ",
	    "GET  / HTTP/1.1",
	    "GET / HTTP/1.1 ",
	    "GET / HTTP/1.1 x",
	    " GET / HTTP/1.1",
	    "GET\t/\tHTTP/1.1",
	    "GET / HTTP/1.1\t",
	    "GET /  HTTP/1.1",
	    "GET / HTTP/11",
	    "GET / HTTP/1",
	    "GET / HTTP/1.10",
	    "GET / http/1.1",
	    "GET / HTTP/1,1",
	    "GET / HTTP/01.1",
	    "GET / HTTP /1.1",
	    "GET / HTTP/-1.1",
	    "GET / HTTP/1.x",
	    "GET / HTTP/x.1",
	    "G(ET) / HTTP/1.1",
	    "GE\xc3T / HTTP/1.1",
	    "GET / ICAP/1.0",
	    " / HTTP/1.1",
	    "GET  HTTP/1.1",
	    "GET / /x HTTP/1.1",
	    "PRI",
	};
	char t[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(t, sizeof(t), "%s\r\nHost: h\r\n\r\n", bad[i]);
		refused(parse(t), BAD_REQUEST_LINE);
	}
}

static void
test_versions(void **state)
{
	(void)state;
	refused(parse("GET / HTTP/1.2\r\nHost: h\r\n\r\n"), VERSION);
	refused(parse("GET / HTTP/1.9\r\nHost: h\r\n\r\n"), VERSION);
	refused(parse("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), VERSION);
	refused(parse("GET / HTTP/0.9\r\nHost: h\r\n\r\n"), VERSION);
	refused(parse("PRI * HTTP/2.0\r\n\r\n"), VERSION);
}

static void
test_targets(void **state)
{
	static const char *const bad[] = {
	    "*",	   "a",		"a/b",
	    "?x",	   "h:443",	"ftp://h/",
	    "http:/h/",	   "http:///x", "http://h",
	    "https://h?/", "//?#",	"/#x",
	    "/a\\b",	   "/\xc3\xa4", "/\"",
	    "/<",	   "/a|b",	"/a^b",
	    "/{}",	   "/[x]",	"javascript:/a",
	    "http://",	   "https://",	"/a`b",
	};
	char t[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		enum reason why;

		snprintf(t, sizeof(t), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
			 bad[i]);
		why = parse(t);
		if (why != REASON_BAD_TARGET && why != REASON_BAD_HOST)
			fail_msg("%s: %s", bad[i], reason_row(why)->name);
	}
	/* right, but not for us; and each form with its own method only */
	refused(parse("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"), METHOD);
	refused(parse("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n"
		      "Content-Length: 5\r\n\r\n"),
		METHOD);
	refused(parse("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n"
		      "Transfer-Encoding: chunked\r\n\r\n"),
		METHOD);
	refused(parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), METHOD);
	refused(parse("CONNECT h/ HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_TARGET);
	refused(parse("CONNECT /a HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_TARGET);
	refused(parse("CONNECT * HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_TARGET);
	refused(parse("OPTIONS h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_TARGET);
	accepted(parse("GET //a?b?c=/d HTTP/1.1\r\nHost: h\r\n\r\n"));
	is(r.path, "//a");
	is(r.query, "b?c=/d");
	accepted(parse("GET /a?%zz HTTP/1.1\r\nHost: h\r\n\r\n"));
	is(r.query, "%zz"); /* it is not read (PARSER.md) */
	accepted(parse("GET /? HTTP/1.1\r\nHost: h\r\n\r\n"));
	is(r.path, "/");
	is(r.query, "");
}

static void
test_absolute_form(void **state)
{
	(void)state;
	accepted(parse("GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n"));
	is(r.path, "/a");
	is(r.query, "b");
	accepted(parse("GET HTTPS://H:8443/a HTTP/1.1\r\nHost: h:8443\r\n"
		       "\r\n"));
	is(r.path, "/a");
	refused(parse("GET http://g/a HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_HOST);
	refused(parse("GET http://h:80/a HTTP/1.1\r\nHost: h\r\n\r\n"),
		BAD_HOST);
	refused(parse("GET http://h,g/a HTTP/1.1\r\nHost: h,g\r\n\r\n"),
		BAD_HOST);
	refused(parse("GET http://h,g/a HTTP/1.1\r\nHost: h\r\n\r\n"),
		BAD_HOST);
	refused(parse("GET http://h@g/a HTTP/1.1\r\nHost: h@g\r\n\r\n"),
		BAD_HOST);
	refused(parse("GET http://h@g/a HTTP/1.1\r\nHost: g\r\n\r\n"),
		BAD_HOST);
	refused(parse("GET http://h?x/a HTTP/1.1\r\nHost: h\r\n\r\n"),
		BAD_HOST);
	refused(parse("GET http:///a HTTP/1.1\r\nHost: \r\n\r\n"), BAD_HOST);
	refused(parse("GET http://h/a HTTP/1.0\r\n\r\n"), BAD_HOST);
}

static void
test_host_count(void **state)
{
	(void)state;
	refused(parse("GET / HTTP/1.1\r\n\r\n"), BAD_HOST);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
		BAD_HOST);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\nhOST: g\r\n\r\n"),
		BAD_HOST);
	refused(parse("GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n"),
		BAD_HOST);
	accepted(parse("GET / HTTP/1.0\r\n\r\n"));
	assert_null(r.host.p);
}

static void
test_host_form(void **state)
{
	static const char *const bad[] = {
	    "",	      "a,b",	 "a, b",	  "u@h",    "h/x",    "h?x",
	    "h#x",    "h h",	 "\"h\"",	  "a:1:2",  "h:x",    "h:-1",
	    "h:1x",   "h:65536", "h:99999999999", "[::1",   "::1",    "[]",
	    "[::1]x", "[::1]:x", "[g::]",	  "a[::1]", "h]",     "<h>",
	    "h;x",    ":80",	 "\xc3\xa4",	  "h\\x",   "[:]",    "h:8080:",
	    "h%zz",   "h%2",	 "h%00",	  "[::1]]", "[::1][",
	};
	static const char *const good[] = {
	    "h",
	    "connector.lab.test",
	    "127.0.0.1",
	    "127.0.0.1:65535",
	    "[::1]",
	    "[fe80::1]:8443",
	    "a_b",
	    "h.",
	    "[::ffff:10.0.0.1]:80",
	    "[:::::::::]", /* it is not read (PARSER.md) */
	    "h:",
	    "H-1:0443",
	};
	char t[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(t, sizeof(t), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
			 bad[i]);
		if (parse(t) != REASON_BAD_HOST)
			fail_msg("Host %s is taken", bad[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		snprintf(t, sizeof(t), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
			 good[i]);
		accepted(parse(t));
		is(r.host, good[i]);
	}
}

static void
test_host_length(void **state)
{
	char t[512] = "GET / HTTP/1.1\r\nHost: ";
	size_t n = strlen(t);

	(void)state;
	memset(t + n, 'a', 255);
	memcpy(t + n + 255, "\r\n\r\n", 5);
	accepted(parse(t));
	memcpy(t + n + 255, "a\r\n\r\n", 6);
	refused(parse(t), BAD_HOST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(request_lines), T(versions),  T(targets),	    T(absolute_form),
	    T(host_count),    T(host_form), T(host_length),
	};

	return cmocka_run_group_tests_name("http target", tests, NULL, NULL);
}
