/*
 * accept: GSSAPI exchanges, as acceptor.
 *
 * An exchange is named by the relay's slot and its number there.  One leg
 * usually decides; SPNEGO may need more, and what is kept between legs is
 * bounded per relay and in total, and ends after a time.  Anybody may begin:
 * when there is no room, those that need another leg are refused, and what one
 * leg decides still is.
 *
 * Accepted is only what is complete, by Kerberos, with a name, not anonymous,
 * and with an authenticator that was not seen before.
 */
#ifndef RMS_ACCEPT_H
#define RMS_ACCEPT_H

#include "shm/identity.h"
#include "shm/msg.h"
#include "worker/keeper/keytab.h"

#define ACCEPT_OPEN_MAX	     4096 /* half-done exchanges, 7 kB each */
#define ACCEPT_OPEN_SLOT_MAX 1024
#define ACCEPT_LEGS_MAX	     5 /* SPNEGO with Kerberos needs three */
#define ACCEPT_DETAIL_MAX    768
#define ACCEPT_TOKEN_OUT_MAX 8192 /* an AP-REP in SPNEGO has 200 bytes */

struct accept;
struct replay_log;

struct accept_leg {
	unsigned slot;
	uint64_t id;
	bool first;
	/* As in AUTH_STEP. */
	bool must_bind, own;
	size_t nbindings;
	const struct slice *binding;
	struct slice token;
	uint64_t arrived_ns; /* clock_mono_ns() */
	uint64_t timeout_ms; /* of the whole exchange */
};

struct accept_result {
	enum auth_outcome outcome;
	enum auth_cause cause;
	gss_buffer_desc token; /* to send; freed by accept_result_fini() */
	char detail[ACCEPT_DETAIL_MAX];
	struct identity *identity; /* with AUTH_OK; owned */
	/* How it came, and with AUTH_FAILED whom it says it is; "" unknown. */
	enum auth_mech mech;
	char claimed[IDENTITY_PRINCIPAL_MAX];
};

/* log: shm/replay_log.h, borrowed for its life; may be NULL.  NULL when out of
 * memory. */
MUST_USE struct accept *accept_new(struct replay_log *log);
void accept_free(struct accept **a);

/* The skew that krb5 allows from now on (krb5conf.h), in seconds. */
void accept_allow(struct accept *a, int skew_s);

/*
 * One leg.  Each binding is tried until one is the client's; that is only
 * possible while nothing is kept from an earlier leg.
 * GAP: a client that sends its AP-REQ in a second leg of SPNEGO is only known
 * by the first binding.
 *
 * kt NULL: there is no keytab.  Blocks as long as the library does;
 * without NTLM that is memory and krb5.conf only. */
void accept_step(struct accept *a, const struct keytab *kt,
		 const struct accept_leg *leg, struct accept_result *r);
void accept_result_fini(struct accept_result *r);

/* Ends one exchange, or all of a relay; none is fine. */
void accept_abort(struct accept *a, unsigned slot, uint64_t id);
void accept_abort_slot(struct accept *a, unsigned slot);
/* Ends those whose time is over; the number that are left. */
size_t accept_expire(struct accept *a, uint64_t now_ns);

#endif
