/*
 * token_fetch: one OAuth 2.0 client-credentials request (RFC 6749, 4.4.2)
 * over libcurl's multi interface on the event loop.
 *
 * https only, TLS 1.2 or later, issuers only from token_fetcher_ca(), no
 * redirect, no proxy but token_fetcher_proxy()'s (none from the environment),
 * no name resolution: the caller gives the addresses.  The secret travels in
 * the body, is wiped here afterwards, and is in no log line.
 */
#ifndef RMS_TOKEN_FETCH_H
#define RMS_TOKEN_FETCH_H

#include "conf/proxy.h"
#include "shm/base/bug.h"
#include "worker/cloud/addr_set.h"
#include "worker/cloud/token_reply.h"

struct loop;
struct token_fetcher;
struct token_fetch;

/* What a request needs.  Borrowed during token_fetch_start(). */
struct token_request {
	const char *url;
	const struct addr_set *addrs; /* of the URL's host, or the proxy's */
	const char *client_id;
	const char *secret;
	const char *scope;
	uint64_t timeout_ms;
};

/* result is borrowed, and wiped when the callback returns. */
typedef void token_fetch_fn(void *arg, const struct token_result *result);

/*
 * Process-wide set-up of libcurl and OpenSSL, which read files: once, before
 * the sandbox closes.  0 or -EIO.
 */
MUST_USE int token_fetch_init(void);

/* NULL when out of memory.  loop is borrowed. */
MUST_USE struct token_fetcher *token_fetcher_new(struct loop *l);
/* No fetch may be under way. */
void token_fetcher_free(struct token_fetcher **f);
/* Trusted issuers, PEM; a copy is kept.  0 or -ENOMEM. */
MUST_USE int token_fetcher_ca(struct token_fetcher *f, const void *pem,
			      size_t len);

/* Pinned issuers of the service (worker/issuers.h), "" for none; copied. */
void token_fetcher_pins(struct token_fetcher *f, const char *list);

/* The web proxy of the requests to come. */
struct fetch_proxy {
	struct conf_proxy way; /* !used: none */
	char user[256];	       /* "": no credentials */
	char password[1024];
};
/* A copy is kept, and wiped. */
void token_fetcher_proxy(struct token_fetcher *f, const struct fetch_proxy *p);
/* Trusted issuers of an https proxy, as token_fetcher_ca(). */
MUST_USE int token_fetcher_proxy_ca(struct token_fetcher *f, const void *pem,
				    size_t len);

/*
 * Starts a request; fn is called once, later, unless it is cancelled, and
 * the fetch is freed after it.  0, -EINVAL for a URL that is not https,
 * -ENOMEM.
 */
MUST_USE int token_fetch_start(struct token_fetcher *f,
			       const struct token_request *req,
			       token_fetch_fn *fn, void *arg,
			       struct token_fetch **fetch_r);
/* Not from fn. */
void token_fetch_cancel(struct token_fetch **fetch);

#endif
