/*
 * Purpose: whom an entry is about, in one form: what people write on one side,
 *          what the authorization table matches on the other.
 *
 *	"S-1-5-21-..."		SID; key: its bytes
 *	"name@REALM"		Kerberos principal; key: the text
 *	"DOMAIN\name"		account as NTLM tells it; key: the text
 *	"cert:SUBJECT"		certificate; key: SUBJECT, as RFC 4514 writes it
 *	"cert:<I>ISSUER<S>SUBJECT"	one of this issuer; key: <I>...
 *
 * Case is kept and counts: a MIT realm may hold both Exch01$ and exch01$, and
 * they are two accounts.  (SIDs have no case; "s-1-5" is read as "S-1-5".)
 *
 * Runs in: the master.
 * Trusts:  nobody: texts come from the control socket.
 * Touches: nothing.
 * Failure: -EINVAL with what is wrong, why, and what would do.
 */
#include "master/store_priv.h"

#include <errno.h>
#include <stdarg.h>

#include "shm/base/log.h"

#define CERT_PREFIX "cert:"

/* "quoted text" + rest, as a line. */
PRINTF(3, 4)
static int
refuse(char *err, struct slice text, const char *fmt, ...)
{
	struct sbuf b;
	char why[STORE_ERR / 2];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (text.len > 120) /* the line has a bound */
		text.len = 120;
	sbuf_init(&b, err, STORE_ERR);
	store_quote(&b, text);
	sbuf_char(&b, ' ');
	sbuf_str(&b, why);
	return -EINVAL;
}

static bool
has_prefix(struct slice s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.len >= n && slice_iis((struct slice){s.p, n}, prefix);
}

static void
key_set(struct store_subject *s, enum subject_kind kind, struct slice key)
{
	BUG_ON(key.len > sizeof(s->key));
	s->kind = kind;
	s->len = key.len;
	memcpy(s->key, key.p, key.len);
}

static int
parse_sid(struct slice text, struct store_subject *s, char *err)
{
	uint8_t bytes[SID_BYTES_MAX];
	int n = sid_parse(text, bytes);

	if (n < 0)
		return refuse(
		    err, text,
		    "is not a SID: give all of it, as in S-1-5-21-1004336348-"
		    "1177238915-682003330-512");
	key_set(s, SUBJECT_SID, (struct slice){(char *)bytes, (size_t)n});
	return 0;
}

/* A name that no certificate's could equal is a mistake: they are compared
 * byte for byte, as RFC 4514 writes them. */
static const char *
name_fault(struct slice name)
{
	const char *eq = memchr(name.p, '=', name.len);

	if (eq == NULL || eq == name.p || name.p[0] == '/')
		return "is not a subject: write it as openssl x509 -noout "
		       "-subject -nameopt RFC2253 prints it";
	for (size_t i = 0; i < name.len; i++) {
		if ((unsigned char)name.p[i] >= 0x80)
			return "has characters beyond ASCII: write them as "
			       "openssl x509 -noout -subject -nameopt RFC2253 "
			       "prints them, as in M\\C3\\BCller";
		if (name.p[i] == '\\')
			i++;
		else if (strchr("<>;\"", name.p[i]) != NULL ||
			 ((name.p[i] == ',' || name.p[i] == '=') &&
			  i + 1 < name.len && name.p[i + 1] == ' '))
			return "is not a subject as RFC 4514 writes it: no "
			       "space behind a comma, special characters with "
			       "a backslash; openssl x509 -noout -subject "
			       "-nameopt RFC2253 prints it so";
	}
	return NULL;
}

/* SUBJECT, or <I>ISSUER<S>SUBJECT. */
static const char *
cert_fault(struct slice s)
{
	struct slice issuer;
	const char *fault;
	size_t n = 3;

	if (s.len < 3 || memcmp(s.p, "<I>", 3) != 0)
		return name_fault(s);
	while (n + 3 <= s.len && memcmp(s.p + n, "<S>", 3) != 0)
		n++;
	if (n + 3 > s.len)
		return "names an issuer and nobody: write "
		       "cert:<I>ISSUER<S>SUBJECT";
	issuer = (struct slice){s.p + 3, n - 3};
	fault = name_fault(issuer);
	return fault != NULL
		   ? fault
		   : name_fault((struct slice){s.p + n + 3, s.len - n - 3});
}

static int
parse_cert(struct slice text, struct store_subject *s, char *err)
{
	struct slice subject = {text.p + strlen(CERT_PREFIX),
				text.len - strlen(CERT_PREFIX)};
	const char *fault;

	if (subject.len == 0 || subject.p[0] == ' ')
		return refuse(
		    err, text,
		    "names no certificate: write cert:SUBJECT, without a "
		    "space in between");
	fault = cert_fault(subject);
	if (fault != NULL)
		return refuse(err, text, "%s", fault);
	key_set(s, SUBJECT_CERT, subject);
	return 0;
}

/* Where the realm's '@' is: the one without a backslash before it.  text.len
 * when there is none; *n_r counts them. */
static size_t
realm_at(struct slice text, size_t *n_r, bool *escapes_ok_r)
{
	size_t at = text.len;

	*n_r = 0;
	*escapes_ok_r = true;
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == '\\') {
			i++;
			if (i == text.len || strchr("\\@/", text.p[i]) == NULL)
				*escapes_ok_r = false;
		} else if (text.p[i] == '@') {
			at = i;
			++*n_r;
		}
	}
	return at;
}

static bool
is_realm(struct slice s)
{
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (strchr(" \\/:@", s.p[i]) != NULL)
			return false;
	return true;
}

static int
parse_domain(struct slice text, struct store_subject *s, char *err)
{
	const char *p = memchr(text.p, '\\', text.len);
	size_t domain = p == NULL ? 0 : (size_t)(p - text.p);

	if (p == NULL)
		return refuse(
		    err, text,
		    "has no realm: write NAME@REALM, DOMAIN\\NAME or the "
		    "account's SID");
	if (domain == 0 || domain + 1 == text.len ||
	    memchr(p + 1, '\\', text.len - domain - 1) != NULL ||
	    p[-1] == ' ' || p[1] == ' ')
		return refuse(
		    err, text,
		    "is not DOMAIN\\NAME: both parts, and one backslash");
	key_set(s, SUBJECT_PRINCIPAL, text);
	return 0;
}

static int
parse_principal(struct slice text, struct store_subject *s, char *err)
{
	bool escapes_ok;
	size_t n, at = realm_at(text, &n, &escapes_ok);

	if (n == 0)
		return parse_domain(text, s, err);
	if (n > 1)
		return refuse(
		    err, text,
		    "has more than one @: write the ones of the name as \\@");
	if (!escapes_ok)
		return refuse(
		    err, text,
		    "mixes DOMAIN\\NAME and NAME@REALM: write one of them");
	if (at == 0 || text.p[at - 1] == ' ')
		return refuse(err, text, "has no name before the @");
	if (!is_realm((struct slice){text.p + at + 1, text.len - at - 1}))
		return refuse(
		    err, text,
		    "has no good realm after the @: write NAME@REALM, e.g. "
		    "EXCH01$@CONTOSO.TEST");
	key_set(s, SUBJECT_PRINCIPAL, text);
	return 0;
}

int
store_subject_parse(struct slice text, struct store_subject *s_r, char *err)
{
	const char *fault;

	memset(s_r, 0, sizeof(*s_r));
	if (text.len == 0)
		return store_fail(
		    err, -EINVAL,
		    "the subject is empty: give a SID, NAME@REALM or "
		    "DOMAIN\\NAME");
	if (text.len > SUBJECT_MAX)
		return store_fail(
		    err, -EINVAL,
		    "the subject has %zu bytes, more than the %d that fit: "
		    "use the account's SID",
		    text.len, SUBJECT_MAX);
	fault = store_text_fault(text);
	if (fault != NULL)
		return refuse(err, text, "%s: write it by hand", fault);
	if (text.p[0] == ' ' || text.p[text.len - 1] == ' ')
		return refuse(err, text,
			      "starts or ends with a space: leave it out");
	if (has_prefix(text, "S-1-"))
		return parse_sid(text, s_r, err);
	if (has_prefix(text, CERT_PREFIX))
		return parse_cert(text, s_r, err);
	return parse_principal(text, s_r, err);
}

int
store_subject_text(enum subject_kind kind, struct slice key,
		   char text_r[TABLE_KEY_MAX])
{
	struct sbuf b;

	sbuf_init(&b, text_r, TABLE_KEY_MAX);
	_Static_assert(SID_TEXT_MAX <= TABLE_KEY_MAX, "a SID's text fits");
	if (kind == SUBJECT_SID)
		return sid_text((const uint8_t *)key.p, key.len, text_r) == 0
			   ? 0
			   : -EUCLEAN;
	if (kind == SUBJECT_CERT)
		sbuf_str(&b, CERT_PREFIX);
	else if (kind != SUBJECT_PRINCIPAL)
		return -EUCLEAN;
	sbuf_slice(&b, key);
	return b.cut || key.len == 0 ? -EUCLEAN : 0;
}
