/*
 * key_use: which keys of the keytab are in use: how many tickets were accepted
 * for each, and when last.
 *
 * What is new is told KEY_USE_TELL_MS after it began, one message for each
 * key, and then counted from zero: the master adds up.  So a keeper that ends
 * costs the last few seconds.
 *
 * Bounded by KEY_USE_MAX keys: the row that was not used for longest makes
 * room.
 */
#ifndef RMS_KEY_USE_H
#define RMS_KEY_USE_H

#include "shm/identity.h"
#include "shm/msg.h"

#define KEY_USE_MAX	256
#define KEY_USE_TELL_MS 2000

struct key_use;
struct loop;

/* tell() is called from the loop.  NULL when out of memory. */
MUST_USE struct key_use *
key_use_new(struct loop *l,
	    void (*tell)(void *arg, const struct msg_key_use *m), void *arg);
void key_use_free(struct key_use **u);

/* A ticket was accepted.  now_ns is CLOCK_REALTIME.  Of another mechanism, or
 * with a key that is not known (a later leg), it is not counted. */
void key_use_note(struct key_use *u, const struct identity *id,
		  uint64_t now_ns);

#endif
