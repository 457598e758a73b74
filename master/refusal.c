/*
 * Purpose: why an account is refused, and what would do.
 *
 * Runs in: the master.
 * Trusts:  nobody: the subject is a name from the network, only shown, and
 *          part of a command line only where a shell reads it as one word.
 * Touches: the buffer of its caller.
 * Failure: a text that does not fit is cut.
 */
#include "master/refusal.h"

#include "shm/base/log.h"

/* How it could come to have groups. */
static const char *
refusal_groups_remedy(const struct refusal *r)
{
	if (r->mech == MECH_CERT)
		return "a certificate has no groups";
	if (r->mech == MECH_NTLM)
		return "with NTLM groups come from winbind of this host";
	switch (r->lack) {
	case LACK_NONE_GIVEN:
		return "tickets of its realm need a PAC, and its account must "
		       "not have the flag that leaves it out";
	case LACK_SIGNATURE:
		return "export the keytab again; if it stays so, treat the "
		       "ticket as forged";
	case LACK_MALFORMED:
		return "the log says what is wrong with it; report it";
	case LACK_TOO_MANY:
		return "take the account out of groups";
	case LACK_MAX:
		break;
	}
	return "";
}

/* Between single quotes a shell takes each byte as it is but a single quote.
 * That one could be written in other ways, but not in one that also comes
 * through a log's own escapes (of \ and of "); nor should bytes that a
 * terminal acts on be pasted. */
static bool
can_be_quoted(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f || c == '\'')
			return false;
	}
	return true;
}

void
refusal_say_add(struct sbuf *b, enum auth_mech mech, struct slice subject)
{
	sbuf_str(b, "rmsctl servers add --role ROLE ");
	if (!can_be_quoted(subject)) {
		sbuf_str(b, "SUBJECT (not written here, for it has characters "
			    "that a shell would act on: quote it with care)");
		return;
	}
	sbuf_char(b, '\'');
	if (mech == MECH_CERT)
		sbuf_str(b, "cert:");
	sbuf_slice(b, subject);
	sbuf_char(b, '\'');
}

static void
refusal_no_match(struct sbuf *b, const struct refusal *r)
{
	if (r->nsids > 0) {
		sbuf_fmt(b,
			 "no entry names it or one of its %u SIDs; if it "
			 "should be let in, put it into a group that is on "
			 "the list and let it log on anew",
			 r->nsids);
	} else {
		sbuf_fmt(b,
			 "no entry names it, and no entry for a group can "
			 "apply: %s (%s); if it should be let in",
			 sid_lack_text(r->lack), refusal_groups_remedy(r));
	}
	sbuf_str(b, r->nsids > 0 ? ", or: " : ": ");
	refusal_say_add(b, r->mech, r->subject);
}

void
refusal_say(struct sbuf *b, const struct refusal *r)
{
	switch (r->verdict) {
	case VERDICT_ALLOW:
		break;
	case VERDICT_NO_MATCH:
		refusal_no_match(b, r);
		break;
	case VERDICT_EXPIRED:
		sbuf_fmt(b,
			 "entry %u, which matches, has expired: rmsctl servers "
			 "remove %u, then rmsctl servers add with a later "
			 "--expires",
			 r->entry, r->entry);
		break;
	case VERDICT_EMPTY:
		sbuf_str(b, "the list is empty: rmsctl servers add");
		break;
	case VERDICT_NO_TABLE:
		sbuf_str(b, "no list is in force: see event 3001");
		break;
	}
}
