/*
 * memory: is memory short?  Asked once a second, so that a relay sheds load
 * before the kernel ends it.
 *
 * Short, when one of these is so:
 *	own	this process holds more than memory_max bytes
 *	group	a control group that it is in, or one above that (a service's
 *		MemoryMax, its slice's, a container's limit), uses more than
 *		nine tenths of what it may, page cache that can be dropped not
 *		counted
 *	host	less than a twentieth of the host's memory, or than a GiB where
 *		that is less, is available (/proc/meminfo: MemAvailable)
 * Over: the first two are a tenth below that again, and of the third there is
 * half as much again.
 */
#ifndef RMS_MEMORY_H
#define RMS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/base/bug.h"

/* Levels of groups that are looked at, from its own up. */
#define MEMORY_GROUPS_MAX 8

/* Descriptors of files that the sandbox would not let us open; -1: absent. */
struct memory_group {
	int current; /* bytes used */
	int max;     /* bytes that it may, or "max" */
	int stat;    /* of what kind they are */
};

struct memory {
	int statm;   /* /proc/self/statm */
	int meminfo; /* /proc/meminfo */
	bool is_short;
	size_t ngroups; /* current and max are there */
	struct memory_group group[MEMORY_GROUPS_MAX];
};

/* What was seen last; 0 where it is not known. */
struct memory_now {
	uint64_t rss;	/* bytes of this process */
	uint64_t group; /* bytes of the fullest group, no droppable cache */
	uint64_t limit; /* of that group; 0: none has one */
	uint64_t available, total; /* bytes of the host */
};

/*
 * Opens what there is, below root ("" or a directory of a test): the groups of
 * version 2, or of version 1 where that has the memory.  Before the sandbox.
 */
void memory_open(struct memory *m, const char *root);
void memory_close(struct memory *m);

/* Reads all: no allocation, two system calls and three for each group at
 * most. */
void memory_read(const struct memory *m, struct memory_now *now_r);

/* Is memory short now?  max: memory_max, 0 for none.  Remembers the answer. */
bool memory_judge(struct memory *m, const struct memory_now *now, uint64_t max);

#endif
