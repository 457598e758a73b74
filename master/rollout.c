/*
 * Purpose: wait until a new set is in force everywhere, and not for ever.
 *
 * Runs in: the master.
 * Trusts:  a child for its own state.
 * Touches: nothing.
 * Failure: told to the owner, in words for the operator.
 */
#include "master/rollout.h"

#include <stdio.h>
#include <stdlib.h>

#include "master/supervise.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

struct rollout {
	struct supervise *supervise;
	struct loop_timer *timer;
	uint64_t wait_ms;
	uint64_t set; /* 0: none is under way */
	rollout_done *done;
	void *arg;
	struct conf_errors wrong;
};

static void
rollout_add(struct rollout *r, const struct proc *p, const char *what,
	    const char *why)
{
	struct conf_errors *e = &r->wrong;

	if (e->n < ARRAY_LEN(e->text))
		snprintf(e->text[e->n], sizeof(e->text[0]), "%s %u: %s%s%s",
			 role_name(p->role), p->slot, what,
			 why[0] != '\0' ? ": " : "", why);
	e->n++;
}

static void
rollout_end(struct rollout *r)
{
	uint64_t set = r->set;

	r->set = 0;
	loop_timer_set(r->timer, 0);
	r->done(r->arg, set, &r->wrong);
}

/* Notes who does not have the set; how many may still come to have it. */
static size_t
rollout_count(struct rollout *r)
{
	size_t open = 0;

	r->wrong.n = 0;
	for (size_t i = 0; i < supervise_count(r->supervise); i++) {
		const struct proc *p = supervise_proc(r->supervise, i);

		if (p->set >= r->set || !p->wanted)
			continue;
		if (p->refused >= r->set) {
			rollout_add(r, p, "goes on with what it had",
				    p->refused_why);
			continue;
		}
		open++;
		if (proc_is_up(p))
			rollout_add(r, p, "has not said in time that it has it",
				    "");
		else
			rollout_add(r, p, "does not run", p->last_end);
	}
	return open;
}

static void
rollout_on_time(void *arg)
{
	struct rollout *r = arg;

	if (r->set == 0)
		return;
	rollout_count(r);
	rollout_end(r);
}

struct rollout *
rollout_new(struct loop *l, struct supervise *s, uint64_t wait_ms,
	    rollout_done *done, void *arg)
{
	struct rollout *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->supervise = s;
	r->wait_ms = wait_ms;
	r->done = done;
	r->arg = arg;
	r->timer = loop_timer_new(l, rollout_on_time, r);
	if (r->timer == NULL)
		rollout_free(&r);
	return r;
}

void
rollout_free(struct rollout **rp)
{
	struct rollout *r = *rp;

	if (r == NULL)
		return;
	loop_timer_free(&r->timer);
	free(r);
	*rp = NULL;
}

void
rollout_begin(struct rollout *r, uint64_t set)
{
	BUG_ON(set == 0);
	r->set = set;
	loop_timer_set(r->timer, r->wait_ms);
}

void
rollout_look(struct rollout *r)
{
	if (r->set == 0)
		return;
	if (rollout_count(r) == 0 || supervise_is_draining(r->supervise))
		rollout_end(r);
}
