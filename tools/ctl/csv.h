/*
 * csv: reads comma-separated values (RFC 4180) a record at a time.
 *
 * Lines end with LF or CRLF.  A field in quotes may hold commas, line breaks
 * and, doubled, quotes; a quote elsewhere is an error, as is anything but a
 * comma behind a closing one.  Spaces belong to the field.  A byte order mark
 * at the start is left out, an empty line is no record.
 *
 * Bounded: CSV_FIELDS_MAX fields and CSV_RECORD_MAX bytes in a record, what is
 * beyond is an error of that record; the next one is read as ever.
 */
#ifndef RMS_CTL_CSV_H
#define RMS_CTL_CSV_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define CSV_FIELDS_MAX 16
#define CSV_RECORD_MAX 8192
#define CSV_ERR_MAX    160

struct csv {
	FILE *in; /* borrowed */
	uint32_t next_line;
	bool started;
	/* the last record */
	uint32_t line; /* its first */
	size_t n;
	struct slice field[CSV_FIELDS_MAX]; /* until the next one is read */
	size_t len;
	char mem[CSV_RECORD_MAX];
};

void csv_init(struct csv *c, FILE *in);
/*
 * 1 with a record; 0 at the end; -EINVAL when the record is not one (err says
 * why, c->line where): the next call goes on with the line behind it.  -EIO.
 */
MUST_USE int csv_next(struct csv *c, char err[CSV_ERR_MAX]);

/* Writes a field, in quotes when it has to be. */
void csv_put(FILE *out, struct slice field);

#endif
