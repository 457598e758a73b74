/*
 * loop: the event loop of a process, a thin cover of libevent 2.1.
 *
 * One loop per process, made after fork.  A turn waits once, runs every
 * handler that is due, then the deferred calls.  It reads the clock at most
 * once, so handlers use clock_turn_ns().  Objects that still have
 * events pending when they end are freed by loop_defer() at the end of the
 * turn, so no handler meets a corpse.
 */
#ifndef RMS_LOOP_H
#define RMS_LOOP_H

#include "shm/base/bug.h"

struct event_base;
struct loop;

MUST_USE struct loop *loop_new(void);
void loop_free(struct loop **l);
/* For event_new() and friends. */
struct event_base *loop_base(struct loop *l);

/* Runs until loop_stop(), to the end of that turn; returns the status given
 * there.  Also when no event is pending: a loop ends only by loop_stop(). */
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int status);

/*
 * Runs fn(arg) once, after the handlers of this turn, in order.  The cell is
 * the caller's, embedded in the object and zeroed with it, so this cannot
 * fail; fn may free the object.  A cell that already waits is a BUG.  What a
 * deferred call defers runs at the end of the next turn, which does not wait.
 * loop_free() runs what is left.
 */
struct loop_cell {
	struct loop_cell *next;
	void (*fn)(void *arg);
	void *arg;
};
void loop_defer(struct loop *l, struct loop_cell *cell, void (*fn)(void *),
		void *arg);

/*
 * A one-shot timer that is cheap to move: loop_timer_set() while it runs only
 * writes the new due time, and the underlying event is re-armed when it fires
 * early.  So one timer per session may be pushed ahead on every request.
 */
struct loop_timer;
MUST_USE struct loop_timer *loop_timer_new(struct loop *l,
					   void (*fn)(void *arg), void *arg);
void loop_timer_free(struct loop_timer **t);
/* Due in ms from this turn; never early, and late by a few milliseconds at
 * most unless the process is busy.  0 stops it. */
void loop_timer_set(struct loop_timer *t, uint64_t ms);

#endif
