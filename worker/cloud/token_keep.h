/*
 * token_keep: keeps a valid token for every credential.
 *
 * One request at a time for a credential.  A valid token stays when its
 * refresh fails; one past its end is dropped.  What happens is told through
 * ops; what is kept is copied out with token_keep_fill().
 */
#ifndef RMS_TOKEN_KEEP_H
#define RMS_TOKEN_KEEP_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/msg.h"
#include "shm/token.h"
#include "worker/cloud/resolve.h"

struct loop;
struct token_fetcher;
struct token_keep;

/* Where tokens come from, and for whom they are; texts are copied. */
struct token_endpoint {
	char tenant[TOKEN_TENANT_MAX]; /* conf_tenant_base(); "": none */
	char url[512];		       /* "": not configured */
	char scope[512];
	uint64_t timeout_ms;
	uint64_t retry_max_ms;
};

struct token_keep_ops {
	/* Tokens or their states are others now: publish, report. */
	void (*changed)(void *arg);
	/* Event 1102, 2101 or 3100, once per cause until it changes. */
	void (*event)(void *arg, uint32_t id, const char *detail);
	/* A request has ended, for the counters. */
	void (*fetched)(void *arg, bool ok);
};

/* loop and fetcher are borrowed.  NULL when out of memory. */
MUST_USE struct token_keep *token_keep_new(struct loop *l,
					   struct token_fetcher *f,
					   const struct token_keep_ops *ops,
					   void *arg);
void token_keep_free(struct token_keep **k);

/* Tokens that an earlier process of this role left in the segment.  Before
 * the first token_keep_apply(). */
void token_keep_adopt(struct token_keep *k, const struct token_value *v);

/*
 * Credentials and endpoint as they are now; creds is copied.  Only what
 * changed is fetched again: a new secret keeps the old token until there is
 * another; a new client id, endpoint, scope or tenant makes the old token
 * another's, so that it goes at once.  What failed before is tried again.
 */
void token_keep_apply(struct token_keep *k, const struct msg_creds *creds,
		      const struct token_endpoint *e);
/* The name of the endpoint's host, kept by the caller; NULL: none.  Call
 * again after each look-up. */
void token_keep_name(struct token_keep *k, const struct resolve_name *n);

/* A relay's TOKEN_STALE. */
void token_keep_stale(struct token_keep *k, uint32_t credential,
		      uint64_t serial);

/* Copies the slots and whose they are; and what CLOUD_STATUS says of
 * credentials. */
void token_keep_fill(const struct token_keep *k, struct token_value *v);
void token_keep_status(const struct token_keep *k, struct msg_cloud_status *s);

#endif
