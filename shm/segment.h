/*
 * segment: mapping a shared memfd with the checks that every kind needs.
 */
#ifndef RMS_SEGMENT_H
#define RMS_SEGMENT_H

#include <stdbool.h>

#include "shm/base/bug.h"

/*
 * Maps all of fd, which must be a memfd of exactly `size` bytes that nobody
 * can resize any more (else a reader could be made to fault).  fd stays the
 * caller's. NULL with a reason for the log in *why_r.
 */
MUST_USE void *segment_map(int fd, size_t size, bool write, const char **why_r);

/* The same, but a page takes no memory before it is touched, which then costs
 * a page fault: for what is large and used little by little. */
MUST_USE void *segment_map_lazy(int fd, size_t size, bool write,
				const char **why_r);

/* Unmaps what segment_map() gave; const because most hold it so. */
void segment_unmap(const void *mem, size_t size);

/* Are all of these seals (F_SEAL_*) on fd? */
bool segment_sealed(int fd, int seals);

#endif
