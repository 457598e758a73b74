/*
 * bulk: reads the list of servers that came as control_bulk.h says.
 *
 * The mapping is of a sealed file: what was checked stays so.  Records are
 * decoded with bounds; what they mean is checked by the store.
 */
#ifndef RMS_BULK_H
#define RMS_BULK_H

#include "master/store.h"
#include "shm/base/bug.h"
#include "shm/base/pack.h"

struct bulk {
	const uint8_t *mem;
	size_t size;
	bool mapped;
	uint32_t count; /* records, <= TABLE_ENTRIES_MAX */
	uint32_t at;	/* next() has given so many */
	struct unpack rest;
};

/*
 * Maps fd, which stays the caller's.  0, or -errno with a line in err:
 * -EPROTO when it is not sealed, too large, or no such list.
 */
MUST_USE int bulk_map(struct bulk *b, int fd, char err[STORE_ERR]);
/* The same from memory, borrowed until bulk_unmap(). */
MUST_USE int bulk_open(struct bulk *b, const void *mem, size_t size,
		       char err[STORE_ERR]);
void bulk_unmap(struct bulk *b);

/* Back to the first record. */
void bulk_rewind(struct bulk *b);
/* 1 with the next record and its line; 0 after the last; -EPROTO when it is
 * not one, or something follows the last. */
MUST_USE int bulk_next(struct bulk *b, struct store_server *s_r,
		       uint32_t *line_r);

#endif
