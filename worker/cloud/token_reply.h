/*
 * token_reply: what the token service answered, taken apart.
 *
 * Pure, and what the fuzzer drives: the body is a stranger's.  Failures come
 * as text for the operator: which kind, the service's own code and words
 * without control characters, bounded, never the secret.
 */
#ifndef RMS_TOKEN_REPLY_H
#define RMS_TOKEN_REPLY_H

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/token.h"
#include "worker/cloud/token_policy.h"

#define TOKEN_REPLY_MAX (64 * 1024) /* largest body that is looked at */
#define TOKEN_TEXT_MAX	320	    /* eight fit into a CLOUD_STATUS */

struct token_result {
	enum token_outcome outcome;
	/* Stable between repeats of one trouble, for "report once". */
	char cause[96];
	char text[TOKEN_TEXT_MAX];
	uint64_t retry_after_s; /* 0: none */
	uint64_t expires_in_s;
	uint64_t refresh_in_s; /* 0: none */
	uint32_t len;	       /* of token */
	char token[TOKEN_BYTES_MAX];
};

struct token_reply {
	long status; /* HTTP */
	struct slice body;
	struct slice retry_after; /* the field's value, or empty */
	uint64_t now_s;		  /* CLOCK_REALTIME, for a Retry-After date */
	struct slice secret;	  /* what must never show up in a text */
};

/* Fills *r_r whole.  The caller wipes it. */
void token_reply_parse(const struct token_reply *in, struct token_result *r_r);

/* A failure that is not a reply; text is cleaned like a reply's. */
void token_result_fail(struct token_result *r_r, enum token_outcome outcome,
		       const char *cause, const char *text);

/*
 * Copies text without control characters, at most size - 1 bytes and not cut
 * within a UTF-8 character; runs of blanks become one, `hide` becomes "***".
 */
void token_text_clean(char *dst, size_t size, struct slice text,
		      struct slice hide);

#endif
