/*
 * Purpose: build a snapshot of the authorization table and seal it.
 *
 * Runs in: master.
 * Trusts:  its caller for the meaning of the entries, not for their bounds.
 * Touches: one new memfd.
 * Failure: -errno and nothing left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/table_layout.h"
#include "shm/base/log.h"

struct table_maker {
	uint8_t *mem;
	struct table_head head;
	size_t text_len;
};

uint64_t
table_checksum(const void *mem, size_t size)
{
	const size_t skip = offsetof(struct table_head, checksum);
	const uint8_t *p = mem;
	uint64_t h = size;

	for (size_t i = 0; i < size; i += 8) {
		uint64_t w = 0;

		if (i != skip)
			memcpy(&w, p + i, MIN(size - i, (size_t)8));
		h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	return h;
}

bool
table_in_valid(const struct table_in *in)
{
	if (in->id == 0 || in->role <= SERVER_NONE ||
	    in->role >= SERVER_ROLE_MAX || in->name.len > TABLE_NAME_MAX ||
	    in->key.len == 0 || in->key.len > TABLE_KEY_MAX)
		return false;
	switch (in->kind) {
	case SUBJECT_SID:
		return sid_valid((const uint8_t *)in->key.p, in->key.len);
	case SUBJECT_PRINCIPAL:
	case SUBJECT_CERT:
		return true;
	default:
		return false;
	}
}

/* Sizes and offsets of everything; 0 or -errno. */
static int
table_plan(struct table_maker *t, const struct table_in *in, size_t n)
{
	struct table_head *h = &t->head;
	uint64_t text = 0;

	if (n > TABLE_ENTRIES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n; i++) {
		if (!table_in_valid(&in[i]))
			return -EINVAL;
		text += in[i].key.len + in[i].name.len;
	}
	h->n = (uint32_t)n;
	for (h->nslots = TABLE_SLOTS_MIN; h->nslots < 2 * n;)
		h->nslots *= 2;
	h->slots_off = sizeof(*h);
	h->filter_off =
	    h->slots_off + h->nslots * (uint64_t)sizeof(struct table_slot);
	h->entries_off = h->filter_off + h->nslots;
	h->text_off = h->entries_off + n * sizeof(struct table_ent);
	h->size = h->text_off + text;
	return 0;
}

static uint32_t
table_put_text(struct table_maker *t, struct slice s)
{
	size_t off = t->text_len;

	if (s.len > 0)
		memcpy(t->mem + t->head.text_off + off, s.p, s.len);
	t->text_len += s.len;
	return (uint32_t)off; /* a million entries of the largest fit */
}
_Static_assert((uint64_t)TABLE_ENTRIES_MAX *(TABLE_KEY_MAX + TABLE_NAME_MAX) <
		   UINT32_MAX,
	       "offsets of text are 32 bits");

static struct slice
table_key_of(const struct table_maker *t, const struct table_ent *e)
{
	const uint8_t *text = t->mem + t->head.text_off;

	return (struct slice){(const char *)text + e->key_off, e->key_len};
}

/* Puts entry i into its slot and the filter.  0, or -EEXIST. */
static int
table_put_slot(struct table_maker *t, struct table_ent *ents, uint32_t i)
{
	struct table_slot *slots = (void *)(t->mem + t->head.slots_off);
	struct slice key = table_key_of(t, &ents[i]);
	uint64_t h = table_hash(&t->head.key, ents[i].kind, key.p, key.len);
	uint32_t mask = t->head.nslots - 1, s = (uint32_t)h & mask;

	for (; slots[s].entry != 0; s = (s + 1) & mask) {
		const struct table_ent *other = &ents[slots[s].entry - 1];

		if (slots[s].tag == (uint32_t)(h >> 32) &&
		    other->kind == ents[i].kind &&
		    slice_eq(table_key_of(t, other), key))
			return -EEXIST;
	}
	slots[s] = (struct table_slot){(uint32_t)(h >> 32), i + 1};
	s = table_filter_bit(&t->head.key, t->head.nslots, ents[i].kind, key.p,
			     key.len);
	t->mem[t->head.filter_off + s / 8] |= (uint8_t)(1U << s % 8);
	return 0;
}

static int
table_fill(struct table_maker *t, const struct table_in *in)
{
	struct table_ent *ents = (void *)(t->mem + t->head.entries_off);
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < t->head.n; i++) {
		ents[i] = (struct table_ent){
		    .expires = in[i].expires,
		    .id = in[i].id,
		    .key_off = table_put_text(t, in[i].key),
		    .name_off = table_put_text(t, in[i].name),
		    .key_len = (uint16_t)in[i].key.len,
		    .name_len = (uint16_t)in[i].name.len,
		    .kind = (uint8_t)in[i].kind,
		    .role = (uint8_t)in[i].role,
		};
		r = table_put_slot(t, ents, i);
	}
	memcpy(t->mem, &t->head, sizeof(t->head));
	t->head.checksum = table_checksum(t->mem, t->head.size);
	memcpy(t->mem, &t->head, sizeof(t->head));
	return r;
}

/* Fills fd through a mapping that is gone before the seals. */
static int
table_fill_fd(struct table_maker *t, int fd, const struct table_in *in)
{
	size_t size = t->head.size;
	void *mem;
	int r;

	if (ftruncate(fd, (off_t)size) != 0)
		return -errno;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	t->mem = mem;
	r = table_fill(t, in);
	munmap(mem, size);
	if (r != 0)
		return r;
	return fcntl(fd, F_ADD_SEALS,
		     F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) <
		       0
		   ? -errno
		   : 0;
}

int
table_build(const struct table_in *in, size_t n, uint64_t generation)
{
	struct table_maker t = {.head = {.magic = TABLE_MAGIC,
					 .layout = TABLE_LAYOUT,
					 .generation = generation,
					 .built_ns = clock_real_ns()}};
	int fd, r = table_plan(&t, in, n);

	if (r != 0)
		return r;
	hash_key_new(&t.head.key);
	fd = memfd_create("rms-table", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = table_fill_fd(&t, fd, in);
	/* Kernels before 6.7 map a write-sealed file shared only through a
	 * read-only descriptor. */
	if (r == 0)
		r = fd_reopen_ro(fd);
	close(fd);
	return r;
}
