/*
 * tickets: TLS session-ticket keys (RFC 5077 4), shared by all relays so that
 * a session resumes in any of them, and by nodes with one secret
 * (master/ticket_ring.h).  A value in a struct pub; the master writes and
 * rotates.
 *
 * key[0] encrypts new tickets; all decrypt.  Key material of tickets, not of
 * certificates: with it an attacker reads resumed TLS 1.2 sessions, so a
 * relay keeps it out of its log and its dump like everything else.
 */
#ifndef RMS_TICKETS_H
#define RMS_TICKETS_H

#include <stdint.h>

#include "shm/pub.h"

#define TICKETS_KEYS 8
/* Seconds between rotations; a ticket is good for one. */
#define TICKETS_ROTATE_S (12 * 3600)

struct ticket_key {
	uint8_t name[16];
	uint8_t aes[32];
	uint8_t hmac[32];
};

struct tickets_value {
	struct ticket_key key[TICKETS_KEYS];
	uint32_t nkeys;
	uint32_t pad;
};

#define TICKETS_LAYOUT UINT64_C(0x7469636b65000002)

#endif
