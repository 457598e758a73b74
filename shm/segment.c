/*
 * Purpose: map a shared segment and refuse one that could hurt its reader.
 *
 * Runs in: every process.
 * Trusts:  the kernel's seals; nothing that stands in the segment.
 * Touches: the descriptor of its caller.
 * Failure: NULL with a word for the log.
 */
#include "shm/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shm/base/log.h"

bool
segment_sealed(int fd, int seals)
{
	int have = fcntl(fd, F_GET_SEALS);

	return have >= 0 && (have & seals) == seals;
}

static void *
map_checked(int fd, size_t size, bool write, int flags, const char **why_r)
{
	int prot = write ? PROT_READ | PROT_WRITE : PROT_READ;
	struct stat st;
	void *mem;

	if (!segment_sealed(fd, F_SEAL_SHRINK | F_SEAL_GROW)) {
		*why_r = "segment can be resized";
		return NULL;
	}
	if (fstat(fd, &st) != 0 || st.st_size < 0 ||
	    (uint64_t)st.st_size != size) {
		*why_r = "segment of the wrong size";
		return NULL;
	}
	mem = mmap(NULL, size, prot, MAP_SHARED | flags, fd, 0);
	if (mem == MAP_FAILED) {
		*why_r = "cannot map segment";
		return NULL;
	}
	return mem;
}

void *
segment_map(int fd, size_t size, bool write, const char **why_r)
{
	/* Populated: no page fault while a request waits. */
	return map_checked(fd, size, write, MAP_POPULATE, why_r);
}

void *
segment_map_lazy(int fd, size_t size, bool write, const char **why_r)
{
	return map_checked(fd, size, write, 0, why_r);
}

void
segment_unmap(const void *mem, size_t size)
{
	void *p;

	memcpy(&p, &mem, sizeof(p)); /* munmap() knows no const */
	BUG_ON(munmap(p, size) != 0);
}
