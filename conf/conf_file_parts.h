/*
 * conf_file_parts: what conf_file.c and conf_file_check.c share, no others.
 */
#ifndef RMS_CONF_FILE_PARTS_H
#define RMS_CONF_FILE_PARTS_H

#include "conf/conf_file.h"

#define CONF_ROWS_MAX 128 /* rows of one table, asserted */

/* The line that gave each row its value, 0 where it has its default. */
struct conf_lines {
	unsigned node[CONF_ROWS_MAX];
	struct {
		unsigned start; /* a line of the section, 0 unknown */
		unsigned row[CONF_ROWS_MAX];
	} listener[CONF_LISTENERS_MAX];
};

/* Adds "path:line: text", without the line when it is 0. */
PRINTF(4, 5)
void conf_errors_add(struct conf_errors *e, const char *path, unsigned line,
		     const char *fmt, ...);

/* conf_file_load(), also telling the lines. */
MUST_USE int conf_file_lines(const char *path, struct conf *c_r,
			     struct conf_errors *e_r,
			     struct conf_lines *lines_r);

#endif
