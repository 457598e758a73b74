/*
 * resolve: names to addresses with c-ares on the event loop, kept fresh.
 *
 * A struct resolve_name looks its name up at once and again whenever the
 * shortest TTL of the answer (bounded) has passed.  A look-up that fails
 * keeps the addresses of the last good one, also when the DNS says that there
 * is no such name: such answers come and go with broken servers.  A family
 * that an answer lacks is kept for one more answer.  /etc/hosts comes before
 * the DNS; search domains are not used.
 */
#ifndef RMS_RESOLVE_H
#define RMS_RESOLVE_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "worker/cloud/addr_set.h"

struct loop;
struct resolver;
struct resolve_name;

enum resolve_status {
	RESOLVE_PENDING, /* no look-up has ended yet */
	RESOLVE_OK,
	RESOLVE_NO_NAME,    /* NXDOMAIN */
	RESOLVE_NO_ADDRESS, /* the name is there and has no address */
	RESOLVE_TIMEOUT,    /* no name server answered */
	/* Every name server answered with an error or cannot be reached;
	 * c-ares does not tell which once it has tried them all. */
	RESOLVE_REFUSED,
	RESOLVE_OTHER,
};
/* For people: "the DNS says that there is no such name" ... */
const char *resolve_status_text(enum resolve_status s);

struct resolve_limits {
	uint64_t ttl_min_ms;
	uint64_t ttl_max_ms;
};

struct resolver_ops {
	/* A look-up of n has ended; changed: its addresses are others now.
	 * Must not free n. */
	void (*on_result)(void *arg, struct resolve_name *n, bool changed);
};

/*
 * servers: "ADDRESS[:PORT], ..." or "" for resolv.conf.  0, or -EINVAL with
 * the servers refused, -EIO when resolv.conf cannot be read, -ENOMEM.
 */
MUST_USE int resolver_new(struct loop *l, const char *servers,
			  const struct resolver_ops *ops, void *arg,
			  struct resolver **r_r);
/*
 * Takes other servers, or reads resolv.conf anew; every name is looked up
 * again.  On error the old ones stay.
 */
MUST_USE int resolver_servers(struct resolver *r, const char *servers);
void resolver_limits(struct resolver *r, const struct resolve_limits *lim);
/* No name may be left. */
void resolver_free(struct resolver **r);

/* Starts; an address is not asked for.  NULL when out of memory. */
MUST_USE struct resolve_name *resolve_name_new(struct resolver *r,
					       const char *host);
/* With addresses given by the operator: nothing is ever asked. */
MUST_USE struct resolve_name *resolve_name_fixed(struct resolver *r,
						 const char *host,
						 const struct addr_set *addrs);
void resolve_name_free(struct resolve_name **n);
/* Addresses that were good for it before, in use until a look-up brings
 * others.  Only while it has none. */
void resolve_name_seed(struct resolve_name *n, const struct addr_set *addrs);
/* Looks up now instead of at its time. */
void resolve_name_hurry(struct resolve_name *n);

const char *resolve_name_host(const struct resolve_name *n);
const struct addr_set *resolve_name_addrs(const struct resolve_name *n);
/* Of the last look-up. */
enum resolve_status resolve_name_status(const struct resolve_name *n);

/* How long an answer is kept.  Pure. */
uint64_t resolve_ttl_ms(int ttl_s, const struct resolve_limits *lim);

#endif
