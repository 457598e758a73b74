/*
 * token_policy: when to ask for a token, and how long one may be used.
 *
 * Pure: no clock, no I/O, no random source of its own.  Times are
 * CLOCK_BOOTTIME ns as given by the caller, so a suspended machine ages its
 * tokens.  One struct per credential; what it throttles is that credential.
 *
 *	refresh		at refresh_in, else at the later of half the life and
 *			5 minutes before the end, both with jitter
 *	failure		1 s, 2 s, 4 s ... up to retry_max_ms; a request that
 *			was refused as wrong (HTTP 400, 401, 403) is not
 *			repeated for 60 s, or retry_max_ms when that is less
 *	Retry-After	is obeyed, up to an hour, by forced refreshes too
 *	end of life	expires_in after the request was SENT, less a margin
 */
#ifndef RMS_TOKEN_POLICY_H
#define RMS_TOKEN_POLICY_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

/* RFC 9110 sets no bound; MSAL obeys at most one hour. */
#define TOKEN_RETRY_AFTER_MAX_S 3600
/* A longer life is a mistake: the longest known is 28 hours. */
#define TOKEN_EXPIRES_MAX_S (30 * 86400)

/* What became of a request, as far as the policy cares. */
enum token_outcome {
	TOKEN_GOT,
	TOKEN_DENIED,	 /* 400, 401, 403: the same request will not do */
	TOKEN_THROTTLED, /* 429 */
	TOKEN_TROUBLE,	 /* all else: network, 5xx, a reply without token */
};

struct token_policy {
	uint64_t next;	     /* when to fetch; UINT64_MAX: not planned */
	uint64_t until;	     /* the token may be used before; 0: none */
	uint64_t not_before; /* no fetch earlier: the service asked so */
	uint64_t denied;     /* no forced refresh earlier: it was refused */
	uint64_t last_ok;    /* when the last token came; 0: never */
	uint64_t forced;     /* serial that a forced refresh was made for */
	unsigned failures;   /* in a row */
	bool same;	     /* the last fetch brought the same token again */
};

/* No token, due at once. */
void token_policy_init(struct token_policy *p, uint64_t now);

/*
 * A token came.  started: when its request was sent.  refresh_in_s: 0 when
 * the reply had none.  same: it is the one that we had.  rnd: any random
 * number.
 */
void token_policy_got(struct token_policy *p, uint64_t started, uint64_t now,
		      uint64_t expires_in_s, uint64_t refresh_in_s, bool same,
		      uint32_t rnd);

/* The request failed.  retry_after_s: 0 when the service did not say. */
void token_policy_failed(struct token_policy *p, uint64_t now,
			 enum token_outcome why, uint64_t retry_after_s,
			 uint64_t retry_max_ms, uint32_t rnd);

/*
 * A relay says that the service refused the token with this serial; current
 * is ours.  True when p->next was moved ahead.  Once per serial; and when the
 * last fetch brought the same token again, not for a while.
 */
MUST_USE bool token_policy_stale(struct token_policy *p, uint64_t now,
				 uint64_t serial, uint64_t current);

/* Something may have changed for the better (a reload, the DNS is back):
 * fetch at once, unless the service asked for a pause. */
void token_policy_hurry(struct token_policy *p, uint64_t now);

/* A token kept from before our start: usable, but renew at once. */
void token_policy_adopt(struct token_policy *p, uint64_t now, uint64_t expires);

static inline bool
token_policy_valid(const struct token_policy *p, uint64_t now)
{
	return p->until > now;
}

/*
 * Retry-After: seconds, or a date (all three formats of RFC 9110 section
 * 5.6.7) against now_s, seconds since 1970.  Seconds to wait, 1 to
 * TOKEN_RETRY_AFTER_MAX_S; 0 when the text is neither.
 */
uint64_t token_retry_after(struct slice text, uint64_t now_s);

#endif
