/*
 * Purpose: finds elements in SOAP answers, writes small requests.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody: an answer may be anything.
 * Touches: memory of its callers.
 * Failure: what is not found is empty.
 */
#include "tools/ctl/soap.h"

#include <string.h>

#include "shm/base/log.h"

/* Position of needle in s at or after from; s.len when there is none. */
static size_t
find(struct slice s, size_t from, const char *needle)
{
	const char *p;

	if (from >= s.len)
		return s.len;
	p = memmem(s.p + from, s.len - from, needle, strlen(needle));
	return p == NULL ? s.len : (size_t)(p - s.p);
}

static bool
is_name_end(char c)
{
	return c == '>' || c == '/' || c == ' ' || c == '\t' || c == '\r' ||
	       c == '\n';
}

/* Behind the ">" of the tag that begins at `at`; s.len when it has none. */
static size_t
tag_end(struct slice s, size_t at)
{
	char quote = 0;

	for (size_t i = at; i < s.len; i++) {
		char c = s.p[i];

		if (quote != 0)
			quote = c == quote ? 0 : quote;
		else if (c == '"' || c == '\'')
			quote = c;
		else if (c == '>')
			return i + 1;
	}
	return s.len;
}

/*
 * At "<": the name of a start tag, and behind its ">".  False for everything
 * else that begins so (end tags, comments, declarations), with *next_r behind
 * it.
 */
static bool
start_tag(struct slice s, size_t at, struct slice *name_r, size_t *next_r)
{
	struct slice rest = {s.p + at, s.len - at};
	size_t i;

	if (rest.len >= 4 && memcmp(rest.p, "<!--", 4) == 0) {
		*next_r = MIN(s.len, find(s, at + 4, "-->") + 3);
		return false;
	}
	if (rest.len >= 9 && memcmp(rest.p, "<![CDATA[", 9) == 0) {
		*next_r = MIN(s.len, find(s, at + 9, "]]>") + 3);
		return false;
	}
	*next_r = tag_end(s, at);
	if (rest.len < 2 || strchr("/!?", rest.p[1]) != NULL)
		return false;
	for (i = 1; i < rest.len && !is_name_end(rest.p[i]); i++)
		;
	*name_r = (struct slice){rest.p + 1, i - 1};
	return true;
}

static bool
is_local(struct slice name, const char *local)
{
	const char *colon = memchr(name.p, ':', name.len);

	if (colon != NULL) {
		name.len -= (size_t)(colon + 1 - name.p);
		name.p = colon + 1;
	}
	return slice_is(name, local);
}

/* Where the end tag of `name` begins, from `from` on; s.len: nowhere. */
static size_t
end_tag(struct slice s, size_t from, struct slice name)
{
	size_t at = from;

	while ((at = find(s, at, "</")) < s.len) {
		struct slice rest = {s.p + at + 2, s.len - at - 2};

		if (rest.len > name.len && is_name_end(rest.p[name.len]) &&
		    memcmp(rest.p, name.p, name.len) == 0)
			return at;
		at += 2;
	}
	return s.len;
}

bool
soap_element(struct slice xml, const char *name, size_t *pos,
	     struct slice *content_r, struct slice *tag_r)
{
	size_t at = *pos, next, end;
	struct slice tag;

	for (; (at = find(xml, at, "<")) < xml.len; at = next) {
		if (!start_tag(xml, at, &tag, &next) || !is_local(tag, name))
			continue;
		if (xml.p[next - 1] != '>')
			return false;
		end = xml.p[next - 2] == '/' ? next : end_tag(xml, next, tag);
		if (end == xml.len && xml.p[next - 2] != '/')
			return false;
		*pos = next;
		*content_r = (struct slice){xml.p + next, end - next};
		if (tag_r != NULL)
			*tag_r = (struct slice){xml.p + at, next - at};
		return true;
	}
	return false;
}

struct slice
soap_first(struct slice xml, const char *name)
{
	struct slice content = {"", 0};
	size_t pos = 0;

	(void)soap_element(xml, name, &pos, &content, NULL);
	return content;
}

size_t
soap_count(struct slice xml, const char *name)
{
	struct slice content;
	size_t pos = 0, n = 0;

	while (soap_element(xml, name, &pos, &content, NULL))
		n++;
	return n;
}

struct slice
soap_attr(struct slice tag, const char *name)
{
	size_t n = strlen(name), at = 0;

	for (; (at = find(tag, at, name)) < tag.len; at += n) {
		size_t v = at + n + 2, end;

		if (at == 0 || !is_name_end(tag.p[at - 1]) || v >= tag.len ||
		    tag.p[v - 2] != '=')
			continue;
		end = find(tag, v, tag.p[v - 1] == '\'' ? "'" : "\"");
		return (struct slice){tag.p + v, end - v};
	}
	return (struct slice){"", 0};
}

void
soap_text(struct sbuf *out, struct slice t)
{
	static const struct {
		const char *entity;
		char c;
	} known[] = {{"&lt;", '<'},
		     {"&gt;", '>'},
		     {"&amp;", '&'},
		     {"&quot;", '"'},
		     {"&apos;", '\''}};

	while (t.len > 0) {
		size_t used = 1;
		char c = t.p[0];

		for (size_t i = 0; c == '&' && i < ARRAY_LEN(known); i++) {
			size_t n = strlen(known[i].entity);

			if (t.len >= n &&
			    memcmp(t.p, known[i].entity, n) == 0) {
				c = known[i].c;
				used = n;
				break;
			}
		}
		sbuf_char(out, c);
		t.p += used;
		t.len -= used;
	}
}

void
soap_envelope(struct sbuf *out, const char *service, const char *operation,
	      const char *content, bool versions)
{
	sbuf_str(out, "<?xml version=\"1.0\" encoding=\"utf-8\"?>"
		      "<soap:Envelope xmlns:soap="
		      "\"http://schemas.xmlsoap.org/soap/envelope/\">");
	if (versions) /* 1.0.0.0: one item, no batch (MS-RMPR 3.4.4.1) */
		sbuf_fmt(out,
			 "<soap:Header><VersionData xmlns="
			 "\"http://microsoft.com/DRM/%s\">"
			 "<MinimumVersion>1.0.0.0</MinimumVersion>"
			 "<MaximumVersion>1.0.0.0</MaximumVersion>"
			 "</VersionData></soap:Header>",
			 service);
	sbuf_fmt(out,
		 "<soap:Body><%s xmlns=\"http://microsoft.com/DRM/%s\">%s</%s>"
		 "</soap:Body></soap:Envelope>",
		 operation, service, content, operation);
}
