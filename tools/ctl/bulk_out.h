/*
 * bulk_out: writes a list of servers for the connector (control_bulk.h) into a
 * sealed memfd, record by record.
 */
#ifndef RMS_CTL_BULK_OUT_H
#define RMS_CTL_BULK_OUT_H

#include <stdint.h>
#include <stdio.h>

#include "master/control_bulk.h"
#include "shm/base/bug.h"

/* One record; every text is shorter than its member. */
struct bulk_row {
	uint32_t line;
	char subject[BULK_SUBJECT_MAX + 1];
	char role[BULK_ROLE_MAX + 1];
	char name[BULK_NAME_MAX + 1];
	char note[BULK_NAME_MAX + 1];
	uint64_t expires; /* CLOCK_REALTIME s; 0 never */
};

struct bulk_out {
	FILE *f; /* of the memfd */
	uint64_t bytes;
	uint32_t count;
};

/* 0 or -errno. */
MUST_USE int bulk_out_open(struct bulk_out *b);
/* 0, -EFBIG above BULK_BYTES_MAX, -EIO. */
MUST_USE int bulk_out_put(struct bulk_out *b, const struct bulk_row *row);
/* Ends and seals it.  The descriptor, which stays b's, or -errno. */
MUST_USE int bulk_out_seal(struct bulk_out *b);
void bulk_out_close(struct bulk_out *b);

#endif
