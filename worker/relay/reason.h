/*
 * reason: why requests and connections end; see reasons.def.
 */
#ifndef RMS_REASON_H
#define RMS_REASON_H

enum reason {
#define REASON(name, status, text, fault, retry) REASON_##name,
#include "worker/relay/reasons.def"
#undef REASON
	REASON_MAX
};

struct reason_row {
	const char *name;
	int status;
	const char *text;
	const char *fault;
	const char *retry;
};

const struct reason_row *reason_row(enum reason r);

/* The phrase of a status that is ours (statuses.def). */
const char *reason_phrase(int status);

#endif
