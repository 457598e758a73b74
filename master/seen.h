/*
 * seen: the accounts that came, and what was last decided about each.
 *
 * Fed by the relays' SEEN messages.  Bounded: beyond `max` accounts the one
 * that was not seen for longest is forgotten.  It answers two questions:
 * which event does this deserve (each once, see struct seen_news), and what
 * happened to this account (`rmsctl explain`).
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

#define SEEN_MAX 4096
/* Pause between two events 2001, or two changes of transport, per account. */
#define SEEN_PAUSE_NS UINT64_C(60000000000)

struct seen_account {
	char account[IDENTITY_PRINCIPAL_MAX];
	char sid[SID_TEXT_MAX]; /* of the user, "" unknown */
	char spn[256];
	char address[64];
	char request[64];
	uint64_t first, last; /* CLOCK_REALTIME ns */
	uint64_t last_allowed, last_refused;
	uint64_t allowed, refused; /* connections */
	/* the last decision */
	uint64_t generation;
	uint32_t entry, other, kvno;
	int32_t enctype;
	uint8_t verdict, role, mech;
	bool tls, bound;
};

/* The events that a report is worth. */
struct seen_news {
	bool allowed;  /* 1002: first connection since it was authorized */
	bool to_https; /* 1003 */
	bool refused;  /* 2001 */
	uint64_t held; /* 2001 that were not told since the last */
	bool insecure; /* 2002 */
	bool conflict; /* 2103: a pair of entries not yet told */
};

struct seen;

/* NULL when out of memory. */
MUST_USE struct seen *seen_new(size_t max);
void seen_free(struct seen **s);

/*
 * Takes in one report.  real_ns is CLOCK_REALTIME, mono_ns any steady clock.
 * Without memory for a new account, or for a report without one, the report
 * has no news.
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
size_t seen_count(const struct seen *s);

#endif
