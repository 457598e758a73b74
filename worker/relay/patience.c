/*
 * Purpose: bound the time that a slow peer may take.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: nothing but its arguments.
 * Failure: none.
 */
#include "worker/relay/patience.h"

#include <stddef.h>

#include "shm/base/log.h"

/* What is left of `all` after `spent`, 1 at the least. */
static uint64_t
patience_left(uint64_t all, uint64_t spent)
{
	return all > spent ? all - spent : 1;
}

uint64_t
patience_ms(const struct patience *p, bool *total_r)
{
	uint64_t ms = MAX(p->pause_ms, UINT64_C(1)), left;

	if (p->rate > 0) {
		/* bytes of one request: far below 2^64 / 1000 */
		uint64_t all = p->pause_ms + p->bytes * 1000 / p->rate;

		ms = MIN(ms, patience_left(all, p->spent_ms));
	}
	left = p->total_ms > 0 ? patience_left(p->total_ms, p->age_ms) : ms;
	if (total_r != NULL)
		*total_r = left < ms;
	return MIN(ms, left);
}
