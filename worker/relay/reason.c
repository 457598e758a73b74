/*
 * Purpose: reasons.def as data.
 *
 * Runs in: relay.
 * Trusts:  its callers.
 * Touches: nothing.
 * Failure: none.
 */
#include "worker/relay/reason.h"

#include "shm/base/bug.h"

static const struct reason_row reason_rows[REASON_MAX] = {
#define REASON(name, status, text, fault, retry) \
	[REASON_##name] = {#name, status, text, #fault, #retry},
#include "worker/relay/reasons.def"
#undef REASON
};

const struct reason_row *
reason_row(enum reason r)
{
	BUG_ON((unsigned)r >= REASON_MAX);
	return &reason_rows[r];
}
