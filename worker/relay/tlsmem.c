/*
 * Purpose: hand OpenSSL its record buffers without the heap.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: its own memory, the heap.
 * Failure: NULL, as of malloc().
 */
#include "worker/relay/tlsmem.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/base/bug.h"

enum {
	TLSMEM_LEAST = 16384,
	TLSMEM_SIZE = 36864, /* whole pages; TLS_READ_BUFFER of tls.c fits */
	TLSMEM_COUNT = 16,
};

/* Those beyond tlsmem_used were never out, so they are not in memory; one that
 * was given back holds the next such. */
static char tlsmem[TLSMEM_COUNT][TLSMEM_SIZE] __attribute__((aligned(4096)));
static size_t tlsmem_used, tlsmem_out;
static void *tlsmem_given;

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
		return malloc(size);
	if (p != NULL)
		memcpy(&tlsmem_given, p, sizeof(tlsmem_given));
	else if (tlsmem_used < TLSMEM_COUNT)
		p = tlsmem[tlsmem_used++];
	else
		return malloc(size);
	tlsmem_out++;
	return p;
}

static void
tlsmem_free(void *p, const char *file UNUSED, int line UNUSED)
{
	if (!tlsmem_is_ours(p)) {
		free(p);
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

	if (!tlsmem_is_ours(p))
		return realloc(p, size);
	if (size <= TLSMEM_SIZE)
		return p;
	q = malloc(size);
	if (q == NULL)
		return NULL;
	memcpy(q, p, TLSMEM_SIZE);
	tlsmem_free(p, file, line);
	return q;
}

void
tlsmem_rest(void)
{
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
	(void)CRYPTO_set_mem_functions(tlsmem_alloc, tlsmem_realloc,
				       tlsmem_free);
#else
	/* what is used after it was given back shall be seen */
	(void)tlsmem_alloc, (void)tlsmem_realloc, (void)tlsmem_free;
#endif
}
