/* OpenSSL's memory: buffers do not overlap, keep what is in them, and none is
 * lost, with more of them out than there are at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/crypto.h>
#include <stdbool.h>
#include <string.h>

#include "worker/relay/tlsmem.h"

enum { MANY = 40, BUFFER = 33000 };

static bool
holds(const char *p, size_t n, int c)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != (char)c)
			return false;
	return true;
}

static void
none_touches_another(void **state)
{
	char *p[MANY];

	(void)state;
	for (int again = 0; again < 3; again++) {
		for (int i = 0; i < MANY; i++) {
			p[i] = OPENSSL_malloc(BUFFER);
			assert_non_null(p[i]);
			memset(p[i], i, BUFFER);
		}
		for (int i = 0; i < MANY; i++)
			assert_true(holds(p[i], BUFFER, i));
		for (int i = 0; i < MANY; i += 2)
			OPENSSL_free(p[i]);
		for (int i = 1; i < MANY; i += 2)
			assert_true(holds(p[i], BUFFER, i));
		for (int i = 1; i < MANY; i += 2)
			OPENSSL_free(p[i]);
	}
}

static void
one_that_grows_keeps_its_bytes(void **state)
{
	size_t size[] = {16384, 36864, 36865, 200000, 17000};
	char *p = OPENSSL_malloc(16384);

	(void)state;
	assert_non_null(p);
	memset(p, 'x', 16384);
	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		p = OPENSSL_realloc(p, size[i]);
		assert_non_null(p);
		assert_true(holds(p, 16384, 'x'));
	}
	OPENSSL_free(p);
	p = OPENSSL_realloc(NULL, 20000);
	assert_non_null(p);
	OPENSSL_free(p);
}

/* While one is out nothing is touched, and afterwards all are there again. */
static void
none_is_lost_by_a_rest(void **state)
{
	char *p[MANY];

	(void)state;
	for (int out = 0; out < MANY; out++) {
		for (int i = 0; i < MANY; i++)
			p[i] = OPENSSL_malloc(BUFFER);
		for (int i = out; i < MANY; i++)
			OPENSSL_free(p[i]);
		for (int i = 0; i < out; i++)
			memset(p[i], i, BUFFER);
		tlsmem_rest();
		for (int i = out; i < MANY; i++) {
			p[i] = OPENSSL_malloc(BUFFER);
			assert_non_null(p[i]);
			memset(p[i], i, BUFFER);
		}
		for (int i = 0; i < MANY; i++)
			assert_true(holds(p[i], BUFFER, i));
		for (int i = 0; i < MANY; i++)
			OPENSSL_free(p[i]);
	}
}

#if !defined(RMS_MODE_asan)
static void
the_last_one_back_is_the_next_one_out(void **state)
{
	char *a = OPENSSL_malloc(BUFFER), *b;

	(void)state;
	assert_non_null(a);
	OPENSSL_free(a);
	b = OPENSSL_malloc(17000);
	assert_ptr_equal(a, b);
	OPENSSL_free(b);
	/* what is not a record's buffer is the heap's */
	b = OPENSSL_malloc(100);
	assert_ptr_not_equal(a, b);
	OPENSSL_free(b);
	b = OPENSSL_malloc(40000);
	assert_ptr_not_equal(a, b);
	OPENSSL_free(b);
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_touches_another),
		cmocka_unit_test(one_that_grows_keeps_its_bytes),
		cmocka_unit_test(none_is_lost_by_a_rest),
#if !defined(RMS_MODE_asan)
		cmocka_unit_test(the_last_one_back_is_the_next_one_out),
#endif
	};

	tlsmem_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
