/*
 * JSON that is valid whatever it is given.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/json.h"
#include "shm/base/log.h"

static char mem[512];
static struct sbuf out;
static struct json j;

static int
set_up(void **state)
{
	(void)state;
	sbuf_init(&out, mem, sizeof(mem));
	json_init(&j, &out);
	return 0;
}

static void
objects_and_arrays_nest_with_commas_where_they_belong(void **state)
{
	(void)state;
	json_object(&j, NULL);
	json_str(&j, "a", "x");
	json_u64(&j, "b", UINT64_MAX);
	json_array(&j, "c");
	json_i64(&j, NULL, -5);
	json_object(&j, NULL);
	json_object_end(&j);
	json_array(&j, NULL);
	json_array_end(&j);
	json_bool(&j, NULL, true);
	json_array_end(&j);
	json_object(&j, "d");
	json_str(&j, "n", NULL);
	json_bool(&j, "f", false);
	json_object_end(&j);
	json_ms(&j, "t", 1234567);
	json_object_end(&j);
	assert_string_equal(mem, "{\"a\":\"x\",\"b\":18446744073709551615,"
				 "\"c\":[-5,{},[],true],"
				 "\"d\":{\"n\":null,\"f\":false},"
				 "\"t\":1.234}");
	assert_false(out.cut);
}

static void
extremes_of_numbers(void **state)
{
	(void)state;
	json_array(&j, NULL);
	json_i64(&j, NULL, INT64_MIN);
	json_ms(&j, NULL, 0);
	json_ms(&j, NULL, 999);
	json_ms(&j, NULL, 60000000000);
	json_array_end(&j);
	assert_string_equal(mem,
			    "[-9223372036854775808,0.000,0.000,60000.000]");
}

static void
what_would_break_out_is_escaped(void **state)
{
	(void)state;
	json_slice(&j, NULL, SLICE_LIT("\"\\\n\t\0\x7f/<"));
	assert_string_equal(mem, "\"\\\"\\\\\\u000a\\u0009\\u0000\\u007f/<\"");
}

static void
keys_are_escaped_too(void **state)
{
	(void)state;
	json_u64(&j, "a\"b", 1);
	assert_string_equal(mem, "\"a\\\"b\":1");
}

static void
utf8_passes_and_what_is_not_becomes_a_replacement(void **state)
{
	static const struct {
		const char *in, *want;
	} c[] = {
	    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91",
	     "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91"},
	    {"\xff", "\\ufffd"},
	    {"a\xe4z", "a\\ufffdz"},	    /* Latin-1 */
	    {"\xc0\xaf", "\\ufffd\\ufffd"}, /* overlong */
	    {"\xe0\x80\xaf", "\\ufffd\\ufffd\\ufffd"},
	    {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"}, /* surrogate */
	    {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
	    {"\xe2\x82", "\\ufffd\\ufffd"}, /* cut short */
	    {"\xc3\"", "\\ufffd\\\""},	    /* does not swallow the quote */
	    {"\xed\x9f\xbf", "\xed\x9f\xbf"},
	    {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
	};

	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		set_up(state);
		json_escape(&out, slice_of(c[i].in));
		assert_string_equal(mem, c[i].want);
	}
}

static void
what_does_not_fit_is_marked(void **state)
{
	char small[8];

	(void)state;
	sbuf_init(&out, small, sizeof(small));
	json_init(&j, &out);
	json_str(&j, NULL, "123456789");
	assert_true(out.cut);
	assert_true(strlen(small) < sizeof(small));
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, set_up)
	const struct CMUnitTest tests[] = {
	    T(objects_and_arrays_nest_with_commas_where_they_belong),
	    T(extremes_of_numbers),
	    T(what_would_break_out_is_escaped),
	    T(keys_are_escaped_too),
	    T(utf8_passes_and_what_is_not_becomes_a_replacement),
	    T(what_does_not_fit_is_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
