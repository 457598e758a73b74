/*
 * table: the authorization table, an immutable snapshot shared by all.
 *
 * The master builds it in a memfd, seals it against every change and hands
 * the descriptor to each relay, which maps it read-only, swaps, and unmaps
 * the old.  Every request is decided by the newest one.  No pointers, only
 * offsets from the start; every offset is checked once, when it is mapped.
 *
 *	offset	size	field		writer	readers
 *	0	8	magic		master	relays, once at mapping
 *	8	8	layout hash	master	relays, once at mapping
 *	16	8	generation	master	relays
 *	24	8	built, real ns	master	relays
 *	32	..	counts, offsets, hash key, checksum (table.c)
 *
 * Open addressing, keyed hash, load at most one half.
 */
#ifndef RMS_TABLE_H
#define RMS_TABLE_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/identity.h"

struct identity;

enum server_role {
	SERVER_NONE = 0,
	SERVER_EXCHANGE = 1, /* super user */
	SERVER_SHAREPOINT = 2,
	SERVER_FCI = 3,
	SERVER_ROLE_MAX = 4,
};
/* "exchange" ...; "" for SERVER_NONE. */
const char *server_role_name(enum server_role r);
/* 0 or -EINVAL. */
MUST_USE int server_role_parse(struct slice text, enum server_role *role_r);

enum subject_kind {
	SUBJECT_SID = 1,
	SUBJECT_PRINCIPAL = 2,
	SUBJECT_CERT = 3,
};

#define TABLE_ENTRIES_MAX 1000000
#define TABLE_NAME_MAX	  256
#define TABLE_KEY_MAX	  512

/* One entry as the master gives it.  Borrowed during table_build(). */
struct table_in {
	uint32_t id; /* the store's number of the entry, unique, not 0 */
	enum subject_kind kind;
	/* A valid binary SID, or text of 1..TABLE_KEY_MAX bytes.  Text is
	 * compared byte for byte: principals of an MIT realm differ by case. */
	struct slice key;
	enum server_role role;
	uint64_t expires;  /* CLOCK_REALTIME seconds; 0 never */
	struct slice name; /* for log and events, at most TABLE_NAME_MAX */
};

/*
 * Builds and seals a snapshot.  A read-only descriptor (caller's) or -errno:
 * -EEXIST when two entries have the same kind and key, -E2BIG above
 * TABLE_ENTRIES_MAX, -EINVAL for an entry out of bounds, -ENOMEM.
 */
MUST_USE int table_build(const struct table_in *in, size_t n,
			 uint64_t generation);

struct table;
/*
 * Maps and checks a snapshot: seals, magic, layout, size, checksum, offsets.
 * fd stays the caller's.  NULL with a reason for the log in *why_r.
 */
MUST_USE struct table *table_map(int fd, const char **why_r);
void table_unmap(struct table **t);

uint64_t table_generation(const struct table *t);
uint64_t table_built_ns(const struct table *t);
size_t table_len(const struct table *t);

enum verdict {
	VERDICT_ALLOW = 0,
	VERDICT_NO_MATCH, /* no entry names the account or a group of it */
	VERDICT_EXPIRED,  /* one does, but it has expired */
	VERDICT_EMPTY,	  /* the table has no entries (event 2003) */
	VERDICT_NO_TABLE, /* none was ever received */
};
const char *verdict_text(enum verdict v);

struct table_hit {
	enum verdict verdict;
	enum server_role role;
	uint32_t entry; /* id of the deciding entry; 0 none */
	enum subject_kind kind;
	struct slice name; /* of it, borrowed from the table */
	uint32_t matches;  /* entries that match and have not expired */
	uint32_t other;	   /* one of them with another role, or 0 */
	bool conflict;	   /* there is one */
};

/*
 * Decides.  The most specific entry wins: the account itself (principal,
 * certificate or the user's own SID) before any group; among equals the one
 * with less privilege (not exchange), then the lower id.  now: CLOCK_REALTIME
 * seconds; an entry holds until the second before its expiry, and an expired
 * one does not count while another matches.  A certificate's
 * subject, alone or with its issuer, matches SUBJECT_CERT entries only, any
 * other principal SUBJECT_PRINCIPAL entries only.  With VERDICT_EXPIRED the
 * entry is named, role stays SERVER_NONE.  t may be NULL (VERDICT_NO_TABLE).
 */
void table_decide(const struct table *t, const struct identity *id,
		  uint64_t now, struct table_hit *hit_r);

/* One entry that matches an identity. */
struct table_matching {
	struct table_in entry; /* borrowed from the table */
	bool account;	       /* it names the account, not a group of it */
	bool live;	       /* it has not expired */
	/* Position in id->sids of the SID that it matched, or
	 * TABLE_BY_PRINCIPAL. */
	size_t by;
};
#define TABLE_BY_PRINCIPAL SIZE_MAX

/*
 * The entries that match, by the rules of table_decide(): the first is the
 * one that decides, when it is live; those that have expired come last.  How
 * many there are, of which the first max are in m_r.
 */
size_t table_matching(const struct table *t, const struct identity *id,
		      uint64_t now, struct table_matching *m_r, size_t max);

/* Entry by position 0..table_len()-1, for listings.  Borrowed. */
void table_entry(const struct table *t, size_t i, struct table_in *in_r);

#endif
