/*
 * Purpose: take names of accounts apart, and put them into filters in which
 *          they cannot be anything but values.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody: a name may be made to look like a filter.
 * Touches: nothing.
 * Failure: -EINVAL and a line.
 */
#include "tools/ctl/dirname.h"

#include <errno.h>
#include <stdio.h>

#include "shm/base/log.h"

static bool
is_letter(char c)
{
	c = ascii_lower(c);
	return c >= 'a' && c <= 'z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* An attribute and "=": no sAMAccountName has that sign (MS-SAMR 3.1.1.6). */
static bool
is_dn(const char *s)
{
	if (!is_letter(*s))
		return false;
	while (is_letter(*s) || is_digit(*s) || *s == '-' || *s == '.')
		s++;
	return *s == '=';
}

bool
dirname_is_plain(const char *text)
{
	return strncasecmp(text, "S-1-", 4) == 0 ||
	       strncasecmp(text, "cert:", 5) == 0 ||
	       (strchr(text, '@') != NULL && !is_dn(text));
}

static int
refuse(char *err, const char *text, const char *why)
{
	snprintf(err, DIRNAME_ERR_MAX, "\"%.120s\" %s", text, why);
	return -EINVAL;
}

int
dirname_parse(const char *text, struct dirname *n_r, char err[DIRNAME_ERR_MAX])
{
	const char *sep = strchr(text, '\\'), *at = strrchr(text, '@');
	struct slice name = slice_of(text), domain = {"", 0};

	*n_r = (struct dirname){.form = DIRNAME_SAM};
	if (is_dn(text)) {
		n_r->form = DIRNAME_DN;
	} else if (sep != NULL) {
		n_r->form = DIRNAME_NETBIOS;
		domain = (struct slice){text, (size_t)(sep - text)};
		name = slice_of(sep + 1);
	} else if (at != NULL) {
		n_r->form = DIRNAME_UPN;
		domain = slice_of(at + 1);
		name = (struct slice){text, (size_t)(at - text)};
	}
	if (name.len == 0 ||
	    (n_r->form == DIRNAME_NETBIOS && domain.len == 0) ||
	    (n_r->form == DIRNAME_UPN && domain.len == 0))
		return refuse(err, text,
			      "is no name: give DOMAIN\\NAME, NAME@REALM, a "
			      "distinguished name, or a SID");
	if (slice_iis(domain, "BUILTIN") || slice_iis(domain, "NT AUTHORITY") ||
	    slice_is(domain, "."))
		return refuse(err, text,
			      "is a local group or account: it is never in a "
			      "ticket; authorize a group of the domain");
	if (str_copy(n_r->name, sizeof(n_r->name), name) != 0 ||
	    str_copy(n_r->domain, sizeof(n_r->domain), domain) != 0)
		return refuse(err, text, "is too long for a name");
	return 0;
}

void
dirfilter_value(struct sbuf *b, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (is_letter(c) || is_digit(c) ||
		    (c != '\0' && strchr(" -_.$", c) != NULL)) {
			sbuf_char(b, c);
			continue;
		}
		sbuf_char(b, '\\');
		sbuf_hex(b, (unsigned char)c, 2);
	}
}

static void
assertion(struct sbuf *b, const char *attribute, const char *value)
{
	sbuf_char(b, '(');
	sbuf_str(b, attribute);
	sbuf_char(b, '=');
	dirfilter_value(b, slice_of(value));
	sbuf_char(b, ')');
}

void
dirfilter_name(struct sbuf *b, const struct dirname *n)
{
	char upn[DIRNAME_MAX + 260];

	sbuf_str(b, "(&(objectSid=*)(|");
	switch (n->form) {
	case DIRNAME_DN:
		sbuf_str(b, "(objectClass=*)");
		break;
	case DIRNAME_UPN:
		snprintf(upn, sizeof(upn), "%s@%s", n->name, n->domain);
		assertion(b, "userPrincipalName", upn);
		assertion(b, "sAMAccountName", n->name);
		break;
	case DIRNAME_SAM:
		/* What people call it may not be its account name. */
		assertion(b, "cn", n->name);
		assertion(b, "displayName", n->name);
		assertion(b, "sAMAccountName", n->name);
		break;
	case DIRNAME_NETBIOS:
	default:
		assertion(b, "sAMAccountName", n->name);
		break;
	}
	sbuf_str(b, "))");
}

void
dirfilter_members(struct sbuf *b, const char *dn, const char *sid)
{
	const char *rid = strrchr(sid, '-');

	/* MS-ADTS 3.1.1.3.4.4.3: the matching rule that follows the chain. */
	sbuf_str(b,
		 "(&(objectClass=user)(|(memberOf:1.2.840.113556.1.4.1941:=");
	dirfilter_value(b, slice_of(dn));
	sbuf_char(b, ')');
	if (strncmp(sid, "S-1-5-21-", 9) == 0 && rid != NULL)
		assertion(b, "primaryGroupID", rid + 1);
	sbuf_str(b, "))");
}

int
dirsid_text(const void *bytes, size_t len, char text_r[DIRSID_MAX])
{
	const uint8_t *p = bytes;
	uint64_t authority = 0;
	struct sbuf b;

	sbuf_init(&b, text_r, DIRSID_MAX);
	if (len < 8 || p[0] != 1 || p[1] > 15 || len != 8 + 4U * p[1])
		return -EINVAL;
	for (int i = 2; i < 8; i++)
		authority = authority << 8 | p[i];
	sbuf_str(&b, "S-1-");
	sbuf_u64(&b, authority);
	for (size_t i = 8; i < len; i += 4) {
		sbuf_char(&b, '-');
		sbuf_u64(&b, (uint64_t)p[i] | (uint64_t)p[i + 1] << 8 |
				 (uint64_t)p[i + 2] << 16 |
				 (uint64_t)p[i + 3] << 24);
	}
	return b.cut ? -EINVAL : 0;
}

void
dirname_domain_of(const char *dn, char domain_r[256])
{
	struct sbuf b;

	sbuf_init(&b, domain_r, 256);
	/* A comma within a value is escaped, so ",DC=" is one in between. */
	for (const char *p = dn; p != NULL; p = strchr(p, ',')) {
		if (*p == ',')
			p++;
		if (strncasecmp(p, "DC=", 3) != 0)
			continue;
		if (b.len > 0)
			sbuf_char(&b, '.');
		sbuf_slice(&b, (struct slice){p + 3, strcspn(p + 3, ",")});
	}
}
