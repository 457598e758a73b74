/*
 * Heads of the cloud's replies: framing, persistence, and what is refused so
 * that one client never reads another's reply.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/http.h"

static struct http_reply r;
static char head[8192]; /* what r's slices point into */
static const char *why;
static size_t fields_max;

static int
setup(void **state)
{
	(void)state;
	fields_max = 200;
	return 0;
}

static enum reason
parse_n(const char *p, size_t len)
{
	struct http_scan s = {0};
	size_t n = 0;

	assert_true(len < sizeof(head));
	memcpy(head, p, len);
	memset(&r, 0x55, sizeof(r));
	why = NULL;
	if (http_scan(&s, head, len, &n) != HTTP_DONE)
		return REASON_BAD_LINE_END;
	assert_int_equal(n, len);
	return http_parse_reply(&r, head, len, fields_max, &why);
}

static enum reason
parse(const char *text)
{
	return parse_n(text, strlen(text));
}

static enum reason
with(int status, const char *lines)
{
	char t[sizeof(head)];

	snprintf(t, sizeof(t), "HTTP/1.1 %d x\r\n%s\r\n", status, lines);
	return parse(t);
}

/* Refused, with a word for the log. */
#define refused(got)                                   \
	assert_int_equal(got, REASON_CLOUD_BAD_REPLY); \
	assert_non_null(why)
#define accepted(got) assert_string_equal(reason_row(got)->name, "OK")
#define is(s, text)   assert_true(slice_is(s, text))

static void
test_good(void **state)
{
	(void)state;
	accepted(parse("HTTP/1.1 200 OK, all is well\r\n"
		       "Content-Type: text/xml; charset=utf-8\r\n"
		       "content-length: 77\r\n"
		       "X-Powered-By: ASP.NET\r\n\r\n"));
	assert_int_equal(r.status, 200);
	assert_int_equal(r.minor, 1);
	is(r.phrase, "OK, all is well");
	assert_int_equal(r.framing, HTTP_LENGTH);
	assert_int_equal(r.length, 77);
	assert_true(r.keep_alive);
	is(r.content_type, "text/xml; charset=utf-8");
	assert_int_equal(r.nfields, 3);
}

static void
test_status_lines(void **state)
{
	static const char *const bad[] = {
	    "HTTP/1.1",		 "HTTP/1.1 ",	     "HTTP/1.1 20",
	    "HTTP/1.1 2000",	 "HTTP/1.1 20x OK",  "HTTP/1.1  200 OK",
	    "HTTP/1.2 200 OK",	 "HTTP/2.0 200 OK",  "HTTP/1.1\t200 OK",
	    "http/1.1 200 OK",	 "HTTP/1.1 200\tOK", "HTTP/1.1 099 x",
	    "HTTP/1.1 600 x",	 "HTTP/1.1 000 x",   "HTTP/1.1 -20 x",
	    " HTTP/1.1 200 OK",	 "ICY 200 OK",	     "HTTP/1.1 200 a\x01",
	    "HTTP/1.1 200 \x7f", "HTTP/11 200 OK",   "200 OK",
	    "HTTP/1.1 200OK",
	};
	char t[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(t, sizeof(t), "%s\r\n\r\n", bad[i]);
		refused(parse(t));
	}
	refused(parse_n("HTTP/1.1 200 a\0b\r\n\r\n", 20));
	accepted(parse("HTTP/1.1 200\r\n\r\n"));
	is(r.phrase, "");
	accepted(parse("HTTP/1.1 200 \r\n\r\n"));
	is(r.phrase, "");
	accepted(parse("HTTP/1.1 599 \xc3\xa4 b\r\n\r\n"));
	is(r.phrase, "\xc3\xa4 b");
}

static void
test_framing(void **state)
{
	(void)state;
	accepted(with(200, "Transfer-Encoding: Chunked\r\n"));
	assert_int_equal(r.framing, HTTP_CHUNKED);
	assert_true(r.keep_alive);
	accepted(with(200, "Content-Length: 0\r\n"));
	assert_int_equal(r.framing, HTTP_NO_BODY);
	assert_true(r.keep_alive);
	accepted(with(500, ""));
	assert_int_equal(r.framing, HTTP_CLOSE);
	assert_false(r.keep_alive);
	accepted(with(200, "Connection: keep-alive\r\n"));
	assert_false(r.keep_alive);
}

static void
test_length_and_te(void **state)
{
	(void)state;
	refused(with(200, "Content-Length: 5\r\n"
			  "Transfer-Encoding: chunked\r\n"));
	refused(with(200, "Transfer-Encoding: chunked\r\n"
			  "Content-Length: 0\r\n"));
	refused(with(200, "Connection: content-length\r\n"
			  "Content-Length: 5\r\n"
			  "Transfer-Encoding: chunked\r\n"));
	refused(with(204, "Content-Length: 5\r\n"
			  "Transfer-Encoding: chunked\r\n"));
}

static void
test_length_bad(void **state)
{
	static const char *const bad[] = {"+5",
					  "-5",
					  "5, 5",
					  "",
					  "0x5",
					  "5 5",
					  "9223372036854775808",
					  "5,",
					  "a",
					  "18446744073709551621"};
	char t[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(t, sizeof(t), "Content-Length: %s\r\n", bad[i]);
		refused(with(200, t));
	}
	refused(with(200, "Content-Length: 5\r\nContent-Length: 5\r\n"));
	accepted(with(200, "Content-Length: 9223372036854775807\r\n"));
	assert_int_equal(r.length, INT64_MAX);
}

static void
test_te_bad(void **state)
{
	static const char *const bad[] = {"gzip",     "gzip, chunked",
					  "",	      "chunked,",
					  "identity", "chunked, chunked"};
	char t[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(t, sizeof(t), "Transfer-Encoding: %s\r\n", bad[i]);
		refused(with(200, t));
	}
	refused(with(200, "Transfer-Encoding: chunked\r\n"
			  "Transfer-Encoding: chunked\r\n"));
	refused(parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
	refused(with(200, "Transfer-Encoding : chunked\r\n"));
}

static void
test_lines(void **state)
{
	(void)state;
	assert_int_equal(parse("HTTP/1.1 200 OK\nA: b\r\n\r\n"),
			 REASON_BAD_LINE_END);
	assert_int_equal(parse("HTTP/1.1 200 OK\r\nA: b\n\r\n"),
			 REASON_BAD_LINE_END);
	assert_int_equal(parse("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"),
			 REASON_BAD_LINE_END);
	assert_int_equal(parse("\r\nHTTP/1.1 200 OK\r\n\r\n"),
			 REASON_BAD_LINE_END);
	refused(with(200, "A: b\r\n c\r\n"));
	refused(with(200, ": b\r\n"));
	refused(with(200, "A : b\r\n"));
	refused(with(200, "A\r\n"));
	refused(parse_n("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", 25));
}

/* CVE-2021-40346, the other way: a name whose length overflows hides or makes
 * up the framing of a reply. */
static void
test_name_longer_than_a_byte_counts(void **state)
{
	static const char *const names[] = {"Content-Length",
					    "Transfer-Encoding"};
	char t[4096], name[1024];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const char *is = names[i % 2];
		size_t n = strlen(is) + (i < 2 ? 256 : 512);

		memset(name, 'a', n);
		memcpy(name, is, strlen(is));
		name[n] = '\0';
		snprintf(t, sizeof(t), "%s:\r\nContent-Length: 60\r\n", name);
		accepted(with(200, t));
		assert_int_equal(r.nfields, 2);
		assert_int_equal(r.field[0].id, FIELD_OTHER);
		assert_int_equal(r.field[0].name.len, n);
		assert_int_equal(r.framing, HTTP_LENGTH);
		assert_int_equal(r.length, 60);
		snprintf(t, sizeof(t), "%s: 5\r\n", name);
		accepted(with(200, t));
		assert_int_equal(r.framing, HTTP_CLOSE);
		snprintf(t, sizeof(t),
			 "%s: x\r\nContent-Length: 5\r\n"
			 "Transfer-Encoding: chunked\r\n",
			 name);
		refused(with(200, t));
	}
}

static void
test_fields_bound(void **state)
{
	(void)state;
	fields_max = 2;
	accepted(with(200, "A: b\r\nC: d\r\n"));
	refused(with(200, "A: b\r\nC: d\r\nE: f\r\n"));
}

static void
test_persistence(void **state)
{
	(void)state;
	accepted(with(200, "Content-Length: 1\r\nConnection: Close\r\n"));
	assert_false(r.keep_alive);
	accepted(parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"));
	assert_false(r.keep_alive);
	accepted(parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n"
		       "Connection: keep-alive\r\n\r\n"));
	assert_true(r.keep_alive);
	accepted(parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n"
		       "Connection: keep-alive, close\r\n\r\n"));
	assert_false(r.keep_alive);
}

/* Without a body by their status. */
static void
test_bodiless(void **state)
{
	static const int status[] = {100, 103, 204, 304};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(status); i++) {
		accepted(with(status[i], "A: b\r\n"));
		assert_int_equal(r.framing, HTTP_NO_BODY);
		assert_true(r.keep_alive);
		accepted(with(status[i], "Content-Length: 0\r\n"));
		assert_true(r.keep_alive);
	}
}

/* A server that announces a body all the same may send it: these bytes must
 * not become the head of the next reply. */
static void
test_bodiless_with_a_body(void **state)
{
	(void)state;
	accepted(with(204, "Content-Length: 5\r\n"));
	assert_int_equal(r.framing, HTTP_NO_BODY);
	assert_false(r.keep_alive);
	accepted(with(204, "Transfer-Encoding: chunked\r\n"));
	assert_false(r.keep_alive);
	accepted(with(304, "Content-Length: 5\r\n"));
	assert_int_equal(r.framing, HTTP_NO_BODY);
	assert_false(r.keep_alive);
	refused(with(100, "Content-Length: 5\r\n"));
	refused(with(103, "Transfer-Encoding: chunked\r\n"));
}

static enum field_fate
fate(const char *lines)
{
	accepted(with(200, lines));
	return http_fate_reply(&r.field[r.nfields - 1]);
}

static void
test_fates(void **state)
{
	(void)state;
	assert_int_equal(fate("Content-Type: text/xml\r\n"), FATE_PASS);
	assert_int_equal(fate("Content-Encoding: gzip\r\n"), FATE_PASS);
	assert_int_equal(fate("Retry-After: 5\r\n"), FATE_PASS);
	assert_int_equal(fate("X-Of-The-Cloud: 5\r\n"), FATE_PASS);
	assert_int_equal(fate("Content-Length: 5\r\n"), FATE_OURS);
	assert_int_equal(fate("Transfer-Encoding: chunked\r\n"), FATE_OURS);
	assert_int_equal(fate("Connection: close\r\n"), FATE_OURS);
	assert_int_equal(fate("X-RMS-Request-Id: x\r\n"), FATE_OURS);
	assert_int_equal(fate("WWW-Authenticate: Negotiate\r\n"), FATE_DROP);
	assert_int_equal(fate("Set-Cookie: a=b\r\n"), FATE_DROP);
	assert_int_equal(fate("Keep-Alive: timeout=5\r\n"), FATE_DROP);
	assert_int_equal(fate("Trailer: x\r\n"), FATE_DROP);
	assert_int_equal(fate("Upgrade: h2c\r\n"), FATE_DROP);
	assert_int_equal(fate("Authorization: x\r\n"), FATE_DROP);
	assert_int_equal(fate("Strict-Transport-Security: x\r\n"), FATE_DROP);
	assert_int_equal(fate("Connection: x-hop\r\nX-Hop: 1\r\n"), FATE_DROP);
	assert_int_equal(fate("Connection: retry-after\r\nRetry-After: 1\r\n"),
			 FATE_DROP);
}

#define T(name) cmocka_unit_test_setup(test_##name, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(good),	     T(status_lines),
	    T(framing),	     T(length_and_te),
	    T(length_bad),   T(te_bad),
	    T(lines),	     T(name_longer_than_a_byte_counts),
	    T(fields_bound), T(persistence),
	    T(bodiless),     T(bodiless_with_a_body),
	    T(fates),
	};

	return cmocka_run_group_tests_name("http_reply", tests, NULL, NULL);
}
