/*
 * pub: one writer publishes a value, many readers copy it; nobody waits.
 *
 * Two copies and a sequence number.  The writer fills the copy that is not
 * current, then makes it current with one release store; so a writer that is
 * killed at any instruction leaves the last published value whole, and the
 * next writer starts from the sequence that stands.  A reader copies the
 * current one and checks that the sequence has not moved meanwhile; only a
 * writer that publishes during those microseconds makes it copy again.  (Not
 * "moved by less than two": the writer that made it move once may already be
 * filling the copy that is being read.)
 *
 *	offset	size	field		writer	readers
 *	0	8	magic		creator	all, once at attach
 *	8	8	layout hash	creator	all, once at attach
 *	16	8	size of a copy	creator	all, once at attach
 *	64	8	sequence	writer	readers
 *	128	2*size	copies		writer	readers
 */
#ifndef RMS_PUB_H
#define RMS_PUB_H

#include <stdbool.h>

#include "shm/base/bug.h"

struct pub;

/*
 * layout: a hash of the value's layout; a reader built from other sources is
 * refused at attach.  Descriptor (caller's) or -errno.
 */
MUST_USE int pub_create(const char *name, size_t size, uint64_t layout);
/* NULL with a reason in *why_r.  write = false maps read-only. */
MUST_USE struct pub *pub_map(int fd, size_t size, uint64_t layout, bool write,
			     const char **why_r);
void pub_unmap(struct pub **p);

/* The sequence: 0 before the first value.  Cheap; for "is there news". */
uint64_t pub_seq(const struct pub *p);
void pub_write(struct pub *p, const void *value);
/*
 * Copies the newest value and returns its sequence.  0 when nothing was ever
 * published, or when a writer gone mad never lets a copy stand (tried a
 * bounded number of times): value_r is then zeroed.
 */
uint64_t pub_read(const struct pub *p, void *value_r);

#endif
