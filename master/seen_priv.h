/*
 * seen_priv: what the parts of seen share; nobody else includes it.
 *
 * Every account, its SIDs and every entry is a row with a slot of its kind.
 * What changed since it was saved waits in `unsaved`, in the order in which it
 * changed.
 */
#ifndef RMS_SEEN_PRIV_H
#define RMS_SEEN_PRIV_H

#include <sys/queue.h>

#include "master/seen.h"
#include "shm/base/hash.h"

/* Entries that let somebody in; beyond, the one unused for longest is
 * forgotten. */
#define SEEN_ENTRIES_MAX 65536

struct seen_row {
	TAILQ_ENTRY(seen_row) link; /* while unsaved */
	struct seen_key key;
	bool unsaved;
};
TAILQ_HEAD(seen_rows, seen_row);

/* What was told about an account. */
struct seen_told {
	uint32_t entry; /* of the last 1002; 0 none */
	uint32_t conflict[2];
	bool transport;
	bool tls; /* transport of the last 1003/2002 or first sight */
	/* not kept across restarts: a steady clock, and what it counts */
	uint64_t transport_ns; /* 0: no pause */
	uint64_t refused_ns;   /* 0: not told */
	uint64_t held;
};

struct seen_node {
	struct seen_row row;
	struct seen_row sids_row;
	LIST_ENTRY(seen_node) chain;	 /* by key */
	LIST_ENTRY(seen_node) sid_chain; /* by a.sid, unless it is "" */
	TAILQ_ENTRY(seen_node) age;	 /* last seen at the end */
	TAILQ_ENTRY(seen_node) kept;	 /* those with SIDs, likewise */
	char key[IDENTITY_PRINCIPAL_MAX];
	char *sids; /* what a.sids points to; owned, may be NULL */
	struct seen_account a;
	struct seen_told told;
};
LIST_HEAD(seen_chain, seen_node);
TAILQ_HEAD(seen_ages, seen_node);

struct seen_entry_node {
	struct seen_row row;
	LIST_ENTRY(seen_entry_node) chain;
	TAILQ_ENTRY(seen_entry_node) age;
	struct seen_entry e;
};
#define SEEN_ENTRY_CHAINS 4096
LIST_HEAD(seen_entry_chain, seen_entry_node);

struct seen {
	uint64_t pause_ns;
	struct seen_rows unsaved;
	size_t nunsaved;
	struct seen_row since_row;
	uint64_t since;

	/* accounts */
	size_t max, n;
	size_t nknown; /* of them, let in at least once */
	struct hash_key hash;
	struct seen_ages age[2]; /* strangers; those let in at least once */
	struct seen_ages kept;
	size_t sids_bytes, sids_room;
	struct seen_node **slot;
	size_t slot_hint;

	/* entries */
	size_t nentries;
	TAILQ_HEAD(, seen_entry_node) entry_age;
	struct seen_entry_node **entry_slot;
	size_t entry_hint;
	struct seen_entry_chain entry_chain[SEEN_ENTRY_CHAINS];

	struct seen_chain *by_sid; /* the second half of chain[] */
	struct seen_chain chain[];
};

/* Waits to be saved from now on. */
void seen_touch(struct seen *s, struct seen_row *r);
/* It is gone: nothing of it is to be saved. */
void seen_untouch(struct seen *s, struct seen_row *r);

/* --- seen.c ------------------------------------------------------------- */
/* A node in that slot, linked nowhere else but by its name; NULL: no memory,
 * no room in it, or the account has one already. */
MUST_USE struct seen_node *seen_add(struct seen *s, struct slice account,
				    uint32_t slot);
void seen_drop(struct seen *s, struct seen_node *n);
/* Replaces the SIDs; without memory, or room, none are kept.  It waits to be
 * saved, as do those that had to go for it. */
void seen_set_sids(struct seen *s, struct seen_node *n, struct slice sids);
void seen_set_sid(struct seen *s, struct seen_node *n, struct slice sid);
/* Makes a fresh node the account a, without its SIDs. */
void seen_take(struct seen *s, struct seen_node *n,
	       const struct seen_account *a, const struct seen_told *t);
/* Puts it at the end of its age list, which may have changed. */
void seen_aged(struct seen *s, struct seen_node *n);
struct seen_node *seen_get(struct seen *s, struct slice account);

/* --- seen_entry.c ------------------------------------------------------- */
int seen_entries_init(struct seen *s);
void seen_entries_fini(struct seen *s);
/* That entry let somebody in. */
void seen_entry_used(struct seen *s, uint32_t id, uint64_t real_ns);
struct seen_entry_node *seen_entry_get(const struct seen *s, uint32_t id);
void seen_entry_drop(struct seen *s, struct seen_entry_node *n);
/* A node for it in that slot, or NULL as seen_add(). */
MUST_USE struct seen_entry_node *seen_entry_add(struct seen *s, uint32_t id,
						uint32_t slot);

#endif
