/*
 * clock: the four clocks, by the question they answer.
 *
 * mono	how long did it take?	CLOCK_MONOTONIC, stops while suspended
 * boot	is it still valid?	CLOCK_BOOTTIME, runs while suspended
 * real	when was it?		CLOCK_REALTIME, may jump
 *
 * clock_turn_ns() is cached: one reading per event-loop turn, taken when the
 * first handler asks, for code on the hot path.  A turn that nobody asks in
 * costs none, and a handler never sees the time from before the wait.
 */
#ifndef RMS_CLOCK_H
#define RMS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)
#define NS_PER_S  UINT64_C(1000000000)

uint64_t clock_mono_ns(void);
uint64_t clock_boot_ns(void);
/* Nanoseconds since 1970 (UTC, no leap seconds). */
uint64_t clock_real_ns(void);

/* This turn's reading, a fresh one when there is none yet. */
uint64_t clock_turn_ns(void);
/* Takes a new reading now; for a handler that has worked long, and tests. */
void clock_turn(void);
/* Forgets the reading; the loop calls it before it waits. */
void clock_turn_over(void);

/*
 * Formats real_ns as RFC 3339 in UTC with milliseconds,
 * "2026-11-22T14:17:00.000Z" (24 characters and a NUL).
 */
#define CLOCK_TEXT_LEN 25
void clock_text(uint64_t real_ns, char out_r[CLOCK_TEXT_LEN]);

#endif
