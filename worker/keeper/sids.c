/*
 * Purpose: find the groups of a client in its ticket.
 *
 * Runs in: the keeper.
 * Trusts:  libgssapi_krb5 to give a PAC only when its signature is right; of
 *          what is in the PAC nothing.
 * Touches: the heap, the log.
 * Failure: an identity without SIDs, which no entry for a group lets in.
 */
#include "worker/keeper/sids.h"

#include <errno.h>
#include <gssapi/gssapi_ext.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/keeper/pac.h"

/* A PAC that is no good comes with every request of its account. */
#define WARN_EVERY_NS (10 * NS_PER_S)

struct sids {
	uint64_t warned_ns;   /* clock_mono_ns(); 0: never */
	struct pac_logon pac; /* of the client at hand */
};

/* The attribute's name is libkrb5's; the library does not write to it. */
static char logon_info[] = "urn:mspac:logon-info";
static const gss_buffer_desc logon_info_name = {sizeof(logon_info) - 1,
						logon_info};

struct sids *
sids_new(void)
{
	return calloc(1, sizeof(struct sids));
}

void
sids_free(struct sids **s)
{
	free(*s);
	*s = NULL;
}

/*
 * Why the library gives no logon information.  Of a PAC whose signature is
 * wrong it still tells what it would have.
 */
static enum sid_lack
why_none(gss_name_t name)
{
	gss_buffer_set_t attrs = GSS_C_NO_BUFFER_SET;
	enum sid_lack lack = LACK_NONE_GIVEN;
	OM_uint32 minor;

	if (gss_inquire_name(&minor, name, NULL, NULL, &attrs) !=
		GSS_S_COMPLETE ||
	    attrs == GSS_C_NO_BUFFER_SET)
		return lack;
	for (size_t i = 0; i < attrs->count; i++) {
		struct slice a = {attrs->elements[i].value,
				  attrs->elements[i].length};

		if (slice_is(a, logon_info))
			lack = LACK_SIGNATURE;
	}
	gss_release_buffer_set(&minor, &attrs);
	return lack;
}

/* The raw logon information; false with id->lack when there is none. */
static bool
get_logon_info(struct identity *id, gss_name_t name, gss_buffer_t value_r)
{
	gss_buffer_desc attr = logon_info_name;
	gss_buffer_desc shown = GSS_C_EMPTY_BUFFER;
	int authenticated = 0, complete = 0, more = -1;
	OM_uint32 major, minor;

	major = gss_get_name_attribute(&minor, name, &attr, &authenticated,
				       &complete, value_r, &shown, &more);
	gss_release_buffer(&minor, &shown);
	if (major != GSS_S_COMPLETE) {
		id->lack = why_none(name);
		return false;
	}
	if (authenticated == 0 || complete == 0) {
		gss_release_buffer(&minor, value_r);
		id->lack = LACK_SIGNATURE;
		return false;
	}
	return true;
}

static void
warn(struct sids *s, const struct identity *id, const char *why)
{
	uint64_t now = clock_mono_ns();

	if (s->warned_ns != 0 && now - s->warned_ns < WARN_EVERY_NS)
		return;
	s->warned_ns = now;
	log_warn("%s is let in without groups: %s%s%s", id->principal,
		 sid_lack_text(id->lack), why == NULL ? "" : ": ",
		 why == NULL ? "" : why);
}

static int
copy_sids(struct identity *id, const struct pac_logon *pac)
{
	size_t bytes = pac->nsids * sizeof(pac->sid[0]);

	if (pac->nsids == 0)
		return 0;
	id->sids = malloc(bytes);
	if (id->sids == NULL)
		return -ENOMEM;
	memcpy(id->sids, pac->sid, bytes);
	id->nsids = pac->nsids;
	return 0;
}

int
sids_take(struct sids *s, gss_name_t name, struct identity *id)
{
	gss_buffer_desc value = GSS_C_EMPTY_BUFFER;
	const char *why = NULL;
	OM_uint32 minor;
	int e = 0;

	BUG_ON(id->nsids != 0 || id->sids != NULL);
	id->lack = LACK_NONE_GIVEN;
	if (get_logon_info(id, name, &value)) {
		e = pac_decode((struct slice){value.value, value.length},
			       &s->pac, &why);
		gss_release_buffer(&minor, &value);
		if (e != 0)
			id->lack = e == -E2BIG ? LACK_TOO_MANY : LACK_MALFORMED;
		e = copy_sids(id, &s->pac);
		log_debug("%s is %s\\%s with %zu SIDs", id->principal,
			  s->pac.domain, s->pac.user, s->pac.nsids);
	}
	if (id->lack != LACK_NONE_GIVEN)
		warn(s, id, why);
	return e;
}
