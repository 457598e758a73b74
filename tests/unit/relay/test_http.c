/*
 * Heads of requests: what is one, and every way in which two readers could
 * take the same bytes for different requests.
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
#include "worker/relay/http.h"

static struct http_req r;
static struct http_limits lim;
static char head[1 << 18]; /* what r's slices point into */

static int
setup(void **state)
{
	(void)state;
	lim = (struct http_limits){.fields_max = 100,
				   .head_max = 32768,
				   .auth_max = 90112,
				   .body_max = 1 << 20};
	return 0;
}

/* Scans and parses as client.c does. */
static enum reason
parse_n(const char *p, size_t len)
{
	struct http_scan s = {0};
	size_t n = 0;

	assert_true(len < sizeof(head));
	memmove(head, p, len);
	memset(&r, 0x55, sizeof(r));
	switch (http_scan(&s, head, len, &n)) {
	case HTTP_MORE:
		fail_msg("not a whole head");
	case HTTP_BAD_LINE:
		return REASON_BAD_LINE_END;
	case HTTP_DONE:
		break;
	}
	assert_int_equal(n, len);
	return http_parse_req(&r, head, len, &lim);
}

static enum reason
parse(const char *text)
{
	return parse_n(text, strlen(text));
}

/* A POST with these field lines beside a good Host. */
static enum reason
with(const char *lines)
{
	static char t[sizeof(head)];

	snprintf(t, sizeof(t), "POST /a HTTP/1.1\r\nHost: h\r\n%s\r\n", lines);
	return parse(t);
}

#define refused(got, want)                                 \
	assert_string_equal(reason_row(got)->name, #want); \
	assert_true(reason_row(REASON_##want)->status >= 400)
#define accepted(got) assert_string_equal(reason_row(got)->name, "OK")
#define is(s, text)   assert_true(slice_is(s, text))

/* ---- what is good ------------------------------------------------------ */

static void
test_post(void **state)
{
	(void)state;
	accepted(parse("POST /_wmcs/licensing/license.asmx?x=1 HTTP/1.1\r\n"
		       "Host: connector.lab.test:8443\r\n"
		       "content-type: \t text/xml; charset=utf-8 \t\r\n"
		       "SOAPAction: \"http://a/B\"\r\n"
		       "Authorization: Negotiate YII=\r\n"
		       "Content-Length: 42\r\n"
		       "\r\n"));
	assert_int_equal(r.method, HTTP_POST);
	assert_int_equal(r.minor, 1);
	is(r.method_text, "POST");
	is(r.target, "/_wmcs/licensing/license.asmx?x=1");
	is(r.path, "/_wmcs/licensing/license.asmx");
	is(r.query, "x=1");
	is(r.host, "connector.lab.test:8443");
	is(r.content_type, "text/xml; charset=utf-8");
	is(r.soap_action, "\"http://a/B\"");
	is(r.authorization, "Negotiate YII=");
	assert_int_equal(r.framing, HTTP_LENGTH);
	assert_int_equal(r.length, 42);
	assert_true(r.has_length && r.keep_alive);
	assert_false(r.expect_continue || r.intermediary);
	assert_int_equal(r.nfields, 5);
	is(r.field[1].name, "content-type");
	assert_int_equal(r.field[1].id, FIELD_CONTENT_TYPE);
}

static void
test_methods(void **state)
{
	(void)state;
	accepted(parse("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
	assert_int_equal(r.method, HTTP_GET);
	assert_int_equal(r.framing, HTTP_NO_BODY);
	assert_false(r.has_length);
	assert_null(r.authorization.p);
	assert_null(r.soap_action.p);
	accepted(parse("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"));
	assert_int_equal(r.method, HTTP_HEAD);
	/* methods are case-sensitive (RFC 9110 9.1) */
	accepted(parse("post / HTTP/1.1\r\nHost: h\r\n\r\n"));
	assert_int_equal(r.method, HTTP_UNKNOWN);
	accepted(parse("M-SEARCH! / HTTP/1.1\r\nHost: h\r\n\r\n"));
	assert_int_equal(r.method, HTTP_UNKNOWN);
	accepted(parse("PUT / HTTP/1.1\r\nHost: h\r\n\r\n"));
	assert_int_equal(r.method, HTTP_OTHER);
}

/* RFC 9110 9.3.1: no meaning, and a way to smuggle. */
static void
test_body_of_a_read(void **state)
{
	(void)state;
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"),
		BODY_UNEXPECTED);
	refused(parse("HEAD / HTTP/1.0\r\nContent-Length: 5\r\n\r\n"),
		BODY_UNEXPECTED);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\n"
		      "Transfer-Encoding: chunked\r\n\r\n"),
		BODY_UNEXPECTED);
	accepted(
	    parse("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
	accepted(
	    parse("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"));
}

static void
test_persistence(void **state)
{
	(void)state;
	accepted(with("Connection: close\r\n"));
	assert_false(r.keep_alive);
	accepted(with("Connection: Keep-Alive, , CLOSE\r\n"));
	assert_false(r.keep_alive);
	accepted(with("Connection: keep-alive\r\nConnection: close\r\n"));
	assert_false(r.keep_alive);
	accepted(with("Connection: upgrade\r\n"));
	assert_true(r.keep_alive);
	accepted(parse("GET / HTTP/1.0\r\n\r\n"));
	assert_int_equal(r.minor, 0);
	assert_false(r.keep_alive);
	accepted(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
	assert_true(r.keep_alive);
	accepted(parse("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n"
		       "\r\n"));
	assert_false(r.keep_alive);
}

static void
test_soap_action_empty(void **state)
{
	(void)state;
	accepted(with("SOAPAction:\r\n"));
	assert_non_null(r.soap_action.p);
	assert_int_equal(r.soap_action.len, 0);
}

static void
test_intermediary(void **state)
{
	(void)state;
	accepted(with("Via: 1.1 squid\r\n"));
	assert_true(r.intermediary);
	accepted(with("forwarded: for=10.0.0.1\r\n"));
	assert_true(r.intermediary);
	accepted(with("X-FORWARDED-FOR:\r\n"));
	assert_true(r.intermediary);
	accepted(with("X-Forwarded-Fo: 1\r\n"));
	assert_false(r.intermediary);
}

/* An intermediary's sign cannot be named away either. */
static void
test_intermediary_named_in_connection(void **state)
{
	(void)state;
	accepted(with("Connection: via\r\nVia: 1.1 squid\r\n"));
	assert_true(r.intermediary);
}

/* ---- framing ----------------------------------------------------------- */

static void
test_length_and_te(void **state)
{
	(void)state;
	refused(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
		LENGTH_AND_TE);
	refused(with("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
		LENGTH_AND_TE);
	refused(with("Transfer-Encoding: x\r\nContent-Length: x\r\n"),
		LENGTH_AND_TE);
}

/* Connection names away neither of the two, nor Host. */
static void
test_framing_named_in_connection(void **state)
{
	(void)state;
	refused(with("Connection: content-length\r\nContent-Length: 5\r\n"
		     "Transfer-Encoding: chunked\r\n"),
		LENGTH_AND_TE);
	refused(with("Connection: transfer-encoding\r\nContent-Length: 5\r\n"
		     "Transfer-Encoding: chunked\r\n"),
		LENGTH_AND_TE);
	accepted(with("Connection: Content-Length, Host\r\n"
		      "Content-Length: 5\r\n"));
	assert_int_equal(r.length, 5);
	is(r.host, "h");
	for (size_t i = 0; i < r.nfields; i++)
		assert_false(r.field[i].hop);
	accepted(with("Connection: TRANSFER-encoding\r\n"
		      "Transfer-Encoding: chunked\r\n"));
	assert_int_equal(r.framing, HTTP_CHUNKED);
	accepted(with("Connection: expect\r\nExpect: 100-continue\r\n"
		      "Content-Length: 5\r\n"));
	assert_true(r.expect_continue);
	accepted(with("Connection: authorization\r\n"
		      "Authorization: Negotiate YII=\r\n"));
	is(r.authorization, "Negotiate YII=");
}

static void
test_length_repeated(void **state)
{
	(void)state;
	refused(with("Content-Length: 5\r\nContent-Length: 6\r\n"), BAD_LENGTH);
	refused(with("Content-Length: 5\r\ncontent-length: 5\r\n"), BAD_LENGTH);
	refused(with("Content-Length: 0\r\nContent-Length: 0\r\n"), BAD_LENGTH);
}

static void
test_length_list(void **state)
{
	(void)state;
	refused(with("Content-Length: 5, 5\r\n"), BAD_LENGTH);
	refused(with("Content-Length: 5,\r\n"), BAD_LENGTH);
	refused(with("Content-Length: ,5\r\n"), BAD_LENGTH);
}

static void
test_length_not_a_number(void **state)
{
	static const char *const bad[] = {
	    "+5", "-5",	 "-0",	 "",	  " ",	 "0x5",	     "5 5",  "5;",
	    "5.", "5e1", "five", "\"5\"", "5_0", "\xd9\xa5", "5\t5",
	};
	char t[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(t, sizeof(t), "Content-Length: %s\r\n", bad[i]);
		refused(with(t), BAD_LENGTH);
	}
}

static void
test_length_huge(void **state)
{
	(void)state;
	lim.body_max = UINT64_MAX;
	accepted(with("Content-Length: 9223372036854775807\r\n"));
	assert_int_equal(r.length, INT64_MAX);
	refused(with("Content-Length: 9223372036854775808\r\n"), BAD_LENGTH);
	refused(with("Content-Length: 18446744073709551616\r\n"), BAD_LENGTH);
	refused(with("Content-Length: 18446744073709551621\r\n"), BAD_LENGTH);
	refused(with("Content-Length: 4294967301000000000000000000000000\r\n"),
		BAD_LENGTH);
	accepted(with("Content-Length: 0000000000000000000000000000005\r\n"));
	assert_int_equal(r.length, 5);
}

static void
test_length_of_body_bound(void **state)
{
	(void)state;
	lim.body_max = 1000;
	accepted(with("Content-Length: 1000\r\n"));
	refused(with("Content-Length: 1001\r\n"), BODY_TOO_LARGE);
	accepted(with("Content-Length: 0\r\n"));
	assert_int_equal(r.framing, HTTP_NO_BODY);
	assert_true(r.has_length);
}

static void
test_te_not_exactly_chunked(void **state)
{
	static const char *const bad[] = {
	    "identity",		"gzip",
	    "gzip, chunked",	"chunked, gzip",
	    "chunked, chunked", "chunked,",
	    ",chunked",		"xchunked",
	    "chunkedx",		"\"chunked\"",
	    "chunked;q=1",	"",
	    "chunked identity", "ch\tunked",
	    "chun\xc5\xbfked",
	};
	char t[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(t, sizeof(t), "Transfer-Encoding: %s\r\n", bad[i]);
		refused(with(t), BAD_TE);
	}
	accepted(with("transfer-ENCODING:\tCHUNKED \r\n"));
	assert_int_equal(r.framing, HTTP_CHUNKED);
	assert_false(r.has_length);
}

static void
test_te_repeated(void **state)
{
	(void)state;
	refused(with("Transfer-Encoding: chunked\r\n"
		     "Transfer-Encoding: chunked\r\n"),
		BAD_TE);
	refused(with("Transfer-Encoding: gzip\r\n"
		     "Transfer-Encoding: chunked\r\n"),
		BAD_TE);
}

static void
test_te_in_1_0(void **state)
{
	(void)state;
	refused(parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
		BAD_TE);
}

/* A name that only looks like one that frames is another field: dropped, and
 * never sent on. */
static void
test_te_look_alikes(void **state)
{
	(void)state;
	refused(with("Transfer-Encoding : chunked\r\n"), BAD_FIELD);
	refused(with("Transfer-Encoding\t: chunked\r\n"), BAD_FIELD);
	refused(with(" Transfer-Encoding: chunked\r\n"), OBS_FOLD);
	refused(with("Transfer-Encoding:\x0b"
		     "chunked\r\n"),
		BAD_FIELD);
	accepted(with("Transfer_Encoding: chunked\r\n"));
	assert_int_equal(r.framing, HTTP_NO_BODY);
	assert_int_equal(r.field[1].id, FIELD_OTHER);
	assert_int_equal(http_fate_req(&r.field[1]), FATE_DROP);
}

/* ---- lines ------------------------------------------------------------- */

static void
test_bare_lf(void **state)
{
	(void)state;
	refused(parse("GET / HTTP/1.1\nHost: h\r\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\n\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n"),
		BAD_LINE_END);
	refused(parse("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_LINE_END);
}

static void
test_bare_cr(void **state)
{
	(void)state;
	refused(parse("GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\n\r\r\n"), BAD_LINE_END);
	refused(parse("GET\r/ HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\n\rHost: h\r\n\r\n"), BAD_LINE_END);
}

static void
test_empty_line_first(void **state)
{
	(void)state;
	/* client.c skips one; the scanner itself knows of none */
	refused(parse("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_LINE_END);
	refused(parse("\r\n\r\n"), BAD_LINE_END);
}

/* RFC 9110 5.5: field-vchar and obs-text, SP and HTAB between them.  Each byte
 * at each place of values of all lengths up to a few words. */
static void
test_bytes_of_a_value(void **state)
{
	static const char first[] = "GET / HTTP/1.1\r\nHost: h\r\nA: b";
	char t[sizeof(first) + 32];
	size_t at = sizeof(first) - 1;

	(void)state;
	memcpy(t, first, at);
	for (size_t len = 2; len < 26; len++) {
		for (size_t i = 0; i < len - 1; i++) {
			for (int ch = 0; ch < 0x100; ch++) {
				bool good =
				    (ch >= 0x20 && ch != 0x7f) || ch == '\t';

				if (ch == '\n' || ch == '\r')
					continue; /* the scanner's */
				/* with bytes around that a sum could reach */
				memset(t + at, i % 2 == 0 ? '!' : '~', len);
				t[at + i] = (char)ch;
				memcpy(t + at + len, "\r\n\r\n", 4);
				if ((parse_n(t, at + len + 4) == REASON_OK) !=
				    good)
					fail_msg("byte %d at %zu of %zu", ch, i,
						 len);
			}
		}
	}
}

/* In place of any byte but those of CR LF: never accepted. */
static void
test_nul_and_controls(void **state)
{
	static const char base[] =
	    "GET /abc HTTP/1.1\r\nHost: hh\r\nAb: cd\r\n\r\n";
	char t[sizeof(base)];

	(void)state;
	for (int ch = 0; ch < 0x80; ch++) {
		if ((ch >= 0x20 && ch != 0x7f) || ch == '\t')
			continue;
		for (size_t i = 0; i < sizeof(base) - 1; i++) {
			if (base[i] == '\r' || base[i] == '\n')
				continue;
			memcpy(t, base, sizeof(t));
			t[i] = (char)ch;
			if (parse_n(t, sizeof(t) - 1) == REASON_OK)
				fail_msg("byte %d at %zu is taken", ch, i);
		}
	}
	refused(parse_n("GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", 35),
		BAD_FIELD);
	refused(parse_n("GET / HTTP/1.1\r\nHost: h\r\nA\0: bc\r\n\r\n", 35),
		BAD_FIELD);
	refused(parse_n("GET /\0 HTTP/1.1\r\nHost: h\r\nA: bc\r\n\r\n", 35),
		BAD_TARGET);
}

static void
test_obs_fold(void **state)
{
	(void)state;
	refused(with("A: b\r\n c\r\n"), OBS_FOLD);
	refused(with("A: b\r\n\tc: d\r\n"), OBS_FOLD);
	refused(parse("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), OBS_FOLD);
	refused(with("A: b\r\n \r\n"), OBS_FOLD);
}

static void
test_field_names(void **state)
{
	(void)state;
	refused(with("A : b\r\n"), BAD_FIELD);
	refused(with("A\t: b\r\n"), BAD_FIELD);
	refused(with(": b\r\n"), BAD_FIELD);
	refused(with("A b: c\r\n"), BAD_FIELD);
	refused(with("A\r\n"), BAD_FIELD);
	refused(with("A(b): c\r\n"), BAD_FIELD);
	refused(with("\"A\": c\r\n"), BAD_FIELD);
	refused(with("A\xc3\xa4: c\r\n"), BAD_FIELD);
	refused(with("A\x7f: c\r\n"), BAD_FIELD);
	refused(with("A: b\x7f\r\n"), BAD_FIELD);
	refused(with("A: \x01\r\n"), BAD_FIELD);
	accepted(with("!#$%&'*+-.^_`|~09azAZ: \xc3\xa4\"(<>)\t@\r\n"));
	is(r.field[1].value, "\xc3\xa4\"(<>)\t@");
	accepted(with("A:b:c\r\n"));
	is(r.field[1].value, "b:c");
}

/* CVE-2021-40346: a name whose length overflows what keeps it, so that a
 * length or a coding shows behind it or vanishes. */
static void
test_name_longer_than_a_byte_counts(void **state)
{
	static const char *const names[] = {"Content-Length",
					    "Transfer-Encoding", "Host"};
	static const size_t more[] = {256, 512, 4096, 65536};
	static char t[1 << 17], name[66000];
	struct sbuf b;

	(void)state;
	lim.head_max = sizeof(t);
	for (size_t i = 0; i < ARRAY_LEN(names) * ARRAY_LEN(more); i++) {
		const char *is = names[i % ARRAY_LEN(names)];
		size_t n = strlen(is) + more[i / ARRAY_LEN(names)];

		memset(name, 'a', n);
		memcpy(name, is, strlen(is));
		name[n] = '\0';
		sbuf_init(&b, t, sizeof(t));
		sbuf_fmt(&b, "%s:\r\nContent-Length: 60\r\n", name);
		accepted(with(t));
		assert_int_equal(r.nfields, 3);
		assert_int_equal(r.field[1].id, FIELD_OTHER);
		assert_int_equal(r.field[1].name.len, n);
		assert_int_equal(http_fate_req(&r.field[1]), FATE_DROP);
		assert_int_equal(r.framing, HTTP_LENGTH);
		assert_int_equal(r.length, 60);
		/* as the only one it frames nothing */
		sbuf_init(&b, t, sizeof(t));
		sbuf_fmt(&b, "%s: 5\r\n", name);
		accepted(with(t));
		assert_int_equal(r.framing, HTTP_NO_BODY);
		assert_false(r.has_length);
		/* and what is behind it is seen */
		sbuf_init(&b, t, sizeof(t));
		sbuf_fmt(&b,
			 "%s: x\r\nContent-Length: 5\r\n"
			 "Transfer-Encoding: chunked\r\n",
			 name);
		refused(with(t), LENGTH_AND_TE);
	}
}

/* One name in three fields, one of them in another case. */
static void
test_repeated_singletons(void **state)
{
	(void)state;
	refused(with("Authorization: Negotiate YQ==\r\n"
		     "authorization: Negotiate YQ==\r\n"),
		BAD_FIELD);
	/* two readers would pick different ones */
	refused(with("Content-Type: text/xml\r\ncontent-type: text/plain\r\n"),
		BAD_FIELD);
	refused(with("SOAPAction: \"a/Certify\"\r\nSoapAction: \"b\"\r\n"),
		BAD_FIELD);
	accepted(with("Accept: a\r\nAccept: b\r\n"));
}

/* ---- request line and host ---------------------------------------------- */

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

/* ---- bounds ------------------------------------------------------------- */

static void
test_target_bound(void **state)
{
	static char t[HTTP_TARGET_MAX + 64];

	(void)state;
	for (size_t more = 0; more < 2; more++) {
		size_t n = HTTP_TARGET_MAX + more - 1;
		int len = snprintf(t, sizeof(t), "GET /");

		memset(t + len, 'a', n);
		snprintf(t + (size_t)len + n, sizeof(t) - (size_t)len - n,
			 " HTTP/1.1\r\nHost: h\r\n\r\n");
		assert_int_equal(parse(t),
				 more ? REASON_TARGET_TOO_LONG : REASON_OK);
	}
}

/* n field lines more than the Host line. */
static enum reason
with_fields(size_t n)
{
	char t[4096];
	struct sbuf b;

	sbuf_init(&b, t, sizeof(t));
	for (size_t i = 0; i < n; i++)
		sbuf_str(&b, "A: b\r\n");
	return with(t);
}

static void
test_fields_bound(void **state)
{
	(void)state;
	lim.fields_max = 8;
	accepted(with_fields(7));
	assert_int_equal(r.nfields, 8);
	refused(with_fields(8), HEAD_TOO_LARGE);
	/* never more than there is room for */
	lim.fields_max = 100000;
	accepted(with_fields(HTTP_FIELDS_MAX - 1));
	assert_int_equal(r.nfields, HTTP_FIELDS_MAX);
	refused(with_fields(HTTP_FIELDS_MAX), HEAD_TOO_LARGE);
}

static void
pad(struct sbuf *b, const char *name, size_t n)
{
	sbuf_fmt(b, "%s: ", name);
	while (n-- > 0)
		sbuf_char(b, 'x');
	sbuf_str(b, "\r\n");
}

static enum reason
with_padding(size_t a, size_t auth1, size_t auth2)
{
	static char t[8192];
	struct sbuf b;

	sbuf_init(&b, t, sizeof(t));
	pad(&b, "A", a);
	if (auth1 > 0)
		pad(&b, "Authorization", auth1);
	if (auth2 > 0)
		pad(&b, "Authorization", auth2);
	return with(t);
}

/* The head's bound does not count Authorization's value, which has its own. */
static void
test_head_bound(void **state)
{
	const size_t rest = strlen("POST /a HTTP/1.1\r\nHost: h\r\n"
				   "A: \r\nAuthorization: \r\n\r\n");

	(void)state;
	lim.head_max = 1000;
	lim.auth_max = 2000;
	accepted(with_padding(1000 - rest, 2000, 0));
	assert_int_equal(r.authorization.len, 2000);
	refused(with_padding(1001 - rest, 2000, 0), HEAD_TOO_LARGE);
	refused(with_padding(1, 2001, 0), AUTH_TOO_LARGE);
	/* a second Authorization does not buy more room */
	refused(with_padding(1, 1000, 1), HEAD_TOO_LARGE);
}

/* Naming many fields costs no more than reading them. */
static enum reason
with_options(size_t n, const char *more)
{
	char t[4096];
	struct sbuf b;

	sbuf_init(&b, t, sizeof(t));
	sbuf_str(&b, "Connection: a");
	for (size_t i = 1; i < n; i++)
		sbuf_str(&b, ",a");
	sbuf_fmt(&b, "\r\n%s", more);
	return with(t);
}

static void
test_connection_options_bound(void **state)
{
	(void)state;
	accepted(with_options(HTTP_HOPS_MAX, ""));
	refused(with_options(HTTP_HOPS_MAX + 1, ""), BAD_FIELD);
	refused(with_options(HTTP_HOPS_MAX, "Connection: close\r\n"),
		BAD_FIELD);
}

/* ---- what becomes of fields --------------------------------------------- */

static enum field_fate
fate(const char *lines)
{
	accepted(with(lines));
	return http_fate_req(&r.field[r.nfields - 1]);
}

static void
test_fates(void **state)
{
	(void)state;
	assert_int_equal(fate("Content-Type: text/xml\r\n"), FATE_PASS);
	assert_int_equal(fate("SOAPAction: x\r\n"), FATE_PASS);
	assert_int_equal(fate("tracestate: a=1\r\n"), FATE_PASS);
	assert_int_equal(fate("traceparent: 00-x\r\n"), FATE_OURS);
	assert_int_equal(fate("Content-Length: 5\r\n"), FATE_OURS);
	assert_int_equal(fate("Transfer-Encoding: chunked\r\n"), FATE_OURS);
	assert_int_equal(fate("Authorization: x\r\n"), FATE_OURS);
	assert_int_equal(fate("Expect: 100-continue\r\n"), FATE_OURS);
	assert_int_equal(fate("Via: x\r\n"), FATE_OURS);
	assert_int_equal(fate("X-Forwarded-For: x\r\n"), FATE_OURS);
	assert_int_equal(fate("TE: trailers\r\n"), FATE_DROP);
	assert_int_equal(fate("Upgrade: h2c\r\n"), FATE_DROP);
	assert_int_equal(fate("Proxy-Authorization: x\r\n"), FATE_DROP);
	assert_int_equal(fate("Proxy-Connection: close\r\n"), FATE_DROP);
	assert_int_equal(fate("Proxy: http://p/\r\n"), FATE_DROP);
	assert_int_equal(fate("X-Forwarded-Host: x\r\n"), FATE_DROP);
	assert_int_equal(fate("X-Forwarded-Proto: x\r\n"), FATE_DROP);
	assert_int_equal(fate("X-Original-URL: /x\r\n"), FATE_DROP);
	assert_int_equal(fate("X-HTTP-Method-Override: PUT\r\n"), FATE_DROP);
	assert_int_equal(fate("X-RMS-Request-Id: x\r\n"), FATE_DROP);
	assert_int_equal(fate("Cookie: x\r\n"), FATE_DROP);
	assert_int_equal(fate("X-Whatever: x\r\n"), FATE_DROP);
	assert_int_equal(fate("X-RMS-Account: x\r\n"), FATE_DROP);
}

static void
test_named_in_connection(void **state)
{
	(void)state;
	assert_int_equal(fate("Connection: x, User-AGENT\r\nuser-agent: y\r\n"),
			 FATE_DROP);
	assert_true(r.field[2].hop);
	assert_false(r.field[0].hop);
	/* also a field that stands before, and the second Connection field */
	accepted(with("Accept: y\r\nConnection: close\r\n"
		      "Connection: accept\r\n"));
	assert_int_equal(http_fate_req(&r.field[1]), FATE_DROP);
	/* a part of a name is not the name */
	assert_int_equal(fate("Connection: user\r\nuser-agent: y\r\n"),
			 FATE_PASS);
	refused(with("Connection: a b\r\n"), BAD_FIELD);
	refused(with("Connection: \"close\"\r\n"), BAD_FIELD);
	refused(with("Connection: close;x\r\n"), BAD_FIELD);
	accepted(with("Connection:\r\n"));
	accepted(with("Connection: ,, ,\r\n"));
}

static void
test_expect(void **state)
{
	(void)state;
	accepted(with("Expect: 100-Continue\r\nContent-Length: 1\r\n"));
	assert_true(r.expect_continue);
	accepted(
	    with("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"));
	assert_true(r.expect_continue);
	accepted(with("Expect: 100-continue\r\nContent-Length: 0\r\n"));
	assert_false(r.expect_continue);
	accepted(with("Expect: 100-continue\r\n"));
	assert_false(r.expect_continue);
	refused(with("Expect: 100-continue, x\r\nContent-Length: 1\r\n"),
		BAD_EXPECT);
	refused(with("Expect: 200-ok\r\nContent-Length: 1\r\n"), BAD_EXPECT);
	refused(with("Expect: 100-continue\r\nExpect: y\r\n"), BAD_EXPECT);
	refused(with("Expect:\r\nContent-Length: 1\r\n"), BAD_EXPECT);
	accepted(parse("POST / HTTP/1.0\r\nContent-Length: 1\r\n"
		       "Expect: 100-continue\r\n\r\n"));
	assert_false(r.expect_continue);
}

/* ---- piece by piece ----------------------------------------------------- */

/* Scanning in pieces cut at a and b gives what one scan gives. */
static void
scan_split(const char *p, size_t len, size_t a, size_t b,
	   enum http_scan_result want, size_t want_len)
{
	struct http_scan s = {0};
	size_t cut[] = {a, b, len}, n = 0;
	enum http_scan_result got = HTTP_MORE;

	for (size_t i = 0; i < ARRAY_LEN(cut) && got == HTTP_MORE; i++) {
		/* a copy of its own: a read beyond it is seen by ASan */
		char *copy = malloc(cut[i] + 1);

		memcpy(copy, p, cut[i]);
		got = http_scan(&s, copy, cut[i], &n);
		free(copy);
	}
	assert_int_equal(got, want);
	if (got == HTTP_DONE)
		assert_int_equal(n, want_len);
}

static void
test_scan_every_split(void **state)
{
	static const char *const texts[] = {
	    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	    "A\r\n\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: h\r\n",
	    "GET / HTTP/1.1\nHost: h\r\n\r\n",
	    "GET / HTTP/1.1\r\nHo\rst: h\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: h\r\n\n",
	    "\r\nGET / HTTP/1.1\r\n\r\n",
	};

	(void)state;
	for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
		struct http_scan s = {0};
		size_t len = strlen(texts[t]), n = 0;
		enum http_scan_result want = http_scan(&s, texts[t], len, &n);

		for (size_t a = 0; a <= len; a++)
			for (size_t b = a; b <= len; b++)
				scan_split(texts[t], len, a, b, want, n);
	}
}

static void
test_scan_finds_the_end(void **state)
{
	static const char t[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\nbody\r\n\r\n";
	struct http_scan s = {0};
	size_t n = 0;

	(void)state;
	assert_int_equal(http_scan(&s, t, 0, &n), HTTP_MORE);
	assert_int_equal(http_scan(&s, t, sizeof(t) - 1, &n), HTTP_DONE);
	assert_int_equal(n, 27);
}

/* RFC 9112 2.2 */
static void
test_empty_line(void **state)
{
	static const struct {
		const char *text;
		bool known;
		size_t len;
	} t[] = {
	    {"", true, 0},	 {"\r", false, 0},   {"\r\n", true, 2},
	    {"\r\r\n", true, 0}, {"\n", true, 0},    {"\r\n\r\nG", true, 2},
	    {"GET", true, 0},	 {" \r\n", true, 0},
	};
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		n = 9;
		assert_int_equal(
		    http_empty_line(t[i].text, strlen(t[i].text), &n),
		    t[i].known);
		assert_int_equal(n, t[i].len);
	}
}

static void
test_is_soap(void **state)
{
	(void)state;
	accepted(with("SOAPAction:\r\n"));
	assert_true(http_req_is_soap(&r));
	accepted(with("Content-Type: Text/XML; charset=utf-8\r\n"));
	assert_true(http_req_is_soap(&r));
	accepted(with("Content-Type: application/soap+xml\r\n"));
	assert_true(http_req_is_soap(&r));
	accepted(with("Content-Type: text/xm\r\n"));
	assert_false(http_req_is_soap(&r));
	accepted(with("Content-Type: text/plain\r\n"));
	assert_false(http_req_is_soap(&r));
	accepted(with(""));
	assert_false(http_req_is_soap(&r));
	accepted(parse("GET / HTTP/1.1\r\nHost: h\r\nSOAPAction: x\r\n\r\n"));
	assert_false(http_req_is_soap(&r));
}

static void
test_is_token(void **state)
{
	(void)state;
	assert_true(http_is_token(SLICE_LIT("a-Z9!")));
	assert_false(http_is_token(SLICE_LIT("")));
	assert_false(http_is_token(SLICE_LIT("a b")));
	assert_false(http_is_token(SLICE_LIT("a/b")));
	assert_false(http_is_token((struct slice){"a\0", 2}));
}

#define T(name) cmocka_unit_test_setup(test_##name, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(post),
	    T(methods),
	    T(body_of_a_read),
	    T(target_bound),
	    T(persistence),
	    T(soap_action_empty),
	    T(intermediary),
	    T(intermediary_named_in_connection),
	    T(length_and_te),
	    T(framing_named_in_connection),
	    T(length_repeated),
	    T(length_list),
	    T(length_not_a_number),
	    T(length_huge),
	    T(length_of_body_bound),
	    T(te_not_exactly_chunked),
	    T(te_repeated),
	    T(te_in_1_0),
	    T(te_look_alikes),
	    T(bare_lf),
	    T(bare_cr),
	    T(empty_line_first),
	    T(bytes_of_a_value),
	    T(nul_and_controls),
	    T(obs_fold),
	    T(field_names),
	    T(repeated_singletons),
	    T(name_longer_than_a_byte_counts),
	    T(request_lines),
	    T(versions),
	    T(targets),
	    T(absolute_form),
	    T(host_count),
	    T(host_form),
	    T(host_length),
	    T(fields_bound),
	    T(head_bound),
	    T(connection_options_bound),
	    T(fates),
	    T(named_in_connection),
	    T(expect),
	    T(empty_line),
	    T(is_soap),
	    T(scan_every_split),
	    T(scan_finds_the_end),
	    T(is_token),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
