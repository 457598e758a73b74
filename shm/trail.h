/*
 * trail: the last requests of each relay, for `rmsctl explain`.
 *
 * One memfd for each relay slot, kept by the master for ever:
 *
 *	offset	size	field		writer	readers
 *	0	8	magic		master	its relay, once at attach
 *	8	8	layout		master	its relay, once at attach
 *	16	4	slot		master	its relay, once at attach
 *	24	8	next		relay	its relay, once at attach
 *	64	256 n	record[n]	relay	master, when it is asked
 *
 * A record is a sequence number and a struct trail_note.  The number is odd
 * while the note is being written, and even, 2 * (number of the note) + 2,
 * when it is whole; a writer that was killed in between leaves an odd one, and
 * such a record is left out.
 *
 * 1. A relay gets the descriptor of its own slot and of no other: whoever
 *    takes it over can lie only about its own requests.
 * 2. The successor of a relay goes on behind its predecessor's records, so
 *    that what came before a crash can still be asked for.
 * 3. Nothing here is a length, an index or a pointer for the master; `next` is
 *    taken modulo the number of records by the relay.  Texts end where they
 *    end or at their bound.
 *
 * A note costs its relay no system call and no allocation.
 */
#ifndef RMS_TRAIL_H
#define RMS_TRAIL_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define TRAIL_RECORDS 4096 /* a power of two */

#define TRAIL_TLS     1U
#define TRAIL_BOUND   2U
#define TRAIL_ACCOUNT 4U /* who is an account, else it is what was wrong */

/* A request and what became of it.  Texts are cut, and need no NUL when they
 * fill their room. */
struct trail_note {
	uint64_t when;	       /* its end, CLOCK_MONOTONIC ns */
	uint64_t boot, number; /* its id: BOOT-NUMBER in hexadecimal */
	uint64_t generation;   /* of the table that decided, 0 none */
	uint32_t entry;	       /* that decided, 0 none */
	uint32_t took_us;
	uint16_t status;  /* of the reply, 0 none */
	uint8_t cause;	  /* enum auth_cause */
	uint8_t mech;	  /* enum auth_mech */
	uint8_t role;	  /* enum server_role */
	uint8_t flags;	  /* TRAIL_* */
	uint8_t decided;  /* 1 + enum verdict; 0: it did not come so far */
	int8_t enctype;	  /* of the ticket, Kerberos number; 0 unknown */
	uint32_t kvno;	  /* of the key that opened it; 0 unknown */
	char end[20];	  /* name of reasons.def */
	uint64_t whole;	  /* trail_hash() of the whole account */
	char op[28];	  /* SOAP operation */
	char address[45]; /* of the client */
	char who[95];	  /* account; or the security library's words */
};

/* Of an account's name without regard to ASCII case, as master/seen.h compares
 * them: the same in every process.  Bytes from IDENTITY_PRINCIPAL_MAX on do
 * not count. */
uint64_t trail_hash(struct slice account);

/* --- the master -------------------------------------------------------- */
/* An empty trail for that slot.  Descriptor (caller's) or -errno. */
MUST_USE int trail_create(unsigned slot);
/* Writes the head anew before another relay gets it; the records stay. */
MUST_USE int trail_renew(int fd, unsigned slot);

/* Is the text whole, so that it may be shown?  Bounded slice of it. */
struct slice trail_text(const char *text, size_t size);
/*
 * Visits every whole note of fd in no order, until fn returns true.  The note
 * is a copy; its texts and numbers are as a relay left them and may be
 * anything.  How many were torn, or -errno.
 */
MUST_USE int trail_each(int fd,
			bool (*fn)(void *arg, const struct trail_note *n),
			void *arg);

/* --- a relay ----------------------------------------------------------- */
struct trail;
/* NULL with a reason in *why_r when it is not the trail of this slot.  fd
 * stays the caller's. */
MUST_USE struct trail *trail_attach(int fd, unsigned slot, const char **why_r);
void trail_detach(struct trail **t);
/* Takes the place of the oldest.  t may be NULL. */
void trail_put(struct trail *t, const struct trail_note *n);

#endif
