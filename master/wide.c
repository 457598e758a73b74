/*
 * Purpose: know a group that would authorize everybody, or those whose rights
 *          are an attacker's first aim.
 *
 * Runs in: the master.
 * Trusts:  nobody.
 * Touches: nothing.
 * Failure: NULL: not such a group.
 */
#include "master/wide.h"

#include "shm/base/log.h"

/* MS-DTYP 2.4.2.4. */
static const struct wide_group fixed[] = {
    {"S-1-1-0", "Everyone", true},
    {"S-1-2-0", "Local", true},
    {"S-1-5-1", "Dialup", true},
    {"S-1-5-2", "Network", true},
    {"S-1-5-3", "Batch", true},
    {"S-1-5-4", "Interactive", true},
    {"S-1-5-6", "Service", true},
    {"S-1-5-7", "Anonymous Logon", true},
    {"S-1-5-9", "Enterprise Domain Controllers", false},
    {"S-1-5-11", "Authenticated Users", true},
    {"S-1-5-13", "Terminal Server Users", true},
    {"S-1-5-14", "Remote Interactive Logon", true},
    {"S-1-5-15", "This Organization", true},
    {"S-1-5-1000", "Other Organization", true},
    {"S-1-5-32-544", "Administrators", false},
    {"S-1-5-32-545", "Users", true},
    {"S-1-5-32-546", "Guests", true},
    {"S-1-5-32-554", "Pre-Windows 2000 Compatible Access", true},
    /* What a KDC puts into every ticket of one kind. */
    {"S-1-5-21-0-0-0-496", "Compounded Authentication", true},
    {"S-1-5-21-0-0-0-497", "Claims Valid", true},
    {"S-1-18-1", "Authentication Authority Asserted Identity", true},
    {"S-1-18-2", "Service Asserted Identity", true},
    {"S-1-18-3", "Fresh Public Key Identity", true},
    {"S-1-18-4", "Key Trust", true},
    {"S-1-18-5", "MFA Key Property", true},
    {"S-1-18-6", "Attested Key Property", true},
};

/* Relative to any domain, S-1-5-21-x-y-z-RID. */
static const struct wide_group domain[] = {
    {"498", "Enterprise Read-only Domain Controllers", false},
    {"512", "Domain Admins", false},
    {"513", "Domain Users", true},
    {"514", "Domain Guests", true},
    {"515", "Domain Computers", true},
    {"516", "Domain Controllers", false},
    {"518", "Schema Admins", false},
    {"519", "Enterprise Admins", false},
    {"521", "Read-only Domain Controllers", false},
};

/* Number of '-' in it: S-1-5-21-x-y-z-RID has seven. */
static size_t
dashes(struct slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += s.p[i] == '-';
	return n;
}

const struct wide_group *
wide_group(struct slice s)
{
	static const struct slice prefix = SLICE_LIT("S-1-5-21-");
	size_t tail = s.len;

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		if (slice_iis(s, fixed[i].sid))
			return &fixed[i];
	}
	if (s.len < prefix.len || dashes(s) != 7 ||
	    !slice_ieq((struct slice){s.p, prefix.len}, prefix))
		return NULL;
	while (tail > 0 && s.p[tail - 1] != '-')
		tail--;
	for (size_t i = 0; i < ARRAY_LEN(domain); i++) {
		if (slice_is((struct slice){s.p + tail, s.len - tail},
			     domain[i].sid))
			return &domain[i];
	}
	return NULL;
}
