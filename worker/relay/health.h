/*
 * health: what this relay knows of the cloud's health, and what it does not
 * ask of it therefore.
 *
 * Three things, each in a place of its own and shared through the token
 * segment, which the cloud agent writes from what relays report:
 *
 *	wait	429 and 503 with Retry-After: no request for the credential
 *		(429) or for all (503) until then.
 *	circuit	CLOSED: requests go.  After cloud_breaker_failures failures in
 *		a row (no connection, no TLS, no reply, also because the cloud
 *		took no more of the request; never a reply, whatever its
 *		status) OPEN: refused at once, for cloud_breaker_ms, twice as
 *		long each time up to a minute.  That request_timeout_ms was
 *		over is a failure when the cloud and the way to it had half of
 *		it: not when a client or our own queue used most of it.
 *		Then HALF: one request tries; its outcome closes or opens.
 *	bad	addresses that lately took no connection, or not as fast as
 *		another one within its head start, or failed in TLS (or in
 *		CONNECT, when they are a web proxy's), are tried last.  A
 *		whole handshake makes one good again.  It is the address that
 *		is remembered, in whatever list it comes.
 *
 * Others' reports spare a relay the finding out, and are never the last word:
 * what they make it wait, by Retry-After and circuit together and however
 * they are spread, is over half a minute after the first one.  Then it asks
 * the cloud itself, and goes by what it is told.  A 503 with Retry-After, or
 * its own circuit open, says that others were right: they are heeded again.
 * Else not before ten minutes after that first one, or after a try that
 * showed their circuit to be wrong.  An open circuit of others does not count
 * at all when there was a reply here since.  So a relay in the wrong hands
 * costs the others half a minute in ten; the agent bounds its words in length
 * and number.
 */
#ifndef RMS_HEALTH_H
#define RMS_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/token.h"
#include "worker/relay/http.h"
#include "worker/relay/reason.h"

struct client;
struct relay;

enum health_state { HEALTH_CLOSED, HEALTH_OPEN, HEALTH_HALF };

/* More than one list has, for names whose answers are parts of a longer one. */
#define HEALTH_BAD_MAX (2 * TOKEN_ADDRS_MAX)

struct health_bad {
	struct token_addr addr;
	uint64_t until; /* past: nothing is known of it */
};

struct health {
	enum health_state state;
	bool adopted; /* the circuit was opened by another's report */
	bool probing; /* HALF: the one request is under way */
	unsigned failures;
	unsigned opens;	     /* in a row: each pause twice the last */
	uint64_t until;	     /* OPEN: its end; CLOCK_BOOTTIME ns, as all here */
	uint64_t last_ok;    /* a reply came */
	uint64_t heed_until; /* others' reports count until then */
	uint64_t heed_again; /* and anew from then on */
	uint64_t wait_all, wait[TOKEN_CREDS_MAX];
	uint32_t wait_cred[TOKEN_CREDS_MAX]; /* whose */
	struct health_bad bad[HEALTH_BAD_MAX];
	char why[256]; /* the last failure */
};

/* May c's request go now?  REASON_OK, with c's exchange as the probe when it
 * is one; else the refusal, with x->retry_after_s set. */
enum reason health_admit(struct client *c);
/* The head of a reply came for c: the way is good.  Looks at Retry-After. */
void health_reply(struct client *c, const struct http_reply *r);
/* It failed for good, on the way or in the cloud. */
void health_failed(struct client *c, enum reason why, const char *detail);
/* c's exchange ends, with or without an outcome. */
void health_over(struct client *c);

/* A new configuration, which may be the cure: the circuit is closed, and what
 * others reported of theirs until now does not count. */
void health_reset(struct relay *w);

/* The address of the present way does, or does not. */
void health_address(struct relay *w, const struct token_addr *a, bool ok);
/* Another way: what was known of addresses was known of the old one. */
void health_forget_addresses(struct relay *w);
/* Was the address at this index of w->tv bad lately? */
bool health_is_bad(struct relay *w, uint32_t index);

/* Retry-After's value in seconds from now (RFC 9110 10.2.3): a number or a
 * date in one of the three forms of 5.6.7.  At most a year; 0 when it is
 * neither, or past.  Pure. */
uint64_t health_retry_after(struct slice value, uint64_t now_s);

#endif
