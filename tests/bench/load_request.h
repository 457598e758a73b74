/*
 * load_request: the requests that the load generator sends, and the SPNEGO
 * tokens in them.
 *
 * Every failure ends the process: without a token there is nothing to
 * measure.
 */
#ifndef RMS_BENCH_LOAD_REQUEST_H
#define RMS_BENCH_LOAD_REQUEST_H

#include <stddef.h>

/* Prints "load: ..." and exits with status 2. */
void fatal(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

struct request_conf {
	const char *host, *path;
	const char *service; /* HTTP@HOST of GSSAPI; NULL: no tokens */
	size_t bytes;	     /* of the body */
};

/*
 * A POST as conf says, with a new token in it when with_token is not 0.  The
 * caller owns the text.
 */
char *request_new(const struct request_conf *conf, int with_token,
		  size_t *len_r);

/*
 * Makes n tokens now, which the next n requests take: a client's work for a
 * token would otherwise slow the load down.  Servers take a token for five
 * minutes.
 */
void request_tokens_make(const struct request_conf *conf, size_t n);

#endif
