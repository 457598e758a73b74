/*
 * replay_log: the authenticators that were accepted lately, kept where they
 * outlive a keeper.
 *
 * The master makes the segment and never looks into it; one keeper at a time
 * writes it, and reads it once, at its start.
 *
 *	offset		size	field		writer	readers
 *	0		8	layout		keeper	the next keeper
 *	8		16	key		keeper	the next keeper
 *	24		32	half[2]		keeper	the next keeper
 *	4096		8*max	entries of half 0
 *	4096 + 8*max	8*max	entries of half 1
 *
 * 1. layout is written last when the log is begun: without it there is none.
 * 2. An entry is written before the count that covers it, and both before the
 *    client hears that it was let in.  A keeper that is killed between any two
 *    stores leaves every entry whose client was let in.
 * 3. A half is emptied (n 0) before it gets a new since_ns.
 * 4. Nothing in it is a pointer; a count beyond max, or a time to come, and the
 *    log is begun anew.
 *
 * The memory behind it is only there once it was written to.
 */
#ifndef RMS_REPLAY_LOG_H
#define RMS_REPLAY_LOG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/base/bug.h"
#include "shm/base/hash.h"

/* Entries of one half; 7,000 authentications a second for ten minutes, the
 * window of clocks that may be five minutes apart (worker/keeper/replay.h).
 * How long the window is, is the reader's affair: it is not kept here. */
#define REPLAY_LOG_MAX	  (UINT32_C(4) * 1024 * 1024)
#define REPLAY_LOG_HEAD	  4096
#define REPLAY_LOG_LAYOUT UINT64_C(0x7265706c61790001)

struct replay_log {
	_Atomic uint64_t layout;
	struct hash_key key;
	struct {
		_Atomic uint64_t since_ns; /* CLOCK_BOOTTIME; 0: never used */
		_Atomic uint64_t n;
	} half[2];
};
_Static_assert(offsetof(struct replay_log, key) == 8, "as drawn");
_Static_assert(offsetof(struct replay_log, half) == 24, "as drawn");
_Static_assert(sizeof(struct replay_log) <= REPLAY_LOG_HEAD, "the head");

/* An empty one, sealed against resizing.  Descriptor, the caller's, or
 * -errno. */
MUST_USE int replay_log_create(void);
/* Maps it to write; fd stays the caller's.  NULL with a reason in *why_r. */
MUST_USE struct replay_log *replay_log_map(int fd, const char **why_r);
void replay_log_unmap(struct replay_log **l);

/* The entries of a half (0 or 1). */
uint64_t *replay_log_entries(struct replay_log *l, unsigned half);
/* Gives the memory of a half back. */
void replay_log_drop(struct replay_log *l, unsigned half);

#endif
