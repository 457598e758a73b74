/*
 * ticket_ring: the keys of TLS session tickets, as time goes on.
 *
 * Without a secret they are random, and a new one encrypts every
 * TICKETS_ROTATE_S.  With one they are derived from it and from the number of
 * the present period of the clock, so that nodes with the same secret have
 * the same keys and need not talk (HKDF, RFC 5869); those of the period before
 * and after decrypt as well, for clocks need not agree to the second.
 * Keys that were in force when the secret changed go on decrypting for two
 * periods, which is longer than a ticket is good.
 */
#ifndef RMS_TICKET_RING_H
#define RMS_TICKET_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/base/bug.h"
#include "shm/tickets.h"

/* What is kept of a secret, which it cannot be had back from. */
#define TICKET_SECRET_BYTES 32

struct ticket_ring;

/* Random keys.  NULL without memory. */
MUST_USE struct ticket_ring *ticket_ring_new(void);
void ticket_ring_free(struct ticket_ring **r);

/* 0, or -ENOMEM. */
MUST_USE int ticket_secret_take(const void *data, size_t len,
				uint8_t secret_r[TICKET_SECRET_BYTES]);

/* From the next turn on keys are of this secret, NULL of none; nothing changes
 * when they are already. */
void ticket_ring_use(struct ticket_ring *r,
		     const uint8_t secret[TICKET_SECRET_BYTES]);

/*
 * Brings the keys up to date: CLOCK_REALTIME in seconds, CLOCK_BOOTTIME in
 * nanoseconds.  true when they have changed; false also when there was no
 * memory to: the next turn tries again.
 */
bool ticket_ring_turn(struct ticket_ring *r, uint64_t real_s, uint64_t boot_ns);

/* The keys, for the segment. */
void ticket_ring_value(const struct ticket_ring *r, struct tickets_value *v_r);

#endif
