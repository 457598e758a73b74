/*
 * Keys of tickets: the same on nodes with one secret, whatever a few minutes
 * between their clocks; others with another; what a change retires, and for
 * how long.  HMAC, which HKDF is made of, is the oracle.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "master/ticket_ring.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

#define R  ((uint64_t)TICKETS_ROTATE_S)
#define NS NS_PER_S

static const char one[] = "a secret of more than thirty-two bytes";
static const char two[] = "A secret of more than thirty-two bytes";
static uint64_t clock_s;

static struct ticket_ring *
ring(const char *secret)
{
	struct ticket_ring *r = ticket_ring_new();
	uint8_t taken[TICKET_SECRET_BYTES];

	if (secret != NULL) {
		assert_int_equal(
		    ticket_secret_take(secret, strlen(secret), taken), 0);
		ticket_ring_use(r, taken);
	}
	return r;
}

static void
use(struct ticket_ring *r, const char *secret)
{
	uint8_t taken[TICKET_SECRET_BYTES];

	if (secret != NULL)
		assert_int_equal(
		    ticket_secret_take(secret, strlen(secret), taken), 0);
	ticket_ring_use(r, secret == NULL ? NULL : taken);
}

/* At second s of both clocks. */
static bool
turn(struct ticket_ring *r, uint64_t s)
{
	return ticket_ring_turn(r, s, s * NS);
}

/* Does `to` open what `from` makes? */
static bool
opens(struct ticket_ring *to, struct ticket_ring *from)
{
	struct tickets_value a, b;

	ticket_ring_value(from, &a);
	ticket_ring_value(to, &b);
	assert_true(a.nkeys > 0 && b.nkeys > 0 && b.nkeys <= TICKETS_KEYS);
	for (uint32_t i = 0; i < b.nkeys; i++)
		if (memcmp(&b.key[i], &a.key[0], sizeof(a.key[0])) == 0)
			return true;
	return false;
}

static void
test_nodes(void **state)
{
	struct ticket_ring *a = ring(one), *b = ring(one), *c = ring(two),
			   *d = ring(NULL);

	(void)state;
	assert_true(turn(a, 100 * R + 5) && turn(b, 100 * R + R - 1) &&
		    turn(c, 100 * R + 5) && turn(d, 100 * R + 5));
	assert_true(opens(a, b) && opens(b, a));
	assert_false(opens(a, c) || opens(c, a) || opens(a, d) || opens(d, a));
	assert_false(turn(a, 101 * R - 1));
	assert_true(turn(b, 101 * R + 3)); /* its clock is ahead */
	assert_true(opens(a, b) && opens(b, a));
	assert_true(turn(a, 101 * R));
	assert_true(opens(a, b) && opens(b, a));
	assert_true(turn(b, 103 * R)); /* that is not minutes any more */
	assert_false(opens(a, b) || opens(b, a));
	ticket_ring_free(&a);
	ticket_ring_free(&b);
	ticket_ring_free(&c);
	ticket_ring_free(&d);
}

static void
hmac(const void *key, size_t key_len, const void *data, size_t len,
     uint8_t out[32])
{
	unsigned n = 32;

	assert_non_null(
	    HMAC(EVP_sha256(), key, (int)key_len, data, len, out, &n));
}

/* RFC 5869, by hand. */
static void
test_derivation(void **state)
{
	static const char salt[] = "rms-connector TLS tickets 1";
	uint8_t prk[32], block[3][32], in[32 + 8 + 1], all[96];
	struct ticket_ring *a = ring(one);
	struct tickets_value v;

	(void)state;
	assert_true(turn(a, 0x0102030405 * R));
	hmac(salt, strlen(salt), one, strlen(one), prk);
	for (uint8_t i = 0; i < 3; i++) {
		size_t n = i == 0 ? 0 : 32;

		if (i > 0)
			memcpy(in, block[i - 1], 32);
		memcpy(in + n, "\0\0\0\1\2\3\4\5", 8);
		in[n + 8] = (uint8_t)(i + 1);
		hmac(prk, 32, in, n + 9, block[i]);
		memcpy(all + (size_t)32 * i, block[i], 32);
	}
	ticket_ring_value(a, &v);
	assert_int_equal(v.nkeys, 3);
	assert_memory_equal(&v.key[0], all, sizeof(v.key[0]));
	ticket_ring_free(&a);
}

static void
test_random(void **state)
{
	struct ticket_ring *a = ring(NULL);
	struct tickets_value first, v;

	(void)state;
	assert_true(turn(a, 1000));
	ticket_ring_value(a, &first);
	assert_int_equal(first.nkeys, 1);
	assert_false(turn(a, 1000 + R - 1));
	for (uint32_t n = 2; n <= 5; n++) {
		assert_true(turn(a, 1000 + (n - 1) * R));
		ticket_ring_value(a, &v);
		assert_int_equal(v.nkeys, MIN(n, 3U));
		if (n <= 3) /* that it opens old tickets with */
			assert_memory_equal(&v.key[n - 1], &first.key[0],
					    sizeof(first.key[0]));
	}
	ticket_ring_free(&a);
}

static void
test_change(void **state)
{
	struct ticket_ring *a = ring(one), *b = ring(one);

	(void)state;
	clock_s = 500 * R;
	assert_true(turn(a, clock_s) && turn(b, clock_s));
	use(a, one); /* the same */
	assert_false(turn(a, clock_s + 1));
	use(a, two);
	assert_true(turn(a, clock_s + 1));
	assert_true(opens(a, b)); /* still */
	assert_false(opens(b, a));
	use(b, two);
	assert_true(turn(b, clock_s + 2));
	assert_true(opens(b, a) && opens(a, b));
	use(b, one); /* to and fro: never more keys than there is room for */
	assert_true(turn(b, clock_s + 3));
	use(b, NULL);
	assert_true(turn(b, clock_s + 4));
	assert_true(opens(b, a));
	assert_false(opens(a, b));
	use(b, two);
	assert_true(turn(b, clock_s + 5));
	assert_true(opens(b, a) && opens(a, b));
	ticket_ring_free(&a);
	ticket_ring_free(&b);
}

static void
test_end_of_what_was_retired(void **state)
{
	struct ticket_ring *a = ring(one), *b = ring(one);
	struct tickets_value v;

	(void)state;
	assert_true(turn(a, 500 * R) && turn(b, 500 * R));
	use(a, two);
	assert_true(turn(a, 500 * R + 10));
	assert_true(turn(a, 502 * R + 9) && opens(a, b));
	assert_true(turn(a, 502 * R + 10)); /* in a period's middle */
	assert_false(opens(a, b));
	ticket_ring_value(a, &v);
	assert_int_equal(v.nkeys, 3);
	assert_false(turn(a, 502 * R + 11));
	ticket_ring_free(&a);
	ticket_ring_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nodes),
	    cmocka_unit_test(test_derivation),
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_change),
	    cmocka_unit_test(test_end_of_what_was_retired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
