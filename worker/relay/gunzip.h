/*
 * gunzip: one gzip stream (RFC 1952) undone piece by piece, within bounds.
 *
 * Refused: what is no gzip, a wrong checksum or length, anything behind the
 * stream's end (a second member too), more output than max, and output of
 * more than GUNZIP_RATIO times the input once it is GUNZIP_FREE bytes.
 */
#ifndef RMS_GUNZIP_H
#define RMS_GUNZIP_H

#include <stdbool.h>

#include "shm/base/bug.h"

/* Deflate can do 1,032; SOAP of licences does 3 to 10, of one repeated
 * element about 100. */
#define GUNZIP_RATIO 256
#define GUNZIP_FREE  1048576
/* Most output of one call, in bytes. */
#define GUNZIP_OUT 32768

struct gunzip;

enum gunzip_result {
	GUNZIP_DATA,  /* *n_r > 0 bytes at *out_r, valid until the next call of
		       * any of these; call again with what is left of the input,
		       * also when that is nothing */
	GUNZIP_MORE,  /* no output waits; more input, or what is left of it */
	GUNZIP_BAD,   /* *why_r says why; the stream is over */
	GUNZIP_NOMEM, /* so it is without memory */
};

/* max: most bytes of output.  NULL without memory. */
MUST_USE struct gunzip *gunzip_new(uint64_t max);
/* Kept for the next one; nothing for NULL. */
void gunzip_free(struct gunzip **g);

/* Takes *used_r <= len bytes of in. */
enum gunzip_result gunzip_run(struct gunzip *g, const char *in, size_t len,
			      size_t *used_r, const char **out_r, size_t *n_r,
			      const char **why_r);
/* Was the whole of a stream seen, and nothing behind it? */
bool gunzip_is_complete(const struct gunzip *g);

#endif
