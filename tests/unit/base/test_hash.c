/*
 * SipHash-2-4 against the vectors of its authors (key 00..0f, input 00..n-1;
 * Aumasson and Bernstein 2012, appendix A and reference implementation).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/hash.h"
#include "shm/base/log.h"

static const struct hash_key key = {UINT64_C(0x0706050403020100),
				    UINT64_C(0x0f0e0d0c0b0a0908)};

static void
reference_vectors(void **state)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} vec[] = {
	    {0, UINT64_C(0x726fdb47dd0e0e31)},
	    {1, UINT64_C(0x74f839c593dc67fd)},
	    {2, UINT64_C(0x0d6c8009d9a94f5a)},
	    {3, UINT64_C(0x85676696d7fb7e2d)},
	    {7, UINT64_C(0xab0200f58b01d137)},
	    {8, UINT64_C(0x93f5f5799a932462)},
	    {9, UINT64_C(0x9e0082df0ba9e4b0)},
	    {15, UINT64_C(0xa129ca6149be45e5)},
	    {16, UINT64_C(0x3f2acc7f57c29bdb)},
	    {31, UINT64_C(0x32d892fad841c342)},
	    {63, UINT64_C(0x958a324ceb064572)},
	};
	uint8_t in[64];

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_LEN(vec); i++)
		assert_true(hash_bytes(&key, in, vec[i].len) == vec[i].hash);
}

static void
alignment_does_not_matter(void **state)
{
	char buf[80], text[] = "S-1-5-21-1004336348-1177238915-682003330";
	uint64_t want = hash_bytes(&key, text, sizeof(text));

	(void)state;
	for (size_t off = 0; off < 16; off++) {
		memcpy(buf + off, text, sizeof(text));
		assert_true(hash_bytes(&key, buf + off, sizeof(text)) == want);
	}
}

static void
every_byte_and_the_key_count(void **state)
{
	uint8_t in[40] = {0};
	uint64_t want = hash_bytes(&key, in, sizeof(in));
	struct hash_key other = key;

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++) {
		in[i] = 1;
		assert_true(hash_bytes(&key, in, sizeof(in)) != want);
		in[i] = 0;
		assert_true(hash_bytes(&key, in, i) != want);
	}
	other.k1 ^= 1;
	assert_true(hash_bytes(&other, in, sizeof(in)) != want);
}

static void
fresh_keys_differ(void **state)
{
	struct hash_key a, b;

	(void)state;
	hash_key_new(&a);
	hash_key_new(&b);
	assert_true(a.k0 != b.k0 && a.k1 != b.k1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reference_vectors),
	    cmocka_unit_test(alignment_does_not_matter),
	    cmocka_unit_test(every_byte_and_the_key_count),
	    cmocka_unit_test(fresh_keys_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
