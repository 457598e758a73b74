/*
 * chunk: the chunked transfer coding (RFC 9112 7.1), read strictly.
 *
 * Extensions and trailers are bounded, checked by their grammar, and thrown
 * away.  Pure: bytes in, runs of body bytes out.
 */
#ifndef RMS_CHUNK_H
#define RMS_CHUNK_H

#include <stdbool.h>

#include "shm/base/bug.h"

/* Longest size line with its extensions, and all trailer lines together. */
#define CHUNK_LINE_MAX	  1024
#define CHUNK_TRAILER_MAX 8192
/* All extensions of a body: nobody on our side of the world sends any, and
 * without a bound a byte of body could bring a kilobyte of them. */
#define CHUNK_EXTS_MAX 16384

struct chunk {
	int state;     /* chunk.c; 0 at the start of a body */
	uint32_t line; /* bytes of the current line or of all trailers */
	uint32_t exts; /* bytes of all extensions */
	uint64_t left; /* of the current chunk's data */
	uint8_t digits;
};

enum chunk_result {
	CHUNK_MORE, /* all of the input was used */
	CHUNK_DATA, /* a run of body bytes: data_r, ndata_r */
	CHUNK_END,  /* the body is complete; *used_r bytes belonged to it */
	CHUNK_BAD,
};

/*
 * Reads from p[0..len).  *used_r is how many bytes are done with (the run of
 * data included).  Call again with the rest until MORE, END or BAD.
 */
enum chunk_result chunk_read(struct chunk *c, const char *p, size_t len,
			     size_t *used_r, const char **data_r,
			     size_t *ndata_r);

/* "<hex>\r\n" for a run of len > 0 bytes; 18 bytes of room.  Its length. */
#define CHUNK_HEAD_MAX 18
size_t chunk_head(char *out, uint64_t len);

#endif
