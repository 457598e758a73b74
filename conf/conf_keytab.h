/*
 * conf_keytab: reads a Kerberos keytab without a Kerberos library.
 *
 * The file format is MIT's, version 0x0502 (big-endian): enough to say that a
 * file is one, and which keys it holds.  The keys themselves are skipped, not
 * kept.
 */
#ifndef RMS_CONF_KEYTAB_H
#define RMS_CONF_KEYTAB_H

#include "shm/base/bug.h"

#define CONF_KEYTAB_BYTES_MAX 1048576
#define CONF_KEYTAB_NAME_MAX  512

struct conf_keytab_entry {
	char principal[CONF_KEYTAB_NAME_MAX]; /* "HTTP/name@REALM", cut if
						 longer */
	uint32_t kvno;
	uint32_t added; /* CLOCK_REALTIME s; 0 unknown */
	int enctype;	/* Kerberos number: 18 is AES-256, 23 is RC4 */
	uint64_t key; /* a number that differs between keys, of this process */
};

/*
 * Walks data and calls each (may be NULL) with every entry.  The number of
 * entries, or -EINVAL with *why_r "why, what would do" (static text).
 */
MUST_USE int conf_keytab_walk(const void *data, size_t len,
			      void (*each)(void *arg,
					   const struct conf_keytab_entry *e),
			      void *arg, const char **why_r);

/*
 * Reads the file and walks it: a regular file that nobody but its owner may
 * reach.  0; or -errno with why "what, what would do" and nothing in *data_r.
 * The caller wipes len bytes and frees.  st_r (may be NULL) is of the file that
 * was read; zeros when it could not be opened.
 */
struct stat;
MUST_USE int conf_keytab_read(const char *path, char **data_r, size_t *len_r,
			      struct stat *st_r, char *why, size_t why_size);

#endif
