/*
 * Purpose: find the element that names a request's operation.
 *
 * Runs in: relay.
 * Trusts:  nobody: the text is a client's.
 * Touches: nothing but its argument.
 * Failure: an empty name.
 */
#include "worker/relay/soap.h"

#include "shm/base/log.h"

struct soap_tag {
	struct slice local; /* name without prefix */
	bool end;	    /* </x> */
	bool empty;	    /* <x/> */
};

struct soap_text {
	const char *p;
	const char *end;
};

static bool
soap_starts(const struct soap_text *t, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(t->end - t->p) >= n && memcmp(t->p, word, n) == 0;
}

/* Goes behind the next `word`; false when it is not there. */
static bool
soap_skip_past(struct soap_text *t, const char *word)
{
	size_t n = strlen(word);
	const char *q = memmem(t->p, (size_t)(t->end - t->p), word, n);

	if (q == NULL)
		return false;
	t->p = q + n;
	return true;
}

static bool
soap_name_char(char c)
{
	char l = ascii_lower(c);

	return (c >= '0' && c <= '9') || (l >= 'a' && l <= 'z') || c == '_' ||
	       c == '-' || c == '.' || c == ':' || (c & 0x80) != 0;
}

/* False when the text ends with it: there may be more of the name. */
static bool
soap_name(struct soap_text *t, struct slice *local_r)
{
	const char *start = t->p;

	for (; t->p < t->end && soap_name_char(*t->p); t->p++)
		if (*t->p == ':')
			start = t->p + 1;
	*local_r = (struct slice){start, (size_t)(t->p - start)};
	return t->p < t->end;
}

/* From behind a name to behind its ">"; values may hold any sign but their
 * own quote.  False when the end is not there. */
static bool
soap_attributes(struct soap_text *t, bool *empty_r)
{
	char quote = '\0', last = '\0';

	for (; t->p < t->end; t->p++) {
		char c = *t->p;

		if (quote != '\0') {
			if (c == quote)
				quote = '\0';
		} else if (c == '"' || c == '\'') {
			quote = c;
		} else if (c == '>') {
			t->p++;
			*empty_r = last == '/';
			return true;
		}
		last = c;
	}
	return false;
}

/* Behind what starts with "<" and is no tag.  A document type is not allowed
 * in SOAP (SOAP 1.1 section 3), so what declares one is not looked at. */
static bool
soap_skip(struct soap_text *t)
{
	if (soap_starts(t, "!--")) {
		t->p += 3;
		return soap_skip_past(t, "-->");
	}
	if (soap_starts(t, "![CDATA["))
		return soap_skip_past(t, "]]>");
	if (soap_starts(t, "?"))
		return soap_skip_past(t, "?>");
	return false;
}

/*
 * Goes behind the name of the next tag.  False at the end of the text.  The
 * caller goes on with soap_attributes().
 */
static bool
soap_next(struct soap_text *t, struct soap_tag *tag)
{
	while (soap_skip_past(t, "<")) {
		if (t->p == t->end)
			return false;
		if (*t->p == '!' || *t->p == '?') {
			if (!soap_skip(t))
				return false;
			continue;
		}
		tag->end = *t->p == '/';
		t->p += tag->end;
		return soap_name(t, &tag->local) && tag->local.len > 0;
	}
	return false;
}

struct slice
soap_operation(struct slice text)
{
	const struct slice none = {"", 0};
	struct soap_text t;
	struct soap_tag tag;
	bool in_body = false;
	size_t depth = 0;

	if (text.len == 0)
		return none;
	t = (struct soap_text){text.p,
			       text.p + MIN(text.len, (size_t)SOAP_LOOK_MAX)};
	while (soap_next(&t, &tag)) {
		if (in_body)
			return tag.end ? none : tag.local;
		if (depth == 0 && (tag.end || !slice_is(tag.local, "Envelope")))
			return none;
		if (!soap_attributes(&t, &tag.empty))
			return none;
		in_body = depth == 1 && !tag.end && slice_is(tag.local, "Body");
		if (in_body && tag.empty)
			return none;
		if (tag.end)
			depth--;
		else if (!tag.empty)
			depth++;
	}
	return none;
}
