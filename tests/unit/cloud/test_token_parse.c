/*
 * The token service's answers, good and bad, and what is said of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "worker/cloud/token_reply.h"

static struct token_result r;

static void
parse(long status, const char *body)
{
	struct token_reply in = {
	    .status = status,
	    .body = slice_of(body),
	    .now_s = 1000,
	    .secret = SLICE_LIT("hush-hush"),
	};

	memset(&r, 0x55, sizeof(r));
	token_reply_parse(&in, &r);
}

static void
refused(long status, const char *body, enum token_outcome outcome,
	const char *word)
{
	parse(status, body);
	assert_int_equal(r.outcome, outcome);
	assert_int_equal(r.len, 0);
	if (strstr(r.text, word) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", word, r.text);
	assert_true(r.cause[0] != '\0');
}

#define GOOD(expires)                                                          \
	"{\"token_type\":\"Bearer\",\"expires_in\":" expires ",\"access_token" \
	"\":\"ey.J-_~+/==\"}"

static void
test_good(void **state)
{
	(void)state;
	parse(200, GOOD("3599"));
	assert_int_equal(r.outcome, TOKEN_GOT);
	assert_int_equal(r.len, 11);
	assert_memory_equal(r.token, "ey.J-_~+/==", 11);
	assert_int_equal(r.expires_in_s, 3599);
	assert_int_equal(r.refresh_in_s, 0);
	assert_int_equal(r.retry_after_s, 0);
	assert_string_equal(r.text, "");
	/* Older endpoints write numbers as text; the type's case is free. */
	parse(200, "{\"token_type\":\"bearer\",\"expires_in\":\"60\","
		   "\"refresh_in\":\"30\",\"access_token\":\"a\"}");
	assert_int_equal(r.outcome, TOKEN_GOT);
	assert_int_equal(r.expires_in_s, 60);
	assert_int_equal(r.refresh_in_s, 30);
}

static void
test_life(void **state)
{
	(void)state;
	refused(200, GOOD("0"), TOKEN_TROUBLE, "expires_in");
	refused(200, GOOD("-1"), TOKEN_TROUBLE, "expires_in");
	refused(200, GOOD("1.5"), TOKEN_TROUBLE, "expires_in");
	refused(200, GOOD("null"), TOKEN_TROUBLE, "expires_in");
	refused(200, GOOD("\"1h\""), TOKEN_TROUBLE, "expires_in");
	refused(200, GOOD("99999999"), TOKEN_TROUBLE, "30 days");
	refused(200, GOOD("99999999999999999999999"), TOKEN_TROUBLE, "JSON");
	parse(200, GOOD("2592000"));
	assert_int_equal(r.outcome, TOKEN_GOT);
}

/* A token of n times c. */
static void
parse_token(size_t n, char c)
{
	static char body[TOKEN_REPLY_MAX];
	struct sbuf b;

	sbuf_init(&b, body, sizeof(body));
	sbuf_str(&b, "{\"token_type\":\"Bearer\",\"expires_in\":9,"
		     "\"access_token\":\"");
	for (size_t i = 0; i < n; i++)
		sbuf_char(&b, c);
	sbuf_str(&b, "\"}");
	parse(200, body);
}

static void
test_token_length(void **state)
{
	(void)state;
	parse_token(TOKEN_BYTES_MAX, 'x');
	assert_int_equal(r.outcome, TOKEN_GOT);
	assert_int_equal(r.len, TOKEN_BYTES_MAX);
	parse_token(TOKEN_BYTES_MAX + 1, 'x');
	assert_int_equal(r.outcome, TOKEN_TROUBLE);
	assert_non_null(strstr(r.text, "8192"));
	parse_token(0, 'x');
	assert_int_equal(r.outcome, TOKEN_TROUBLE);
}

static void
test_token_characters(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			  (c >= 'A' && c <= 'Z') || strchr("-._~+/", c) != NULL;

		parse_token(2, (char)c);
		assert_int_equal(r.outcome == TOKEN_GOT, ok);
	}
	refused(200,
		"{\"token_type\":\"Bearer\",\"expires_in\":9,"
		"\"access_token\":\"a=b\"}",
		TOKEN_TROUBLE, "characters");
}

static void
test_not_a_token(void **state)
{
	(void)state;
	refused(200, "", TOKEN_TROUBLE, "empty");
	refused(200, " \n<html>", TOKEN_TROUBLE, "HTML");
	refused(200, "{", TOKEN_TROUBLE, "not JSON");
	refused(200, "[]", TOKEN_TROUBLE, "not JSON");
	refused(200, "{}", TOKEN_TROUBLE, "no access_token");
	refused(200, "{\"access_token\":7}", TOKEN_TROUBLE, "no access_token");
	refused(200, "{\"access_token\":\"a\"}", TOKEN_TROUBLE, "token_type");
	refused(200, "{\"access_token\":\"a\",\"access_token\":\"b\"}",
		TOKEN_TROUBLE, "not JSON");
	refused(301, GOOD("9"), TOKEN_TROUBLE, "redirect");
	refused(204, GOOD("9"), TOKEN_TROUBLE, "HTTP 204");
	refused(500, "oops", TOKEN_TROUBLE, "HTTP 500");
	refused(429, "", TOKEN_THROTTLED, "throttling");
}

static void
test_errors(void **state)
{
	(void)state;
	refused(400, "{\"error\":\"invalid_scope\"}", TOKEN_DENIED,
		"HTTP 400 invalid_scope");
	assert_string_equal(r.cause, "HTTP 400 invalid_scope");
	refused(401,
		"{\"error\":\"invalid_client\",\"error_codes\":[7000222],"
		"\"error_description\":\"AADSTS7000222: gone\\r\\nTrace\"}",
		TOKEN_DENIED, "secret has expired");
	assert_string_equal(r.cause, "HTTP 401 invalid_client AADSTS7000222");
	assert_non_null(strstr(r.text, ": AADSTS7000222: gone Trace"));
	/* The number is in the text only. */
	refused(400,
		"{\"error\":\"x\",\"error_description\":\"AADSTS700016: ?\"}",
		TOKEN_DENIED, "no such application");
	refused(503, "{\"error\":\"temporarily_unavailable\"}", TOKEN_TROUBLE,
		"temporarily_unavailable");
	refused(400, "{\"error\":\"x\",\"error_codes\":[\"a\"]}", TOKEN_DENIED,
		"HTTP 400 x");
	refused(400, "{\"error\":\"x\",\"error_codes\":7}", TOKEN_DENIED,
		"HTTP 400 x");
}

static void
test_secret_never_shows(void **state)
{
	(void)state;
	parse(400, "{\"error\":\"hush-hush\",\"error_description\":"
		   "\"you sent hush-hush, hush-hushhush-hush\"}");
	assert_null(strstr(r.text, "hush-hush"));
	assert_null(strstr(r.cause, "hush-hush"));
	assert_non_null(strstr(r.text, "you sent ***, ******"));
}

static void
test_long_text_is_cut(void **state)
{
	static char body[8192];
	struct sbuf b;

	(void)state;
	sbuf_init(&b, body, sizeof(body));
	sbuf_str(&b, "{\"error\":\"");
	for (int i = 0; i < 200; i++)
		sbuf_str(&b, "e");
	sbuf_str(&b, "\",\"error_description\":\"");
	for (int i = 0; i < 1000; i++)
		sbuf_str(&b, "\xc3\xa9");
	sbuf_str(&b, "\"}");
	parse(400, body);
	assert_true(strlen(r.text) < TOKEN_TEXT_MAX);
	assert_true(strlen(r.text) > TOKEN_TEXT_MAX - 8);
	/* Whole characters only. */
	assert_int_equal((unsigned char)r.text[strlen(r.text) - 1], 0xa9);
}

static void
test_clean(void **state)
{
	static const char in[] = "\r\n a\t\tb\x01\x7f"
				 "c\xc2\x85"
				 "d\xff\xc3"
				 "e \xe2\x82\xac  ";
	char out[64], tiny[4];
	struct slice none = {0};

	(void)state;
	token_text_clean(out, sizeof(out), SLICE_LIT(in), none);
	assert_string_equal(out, "a b c d e \xe2\x82\xac");
	token_text_clean(tiny, sizeof(tiny), SLICE_LIT("ab\xe2\x82\xac"), none);
	assert_string_equal(tiny, "ab");
	token_text_clean(tiny, 1, SLICE_LIT("ab"), none);
	assert_string_equal(tiny, "");
	token_text_clean(out, sizeof(out), none, none);
	assert_string_equal(out, "");
}

static void
test_retry_after_reaches_the_result(void **state)
{
	struct token_reply in = {
	    .status = 503, .retry_after = SLICE_LIT(" 17"), .now_s = 1};

	(void)state;
	token_reply_parse(&in, &r);
	assert_int_equal(r.retry_after_s, 17);
	assert_int_equal(r.outcome, TOKEN_TROUBLE);
}

static void
test_too_large_is_not_read(void **state)
{
	static char body[TOKEN_REPLY_MAX + 64];

	(void)state;
	memset(body, ' ', sizeof(body) - 1);
	memcpy(body + sizeof(body) - 1 - (sizeof(GOOD("9")) - 1), GOOD("9"),
	       sizeof(GOOD("9")) - 1);
	refused(200, body, TOKEN_TROUBLE, "not JSON");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_life),
	    cmocka_unit_test(test_token_length),
	    cmocka_unit_test(test_token_characters),
	    cmocka_unit_test(test_not_a_token),
	    cmocka_unit_test(test_errors),
	    cmocka_unit_test(test_secret_never_shows),
	    cmocka_unit_test(test_long_text_is_cut),
	    cmocka_unit_test(test_clean),
	    cmocka_unit_test(test_retry_after_reaches_the_result),
	    cmocka_unit_test(test_too_large_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
