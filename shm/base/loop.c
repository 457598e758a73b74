/*
 * Purpose: the event loop: libevent turn by turn, deferred calls, timers.
 *
 * Runs in: every process.
 * Trusts:  libevent and the handlers it is given.
 * Touches: one epoll descriptor and libevent's signal pipe.
 * Failure: NULL without memory; a loop that libevent cannot turn is a bug.
 */
#include "shm/base/loop.h"

#include <event2/event.h>
#include <stdbool.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"

struct loop {
	struct event_base *base;
	struct loop_cell *first; /* deferred, oldest first */
	struct loop_cell **last; /* where the next one goes */
	bool stopped;
	int status;
};

struct loop_timer {
	struct loop *loop;
	struct event *ev;
	uint64_t due_ns;   /* 0: stopped */
	uint64_t armed_ns; /* when ev will fire; 0: it is not pending */
	void (*fn)(void *arg);
	void *arg;
};

/*
 * No locks: one thread.  No environment: EVENT_NOEPOLL and the like are not
 * for whoever started us to choose.  libevent's clock stays the coarse one
 * and its cache on: precise timers would cost a timerfd_settime per turn.
 */
struct loop *
loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));
	struct event_config *cfg = event_config_new();

	if (l == NULL || cfg == NULL ||
	    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK) != 0 ||
	    event_config_set_flag(cfg, EVENT_BASE_FLAG_IGNORE_ENV) != 0)
		goto fail;
	l->base = event_base_new_with_config(cfg);
	if (l->base == NULL)
		goto fail;
	l->last = &l->first;
	event_config_free(cfg);
	return l;
fail:
	if (cfg != NULL)
		event_config_free(cfg);
	free(l);
	return NULL;
}

/*
 * Runs the cells that wait now, not those that they add: a cell that defers
 * itself again gets its turn, and does not take everybody else's.
 */
static void
loop_run_cells(struct loop *l)
{
	struct loop_cell *cell = l->first, *next;

	l->first = NULL;
	l->last = &l->first;
	for (; cell != NULL; cell = next) {
		void (*fn)(void *) = cell->fn;

		next = cell->next;
		cell->fn = NULL; /* fn may free or defer the cell's object */
		fn(cell->arg);
	}
}

void
loop_free(struct loop **lp)
{
	struct loop *l = *lp;

	if (l == NULL)
		return;
	/* Objects that wait for their end get it. */
	while (l->first != NULL)
		loop_run_cells(l);
	event_base_free(l->base);
	free(l);
	*lp = NULL;
}

struct event_base *
loop_base(struct loop *l)
{
	return l->base;
}

int
loop_run(struct loop *l)
{
	while (!l->stopped) {
		int how = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;

		if (l->first != NULL)
			how = EVLOOP_NONBLOCK;
		clock_turn_over();
		BUG_ON(event_base_loop(l->base, how) < 0);
		loop_run_cells(l);
	}
	l->stopped = false;
	return l->status;
}

void
loop_stop(struct loop *l, int status)
{
	l->stopped = true;
	l->status = status;
}

void
loop_defer(struct loop *l, struct loop_cell *cell, void (*fn)(void *),
	   void *arg)
{
	BUG_ON(fn == NULL || cell->fn != NULL);
	*cell = (struct loop_cell){.fn = fn, .arg = arg};
	*l->last = cell;
	l->last = &cell->next;
}

static void
loop_timer_arm(struct loop_timer *t, uint64_t now_ns)
{
	uint64_t us = (t->due_ns - now_ns + NS_PER_US - 1) / NS_PER_US;
	struct timeval tv = {.tv_sec = (time_t)(us / 1000000),
			     .tv_usec = (suseconds_t)(us % 1000000)};

	t->armed_ns = t->due_ns;
	/* Fails only without memory for the heap's slot; the session would
	 * be without a limit of time, so rather without a process. */
	BUG_ON(event_add(t->ev, &tv) != 0);
}

/*
 * Early when the due time was moved, or by libevent's coarse clock (up to a
 * kernel tick); then it is armed anew.
 */
static void
loop_timer_on_fire(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;
	uint64_t now = clock_turn_ns();

	(void)fd;
	(void)what;
	t->armed_ns = 0;
	if (t->due_ns == 0)
		return;
	if (now < t->due_ns) {
		loop_timer_arm(t, now);
		return;
	}
	t->due_ns = 0;
	t->fn(t->arg); /* may free t */
}

struct loop_timer *
loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	*t = (struct loop_timer){.loop = l, .fn = fn, .arg = arg};
	t->ev = evtimer_new(l->base, loop_timer_on_fire, t);
	if (t->ev == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

void
loop_timer_free(struct loop_timer **tp)
{
	struct loop_timer *t = *tp;

	if (t == NULL)
		return;
	event_free(t->ev);
	free(t);
	*tp = NULL;
}

void
loop_timer_set(struct loop_timer *t, uint64_t ms)
{
	uint64_t now = clock_turn_ns();

	if (ms == 0) {
		/* The event may stay: it finds nothing due. */
		t->due_ns = 0;
		return;
	}
	/* A bound far beyond any use keeps the sum from wrapping. */
	t->due_ns = now + MIN(ms, UINT64_C(1) << 40) * NS_PER_MS;
	if (t->armed_ns == 0 || t->armed_ns > t->due_ns)
		loop_timer_arm(t, now);
}
