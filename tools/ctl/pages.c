/*
 * Purpose: asks for the list of servers page by page.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody: an answer that would make it ask for ever ends it.
 * Touches: the control socket.
 * Failure: exit status and a line.
 */
#include "tools/ctl/pages.h"

#include <inttypes.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/jget.h"

#include "shm/base/log.h"

#define NUMBER_MAX 24

static int
page_ask(struct ctl *c, uint64_t after, json_t **reply_r)
{
	struct conn *k = conn_new("servers list");
	char from[NUMBER_MAX], limit[NUMBER_MAX];

	if (k != NULL) {
		snprintf(from, sizeof(from), "%" PRIu64, after);
		snprintf(limit, sizeof(limit), "%d", PAGE_ENTRIES);
		conn_arg(k, "after", from);
		conn_arg(k, "limit", limit);
	}
	return ask(c, &k, reply_r);
}

/* Where the next page begins; 0: there is none. */
static int
page_next(struct ctl *c, const json_t *reply, uint64_t after, uint64_t *next_r)
{
	*next_r = jget_u64(reply, "next");
	if (*next_r == 0 || *next_r > after)
		return CTL_OK;
	return ctl_fail(c, CTL_UNREACHABLE,
			"the pages of the list go in circles: is this socket a "
			"connector's, and of the same version?");
}

int
pages_each(struct ctl *c, struct pages *p)
{
	uint64_t after = 0, next;
	bool first = true;

	p->changed = false;
	do {
		json_t *reply;
		int r = page_ask(c, after, &reply);

		if (r != CTL_OK)
			return r;
		if (first)
			p->generation = jget_u64(reply, "generation");
		else if (jget_u64(reply, "generation") != p->generation)
			p->changed = true;
		first = false;
		r = p->fn(p->arg, reply);
		if (r == CTL_OK)
			r = page_next(c, reply, after, &next);
		json_decref(reply);
		if (r != CTL_OK)
			return r;
		after = next;
	} while (next != 0);
	return CTL_OK;
}
