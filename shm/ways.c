/*
 * Purpose: how an account comes, told by one rule in every process.
 *
 * Runs in: relay, master.
 * Trusts:  its callers.
 * Touches: nothing.
 * Failure: none.
 */
#include "shm/ways.h"

#include "shm/base/enctype.h"
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
