/*
 * text: what people read: cells in columns, durations, sizes, times.
 *
 * Names of accounts come from the network through the connector's logs.  All
 * text is written with control characters, and what turns the direction of
 * writing, as \xNN, so that a name cannot drive a terminal or forge a line.
 */
#ifndef RMS_CTL_TEXT_H
#define RMS_CTL_TEXT_H

#include <stdio.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

/* Escaped as above. */
void text_put(FILE *f, const char *s);

/*
 * Columns.  Cells are given row by row and copied; cols_print() aligns them by
 * what is in them.  Numbers go to the right.  A table that runs out of memory
 * prints what it has and a last line that says so.
 */
struct cols;
/* heads: "NAME|ROLE|>COUNT", ">" for a column of numbers.  NULL: no memory. */
MUST_USE struct cols *cols_new(const char *heads);
void cols_free(struct cols **c);
/* The next cell; NULL is "-". */
void cols_put(struct cols *c, const char *cell);
PRINTF(2, 3) void cols_fmt(struct cols *c, const char *fmt, ...);
void cols_print(const struct cols *c, FILE *f);

#define TEXT_MAX 64
/* "3 d 4 h", "12 min 5 s", "7 s". */
void text_duration(char out_r[TEXT_MAX], uint64_t seconds);
/* "0 B", "812 B", "1.5 kB", "23.0 MB": powers of 1000. */
void text_bytes(char out_r[TEXT_MAX], uint64_t bytes);
/* "2026-11-22T14:17:00Z"; "-" for 0. */
void text_time(char out_r[TEXT_MAX], uint64_t seconds);

#endif
