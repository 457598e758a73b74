/*
 * Heads of requests: what a good one says, and what becomes of its fields.
 */
#include "tests/unit/relay/http_fixture.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(post),	     T(methods),
	    T(persistence),  T(soap_action_empty),
	    T(intermediary), T(intermediary_named_in_connection),
	    T(fates),	     T(named_in_connection),
	    T(expect),	     T(is_soap),
	    T(is_token),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
