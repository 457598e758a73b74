/*
 * Purpose: reasons.def and statuses.def as data.
 *
 * Runs in: relay.
 * Trusts:  its callers.
 * Touches: nothing.
 * Failure: none.
 */
#include "worker/relay/reason.h"

#include <stddef.h>

#include "shm/base/bug.h"
#include "shm/base/log.h"

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

const char *
reason_phrase(int status)
{
	static const struct {
		int status;
		const char *phrase;
	} rows[] = {
#define STATUS(code, phrase, what) {code, phrase},
#include "worker/relay/statuses.def"
#undef STATUS
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			return rows[i].phrase;
	return "Error"; /* test_reason.c: each that a reason has is there */
}
