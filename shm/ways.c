/*
 * Purpose: how an account comes, told by one rule in every process.
 *
 * Runs in: relay, master.
 * Trusts:  its callers.
 * Touches: nothing.
 * Failure: none.
 */
#include "shm/ways.h"

#include "shm/base/log.h"

const char *
way_name(enum way w)
{
	static const char *const name[] = {
#define WAY(name, member, meaning) member,
#include "shm/ways.def"
#undef WAY
	};

	BUG_ON((unsigned)w >= WAY_MAX);
	return name[w];
}

static unsigned
ways_of_mech(enum auth_mech mech)
{
	switch (mech) {
	case MECH_KERBEROS:
		return WAY_BIT(WAY_KERBEROS);
	case MECH_NTLM:
		return WAY_BIT(WAY_NTLM);
	case MECH_CERT:
		return WAY_BIT(WAY_CERT);
	case MECH_NONE:
		break;
	}
	return 0;
}

unsigned
ways_of(bool tls, bool bound, enum auth_mech mech, int32_t enctype)
{
	unsigned ways = ways_of_mech(mech);

	ways |= tls ? WAY_BIT(WAY_HTTPS) : WAY_BIT(WAY_HTTP);
	if (bound)
		ways |= WAY_BIT(WAY_BOUND);
	else if (tls && (mech == MECH_KERBEROS || mech == MECH_NTLM))
		ways |= WAY_BIT(WAY_UNBOUND);
	if (enctype_is_weak(enctype))
		ways |= WAY_BIT(WAY_WEAK);
	return ways;
}

const char *
enctype_name(int32_t enctype)
{
	static const struct {
		int32_t number;
		const char *name;
	} known[] = {
	    {1, "des-cbc-crc"},
	    {2, "des-cbc-md4"},
	    {3, "des-cbc-md5"},
	    {16, "des3-cbc-sha1"},
	    {17, "aes128-cts-hmac-sha1-96"},
	    {18, "aes256-cts-hmac-sha1-96"},
	    {19, "aes128-cts-hmac-sha256-128"},
	    {20, "aes256-cts-hmac-sha384-192"},
	    {23, "arcfour-hmac"},
	    {24, "arcfour-hmac-exp"},
	    {25, "camellia128-cts-cmac"},
	    {26, "camellia256-cts-cmac"},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (known[i].number == enctype)
			return known[i].name;
	}
	return NULL;
}

bool
enctype_is_weak(int32_t enctype)
{
	return (enctype >= 1 && enctype <= 3) || enctype == 16 ||
	       enctype == 23 || enctype == 24;
}
