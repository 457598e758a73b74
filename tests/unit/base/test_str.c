/*
 * Slices, numbers and bounded text.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/str.h"
#include "shm/base/log.h"

static void
slices_compare_by_bytes_or_without_case(void **state)
{
	struct slice none = {NULL, 0};

	(void)state;
	assert_true(slice_eq(SLICE_LIT("abc"), slice_of("abc")));
	assert_false(slice_eq(SLICE_LIT("abc"), SLICE_LIT("abC")));
	assert_false(slice_eq(SLICE_LIT("abc"), SLICE_LIT("abcd")));
	assert_true(slice_eq(none, SLICE_LIT("")));
	assert_true(slice_eq(slice_of(NULL), none));
	assert_true(slice_ieq(SLICE_LIT("AbC-9"), SLICE_LIT("aBc-9")));
	assert_false(slice_ieq(SLICE_LIT("abc"), SLICE_LIT("abd")));
	assert_false(slice_ieq(SLICE_LIT("ab"), SLICE_LIT("abc")));
	assert_true(slice_is(SLICE_LIT("x"), "x"));
	assert_false(slice_is(SLICE_LIT("x"), "X"));
	assert_true(slice_iis(SLICE_LIT("x"), "X"));
	/* A NUL inside is a byte like others. */
	assert_false(slice_is((struct slice){"a\0b", 3}, "a"));
	/* Only ASCII letters have case: '@' and '`' differ by that bit. */
	assert_false(slice_ieq(SLICE_LIT("@["), SLICE_LIT("`{")));
	assert_false(slice_ieq(SLICE_LIT("\xc4"), SLICE_LIT("\xe4")));
}

static void
numbers_are_digits_and_nothing_else(void **state)
{
	static const char *const bad[] = {"",	 " 1", "1 ", "+1",  "-1",
					  "0x1", "1a", "1.", "\xb2"};
	uint64_t v = 7;

	(void)state;
	assert_int_equal(str_u64(SLICE_LIT("0"), 10, &v), 0);
	assert_true(v == 0);
	assert_int_equal(str_u64(SLICE_LIT("0010"), 10, &v), 0);
	assert_true(v == 10);
	assert_int_equal(
	    str_u64(SLICE_LIT("18446744073709551615"), UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	v = 7;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(str_u64(slice_of(bad[i]), 100, &v), -EINVAL);
	assert_int_equal(str_u64(SLICE_LIT("11"), 10, &v), -ERANGE);
	assert_int_equal(str_u64(SLICE_LIT("5"), 4, &v), -ERANGE);
	assert_int_equal(str_u64(SLICE_LIT("1"), 0, &v), -ERANGE);
	assert_int_equal(
	    str_u64(SLICE_LIT("18446744073709551616"), UINT64_MAX, &v),
	    -ERANGE);
	assert_int_equal(
	    str_u64(SLICE_LIT("99999999999999999999999"), UINT64_MAX, &v),
	    -ERANGE);
	assert_true(v == 7);
}

static void
copies_fit_or_leave_nothing(void **state)
{
	char d[4] = "zzz";

	(void)state;
	assert_int_equal(str_copy(d, sizeof(d), SLICE_LIT("abc")), 0);
	assert_string_equal(d, "abc");
	assert_int_equal(str_copy(d, sizeof(d), SLICE_LIT("abcd")),
			 -ENAMETOOLONG);
	assert_string_equal(d, "");
	assert_int_equal(str_copy(d, 1, slice_of(NULL)), 0);
	assert_string_equal(d, "");
}

static void
copies_are_cut_to_what_fits(void **state)
{
	char mem[5] = "????";

	(void)state;
	str_cut(mem, sizeof(mem), SLICE_LIT("abcd"));
	assert_string_equal(mem, "abcd");
	str_cut(mem, sizeof(mem), SLICE_LIT("vwxyz"));
	assert_string_equal(mem, "vwxy");
	str_cut(mem, sizeof(mem), (struct slice){NULL, 0});
	assert_string_equal(mem, "");
	str_cut(mem, 1, SLICE_LIT("a"));
	assert_string_equal(mem, "");
}

static void
wiping_overwrites(void **state)
{
	char s[] = "secret";

	(void)state;
	str_wipe(s, 3);
	assert_memory_equal(s, "\0\0\0ret", 7);
	str_wipe(NULL, 0);
}

static void
text_is_cut_at_whole_pieces(void **state)
{
	char mem[8];
	struct sbuf b;

	(void)state;
	sbuf_init(&b, mem, sizeof(mem));
	assert_string_equal(mem, "");
	sbuf_str(&b, "abc");
	sbuf_char(&b, '-');
	sbuf_u64(&b, 120);
	assert_string_equal(mem, "abc-120");
	assert_false(b.cut);
	assert_int_equal(b.len, 7);
	sbuf_char(&b, 'x');
	assert_true(b.cut);
	assert_string_equal(mem, "abc-120");

	sbuf_init(&b, mem, sizeof(mem));
	sbuf_str(&b, "12345678"); /* one too long: none of it */
	assert_true(b.cut);
	assert_string_equal(mem, "");
	sbuf_fmt(&b, "%s/%d", "abc", 5);
	assert_string_equal(mem, "abc/5");
	sbuf_fmt(&b, "%d", 123);
	assert_string_equal(mem, "abc/5");
	sbuf_slice(&b, SLICE_LIT("67"));
	assert_string_equal(mem, "abc/567");
	assert_int_equal(b.len, 7);
}

static void
numbers_are_written_in_full(void **state)
{
	char mem[64];
	struct sbuf b;

	(void)state;
	sbuf_init(&b, mem, sizeof(mem));
	sbuf_u64(&b, 0);
	sbuf_char(&b, ' ');
	sbuf_u64(&b, UINT64_MAX);
	assert_string_equal(mem, "0 18446744073709551615");
	sbuf_init(&b, mem, sizeof(mem));
	sbuf_hex(&b, 0, 0);
	sbuf_char(&b, ' ');
	sbuf_hex(&b, UINT64_C(0xfedcba9876543210), 0);
	sbuf_char(&b, ' ');
	sbuf_hex(&b, 0xab, 16);
	sbuf_char(&b, ' ');
	sbuf_hex(&b, 0xabc, 2);
	assert_string_equal(mem, "0 fedcba9876543210 00000000000000ab abc");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(slices_compare_by_bytes_or_without_case),
	    cmocka_unit_test(numbers_are_digits_and_nothing_else),
	    cmocka_unit_test(copies_fit_or_leave_nothing),
	    cmocka_unit_test(copies_are_cut_to_what_fits),
	    cmocka_unit_test(wiping_overwrites),
	    cmocka_unit_test(text_is_cut_at_whole_pieces),
	    cmocka_unit_test(numbers_are_written_in_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
