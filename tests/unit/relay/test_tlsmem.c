/* OpenSSL's memory: buffers do not overlap, keep what is in them, and none is
 * lost, with more of them out than there are at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* Small pieces of many sizes, given back and taken in another order. */
static void
small_ones_do_not_touch_either(void **state)
{
	enum { PIECES = 3000 };
	static char *p[PIECES];
	static size_t size[PIECES];
	unsigned r = 1;

	(void)state;
	for (int again = 0; again < 4; again++) {
		for (int i = 0; i < PIECES; i++) {
			if (p[i] != NULL && (r >> 16) % 3 != 0)
				continue;
			if (p[i] != NULL)
				assert_true(holds(p[i], size[i], i));
			OPENSSL_free(p[i]);
			r = r * 1103515245 + 12345;
			size[i] = 1 + (r >> 16) % (again % 2 ? 100 : 9000);
			p[i] = OPENSSL_malloc(size[i]);
			assert_non_null(p[i]);
			assert_int_equal((uintptr_t)p[i] % 16, 0);
			memset(p[i], i, size[i]);
		}
		tlsmem_rest();
	}
	for (int i = 0; i < PIECES; i++) {
		assert_true(holds(p[i], size[i], i));
		OPENSSL_free(p[i]);
		p[i] = NULL;
	}
}

#if !defined(RMS_MODE_asan)
static void
a_small_one_is_taken_again(void **state)
{
	char *a = OPENSSL_malloc(100), *b = OPENSSL_malloc(100);

	(void)state;
	tlsmem_rest();
	OPENSSL_free(a);
	OPENSSL_free(b);
	assert_ptr_equal(OPENSSL_malloc(104), b);
	assert_ptr_equal(OPENSSL_malloc(90), a);
	OPENSSL_free(a);
	OPENSSL_free(b);
	/* one that takes less is not given for one that wants more */
	a = OPENSSL_malloc(24);
	OPENSSL_free(a);
	b = OPENSSL_malloc(25);
	assert_ptr_not_equal(a, b);
	OPENSSL_free(b);
}

/* What a process does that deserves to end for it. */
static void
given_back_twice(void)
{
	char *p = OPENSSL_malloc(100);

	OPENSSL_free(p);
	OPENSSL_free(p);
}

static void
given_back_twice_when_no_more_is_kept(void)
{
	enum { PIECES = 400, SIZE = 1000 };
	static char *more[PIECES];
	char *p = OPENSSL_malloc(100);

	for (int i = 0; i < PIECES; i++)
		more[i] = OPENSSL_malloc(SIZE);
	OPENSSL_free(p);
	for (int i = 0; i < PIECES; i++)
		OPENSSL_free(more[i]);
	OPENSSL_free(p);
}

/* Where the next one lies, which is handed out after this one. */
static void
written_to_after_it_was_given_back(void)
{
	static char elsewhere[100];
	char *p = OPENSSL_malloc(100);
	char *there = elsewhere;

	OPENSSL_free(p);
	memcpy(p, &there, sizeof(there));
	for (int i = 0; i < 2; i++)
		memset(OPENSSL_malloc(100), 0, 100);
}

static bool
is_ended_by(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status);
}

static void
misuse_of_one_given_back_ends_the_process(void **state)
{
	(void)state;
	tlsmem_rest();
	assert_true(is_ended_by(given_back_twice));
	assert_true(is_ended_by(given_back_twice_when_no_more_is_kept));
	assert_true(is_ended_by(written_to_after_it_was_given_back));
}

/* What is kept is bounded, and the heap has it again after a rest. */
static void
few_small_ones_are_kept(void **state)
{
	enum { PIECES = 2000, SIZE = 1000, BOUND = 300 << 10 };
	static char *p[PIECES];
	size_t before, kept;

	(void)state;
	tlsmem_rest();
	before = mallinfo2().uordblks;
	for (int i = 0; i < PIECES; i++)
		p[i] = OPENSSL_malloc(SIZE);
	assert_true(mallinfo2().uordblks >= before + (size_t)PIECES * SIZE);
	for (int i = 0; i < PIECES; i++)
		OPENSSL_free(p[i]);
	kept = mallinfo2().uordblks - before;
	assert_true(kept > 0);
	assert_true(kept < BOUND);
	tlsmem_rest();
	/* but for what glibc keeps for itself (7 of a size) */
	assert_true(mallinfo2().uordblks - before < 10 * (SIZE + 16));
}

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

static void
one_that_fails_is_counted(void **state)
{
	size_t before = tlsmem_failures();
	volatile size_t huge = SIZE_MAX / 2; /* not known to the compiler */
	char *p;

	(void)state;
	assert_null(OPENSSL_malloc(huge));
	assert_int_equal(tlsmem_failures(), before + 1);
	for (size_t size = 100; size < 20000; size += 17000) {
		p = OPENSSL_malloc(size);
		assert_non_null(p);
		assert_null(OPENSSL_realloc(p, huge));
		OPENSSL_free(p);
	}
	assert_int_equal(tlsmem_failures(), before + 3);
	assert_null(OPENSSL_realloc(OPENSSL_malloc(100), 0)); /* frees it */
	assert_int_equal(tlsmem_failures(), before + 3);
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_touches_another),
		cmocka_unit_test(one_that_grows_keeps_its_bytes),
		cmocka_unit_test(none_is_lost_by_a_rest),
		cmocka_unit_test(small_ones_do_not_touch_either),
#if !defined(RMS_MODE_asan)
		cmocka_unit_test(a_small_one_is_taken_again),
		cmocka_unit_test(misuse_of_one_given_back_ends_the_process),
		cmocka_unit_test(few_small_ones_are_kept),
		cmocka_unit_test(the_last_one_back_is_the_next_one_out),
		cmocka_unit_test(one_that_fails_is_counted),
#endif
	};

	tlsmem_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
