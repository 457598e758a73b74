/*
 * replay: the authenticators that were accepted lately.
 *
 * An authenticator is good for the allowed skew (clockskew of krb5.conf, five
 * minutes by default) either side of the client's clock (RFC 4120 3.2.3), and
 * krb5 compares whole seconds.  So one that was accepted could come again for
 * twice the skew and a second at most: the window.  Two halves of a window each
 * are kept; the older is dropped when the newer is that old, so an entry is
 * remembered for one to two windows.  Only what was accepted gets in: a
 * stranger cannot fill it.
 *
 * In memory instead of krb5's file: no path to write, no lock, no fsync.  Each
 * entry is written to a log too (shm/replay_log.h) that the master holds, so
 * the keeper that comes after a crash knows what this one has accepted.
 * GAP: a skew that is raised does not bring back what was dropped before.
 * GAP: a restart of the whole connector forgets, and another node does not
 * know; a token stolen within the skew could be used there once.  TLS
 * listeners with channel binding close that.
 */
#ifndef RMS_REPLAY_H
#define RMS_REPLAY_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define REPLAY_SKEW_S	  300 /* until replay_allow() says another */
#define REPLAY_SKEW_MAX_S 3600

struct replay;
struct replay_log;

/*
 * max: entries of one half, 1 to REPLAY_LOG_MAX.  log, borrowed for its life,
 * may be NULL; what a keeper before has written to it is taken in.  now_ns:
 * clock_boot_ns().  NULL when out of memory.
 */
MUST_USE struct replay *replay_new(size_t max, struct replay_log *log,
				   uint64_t now_ns);
void replay_free(struct replay **r);

/* The skew that is allowed from now on, 0 to REPLAY_SKEW_MAX_S seconds. */
void replay_allow(struct replay *r, int skew_s);

/* The number under which an authenticator is kept.  Keyed, of 64 bits: two of
 * a million collide once in 10^7 windows. */
uint64_t replay_hash(const struct replay *r, struct slice authenticator);

bool replay_has(const struct replay *r, uint64_t hash);
/* How many are remembered. */
size_t replay_count(const struct replay *r);

/*
 * Remembers.  0; -EEXIST when it is there already; -ENOBUFS when the half is
 * full: then nothing may be accepted, because it could not be remembered.
 */
MUST_USE int replay_add(struct replay *r, uint64_t hash, uint64_t now_ns);

#endif
