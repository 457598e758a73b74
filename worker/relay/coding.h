/*
 * coding: which codings of a body the sender of a request takes (RFC 9110
 * 12.5.3).  Pure.
 */
#ifndef RMS_CODING_H
#define RMS_CODING_H

#include <stdbool.h>

#include "shm/base/str.h"

enum coding_said { CODING_UNSAID, CODING_YES, CODING_NO };

/* What was said of gzip so far.  Zeroed before the first field line. */
struct coding_wish {
	enum coding_said gzip; /* by its name, or as x-gzip (8.4.1.3) */
	enum coding_said any;  /* "*": what is not named */
};

/*
 * The value of one line of Accept-Encoding, any bytes; the lines of a head
 * are one list.  Said twice, a no counts, and so does a weight that is none:
 * a body without a coding is what everybody takes.
 */
void coding_line(struct coding_wish *w, struct slice value);
/* Is gzip wanted, after all lines? */
bool coding_takes_gzip(const struct coding_wish *w);

#endif
