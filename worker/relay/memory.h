/*
 * memory: is memory short?  Asked once a second, so that a relay sheds load
 * before the kernel ends it.
 *
 * Short: this process holds more than memory_max bytes, or the control group
 * that it runs in (a service's MemoryMax, a container's limit) uses more than
 * nine tenths of what it may, page cache that can be dropped not counted.
 * Over: both are a tenth below that again.
 */
#ifndef RMS_MEMORY_H
#define RMS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/base/bug.h"

/* Descriptors of files that the sandbox would not let us open; -1: absent. */
struct memory {
	int statm;   /* /proc/self/statm */
	int current; /* of the group: bytes used */
	int max;     /* bytes that it may, or "max" */
	int stat;    /* of what kind they are */
	bool is_short;
};

/* What was seen last; 0 where it is not known. */
struct memory_now {
	uint64_t rss;	/* bytes of this process */
	uint64_t group; /* bytes of the group without droppable cache */
	uint64_t limit; /* of the group; 0: none */
};

/*
 * Opens what there is, below root ("" or a directory of a test): the group of
 * version 2, or of version 1 where that has the memory.  Before the sandbox.
 */
void memory_open(struct memory *m, const char *root);
void memory_close(struct memory *m);

/* Reads all: no allocation, four system calls at most. */
void memory_read(const struct memory *m, struct memory_now *now_r);

/* Is memory short now?  max: memory_max, 0 for none.  Remembers the answer. */
bool memory_judge(struct memory *m, const struct memory_now *now, uint64_t max);

#endif
