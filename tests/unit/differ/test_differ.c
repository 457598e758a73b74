/*
 * Our HTTP parser beside llhttp: each difference that is explained is one, and
 * no other shows in messages whole, cut, doubled and changed byte by byte.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "tests/differ/differ.h"

static const struct {
	enum differ_kind kind;
	const char *text;
} good[] = {
    {DIFFER_REQUEST, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
    {DIFFER_REQUEST, "\r\nGET /?a=b HTTP/1.1\r\nhost:[::1]:80\r\n\r\n"},
    {DIFFER_REQUEST, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
		     "SOAPAction: \"x\"\r\n\r\nhello"},
    {DIFFER_REQUEST, "POST /a HTTP/1.1\r\nHost: h\r\n"
		     "Transfer-Encoding: chunked\r\n\r\n"
		     "5;a=\"b\"\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n"},
    {DIFFER_REQUEST, "POST /a HTTP/1.0\r\nContent-Length: 1\r\n"
		     "Connection: keep-alive\r\n\r\nx"},
    {DIFFER_REQUEST, "HEAD http://h/a HTTP/1.1\r\nHost: h\r\n"
		     "Connection: close\r\n\r\n"},
    {DIFFER_REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
    {DIFFER_REPLY, "HTTP/1.1 500\r\nTransfer-Encoding: chunked\r\n\r\n"
		   "5\r\nhello\r\n0\r\nX: y\r\n\r\n"},
    {DIFFER_REPLY, "HTTP/1.0 200 OK\r\nX: y\r\n\r\nto the end"},
    {DIFFER_REPLY, "HTTP/1.1 204 No Content\r\nX:\r\n\r\n"},
    {DIFFER_REPLY, "HTTP/1.1 100 Continue\r\n\r\n"},
};

/* In which way the parsers differ about some bytes; fails when that has no
 * row.  NULL when they do not. */
static const struct differ_row *
judge(enum differ_kind kind, const char *p, size_t len)
{
	struct differ_msg ours, theirs;
	const struct differ_row *row;
	const char *way;

	differ_ours(&ours, kind, p, len);
	differ_theirs(&theirs, kind, p, len);
	way = differ_way(&ours, &theirs);
	row = differ_explain(kind, &ours, &theirs);
	if (way != NULL && row == NULL)
		fail_msg("not explained: %s\n%.*s", way, (int)len, p);
	differ_free(&ours);
	differ_free(&theirs);
	return row;
}

static void
test_good(void **state)
{
	struct differ_msg m;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		size_t len = strlen(good[i].text);

		differ_ours(&m, good[i].kind, good[i].text, len);
		assert_int_equal(m.outcome, DIFFER_TAKEN);
		assert_int_equal(m.used, len);
		differ_free(&m);
		assert_null(judge(good[i].kind, good[i].text, len));
	}
}

/* A row whose example does not differ, or in another way, is out of date. */
static void
test_rows(void **state)
{
	const struct differ_row *r;
	size_t n;

	(void)state;
	r = differ_rows(&n);
	for (size_t i = 0; i < n; i++)
		if (judge(r[i].kind, r[i].example, r[i].len) != &r[i])
			fail_msg("%s %s: not what the example shows",
				 r[i].kind == DIFFER_REQUEST ? "request"
							     : "reply",
				 r[i].way);
}

static void
judge_changed(enum differ_kind kind, const char *text, size_t len)
{
	static const unsigned char put[] = {
	    0, '\t', '\n', '\r', ' ', '"', ',', '0', ':', ';', 'a', 0x7f, 0x80};
	char *p = malloc(2 * len + 1);

	assert_non_null(p);
	memcpy(p, text, len);
	memcpy(p + len, text, len);
	judge(kind, p, 2 * len);
	for (size_t at = 0; at < len; at++) {
		judge(kind, text, at);
		for (size_t i = 0; i < ARRAY_LEN(put); i++) {
			memcpy(p, text, len);
			p[at] = (char)put[i]; /* in its place */
			judge(kind, p, len);
			memcpy(p + at + 1, text + at, len - at); /* more */
			judge(kind, p, len + 1);
		}
		memcpy(p, text, at); /* and one less */
		memcpy(p + at, text + at + 1, len - at - 1);
		judge(kind, p, len - 1);
	}
	free(p);
}

static void
test_changed(void **state)
{
	const struct differ_row *r;
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		judge_changed(good[i].kind, good[i].text, strlen(good[i].text));
	r = differ_rows(&n);
	for (size_t i = 0; i < n; i++)
		if (r[i].len < 200)
			judge_changed(r[i].kind, r[i].example, r[i].len);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
