/*
 * Purpose: bound the events that a process can cause.
 *
 * Runs in: the master.
 * Trusts:  its own clock.
 * Touches: the budget of its caller.
 * Failure: none.
 */
#include "master/budget.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"

#define BUDGET_EACH_NS (NS_PER_S / BUDGET_PER_S)

bool
budget_take(struct budget *b, uint64_t mono_ns)
{
	uint64_t past = mono_ns - b->at_ns;

	b->spent_ns = b->spent_ns > past ? b->spent_ns - past : 0;
	b->at_ns = mono_ns;
	if (b->spent_ns + BUDGET_EACH_NS > BUDGET_MAX * BUDGET_EACH_NS) {
		b->held++;
		return false;
	}
	b->spent_ns += BUDGET_EACH_NS;
	return true;
}

uint64_t
budget_held(struct budget *b, uint64_t mono_ns)
{
	uint64_t held = b->held;

	if (held == 0 ||
	    (b->told_ns != 0 && mono_ns - b->told_ns < BUDGET_TELL_NS))
		return 0;
	b->told_ns = mono_ns;
	b->held = 0;
	return held;
}
