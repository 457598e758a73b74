/*
 * listfile: a file of servers, as people and programs write it.
 *
 *	CSV	a head that names the columns subject, role and, if wanted,
 *		name, note, expires, in any order; then a server a record
 *	JSON	an array of objects with those members
 *
 * expires is a date as rmsctl takes it anywhere; missing, empty, null or
 * "never": none.  A line break in a name or a note becomes a blank.
 */
#ifndef RMS_CTL_LISTFILE_H
#define RMS_CTL_LISTFILE_H

#include <stdio.h>

#include "shm/base/bug.h"
#include "tools/ctl/bulk_out.h"

enum listfile_format { LISTFILE_AUTO, LISTFILE_CSV, LISTFILE_JSON };

struct listfile {
	FILE *in;
	enum listfile_format format; /* AUTO: JSON when it begins with [ */
	/* A server.  Not 0: reading ends with that. */
	int (*row)(void *arg, const struct bulk_row *row);
	/* What is no server.  The line is in the file, from 1 on. */
	void (*bad)(void *arg, uint32_t line, const char *why);
	void *arg;
};

/* Reads to the end.  0 (also with bad ones), or what row() returned. */
MUST_USE int listfile_read(struct listfile *l);

#endif
