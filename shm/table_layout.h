/*
 * table_layout: what a snapshot of the authorization table looks like, shared
 * by table_build.c (master) and table.c (relays), and by nobody else.
 *
 *	offset		what
 *	0		struct table_head
 *	slots_off	nslots * struct table_slot, nslots a power of two
 *	filter_off	nslots bytes: a bit for each key, by table_filter_bit()
 *	entries_off	n * struct table_ent, in the order given
 *	text_off	keys and names, byte after byte
 *
 * All offsets are from the start, the order is as above without gaps, and
 * the end of the text is the size of the file.  nslots >= 2 * n, so a probe
 * always meets a free slot.
 *
 * The filter is for accounts with a thousand groups, nearly all of which are
 * no entries: at least 16 bits a key, so fifteen of sixteen are told apart
 * from a tenth of the slots' memory and without their hash.
 */
#ifndef RMS_TABLE_LAYOUT_H
#define RMS_TABLE_LAYOUT_H

#include <stdbool.h>

#include "shm/base/hash.h"
#include "shm/table.h"

#define TABLE_MAGIC UINT64_C(0x656c626174736d72) /* "rmstable" */
/* Changes with every change of the structs below, of table_hash() and of
 * table_filter_bit(). */
#define TABLE_LAYOUT UINT64_C(0x7461626c65000003)

struct table_head {
	uint64_t magic;
	uint64_t layout;
	uint64_t generation;
	uint64_t built_ns;
	uint64_t size;
	uint64_t checksum; /* of all with this field zero */
	struct hash_key key;
	uint64_t slots_off;
	uint64_t filter_off;
	uint64_t entries_off;
	uint64_t text_off;
	uint32_t n;
	uint32_t nslots;
};
_Static_assert(sizeof(struct table_head) == 104, "no padding");

struct table_slot {
	uint32_t tag;	/* upper half of the hash */
	uint32_t entry; /* position plus one; 0: free */
};

struct table_ent {
	uint64_t expires;
	uint32_t id;
	uint32_t key_off; /* from text_off */
	uint32_t name_off;
	uint16_t key_len;
	uint16_t name_len;
	uint8_t kind;
	uint8_t role;
	uint8_t pad[6];
};
_Static_assert(sizeof(struct table_ent) == 32, "no padding");

/* A SID and a principal of the same bytes are different keys. */
static inline uint64_t
table_hash(const struct hash_key *key, enum subject_kind kind, const void *data,
	   size_t len)
{
	struct hash_key k = {key->k0 ^ (uint64_t)kind, key->k1};

	return hash_bytes(&k, data, len);
}

/* Fewest slots: the entries behind the filter start at a multiple of 8. */
#define TABLE_SLOTS_MIN 8

/* Half of a 128-bit product folded upon the other: every bit of a counts. */
static inline uint64_t
table_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

/*
 * The key's bit of the filter, 0..nslots * 8 - 1.  A fraction of the time of
 * table_hash(), and weaker: keys that share a bit cost what they cost without
 * a filter.  Of a SID the last eight bytes count, its RID and what is before
 * it: those of a domain differ in nothing else.
 */
static inline uint32_t
table_filter_bit(const struct hash_key *key, uint32_t nslots,
		 enum subject_kind kind, const void *data, size_t len)
{
	const uint8_t *p = data, *end = p + len;
	uint64_t h = key->k0 ^ ((uint64_t)kind << 32 | len), w = 0;

	for (; kind != SUBJECT_SID && end - p > 8; p += 8) {
		memcpy(&w, p, 8);
		h = table_mix(h ^ w, key->k1 | 1);
	}
	if (len >= 8)
		memcpy(&w, end - 8, 8); /* a few bytes once more */
	else
		memcpy(&w, data, len);
	h = table_mix(h ^ w, key->k1 | 1);
	/* Once more: RIDs that follow each other come in steps of k1, which
	 * for some keys fall upon each other. */
	h = table_mix(h, key->k0 | 1);
	return (uint32_t)h & (nslots * 8 - 1);
}

/*
 * Sum of a snapshot.  Against a mistake, not against an attacker (the
 * snapshot is sealed by the master): so fast rather than keyed.
 */
uint64_t table_checksum(const void *mem, size_t size);

/* Is it an entry as table.h bounds it? */
bool table_in_valid(const struct table_in *in);

#endif
