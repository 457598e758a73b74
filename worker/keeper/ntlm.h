/*
 * ntlm: the keeper's way to the processes that do NTLM.
 *
 * The keeper is the gate (apreq.h) for what is NTLM, and nothing more: the
 * mechanism runs in processes of its own, because it blocks in winbind, has
 * had faults of memory safety, and needs neither keytab nor TLS keys.  What it
 * is given is queued here, handed out one step at a time to each process, and
 * answered at the latest at its deadline, so that a winbind that hangs holds up
 * nothing but NTLM.  All legs of an exchange go to one process.  A step is
 * given out once: a second try of the same answer could lock an account.
 *
 * Half-done exchanges are bounded for each relay and in total and end after
 * auth_timeout_ms; refused is NTLM on a connection on which an intermediary
 * showed itself.
 *
 * Invariants:
 *	an exchange with a step that waits or is under way is busy, and has
 *	no other one
 *	a process has at most one step under way; one that nobody waits for
 *	any more (late, or its exchange is over) is an orphan
 */
#ifndef RMS_KEEPER_NTLM_H
#define RMS_KEEPER_NTLM_H

#include "shm/msg.h"
#include "worker/child.h"
#include "worker/keeper/queue.h"

#define NTLM_OPEN_MAX	   4096 /* half-done exchanges, 10 kB each */
#define NTLM_OPEN_SLOT_MAX 1024
#define NTLM_LEGS_MAX	   4	/* SPNEGO with a MIC needs three */
#define NTLM_TOKEN_OUT_MAX 8192 /* a challenge has 200 bytes */

struct ntlm;

/* The answer to an item, which is the callee's only during the call. */
typedef void ntlm_reply(void *arg, const struct queue_item *i,
			const struct msg_auth_reply *m);

/* c is borrowed for its life and has a loop.  NULL when out of memory. */
MUST_USE struct ntlm *ntlm_new(struct child *c, ntlm_reply *reply, void *arg);
void ntlm_free(struct ntlm **n);
/* c->conf is new. */
void ntlm_use(struct ntlm *n);

/* Takes fd as the channel to this NTLM process; an older one ends. */
void ntlm_add(struct ntlm *n, unsigned slot, int fd);

/*
 * m is what *i holds.  False: it is not NTLM's, or NTLM is off.  True: *i was
 * taken, and is answered now or later.
 */
MUST_USE bool ntlm_take(struct ntlm *n, struct queue_item **i,
			const struct msg_auth_step *m);
/* Forgets one exchange, or all of a relay, without an answer; none is fine. */
void ntlm_abort(struct ntlm *n, unsigned relay, uint64_t id);
void ntlm_abort_slot(struct ntlm *n, unsigned relay);

#endif
