/*
 * Purpose: one published value, many readers, nobody waits.
 *
 * Runs in: the writer (cloud agent, master) and the readers (relays).
 * Trusts:  a reader trusts the writer for the value's truth, not for its
 *          life, its progress, or the shape of the segment.
 * Touches: one memfd segment.
 * Failure: NULL or -errno; a read that finds nothing whole returns 0.
 *
 * Why a reader gets a whole value.  Values are numbered by the sequence;
 * value s lies in copy s & 1.  The writer of value s+2 reuses the copy of
 * value s, and begins only after it has stored s+1 into the sequence:
 *
 *	writer of s+1, then s+2		reader
 *	W1 fill copy of s+1		R1 load sequence -> s    (acquire)
 *	W2 sequence = s+1  (release)	R2 read copy of s
 *	W3 fence (release)		R3 fence (acquire)
 *	W4 fill copy of s+2		R4 load sequence
 *
 * If R2 saw a byte of W4, then fence W3 comes before fence R3, so R4 sees
 * W2: the sequence has moved and the reader starts again.  If R4 still finds
 * s, the copy is whole.  A writer that is killed between W1 and W2, or in the
 * middle of either fill, leaves the sequence and the current copy as they
 * were; the next one fills the same spare copy again.
 */
#include "shm/pub.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/base/str.h"
#include "shm/segment.h"

#define PUB_MAGIC UINT64_C(0x31627570736d72) /* "rmspub1" */
/* Writers publish every few seconds and a copy takes microseconds: a second
 * attempt is rare, so many of them mean a writer gone mad. */
#define PUB_TRIES 100

struct pub_head {
	uint64_t magic;
	uint64_t layout;
	uint64_t size; /* of a copy, in bytes */
	uint64_t unused[5];
	_Alignas(64) _Atomic uint64_t seq;
	_Alignas(64) _Atomic uint64_t words[]; /* copy 0, then copy 1 */
};
_Static_assert(offsetof(struct pub_head, seq) == 64, "as in pub.h");
_Static_assert(offsetof(struct pub_head, words) == 128, "as in pub.h");

struct pub {
	struct pub_head *head;
	size_t size;  /* of a value; the segment's own word is not used */
	size_t words; /* of a copy */
};

static size_t
pub_words(size_t size)
{
	return (size + 7) / 8;
}

static size_t
pub_bytes(size_t size)
{
	return sizeof(struct pub_head) + 2 * 8 * pub_words(size);
}

int
pub_create(const char *name, size_t size, uint64_t layout)
{
	struct pub_head h = {
	    .magic = PUB_MAGIC, .layout = layout, .size = size};
	int fd = fd_memfd_shared(name, pub_bytes(size));

	if (fd < 0)
		return fd;
	if (pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h)) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

struct pub *
pub_map(int fd, size_t size, uint64_t layout, bool write, const char **why_r)
{
	struct pub *p;
	void *mem = segment_map(fd, pub_bytes(size), write, why_r);
	struct pub_head *h = mem;

	if (mem == NULL)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		*why_r = "out of memory";
	else if (h->magic != PUB_MAGIC)
		*why_r = "not a published value";
	else if (h->layout != layout || h->size != size)
		*why_r = "made by a different version";
	else {
		*p = (struct pub){
		    .head = h, .size = size, .words = pub_words(size)};
		return p;
	}
	free(p);
	munmap(mem, pub_bytes(size));
	return NULL;
}

void
pub_unmap(struct pub **p)
{
	if (*p == NULL)
		return;
	munmap((*p)->head, pub_bytes((*p)->size));
	free(*p);
	*p = NULL;
}

uint64_t
pub_seq(const struct pub *p)
{
	return atomic_load_explicit(&p->head->seq, memory_order_acquire);
}

static _Atomic uint64_t *
pub_copy(const struct pub *p, uint64_t seq)
{
	return p->head->words + (seq & 1) * p->words;
}

void
pub_write(struct pub *p, const void *value)
{
	uint64_t next =
	    atomic_load_explicit(&p->head->seq, memory_order_relaxed) + 1;
	_Atomic uint64_t *to = pub_copy(p, next);
	const uint8_t *from = value;

	atomic_thread_fence(memory_order_release); /* W3 of the value before */
	for (size_t i = 0, left = p->size; i < p->words; i++) {
		size_t n = MIN(left, sizeof(uint64_t));
		uint64_t w = 0;

		memcpy(&w, from + 8 * i, n);
		atomic_store_explicit(&to[i], w, memory_order_relaxed);
		left -= n;
	}
	atomic_store_explicit(&p->head->seq, next, memory_order_release);
}

static void
pub_copy_out(const struct pub *p, uint64_t seq, uint8_t *to)
{
	_Atomic uint64_t *from = pub_copy(p, seq);

	for (size_t i = 0, left = p->size; i < p->words; i++) {
		size_t n = MIN(left, sizeof(uint64_t));
		uint64_t w =
		    atomic_load_explicit(&from[i], memory_order_relaxed);

		memcpy(to + 8 * i, &w, n);
		left -= n;
	}
}

uint64_t
pub_read(const struct pub *p, void *value_r)
{
	for (int i = 0; i < PUB_TRIES; i++) {
		uint64_t seq = pub_seq(p);

		if (seq == 0)
			break;
		pub_copy_out(p, seq, value_r);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&p->head->seq, memory_order_relaxed) ==
		    seq)
			return seq;
	}
	str_wipe(value_r, p->size);
	return 0;
}
