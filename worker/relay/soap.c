/*
 * Purpose: look into an envelope while it passes: its text, in any pieces.
 *
 * Runs in: relay.
 * Trusts:  nobody: the text is a client's or the cloud's.
 * Touches: nothing but its arguments.
 * Failure: "not to be read", with one of a few reasons.
 *
 * Most of a text is passed over with memchr().  Tags are taken apart where the
 * operation's name and its namespace are found (Envelope, its children, the
 * first element of Body); below, a tag is a name to compare where its parents
 * fit, and else only one level more or less.
 */
#include "worker/relay/soap_priv.h"

#include "shm/base/log.h"

/* Nothing more of the piece is looked at. */
static const char *
soap_give_up(struct soap *s, const char *end, enum soap_unread why)
{
	soap_stop(s, why);
	return end;
}

/* ---- tokens ---------------------------------------------------------- */

static bool
soap_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* XML 1.0 names are not told apart further: any byte of UTF-8 may be in one. */
static bool
soap_is_name(char c)
{
	static const bool name[256] = {
	    ['0' ... '9'] = true, ['A' ... 'Z'] = true,	  ['a' ... 'z'] = true,
	    ['-'] = true,	  ['.'] = true,		  ['_'] = true,
	    [':'] = true,	  [0x80 ... 0xff] = true,
	};

	return name[(unsigned char)c];
}

static void
soap_token_begin(struct soap *s)
{
	s->token_len = 0;
	s->over = false;
}

/* A part of a token at the end of a piece. */
static void
soap_token_keep(struct soap *s, const char *p, size_t n)
{
	if (n > (size_t)(SOAP_TOKEN_MAX - s->token_len)) {
		s->over = true;
		return;
	}
	memcpy(s->token + s->token_len, p, n);
	s->token_len = (uint8_t)(s->token_len + n);
}

/* Its last part: the whole, in place where it did not come in pieces.  False
 * when it is too long for one of ours. */
static bool
soap_token_end(struct soap *s, const char *p, size_t n, struct slice *r)
{
	*r = (struct slice){p, n};
	if (s->token_len == 0 && !s->over)
		return n <= SOAP_TOKEN_MAX;
	soap_token_keep(s, p, n);
	*r = (struct slice){s->token, s->token_len};
	return !s->over;
}

/* ---- the text, place by place ---------------------------------------- */

/* A byte order mark, one byte after the other. */
static const char *
soap_at_start(struct soap *s, const char *p, const char *end)
{
	static const char bom[] = "\xef\xbb\xbf";

	if (*p == bom[s->token_len]) {
		s->at = ++s->token_len == sizeof(bom) - 1 ? AT_TEXT : AT_START;
		return p + 1;
	}
	/* of UTF-16 or UTF-32, or half of ours */
	if (s->token_len > 0 || *p == '\xfe' || *p == '\xff' || *p == '\0')
		return soap_give_up(s, end, SOAP_ENCODING);
	s->at = AT_TEXT;
	return p;
}

/* Behind the ">" of a start tag, past values; NULL when it is not there. */
static const char *
soap_tag_end(const char *p, const char *end)
{
	for (; p < end && *p != '>'; p++) {
		if (*p != '"' && *p != '\'')
			continue;
		p = memchr(p + 1, *p, (size_t)(end - p - 1));
		if (p == NULL)
			return NULL;
	}
	return p < end ? p + 1 : NULL;
}

/* The name that a whole tag starts with; false when it is none or is cut. */
static bool
soap_short_name(const char *p, const char *end, struct slice *name_r)
{
	const char *q = p;

	while (q < end && soap_is_name(*q))
		q++;
	*name_r = (struct slice){p, (size_t)(q - p)};
	return q < end && name_r->len <= SOAP_TOKEN_MAX &&
	       (*q == '>' || *q == '/' || soap_is_space(*q));
}

/*
 * Counting, a tag that is whole: the same in one go, for most of a licence is
 * tags.  From behind a "<": behind the tag, or NULL when the long way has to
 * be gone.
 */
static const char *
soap_pass_tag(struct soap *s, const char *p, const char *end)
{
	struct slice name;
	const char *q;

	if (p < end && *p == '/') {
		soap_closed(s);
		return p + 1;
	}
	if (p == end || !soap_is_name(*p))
		return NULL;
	q = soap_tag_end(p, end);
	if (q == NULL)
		return NULL;
	s->hit = s->mark_hit = false;
	if (soap_name_matters(s) && (!soap_short_name(p, end, &name) ||
				     soap_counted_name(s, name) != AT_SKIP))
		return NULL;
	soap_opened(s, q[-2] == '/');
	return q;
}

static const char *
soap_at_text(struct soap *s, const char *p, const char *end)
{
	const char *lt = memchr(p, '<', (size_t)(end - p)), *q;

	while (s->stage == STAGE_COUNT && lt != NULL &&
	       (q = soap_pass_tag(s, lt + 1, end)) != NULL) {
		if (s->state != SOAP_READING)
			return q;
		p = q;
		lt = memchr(p, '<', (size_t)(end - p));
	}
	if (s->depth == 0) {
		for (; p < end && p != lt; p++) {
			s->fresh = false;
			if (!soap_is_space(*p))
				return soap_give_up(s, end, SOAP_MALFORMED);
		}
	}
	if (lt == NULL)
		return end;
	s->at = AT_LT;
	return lt + 1;
}

static const char *
soap_at_lt(struct soap *s, const char *p, const char *end)
{
	bool fresh = s->fresh;

	s->fresh = false;
	soap_token_begin(s);
	s->last[0] = s->last[1] = '\0';
	if (*p == '/') { /* there is no other "<" in an end tag */
		soap_closed(s);
		return p + 1;
	}
	if (*p == '!') {
		s->at = AT_BANG;
		return p + 1;
	}
	if (*p == '?') {
		s->at = fresh ? AT_DECL : AT_PI;
		return p + 1;
	}
	if (!soap_is_name(*p))
		return soap_give_up(
		    s, end, *p == '\0' ? SOAP_ENCODING : SOAP_MALFORMED);
	s->slash = false;
	s->at = soap_name_matters(s) ? AT_NAME : AT_SKIP;
	return p;
}

static const char *
soap_at_bang(struct soap *s, const char *p, const char *end)
{
	static const char comment[] = "--", cdata[] = "[CDATA[";
	const char *word =
	    s->token_len > 0 && s->token[0] == '[' ? cdata : comment;

	if (s->token_len == 0)
		word = *p == '[' ? cdata : comment;
	if (*p != word[s->token_len])
		return soap_give_up(s, end, SOAP_DOCTYPE);
	s->token[s->token_len++] = *p;
	if (word[s->token_len] != '\0')
		return p + 1;
	if (word == cdata && s->depth == 0)
		return soap_give_up(s, end, SOAP_MALFORMED);
	s->at = word == cdata ? AT_CDATA : AT_COMMENT;
	return p + 1;
}

/* Until ">" behind `mark` (and behind another, when two).  The bytes before
 * may have come with an earlier piece. */
static const char *
soap_until(struct soap *s, const char *p, const char *end, char mark, bool two)
{
	const char *start = p, *q;

	while ((q = memchr(p, '>', (size_t)(end - p))) != NULL) {
		char one = q > start ? q[-1] : s->last[1];
		char other = q > start + 1    ? q[-2]
			     : q == start + 1 ? s->last[1]
					      : s->last[0];

		if (one == mark && (!two || other == mark)) {
			s->at = AT_TEXT;
			return q + 1;
		}
		p = q + 1;
	}
	s->last[0] = end - start > 1 ? end[-2] : s->last[1];
	s->last[1] = end[-1];
	return end;
}

/* The value of encoding="..." in an XML declaration, or what is the same. */
static struct slice
soap_encoding(struct slice decl)
{
	static const char key[] = "encoding";
	const char *end = decl.p + decl.len, *close;
	const char *p = memmem(decl.p, decl.len, key, sizeof(key) - 1);

	if (p == NULL)
		return SLICE_LIT("utf-8");
	for (p += sizeof(key) - 1; p < end && *p != '"' && *p != '\''; p++)
		;
	close = p < end ? memchr(p + 1, *p, (size_t)(end - p - 1)) : NULL;
	if (close == NULL)
		return SLICE_LIT("");
	return (struct slice){p + 1, (size_t)(close - p - 1)};
}

/* What a text starts with, "<?xml ...?>" or another instruction. */
static const char *
soap_at_decl(struct soap *s, const char *p, const char *end)
{
	const char *gt = memchr(p, '>', (size_t)(end - p));
	struct slice all, encoding;

	if (gt == NULL) {
		soap_token_keep(s, p, (size_t)(end - p));
		return s->over ? soap_give_up(s, end, SOAP_LIMIT) : end;
	}
	/* with the ">", which may be one in a value */
	if (!soap_token_end(s, p, (size_t)(gt + 1 - p), &all))
		return soap_give_up(s, end, SOAP_LIMIT);
	if (all.len < 2 || all.p[all.len - 2] != '?') {
		if (all.p != s->token)
			soap_token_keep(s, p, (size_t)(gt + 1 - p));
		return gt + 1;
	}
	encoding = soap_encoding(all);
	if (all.len > 3 && memcmp(all.p, "xml", 3) == 0 &&
	    soap_is_space(all.p[3]) && !slice_iis(encoding, "utf-8") &&
	    !slice_iis(encoding, "us-ascii"))
		return soap_give_up(s, end, SOAP_ENCODING);
	s->at = AT_TEXT;
	return gt + 1;
}

static const char *
soap_at_name(struct soap *s, const char *p, const char *end)
{
	const char *q = p;
	struct slice name;
	bool whole;

	while (q < end && soap_is_name(*q))
		q++;
	if (q == end) {
		soap_token_keep(s, p, (size_t)(q - p));
		return end;
	}
	if (*q != '>' && *q != '/' && !soap_is_space(*q))
		return soap_give_up(s, end, SOAP_MALFORMED);
	whole = soap_token_end(s, p, (size_t)(q - p), &name);
	if (s->stage == STAGE_COUNT) {
		s->at = AT_SKIP;
		if (whole)
			s->at = (uint8_t)soap_counted_name(s, name);
		return q;
	}
	if (!whole)
		return soap_give_up(s, end, SOAP_LIMIT);
	memcpy(s->name, name.p, name.len);
	s->name_len = (uint8_t)name.len;
	s->at = AT_TAG;
	return q;
}

/* A tag of which nothing more matters: to its ">", past values. */
static const char *
soap_at_skip(struct soap *s, const char *p, const char *end)
{
	const char *start = p;

	while (p < end && *p != '>' && *p != '"' && *p != '\'')
		p++;
	if (p > start)
		s->slash = p[-1] == '/';
	if (p == end)
		return end;
	if (*p == '>') {
		soap_opened(s, s->slash);
		return p + 1;
	}
	s->quote = (uint8_t)*p;
	s->slash = false;
	s->at = AT_SKIP_QUOTE;
	return p + 1;
}

static const char *
soap_at_skip_quote(struct soap *s, const char *p, const char *end)
{
	const char *q = memchr(p, s->quote, (size_t)(end - p));

	if (q == NULL)
		return end;
	s->at = AT_SKIP;
	return q + 1;
}

static const char *
soap_at_tag(struct soap *s, const char *p, const char *end)
{
	while (p < end && soap_is_space(*p))
		p++;
	if (p == end)
		return end;
	if (*p == '>') {
		soap_opened(s, false);
		return p + 1;
	}
	if (*p == '/') {
		s->at = AT_SLASH;
		return p + 1;
	}
	if (!soap_is_name(*p))
		return soap_give_up(s, end, SOAP_MALFORMED);
	soap_token_begin(s);
	s->at = AT_ATTR;
	return p;
}

static const char *
soap_at_slash(struct soap *s, const char *p, const char *end)
{
	if (*p != '>')
		return soap_give_up(s, end, SOAP_MALFORMED);
	soap_opened(s, true);
	return p + 1;
}

static const char *
soap_at_attr(struct soap *s, const char *p, const char *end)
{
	const char *q = p;
	struct slice name;

	while (q < end && soap_is_name(*q))
		q++;
	if (q == end) {
		soap_token_keep(s, p, (size_t)(q - p));
		return end;
	}
	s->want = soap_token_end(s, p, (size_t)(q - p), &name) &&
		  soap_attribute(s, name);
	s->at = AT_EQUALS;
	s->quote = 0;
	return s->state == SOAP_DONE ? end : q;
}

/* "=" and the quote, with space around. */
static const char *
soap_at_equals(struct soap *s, const char *p, const char *end)
{
	if (soap_is_space(*p))
		return p + 1;
	if (*p == '=' && s->quote == 0) {
		s->quote = '=';
		return p + 1;
	}
	if ((*p != '"' && *p != '\'') || s->quote == 0)
		return soap_give_up(s, end, SOAP_MALFORMED);
	s->quote = (uint8_t)*p;
	soap_token_begin(s);
	s->at = AT_VALUE;
	return p + 1;
}

static const char *
soap_at_value(struct soap *s, const char *p, const char *end)
{
	const char *q = memchr(p, s->quote, (size_t)(end - p));
	size_t n = (size_t)((q == NULL ? end : q) - p);
	struct slice v;
	bool whole;

	/* a name written with references is not one that we know */
	if (s->want && memchr(p, '&', n) != NULL)
		return soap_give_up(s, end, SOAP_NO_SOAP);
	if (q == NULL) {
		soap_token_keep(s, p, n);
		return end;
	}
	whole = soap_token_end(s, p, n, &v);
	if (s->want && s->stage != STAGE_COUNT)
		soap_declare(s, v, whole);
	else if (s->want)
		s->nil = whole && (slice_is(v, "true") || slice_is(v, "1"));
	s->at = AT_TAG;
	return q + 1;
}

static const char *
soap_step(struct soap *s, const char *p, const char *end)
{
	switch ((enum soap_at)s->at) {
	case AT_START:
		return soap_at_start(s, p, end);
	case AT_TEXT:
		return soap_at_text(s, p, end);
	case AT_LT:
		return soap_at_lt(s, p, end);
	case AT_BANG:
		return soap_at_bang(s, p, end);
	case AT_COMMENT:
		return soap_until(s, p, end, '-', true);
	case AT_CDATA:
		return soap_until(s, p, end, ']', true);
	case AT_PI:
		return soap_until(s, p, end, '?', false);
	case AT_DECL:
		return soap_at_decl(s, p, end);
	case AT_NAME:
		return soap_at_name(s, p, end);
	case AT_SKIP:
		return soap_at_skip(s, p, end);
	case AT_SKIP_QUOTE:
		return soap_at_skip_quote(s, p, end);
	case AT_TAG:
		return soap_at_tag(s, p, end);
	case AT_SLASH:
		return soap_at_slash(s, p, end);
	case AT_ATTR:
		return soap_at_attr(s, p, end);
	case AT_EQUALS:
		return soap_at_equals(s, p, end);
	case AT_VALUE:
		break;
	}
	return soap_at_value(s, p, end);
}

size_t
soap_feed(struct soap *s, const char *p, size_t n)
{
	const char *at = p, *end = p + n;

	while (at < end && s->state == SOAP_READING)
		at = soap_step(s, at, end);
	return s->state == SOAP_DONE ? n : (size_t)(at - p);
}

bool
soap_is_new(const struct soap *s)
{
	return s->state == SOAP_READING && s->at == AT_START &&
	       s->token_len == 0;
}
