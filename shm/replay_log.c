/*
 * Purpose: the segment behind replay_log.h.
 *
 * Runs in: master, keeper.
 * Trusts:  the master for the descriptor, but that it cannot be resized.
 * Touches: the segment.
 * Failure: -errno, or NULL with the reason.
 */
#include "shm/replay_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shm/base/fd.h"
#include "shm/segment.h"
#include "shm/base/log.h"

#define HALF_BYTES ((size_t)REPLAY_LOG_MAX * sizeof(uint64_t))
#define LOG_BYTES  (REPLAY_LOG_HEAD + 2 * HALF_BYTES)

int
replay_log_create(void)
{
	return fd_memfd_shared("replay", LOG_BYTES);
}

/* Not segment_map(): that puts memory behind all of it at once. */
struct replay_log *
replay_log_map(int fd, const char **why_r)
{
	struct stat st;
	void *mem;

	if (!segment_sealed(fd, F_SEAL_SHRINK | F_SEAL_GROW)) {
		*why_r = "segment can be resized";
		return NULL;
	}
	if (fstat(fd, &st) != 0 || st.st_size != (off_t)LOG_BYTES) {
		*why_r = "segment of the wrong size";
		return NULL;
	}
	mem = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED) {
		*why_r = "cannot map segment";
		return NULL;
	}
	return mem;
}

void
replay_log_unmap(struct replay_log **l)
{
	if (*l == NULL)
		return;
	BUG_ON(munmap(*l, LOG_BYTES) != 0);
	*l = NULL;
}

uint64_t *
replay_log_entries(struct replay_log *l, unsigned half)
{
	char *p = (char *)l + REPLAY_LOG_HEAD + half * HALF_BYTES;

	BUG_ON(half > 1);
	return (uint64_t *)(void *)p;
}

void
replay_log_drop(struct replay_log *l, unsigned half)
{
	/* It may stay: then it is only memory that is not given back. */
	if (madvise(replay_log_entries(l, half), HALF_BYTES, MADV_REMOVE) != 0)
		log_debug("the memory of old authenticators stays");
}
