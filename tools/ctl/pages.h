/*
 * pages: the list of servers a page at a time, so that neither side ever holds
 * all of a long one.
 */
#ifndef RMS_CTL_PAGES_H
#define RMS_CTL_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "tools/ctl/ctl.h"

/* Entries in one page: below 7 MB of reply with the longest texts. */
#define PAGE_ENTRIES 2000

struct pages {
	/* Takes one reply of `servers list`; not CTL_OK ends it. */
	int (*fn)(void *arg, const json_t *reply);
	void *arg;
	uint64_t generation; /* of the first page */
	bool changed;	     /* a later page is of another */
};

/* Visits all pages.  CTL_OK, or the exit status of what failed, said already;
 * or what fn returned. */
MUST_USE int pages_each(struct ctl *c, struct pages *p);

#endif
