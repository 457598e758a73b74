/*
 * gzip undone in pieces, and its two bounds, each alone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <zlib.h>

#include "shm/base/log.h"
#include "worker/relay/gunzip.h"

#define SIZE ((size_t)4 << 20)

static unsigned char *plain, *packed;

static int
begin(void **state)
{
	(void)state;
	plain = calloc(1, SIZE);
	packed = malloc(SIZE + 4096);
	return plain == NULL || packed == NULL;
}

static int
end(void **state)
{
	(void)state;
	free(plain);
	free(packed);
	return 0;
}

static size_t
pack(size_t len, int level)
{
	z_stream z = {0};
	size_t n;

	assert_int_equal(
	    deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY),
	    Z_OK);
	z.next_in = plain;
	z.avail_in = (uInt)len;
	z.next_out = packed;
	z.avail_out = (uInt)(SIZE + 4096);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	n = z.total_out;
	deflateEnd(&z);
	return n;
}

/* What came out; *why_r is NULL when it was good and whole. */
static size_t
undo(size_t len, size_t piece, uint64_t max, const char **why_r)
{
	struct gunzip *g = gunzip_new(max);
	const char *in = (const char *)packed, *out;
	size_t used, n, total = 0;
	enum gunzip_result r = GUNZIP_MORE;

	assert_non_null(g);
	*why_r = NULL;
	while (len > 0 && r < GUNZIP_BAD) {
		size_t left = MIN(piece, len);

		len -= left;
		do {
			r = gunzip_run(g, in, left, &used, &out, &n, why_r);
			in += used;
			left -= used;
			if (r != GUNZIP_DATA)
				continue;
			assert_memory_equal(out, plain + total, n);
			total += n;
		} while (r == GUNZIP_DATA || (r == GUNZIP_MORE && left > 0));
	}
	if (r < GUNZIP_BAD && !gunzip_is_complete(g))
		*why_r = "short";
	gunzip_free(&g);
	assert_null(g);
	return total;
}

static void
test_pieces_of_any_size_give_the_same(void **state)
{
	static const size_t piece[] = {1, 7, 4096, SIZE};
	const char *why;
	size_t n;

	(void)state;
	for (size_t i = 0; i < 300000; i++)
		plain[i] = (unsigned char)(i * i >> 7);
	n = pack(300000, 6);
	for (size_t i = 0; i < ARRAY_LEN(piece); i++) {
		assert_int_equal(undo(n, piece[i], SIZE, &why), 300000);
		assert_null(why);
	}
	memset(plain, 0, 300000);
}

static void
test_growth_is_bounded(void **state)
{
	size_t n = pack(SIZE, 9), total;
	const char *why;

	(void)state;
	total = undo(n, SIZE, UINT64_MAX, &why); /* no other bound */
	assert_string_equal(why, "it grows too much");
	assert_true(total <= n * GUNZIP_RATIO + GUNZIP_FREE + GUNZIP_OUT);
	/* a small reply may be as regular as it likes */
	n = pack(GUNZIP_FREE, 9);
	assert_int_equal(undo(n, 64, UINT64_MAX, &why), GUNZIP_FREE);
	assert_null(why);
}

static void
test_size_is_bounded(void **state)
{
	const char *why;
	size_t n = pack(100000, 0); /* stored: it does not grow at all */

	(void)state;
	assert_true(undo(n, 512, 99999, &why) <= 99999);
	assert_string_equal(why, "more than wan_reply_bytes_max");
	assert_int_equal(undo(n, 512, 100000, &why), 100000);
	assert_null(why);
}

static void
test_ends_that_are_none(void **state)
{
	size_t n = pack(5000, 6);
	const char *why;

	(void)state;
	(void)undo(n - 1, SIZE, SIZE, &why);
	assert_string_equal(why, "short");
	packed[n] = 0x1f;
	(void)undo(n + 1, SIZE, SIZE, &why);
	assert_string_equal(why, "bytes behind its end");
	(void)undo(n + 1, 1, SIZE, &why);
	assert_string_equal(why, "bytes behind its end");
	packed[n - 5] ^= 1;
	(void)undo(n, SIZE, SIZE, &why);
	assert_non_null(why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pieces_of_any_size_give_the_same),
	    cmocka_unit_test(test_growth_is_bounded),
	    cmocka_unit_test(test_size_is_bounded),
	    cmocka_unit_test(test_ends_that_are_none),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
