/*
 * Heads of requests: where the body ends, and every way in which two readers
 * could see its end in different places.
 */
#include "tests/unit/relay/http_fixture.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(body_of_a_read),
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
	};

	return cmocka_run_group_tests_name("http framing", tests, NULL, NULL);
}
