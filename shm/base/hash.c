/*
 * Purpose: SipHash-2-4.
 *
 * Runs in: every process.
 * Trusts:  nobody: the data may be chosen by an attacker, the key is not.
 * Touches: nothing.
 * Failure: none.
 */
#include "shm/base/hash.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

#include "shm/base/log.h"

void
hash_key_new(struct hash_key *key_r)
{
	BUG_ON(getrandom(key_r, sizeof(*key_r), 0) != (ssize_t)sizeof(*key_r));
}

static inline uint64_t
hash_rotl(uint64_t x, unsigned b)
{
	return x << b | x >> (64 - b);
}

static inline void
hash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = hash_rotl(v[1], 13) ^ v[0];
	v[0] = hash_rotl(v[0], 32);
	v[2] += v[3];
	v[3] = hash_rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = hash_rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = hash_rotl(v[1], 17) ^ v[2];
	v[2] = hash_rotl(v[2], 32);
}

static inline uint64_t
hash_load8(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return le64toh(w);
}

static inline uint64_t
hash_load_tail(const uint8_t *p, size_t n)
{
	uint64_t w = 0;

	for (size_t i = 0; i < n; i++)
		w |= (uint64_t)p[i] << (8 * i);
	return w;
}

uint64_t
hash_bytes(const struct hash_key *key, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t v[4] = {key->k0 ^ UINT64_C(0x736f6d6570736575),
			 key->k1 ^ UINT64_C(0x646f72616e646f6d),
			 key->k0 ^ UINT64_C(0x6c7967656e657261),
			 key->k1 ^ UINT64_C(0x7465646279746573)};
	size_t left = len;
	uint64_t m;

	for (; left >= 8; left -= 8, p += 8) {
		m = hash_load8(p);
		v[3] ^= m;
		hash_round(v);
		hash_round(v);
		v[0] ^= m;
	}
	m = hash_load_tail(p, left) | (uint64_t)(len & 0xff) << 56;
	v[3] ^= m;
	hash_round(v);
	hash_round(v);
	v[0] ^= m;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		hash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
