/*
 * Purpose: know a group that would authorize everybody.
 *
 * Runs in: the master.
 * Trusts:  nobody.
 * Touches: nothing.
 * Failure: NULL: not such a group.
 */
#include "master/wide.h"

#include "shm/base/log.h"

static const struct {
	const char *sid;
	const char *name;
} fixed[] = {
    {"S-1-1-0", "Everyone"},
    {"S-1-5-2", "Network"},
    {"S-1-5-7", "Anonymous Logon"},
    {"S-1-5-11", "Authenticated Users"},
    {"S-1-5-15", "This Organization"},
    {"S-1-5-32-545", "Users"},
    {"S-1-5-32-546", "Guests"},
    {"S-1-5-32-554", "Pre-Windows 2000 Compatible Access"},
};

/* Relative to any domain, S-1-5-21-x-y-z-RID. */
static const struct {
	const char *rid;
	const char *name;
} domain[] = {
    {"513", "Domain Users"},
    {"514", "Domain Guests"},
    {"515", "Domain Computers"},
};

const char *
wide_group(struct slice s)
{
	static const struct slice prefix = SLICE_LIT("S-1-5-21-");
	size_t tail = s.len;

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		if (slice_iis(s, fixed[i].sid))
			return fixed[i].name;
	}
	if (s.len < prefix.len ||
	    !slice_ieq((struct slice){s.p, prefix.len}, prefix))
		return NULL;
	while (tail > 0 && s.p[tail - 1] != '-')
		tail--;
	for (size_t i = 0; i < ARRAY_LEN(domain); i++) {
		if (slice_is((struct slice){s.p + tail, s.len - tail},
			     domain[i].rid))
			return domain[i].name;
	}
	return NULL;
}
