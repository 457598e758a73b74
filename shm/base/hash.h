/*
 * hash: SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash for tables whose
 * keys come from the network, so that nobody can choose colliding ones.
 */
#ifndef RMS_HASH_H
#define RMS_HASH_H

#include "shm/base/bug.h"

struct hash_key {
	uint64_t k0;
	uint64_t k1;
};

/* A fresh random key; dies without entropy. */
void hash_key_new(struct hash_key *key_r);
uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t len);

#endif
