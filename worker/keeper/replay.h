/*
 * replay: the authenticators that were accepted lately.
 *
 * An authenticator is good for five minutes either side of the client's clock
 * (RFC 4120 3.2.3), so one that was accepted could come again for ten minutes
 * at most.  Two halves of REPLAY_WINDOW_MS each are kept; the older is dropped
 * when the newer is that old, so an entry is remembered for one to two
 * windows.  Only what was accepted gets in: a stranger cannot fill it.
 *
 * In memory instead of krb5's file: no path to write, no lock, no fsync.
 * GAP: a restart of the keeper forgets, and another node does not know; a
 * token stolen within five minutes could be used there once.  TLS listeners
 * with channel binding close that.
 */
#ifndef RMS_REPLAY_H
#define RMS_REPLAY_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define REPLAY_WINDOW_MS (10 * 60 * 1000)

struct replay;

/* max: entries of one half, at least 1.  NULL when out of memory. */
MUST_USE struct replay *replay_new(size_t max);
void replay_free(struct replay **r);

/* The number under which an authenticator is kept.  Keyed, of 64 bits: two of
 * a million collide once in 10^7 windows. */
uint64_t replay_hash(const struct replay *r, struct slice authenticator);

bool replay_has(const struct replay *r, uint64_t hash);

/*
 * Remembers.  0; -EEXIST when it is there already; -ENOBUFS when the half is
 * full: then nothing may be accepted, because it could not be remembered.
 */
MUST_USE int replay_add(struct replay *r, uint64_t hash, uint64_t now_ns);

#endif
