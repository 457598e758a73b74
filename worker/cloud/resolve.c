/*
 * Purpose: keep the addresses of a few names fresh.
 *
 * Runs in: cloud agent.
 * Trusts:  c-ares; answers only as far as TLS later proves the host.
 * Touches: the DNS and /etc/hosts, through ares_glue.c.
 * Failure: old addresses stay, with a status that says why.
 */
#include "worker/cloud/resolve.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/base/loop.h"
#include "shm/base/str.h"
#include "worker/cloud/ares_glue.h"

#define RETRY_MIN_MS UINT64_C(1000)
#define RETRY_MAX_MS UINT64_C(30000)

#define DNS_NO_ANSWER \
	"every name server answered with an error or cannot be reached"

struct resolver {
	struct loop *loop;
	struct ares_glue *glue;
	struct resolve_limits lim;
	const struct resolver_ops *ops;
	void *arg;
	struct resolve_name *names;
};

/* A look-up under way; outlives its name, because c-ares cannot cancel one. */
struct resolve_query {
	struct resolve_name *name; /* NULL: nobody waits any more */
};

struct resolve_name {
	struct resolve_name *next;
	struct resolver *r;
	struct loop_timer *due;
	struct resolve_query *query;
	char host[256];
	struct addr_set addrs;
	enum resolve_status status;
	unsigned failures; /* in a row */
	bool fixed;	   /* never asked for */
	bool lacked[2];	   /* the last answer had no IPv4, no IPv6 */
};

const char *
resolve_status_text(enum resolve_status s)
{
	static const char *const text[] = {
	    [RESOLVE_PENDING] = "not looked up yet",
	    [RESOLVE_OK] = "resolved",
	    [RESOLVE_NO_NAME] = "the DNS says that there is no such name",
	    [RESOLVE_NO_ADDRESS] = "the name has no address in the DNS",
	    [RESOLVE_TIMEOUT] = "no name server answered in time",
	    [RESOLVE_REFUSED] = DNS_NO_ANSWER,
	    [RESOLVE_OTHER] = "the look-up failed",
	};

	return (unsigned)s < ARRAY_LEN(text) ? text[s] : "?";
}

static enum resolve_status
status_of(int ares)
{
	switch (ares) {
	case ARES_SUCCESS:
		return RESOLVE_OK;
	case ARES_ENOTFOUND:
	case ARES_ENONAME:
		return RESOLVE_NO_NAME;
	case ARES_ENODATA:
		return RESOLVE_NO_ADDRESS;
	case ARES_ETIMEOUT:
		return RESOLVE_TIMEOUT;
	case ARES_ESERVFAIL:
	case ARES_EREFUSED:
	case ARES_ENOTIMP:
	case ARES_EFORMERR:
	case ARES_EBADRESP:
	case ARES_ECONNREFUSED:
		return RESOLVE_REFUSED;
	default:
		return RESOLVE_OTHER;
	}
}

uint64_t
resolve_ttl_ms(int ttl_s, const struct resolve_limits *lim)
{
	uint64_t ms = ttl_s > 0 ? (uint64_t)ttl_s * 1000 : 0;

	return MAX(1, MAX(lim->ttl_min_ms, MIN(ms, lim->ttl_max_ms)));
}

/* --- one name ---------------------------------------------------------- */

static void
take_node(struct addr_set *set, const struct ares_addrinfo_node *node)
{
	struct token_addr a = {0};

	if (node->ai_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, node->ai_addr, sizeof(in));
		a.family = 4;
		memcpy(a.bytes, &in.sin_addr, 4);
	} else if (node->ai_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, node->ai_addr, sizeof(in6));
		a.family = 6;
		a.scope = in6.sin6_scope_id;
		memcpy(a.bytes, &in6.sin6_addr, 16);
	}
	addr_set_add(set, &a);
}

/* The answer's addresses and its shortest TTL, aliases included. */
static int
take_answer(struct addr_set *set, const struct ares_addrinfo *ai)
{
	int ttl = INT32_MAX;

	for (const struct ares_addrinfo_node *n = ai->nodes; n != NULL;
	     n = n->ai_next) {
		take_node(set, n);
		ttl = MIN(ttl, n->ai_ttl);
	}
	for (const struct ares_addrinfo_cname *c = ai->cnames; c != NULL;
	     c = c->next)
		ttl = MIN(ttl, c->ttl);
	return ttl;
}

/*
 * A family that is missing from one answer only is likelier a lost or failed
 * half of the look-up than a change.  TTL 0 is the hosts file, which is whole.
 */
static void
name_keep_family(struct resolve_name *n, struct addr_set *set, int ttl)
{
	static const uint8_t family[2] = {4, 6};

	for (size_t i = 0; i < 2; i++) {
		bool lacks = addr_set_count(set, family[i]) == 0 &&
			     addr_set_count(&n->addrs, family[i]) > 0;

		if (lacks && ttl > 0 && !n->lacked[i]) {
			addr_set_append(set, &n->addrs, family[i]);
			n->lacked[i] = true;
		} else {
			n->lacked[i] = false;
		}
	}
}

static void
name_succeeded(struct resolve_name *n, const struct ares_addrinfo *ai)
{
	struct addr_set set = {0};
	int ttl = take_answer(&set, ai);
	bool changed;

	n->status = set.n > 0 ? RESOLVE_OK : RESOLVE_NO_ADDRESS;
	if (set.n == 0)
		return;
	name_keep_family(n, &set, ttl);
	/* The same in another order is no news. */
	changed = !addr_set_same(&set, &n->addrs);
	if (changed)
		n->addrs = set;
	n->failures = 0;
	loop_timer_set(n->due, resolve_ttl_ms(ttl, &n->r->lim));
	n->r->ops->on_result(n->r->arg, n, changed);
}

static void
name_failed(struct resolve_name *n)
{
	uint64_t pause = RETRY_MIN_MS << MIN(n->failures, 8);

	pause = MIN(pause, MIN(n->r->lim.ttl_max_ms, RETRY_MAX_MS));
	n->failures++;
	loop_timer_set(n->due, MAX(1, pause));
	n->r->ops->on_result(n->r->arg, n, false);
}

static void
name_answered(struct resolve_name *n, int status, struct ares_addrinfo *ai)
{
	n->status = status_of(status);
	if (status == ARES_SUCCESS)
		name_succeeded(n, ai);
	if (n->status != RESOLVE_OK)
		name_failed(n);
}

static void
query_on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct resolve_query *q = arg;
	struct resolve_name *n = q->name;

	(void)timeouts;
	free(q);
	if (n != NULL) {
		n->query = NULL;
		/* Other servers: resolver_servers() asks those. */
		if (status != ARES_EDESTRUCTION)
			name_answered(n, status, ai);
	}
	if (ai != NULL)
		ares_freeaddrinfo(ai);
}

static void
name_on_due(void *arg)
{
	struct resolve_name *n = arg;
	struct resolve_query *q;

	if (n->fixed) {
		n->r->ops->on_result(n->r->arg, n, true);
		return;
	}
	if (n->query != NULL)
		return;
	q = calloc(1, sizeof(*q));
	if (q == NULL) {
		n->status = RESOLVE_OTHER;
		name_failed(n);
		return;
	}
	q->name = n;
	n->query = q;
	ares_glue_look_up(n->r->glue, n->host, query_on_answer, q);
}

static struct resolve_name *
name_make(struct resolver *r, const char *host)
{
	struct resolve_name *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->r = r;
	n->due = loop_timer_new(r->loop, name_on_due, n);
	if (n->due == NULL ||
	    str_copy(n->host, sizeof(n->host), slice_of(host)) != 0) {
		loop_timer_free(&n->due);
		free(n);
		return NULL;
	}
	n->next = r->names;
	r->names = n;
	/* From the loop: the caller is not ready for a result yet. */
	loop_timer_set(n->due, 1);
	return n;
}

struct resolve_name *
resolve_name_fixed(struct resolver *r, const char *host,
		   const struct addr_set *addrs)
{
	struct resolve_name *n = name_make(r, host);

	if (n == NULL)
		return NULL;
	n->fixed = true;
	n->addrs = *addrs;
	n->status = RESOLVE_OK;
	return n;
}

struct resolve_name *
resolve_name_new(struct resolver *r, const char *host)
{
	struct addr_set literal = {0};

	if (addr_set_add_text(&literal, host) == 0)
		return resolve_name_fixed(r, host, &literal);
	return name_make(r, host);
}

void
resolve_name_free(struct resolve_name **np)
{
	struct resolve_name *n = *np, **at;

	if (n == NULL)
		return;
	if (n->query != NULL)
		n->query->name = NULL;
	for (at = &n->r->names; *at != n; at = &(*at)->next)
		BUG_ON(*at == NULL);
	*at = n->next;
	loop_timer_free(&n->due);
	free(n);
	*np = NULL;
}

void
resolve_name_seed(struct resolve_name *n, const struct addr_set *addrs)
{
	if (n->addrs.n == 0)
		n->addrs = *addrs;
}

void
resolve_name_hurry(struct resolve_name *n)
{
	loop_timer_set(n->due, 1);
}

const char *
resolve_name_host(const struct resolve_name *n)
{
	return n->host;
}

const struct addr_set *
resolve_name_addrs(const struct resolve_name *n)
{
	return &n->addrs;
}

enum resolve_status
resolve_name_status(const struct resolve_name *n)
{
	return n->status;
}

/* --- the resolver ------------------------------------------------------ */

int
resolver_new(struct loop *l, const char *servers,
	     const struct resolver_ops *ops, void *arg, struct resolver **r_r)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int rc;

	*r_r = NULL;
	if (r == NULL)
		return -ENOMEM;
	r->loop = l;
	r->ops = ops;
	r->arg = arg;
	r->lim = (struct resolve_limits){5000, 300000};
	rc = ares_glue_new(l, servers, &r->glue);
	if (rc != 0) {
		free(r);
		return rc;
	}
	*r_r = r;
	return 0;
}

int
resolver_servers(struct resolver *r, const char *servers)
{
	int rc = ares_glue_servers(r->glue, servers);

	if (rc != 0)
		return rc;
	/* Look-ups under way have ended with ARES_EDESTRUCTION. */
	for (struct resolve_name *n = r->names; n != NULL; n = n->next) {
		n->failures = 0;
		if (!n->fixed)
			resolve_name_hurry(n);
	}
	return 0;
}

void
resolver_limits(struct resolver *r, const struct resolve_limits *lim)
{
	r->lim = *lim;
}

void
resolver_free(struct resolver **rp)
{
	struct resolver *r = *rp;

	if (r == NULL)
		return;
	BUG_ON(r->names != NULL);
	ares_glue_free(&r->glue);
	free(r);
	*rp = NULL;
}
