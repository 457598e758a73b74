/*
 * seen: the accounts that came, how, and what was last decided about each.
 *
 * Fed by the relays' SEEN messages.  It answers three questions: which event
 * does a report deserve (each once, see struct seen_news), what happened to
 * an account (`rmsctl explain`), and who comes in which way (`rmsctl servers
 * seen`, `servers conflicts`).
 *
 * Bounded: `max` accounts, of which those that were never let in may have
 * half, so that strangers do not displace servers; beyond, the one that was
 * not seen for longest is forgotten.  The SIDs of all together have
 * SEEN_SIDS_BYTES; beyond, the accounts that were not seen for longest lose
 * theirs.
 *
 * It is kept across restarts by seen_keep.h, in records of its own making:
 * each account has a slot, and what was forgotten is written over.  Its SIDs
 * are a record of their own, which is written when they change.
 *
 * An account is its principal, compared without regard to ASCII case.
 */
#ifndef RMS_SEEN_H
#define RMS_SEEN_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/identity.h"
#include "shm/msg.h"
#include "shm/ways.h"

#define SEEN_MAX	4096
#define SEEN_SIDS_BYTES ((size_t)16 << 20)
/* Pause between two events 2001, or two changes of transport, per account,
 * unless seen_set_pause() says otherwise (account_report_ms). */
#define SEEN_PAUSE_NS UINT64_C(60000000000)
/* Of the SIDs of one account, packed, which are the largest of the records. */
#define SEEN_RECORD_MAX (SIDS_PACKED_MAX + 1024)

struct seen_account {
	char account[IDENTITY_PRINCIPAL_MAX];
	char sid[SID_TEXT_MAX]; /* of the user, "" unknown */
	char spn[256];
	char address[64];
	char listener[64];
	char request[64];
	uint64_t first, last; /* CLOCK_REALTIME ns */
	uint64_t last_allowed, last_refused;
	uint64_t allowed, refused; /* reports */
	uint64_t way[WAY_MAX];	   /* when it last came so; 0 never */
	/* the last decision */
	uint64_t generation;
	uint32_t entry, other, matches, kvno;
	int32_t enctype;
	uint8_t verdict, role, mech;
	bool tls, bound;
	/* what it had to show: the list is empty when it is not known */
	uint8_t lack; /* enum sid_lack */
	uint32_t nsids;
	uint64_t sids_hash;
	struct slice sids; /* sids_pack(); owned */
	uint64_t sids_ns;  /* CLOCK_REALTIME, when they were last so */
};

/* An entry of the list that let somebody in. */
struct seen_entry {
	uint32_t id;
	uint64_t first, last; /* CLOCK_REALTIME ns */
	uint64_t reports;
};

/* The events that a report is worth. */
struct seen_news {
	bool allowed;  /* 1002: first connection since it was authorized */
	bool to_https; /* 1003 */
	bool refused;  /* 2001 */
	uint64_t held; /* 2001 that were not told since the last */
	bool insecure; /* 2002 */
	bool relapse;  /* and it came over HTTPS before */
	bool conflict; /* 2103: a pair of entries not yet told */
};

struct seen;

/* NULL when out of memory. */
MUST_USE struct seen *seen_new(size_t max);
void seen_free(struct seen **s);
void seen_set_pause(struct seen *s, uint64_t ns);
/* For tests: room for the SIDs of all. */
void seen_set_sids_room(struct seen *s, size_t bytes);

/*
 * Takes in one report.  real_ns is CLOCK_REALTIME, mono_ns any steady clock,
 * not 0.  Without memory for a new account, or for a report without one, the
 * report has no news.
 */
void seen_report(struct seen *s, const struct msg_seen *m, uint64_t real_ns,
		 uint64_t mono_ns, struct seen_news *news_r);

/*
 * By principal, or by SID, or by the name without realm or domain when only
 * one account has it.  Borrowed until the next report; NULL: not seen.
 */
const struct seen_account *seen_find(struct seen *s, struct slice text);
/* By principal or SID alone, at once whatever the number of accounts. */
const struct seen_account *seen_subject(struct seen *s, struct slice text);
/* By the trail_hash() of its principal and what is left of that, its front;
 * looks at all of them. */
const struct seen_account *seen_noted(const struct seen *s, uint64_t whole,
				      struct slice front);
size_t seen_count(const struct seen *s);
/* Every account; fn must not report. */
void seen_each(const struct seen *s,
	       void (*fn)(void *arg, const struct seen_account *a), void *arg);

/* NULL: it let nobody in, as far as is remembered.  Borrowed. */
const struct seen_entry *seen_entry(const struct seen *s, uint32_t id);
/* CLOCK_REALTIME ns since when all is remembered; entries whose last use was
 * before may be missing. */
uint64_t seen_since(const struct seen *s);

/* --- records, for seen_keep.c ------------------------------------------ */

/* Names a record.  Accounts and entries are counted apart; SIDs have the slot
 * of their account. */
enum seen_kind {
	SEEN_SINCE = 0,
	SEEN_ACCOUNT = 1,
	SEEN_ENTRY = 2,
	SEEN_KEY = 3, /* of keyuse.c; not ours */
	SEEN_SIDS = 4,
};
struct seen_key {
	enum seen_kind kind;
	uint32_t slot;
};

/* Records that are not as they were saved. */
size_t seen_unsaved(const struct seen *s);
/* The first max of them, until fn returns non-zero, which is returned. */
MUST_USE int seen_each_unsaved(struct seen *s, size_t max,
			       int (*fn)(void *arg, struct seen_key key,
					 struct slice record),
			       void *arg);
/* The first n of them are. */
void seen_saved(struct seen *s, size_t n);
/*
 * Takes in a record, before the first report; those of a smaller kind come
 * first.  0; -EINVAL when it is not one
 * or of another version, -ENOMEM.  Nothing in it is believed further than it
 * goes: it is as what a relay says.
 */
MUST_USE int seen_load(struct seen *s, struct seen_key key,
		       struct slice record);
/* After the last of them: nothing else is to come.  real_ns: CLOCK_REALTIME,
 * for one that never was saved. */
void seen_loaded(struct seen *s, uint64_t real_ns);

#endif
