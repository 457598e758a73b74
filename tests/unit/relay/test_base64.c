/*
 * base64 both ways: strict, so that a token has one spelling.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/base64.h"

static void
both(const char *plain, size_t len, const char *text)
{
	char enc[64];
	uint8_t dec[64];

	assert_int_equal(base64_encode(enc, plain, len), strlen(text));
	assert_string_equal(enc, text);
	assert_int_equal(BASE64_LEN(len), strlen(text));
	if (len == 0)
		return;
	assert_int_equal(base64_decode(dec, len, slice_of(text)), len);
	assert_memory_equal(dec, plain, len);
}

/* RFC 4648 section 10. */
static void
test_vectors(void **state)
{
	(void)state;
	both("", 0, "");
	both("f", 1, "Zg==");
	both("fo", 2, "Zm8=");
	both("foo", 3, "Zm9v");
	both("foob", 4, "Zm9vYg==");
	both("fooba", 5, "Zm9vYmE=");
	both("foobar", 6, "Zm9vYmFy");
	both("\xfb\xff\xbf", 3, "+/+/");
	both("\0\0\0", 3, "AAAA");
}

static void
test_all_bytes(void **state)
{
	uint8_t in[256 * 3], out[256 * 3];
	char text[BASE64_LEN(sizeof(in)) + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t n = 1; n <= sizeof(in); n++) {
		size_t len = base64_encode(text, in, n);

		assert_int_equal(len, BASE64_LEN(n));
		assert_int_equal(
		    base64_decode(out, n, (struct slice){text, len}), n);
		assert_memory_equal(in, out, n);
	}
}

static void
test_refused(void **state)
{
	static const char *const bad[] = {
	    "",		 "Z",	    "Zg",      "Zg=",
	    "Zm9",	 "====",    "=",       "Z===",
	    "Zg==Zg==",	 "Zm=v",    "=m9v",    "Zm9vY",
	    "Zg== ",	 " Zg==",   "Zm 9",    "Zm9v\r\n\r\n",
	    "Zm\n9v===", "Zm-v",    "Zm_v",    "Zm9v====",
	    "Zm9*",	 "Zm,v",    "Zh==",    "Zm9=",
	    "Zg=a",	 "Zm9\xff", "Z\x80vv",
	};
	uint8_t out[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (base64_decode(out, sizeof(out), slice_of(bad[i])) !=
		    -EINVAL)
			fail_msg("\"%s\" is taken", bad[i]);
	assert_int_equal(
	    base64_decode(out, sizeof(out), (struct slice){"Zm\0v", 4}),
	    -EINVAL);
}

/* Each of the 256, at each place of a group that is not the last one and of
 * one that is. */
static void
test_every_byte_everywhere(void **state)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn"
				    "opqrstuvwxyz0123456789+/";
	uint8_t out[6];

	(void)state;
	for (size_t at = 0; at < 8; at++) {
		for (int c = 0; c < 256; c++) {
			const char *found = memchr(chars, c, 64);
			char text[] = "AAAAAAAA";
			const uint8_t *o = out + at / 4 * 3;
			ssize_t n;

			text[at] = (char)c;
			n = base64_decode(out, sizeof(out),
					  (struct slice){text, 8});
			if (c == '=' && at == 7) {
				assert_int_equal(n, 5);
				continue;
			}
			assert_int_equal(n, found == NULL ? -EINVAL : 6);
			if (found != NULL)
				assert_int_equal(o[0] << 16 | o[1] << 8 | o[2],
						 (found - chars)
						     << 6 * (3 - at % 4));
		}
	}
}

/* Bits behind the last byte must be zero: else one token has 16 spellings. */
static void
test_stray_bits(void **state)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn"
				    "opqrstuvwxyz0123456789+/";
	int one = 0, two = 0;
	uint8_t out[4];

	(void)state;
	for (size_t i = 0; i < 64; i++) {
		char a[] = {'Z', chars[i], '=', '='};
		char b[] = {'Z', 'm', chars[i], '='};

		one += base64_decode(out, 4, (struct slice){a, 4}) == 1;
		two += base64_decode(out, 4, (struct slice){b, 4}) == 2;
	}
	assert_int_equal(one, 4);
	assert_int_equal(two, 16);
}

static void
test_size(void **state)
{
	uint8_t *out = malloc(5); /* exact: a write beyond it is seen */

	(void)state;
	assert_non_null(out);
	assert_int_equal(base64_decode(out, 5, SLICE_LIT("Zm9vYmE=")), 5);
	assert_int_equal(base64_decode(out, 4, SLICE_LIT("Zm9vYmE=")),
			 -ENOBUFS);
	assert_int_equal(base64_decode(out, 5, SLICE_LIT("Zm9vYmFy")),
			 -ENOBUFS);
	assert_int_equal(base64_decode(out, 0, SLICE_LIT("Zg==")), -ENOBUFS);
	free(out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_all_bytes),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_every_byte_everywhere),
	    cmocka_unit_test(test_stray_bits),
	    cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
