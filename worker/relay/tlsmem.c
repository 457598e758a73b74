/*
 * Purpose: hand OpenSSL its record buffers without the heap, and its small
 *          pieces without most of the heap's work.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: its own memory, the heap.
 * Failure: NULL, as of malloc().
 */
#include "worker/relay/tlsmem.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "shm/base/bug.h"

enum {
	TLSMEM_LEAST = 16384,
	TLSMEM_SIZE = 36864, /* whole pages; TLS_READ_BUFFER of tls.c fits */
	TLSMEM_COUNT = 16,
	TLSMEM_STEP = 16,	     /* malloc() rounds to these */
	TLSMEM_LISTS = 64,	     /* so the largest has 1016 bytes */
	TLSMEM_KEPT_MAX = 256 << 10, /* what all lists may hold, bytes */
};

/* Those beyond tlsmem_used were never out, so they are not in memory; one that
 * was given back holds the next such. */
static char tlsmem[TLSMEM_COUNT][TLSMEM_SIZE] __attribute__((aligned(4096)));
static size_t tlsmem_used, tlsmem_out;
static void *tlsmem_given;
static size_t tlsmem_nfailures;

/* A piece of the heap that was given back. */
struct piece {
	struct piece *next;
	uintptr_t mark; /* piece_mark(next): it is in a list */
};

static struct {
	struct piece *list[TLSMEM_LISTS]; /* piece_size() bytes each, or more */
	size_t bytes;			  /* of all of them, by piece_size() */
	uintptr_t mark;
} kept;

_Static_assert(sizeof(struct piece) <= TLSMEM_STEP, "the smallest has room");

size_t
tlsmem_failures(void)
{
	return tlsmem_nfailures;
}

void
tlsmem_failed(void)
{
	tlsmem_nfailures++;
}

static void *
heap_alloc(size_t size)
{
	void *p = malloc(size);

	if (p == NULL)
		tlsmem_failed();
	return p;
}

/* Of list i.  What glibc gives for any number of bytes is of one of these. */
static size_t
piece_size(size_t i)
{
	return i * TLSMEM_STEP + TLSMEM_STEP / 2;
}

/* No number that a peer could have sent, nor one that fits another place. */
static uintptr_t
piece_mark(const struct piece *next)
{
	return kept.mark ^ (uintptr_t)next;
}

static void *
piece_take(size_t i)
{
	struct piece *p = kept.list[i];

	BUG_ON(p->mark != piece_mark(p->next)); /* written to meanwhile */
	kept.list[i] = p->next;
	kept.bytes -= piece_size(i);
	*p = (struct piece){0};
	return p;
}

static void *
piece_alloc(size_t size)
{
	size_t i;

	if (size > piece_size(TLSMEM_LISTS - 1))
		return heap_alloc(size);
	i = (MAX(size, (size_t)TLSMEM_STEP) + TLSMEM_STEP / 2 - 1) /
	    TLSMEM_STEP;
	return kept.list[i] == NULL ? heap_alloc(size) : piece_take(i);
}

static void
piece_free(void *given)
{
	size_t room = malloc_usable_size(given); /* 0 of NULL */
	size_t i = (room - TLSMEM_STEP / 2) / TLSMEM_STEP;
	struct piece *p = given;

	if (room < TLSMEM_STEP || i >= TLSMEM_LISTS) {
		free(given);
		return;
	}
	/* given back twice; free() cannot know of our lists */
	BUG_ON(p->mark == piece_mark(p->next));
	if (kept.bytes + piece_size(i) > TLSMEM_KEPT_MAX) {
		free(given);
		return;
	}
	*p = (struct piece){kept.list[i], piece_mark(kept.list[i])};
	kept.list[i] = p;
	kept.bytes += piece_size(i);
}

static void
piece_drop_all(void)
{
	for (size_t i = 0; i < TLSMEM_LISTS; i++)
		while (kept.list[i] != NULL)
			free(piece_take(i));
}

static bool
tlsmem_is_ours(const void *p)
{
	return (uintptr_t)p - (uintptr_t)tlsmem < sizeof(tlsmem);
}

static void *
tlsmem_alloc(size_t size, const char *file UNUSED, int line UNUSED)
{
	void *p = tlsmem_given;

	if (size < TLSMEM_LEAST || size > TLSMEM_SIZE)
		return piece_alloc(size);
	if (p != NULL)
		memcpy(&tlsmem_given, p, sizeof(tlsmem_given));
	else if (tlsmem_used < TLSMEM_COUNT)
		p = tlsmem[tlsmem_used++];
	else
		return heap_alloc(size);
	tlsmem_out++;
	return p;
}

static void
tlsmem_free(void *p, const char *file UNUSED, int line UNUSED)
{
	if (!tlsmem_is_ours(p)) {
		piece_free(p);
		return;
	}
	memcpy(p, &tlsmem_given, sizeof(tlsmem_given));
	tlsmem_given = p;
	tlsmem_out--;
}

static void *
tlsmem_realloc(void *p, size_t size, const char *file, int line)
{
	void *q;

	if (!tlsmem_is_ours(p)) {
		q = realloc(p, size);
		if (q == NULL && size > 0)
			tlsmem_failed();
		return q;
	}
	if (size <= TLSMEM_SIZE)
		return p;
	q = heap_alloc(size);
	if (q == NULL)
		return NULL;
	memcpy(q, p, TLSMEM_SIZE);
	tlsmem_free(p, file, line);
	return q;
}

void
tlsmem_rest(void)
{
	piece_drop_all();
	if (tlsmem_out > 0 || tlsmem_used == 0)
		return;
	(void)madvise(tlsmem, sizeof(tlsmem), MADV_DONTNEED);
	tlsmem_given = NULL;
	tlsmem_used = 0;
}

void
tlsmem_init(void)
{
#if !defined(RMS_MODE_asan) && !defined(RMS_MODE_fuzz)
	if (getrandom(&kept.mark, sizeof(kept.mark), 0) != sizeof(kept.mark))
		return;
	(void)CRYPTO_set_mem_functions(tlsmem_alloc, tlsmem_realloc,
				       tlsmem_free);
#else
	/* what is used after it was given back shall be seen */
	(void)tlsmem_alloc, (void)tlsmem_realloc, (void)tlsmem_free;
#endif
}
