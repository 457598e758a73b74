/*
 * http_fixture: a request's head, given as text, to its parser.
 */
#ifndef RMS_TEST_HTTP_FIXTURE_H
#define RMS_TEST_HTTP_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/http.h"

static struct http_req r;
static struct http_limits lim;
static char head[1 << 18]; /* what r's slices point into */

static inline int
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
static inline enum reason
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

static inline enum reason
parse(const char *text)
{
	return parse_n(text, strlen(text));
}

/* A POST with these field lines beside a good Host. */
static inline enum reason
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

#define T(name) cmocka_unit_test_setup(test_##name, setup)

#endif
