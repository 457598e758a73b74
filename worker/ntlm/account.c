/*
 * Purpose: make the name and the SIDs of an account that was accepted.
 *
 * Runs in: the NTLM processes.
 * Trusts:  winbind, through the mechanism and its client library.
 * Touches: winbind's pipe.
 * Failure: a cause; never a name without a domain.
 */
#include "worker/ntlm/account.h"

#include <errno.h>
#include <gssapi/gssapi_ext.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <samba-4.0/wbclient.h>

#include "shm/base/log.h"

/* The RID of every domain's Guest, MS-DTYP 2.4.2.4. */
#define RID_GUEST 501

/* --- SIDs --------------------------------------------------------------------
 */

static bool
has_sid(const struct identity *id, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < id->nsids; i++)
		if (id->sids[i].len == len &&
		    memcmp(id->sids[i].bytes, bytes, len) == 0)
			return true;
	return false;
}

/* The mechanism's list has no other order: account, primary group, the rest. */
static int
add_sid(struct identity *id, struct slice text)
{
	static const uint8_t source[] = {SID_USER, SID_PRIMARY_GROUP};
	struct identity_sid sid;
	int n = sid_parse(text, sid.bytes);

	if (n < 0 || !sid_valid(sid.bytes, (size_t)n))
		return -EINVAL;
	if (has_sid(id, sid.bytes, (size_t)n))
		return 0;
	if (id->nsids == IDENTITY_SIDS_MAX)
		return -E2BIG;
	sid.len = (uint8_t)n;
	sid.source =
	    id->nsids < sizeof(source) ? source[id->nsids] : SID_WINBIND;
	id->sids[id->nsids++] = sid;
	return 0;
}

int
account_sids(struct identity *id, struct slice list)
{
	int r = list.len == 0 ? -EINVAL : 0;

	BUG_ON(id->sids != NULL);
	if (list.len > 0 && list.p[list.len - 1] == '\0')
		list.len--;
	id->sids = calloc(IDENTITY_SIDS_MAX, sizeof(id->sids[0]));
	if (id->sids == NULL)
		return -ENOMEM;
	while (r == 0) {
		const char *c =
		    list.len == 0 ? NULL : memchr(list.p, ',', list.len);
		size_t n = c == NULL ? list.len : (size_t)(c - list.p);

		r = add_sid(id, (struct slice){list.p, n});
		if (c == NULL)
			break;
		list.p += n + 1;
		list.len -= n + 1;
	}
	if (r != 0) {
		free(id->sids);
		id->sids = NULL;
		id->nsids = 0;
	}
	return r;
}

/* Of a list that is too long the first alone: the account's. */
static int
first_sid(struct identity *id, struct slice list)
{
	const char *c = memchr(list.p, ',', list.len);

	if (c != NULL)
		list.len = (size_t)(c - list.p);
	id->lack = LACK_TOO_MANY;
	return account_sids(id, list);
}

/* 0 with the SIDs, or with none because the mechanism has none; -errno: not to
 * be let in.  id->lack is set with one SID when there are too many. */
static int
take_sids(struct identity *id, gss_name_t name)
{
	static char attr[] = "urn:gssntlmssp:sids";
	gss_buffer_desc a = {sizeof(attr) - 1, attr};
	gss_buffer_desc value = GSS_C_EMPTY_BUFFER, shown = GSS_C_EMPTY_BUFFER;
	int authenticated = 0, complete = 0, more = -1, r = -EINVAL;
	struct slice list;
	OM_uint32 minor;

	id->lack = LACK_NONE_GIVEN;
	if (gss_get_name_attribute(&minor, name, &a, &authenticated, &complete,
				   &value, &shown, &more) != GSS_S_COMPLETE)
		return 0;
	list = (struct slice){value.value, value.length};
	if (authenticated != 0)
		r = account_sids(id, list);
	if (r == -E2BIG)
		r = first_sid(id, list);
	gss_release_buffer(&minor, &value);
	gss_release_buffer(&minor, &shown);
	return r;
}

/* --- names -------------------------------------------------------------------
 */

/* DOMAIN\user, one of each, nothing that a reader could take for another. */
static bool
is_account(const char *s)
{
	const char *slash = strchr(s, '\\');

	if (slash == NULL || slash == s || slash[1] == '\0' ||
	    strchr(slash + 1, '\\') != NULL)
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

/* As the mechanism has it. */
static bool
name_from_mech(struct identity *id, gss_name_t name)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	struct slice s;
	OM_uint32 minor;
	bool ok;

	if (name == GSS_C_NO_NAME ||
	    gss_display_name(&minor, name, &text, NULL) != GSS_S_COMPLETE)
		return false;
	s = (struct slice){text.value, text.length};
	if (s.len > 0 && s.p[s.len - 1] == '\0')
		s.len--; /* the plug-in counts it */
	ok = s.len > 0 && memchr(s.p, '\0', s.len) == NULL &&
	     str_copy(id->principal, sizeof(id->principal), s) == 0;
	gss_release_buffer(&minor, &text);
	return ok;
}

/* As the directory has it. */
static bool
name_from_sid(struct identity *id, const char *sid)
{
	struct wbcDomainSid bin;
	enum wbcSidType type = WBC_SID_NAME_UNKNOWN;
	char *domain = NULL, *user = NULL;
	struct sbuf b;
	bool ok;

	ok = wbcStringToSid(sid, &bin) == WBC_ERR_SUCCESS &&
	     wbcLookupSid(&bin, &domain, &user, &type) == WBC_ERR_SUCCESS &&
	     (type == WBC_SID_NAME_USER || type == WBC_SID_NAME_COMPUTER);
	if (ok) {
		sbuf_init(&b, id->principal, sizeof(id->principal));
		sbuf_fmt(&b, "%s\\%s", domain, user);
		ok = !b.cut;
	}
	wbcFreeMemory(domain);
	wbcFreeMemory(user);
	return ok;
}

/* Anonymous (S-1-5-7), or a domain's Guest: that is nobody in particular. */
static bool
is_nobody(const struct identity *id)
{
	const struct identity_sid *s = &id->sids[0];
	const uint8_t *last = s->bytes + s->len - 4;
	uint32_t rid = (uint32_t)last[0] | (uint32_t)last[1] << 8 |
		       (uint32_t)last[2] << 16 | (uint32_t)last[3] << 24;

	return (s->len == 12 && rid == 7) || (s->len > 12 && rid == RID_GUEST);
}

/* The name that belongs to the SIDs. */
static enum auth_cause
take_known(struct identity *id, char *detail, size_t size)
{
	char sid[SID_TEXT_MAX];
	int r = sid_text(id->sids[0].bytes, id->sids[0].len, sid);

	BUG_ON(r != 0); /* it was made from a text */
	if (is_nobody(id))
		return CAUSE_ANONYMOUS;
	if (!name_from_sid(id, sid)) {
		snprintf(detail, size, "winbind has no account for %s", sid);
		return CAUSE_INTERNAL;
	}
	if (id->lack != LACK_NONE_GIVEN) {
		free(id->sids);
		id->sids = NULL;
		id->nsids = 0;
	}
	return CAUSE_NONE;
}

enum auth_cause
account_take(struct identity *id, gss_name_t name, char *detail, size_t size)
{
	enum auth_cause cause = CAUSE_NONE;
	int r = take_sids(id, name);

	if (r != 0) {
		snprintf(detail, size, "the list of SIDs cannot be read: %s",
			 strerror(-r));
		return CAUSE_INTERNAL;
	}
	if (id->nsids > 0) {
		cause = take_known(id, detail, size);
	} else if (!name_from_mech(id, name)) {
		snprintf(detail, size, "the client's name cannot be read");
		cause = CAUSE_INTERNAL;
	}
	if (cause != CAUSE_NONE)
		return cause;
	if (!is_account(id->principal)) {
		snprintf(detail, size, "not a name with a domain: %.200s",
			 id->principal);
		return CAUSE_LOGON;
	}
	return CAUSE_NONE;
}

bool
account_winbind_is_there(void)
{
	return wbcPing() == WBC_ERR_SUCCESS;
}
