/*
 * refusal: why an account is refused and what would do, in words, for event
 * 2001 and `rmsctl explain`.
 */
#ifndef RMS_REFUSAL_H
#define RMS_REFUSAL_H

#include "shm/base/str.h"
#include "shm/identity.h"
#include "shm/table.h"

struct refusal {
	enum verdict verdict; /* not VERDICT_ALLOW */
	enum auth_mech mech;
	enum sid_lack lack;
	uint32_t nsids;	      /* that it had to show */
	uint32_t entry;	      /* that has expired */
	struct slice subject; /* what an entry for it would name */
};

void refusal_say(struct sbuf *b, const struct refusal *r);
/* The command that would let subject in, without the name where a shell (POSIX
 * XCU 2.2.2) would read more of it than one word.  The subject of MECH_CERT is
 * without "cert:". */
void refusal_say_add(struct sbuf *b, enum auth_mech mech, struct slice subject);

#endif
