/*
 * Purpose: read the heads of requests and replies, refusing what is ambiguous.
 *
 * Runs in: relay.
 * Trusts:  nobody: the bytes are an attacker's.
 * Touches: nothing but its arguments.
 * Failure: a reason; the caller answers and closes.
 */
#include "worker/relay/http.h"

#include <string.h>

#include "shm/base/log.h"

/* Character classes of RFC 9110 5.6.2 and 5.5. */
#define C_TOKEN 1 /* tchar */
#define C_VALUE 2 /* field-vchar, SP, HTAB */
#define C_PATH	4 /* visible ASCII of a request target */

#define TV (C_TOKEN | C_VALUE | C_PATH)
#define VP (C_VALUE | C_PATH)

static const uint8_t http_class[256] = {
    ['\t'] = C_VALUE,
    [' '] = C_VALUE,
    ['!'] = TV,
    ['"'] = C_VALUE,
    ['#'] = C_VALUE | C_TOKEN,
    ['$'] = TV,
    ['%'] = TV,
    ['&'] = TV,
    ['\''] = TV,
    ['('] = VP,
    [')'] = VP,
    ['*'] = TV,
    ['+'] = TV,
    [','] = VP,
    ['-'] = TV,
    ['.'] = TV,
    ['/'] = VP,
    ['0' ... '9'] = TV,
    [':'] = VP,
    [';'] = VP,
    ['<'] = C_VALUE,
    ['='] = VP,
    ['>'] = C_VALUE,
    ['?'] = VP,
    ['@'] = VP,
    ['A' ... 'Z'] = TV,
    ['['] = C_VALUE,
    ['\\'] = C_VALUE,
    [']'] = C_VALUE,
    ['^'] = C_VALUE | C_TOKEN,
    ['_'] = TV,
    ['`'] = C_VALUE | C_TOKEN,
    ['a' ... 'z'] = TV,
    ['{'] = C_VALUE,
    ['|'] = C_VALUE | C_TOKEN,
    ['}'] = C_VALUE,
    ['~'] = TV,
    [0x80 ... 0xff] = C_VALUE,
};

static const struct {
	const char *name;
	uint8_t len;
	uint8_t request; /* enum field_fate */
	uint8_t reply;
} http_known[] = {
#define PASS FATE_PASS
#define OURS FATE_OURS
#define DROP FATE_DROP
#define FIELD(ident, name, request, reply) \
	[FIELD_##ident] = {name, sizeof(name) - 1, request, reply},
#include "worker/relay/fields.def"
#undef FIELD
#undef PASS
#undef OURS
#undef DROP
};

static bool
http_all(const char *p, size_t len, uint8_t class)
{
	for (size_t i = 0; i < len; i++)
		if ((http_class[(unsigned char)p[i]] & class) == 0)
			return false;
	return true;
}

/* The same for C_VALUE, eight bytes at a time: none below SP, none DEL.  Where
 * one may be, as HTAB is, the table tells. */
static bool
http_all_value(const char *p, size_t len)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
	uint64_t v, low, del;

	for (; len >= sizeof(v); p += sizeof(v), len -= sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		/* a byte less than n: its top bit is borrowed; bytes above one
		 * that borrows may be told for nothing */
		low = (v - ones * ' ') & ~v;
		del = ((v ^ ones * 0x7f) - ones) & ~(v ^ ones * 0x7f);
		if (((low | del) & tops) != 0 &&
		    !http_all(p, sizeof(v), C_VALUE))
			return false;
	}
	return http_all(p, len, C_VALUE);
}

bool
http_is_token(struct slice s)
{
	return s.len > 0 && http_all(s.p, s.len, C_TOKEN);
}

bool
http_empty_line(const char *p, size_t len, size_t *len_r)
{
	*len_r = 0;
	if (len == 0 || p[0] != '\r')
		return true;
	if (len == 1)
		return false;
	*len_r = p[1] == '\n' ? 2 : 0;
	return true;
}

enum http_scan_result
http_scan(struct http_scan *s, const char *p, size_t len, size_t *len_r)
{
	while (s->pos < len) {
		const char *nl = memchr(p + s->pos, '\n', len - s->pos);
		size_t end;

		if (nl == NULL) {
			s->pos = len;
			break;
		}
		end = (size_t)(nl - p);
		if (end == s->line || p[end - 1] != '\r')
			return HTTP_BAD_LINE;
		if (memchr(p + s->line, '\r', end - 1 - s->line) != NULL)
			return HTTP_BAD_LINE;
		s->pos = end + 1;
		if (end - 1 == s->line && s->line > 0) {
			*len_r = s->pos;
			return HTTP_DONE;
		}
		if (end - 1 == s->line) /* an empty line where a request or */
			return HTTP_BAD_LINE; /* status line should be */
		s->line = s->pos;
	}
	return HTTP_MORE;
}

_Static_assert(FIELD_OTHER <= 64, "a bit for each known field");

/* Those whose names have this length; made at the first use. */
static uint64_t
http_known_of(size_t len)
{
	static uint64_t of[UINT8_MAX + 1];
	static bool made;

	for (size_t i = 0; !made && i < ARRAY_LEN(http_known); i++)
		of[http_known[i].len] |= UINT64_C(1) << i;
	made = true;
	return len < ARRAY_LEN(of) ? of[len] : 0;
}

static enum http_field_id
http_field_find(struct slice name)
{
	char first = ascii_lower(name.p[0]);
	uint64_t left = http_known_of(name.len);

	for (; left != 0; left &= left - 1) {
		size_t i = (size_t)__builtin_ctzll(left);

		if (http_known[i].name[0] == first &&
		    slice_ieq(name, (struct slice){http_known[i].name,
						   http_known[i].len}))
			return (enum http_field_id)i;
	}
	return FIELD_OTHER;
}

enum field_fate
http_fate_req(const struct http_field *f)
{
	if (f->hop || f->id == FIELD_OTHER)
		return FATE_DROP;
	return (enum field_fate)http_known[f->id].request;
}

enum field_fate
http_fate_reply(const struct http_field *f)
{
	if (f->hop)
		return FATE_DROP;
	if (f->id == FIELD_OTHER)
		return FATE_PASS;
	return (enum field_fate)http_known[f->id].reply;
}

/* The line at *p, without CR LF; moves *p behind it. */
static struct slice
http_line(const char **p, const char *end)
{
	const char *nl = memchr(*p, '\n', (size_t)(end - *p));
	struct slice s;

	BUG_ON(nl == NULL || nl == *p);
	s = (struct slice){*p, (size_t)(nl - *p) - 1};
	*p = nl + 1;
	return s;
}

struct slice
http_trim(struct slice s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* One field line.  RFC 9112 5: no space before the colon, no folding. */
static enum reason
http_parse_field(struct slice line, struct http_field *f)
{
	size_t n = 0;

	if (line.p[0] == ' ' || line.p[0] == '\t')
		return REASON_OBS_FOLD;
	while (n < line.len &&
	       (http_class[(unsigned char)line.p[n]] & C_TOKEN) != 0)
		n++;
	if (n == 0 || n == line.len || line.p[n] != ':')
		return REASON_BAD_FIELD;
	f->name = (struct slice){line.p, n};
	f->value = http_trim((struct slice){line.p + n + 1, line.len - n - 1});
	f->hop = false;
	if (!http_all_value(f->value.p, f->value.len))
		return REASON_BAD_FIELD;
	f->id = http_field_find(f->name);
	return REASON_OK;
}

bool
http_list_next(struct slice *rest, struct slice *item_r)
{
	while (rest->len > 0) {
		const char *comma = memchr(rest->p, ',', rest->len);
		size_t n =
		    comma == NULL ? rest->len : (size_t)(comma - rest->p);

		*item_r = http_trim((struct slice){rest->p, n});
		n += comma != NULL;
		rest->p += n;
		rest->len -= n;
		if (item_r->len > 0)
			return true;
	}
	return false;
}

/* What the fields of one head say about framing and persistence. */
struct http_gather {
	struct http_field *field;
	size_t n;
	size_t count[FIELD_OTHER]; /* how often each was there */
	size_t hops;		   /* options of Connection */
	uint64_t length;
	bool bad_length, chunked_only, close, keep_alive;
};

static void
http_gather_length(struct http_gather *g, struct slice v)
{
	/* 2^63 - 1: what any other implementation can hold too. */
	if (str_u64(v, INT64_MAX, &g->length) != 0)
		g->bad_length = true;
}

static enum reason
http_gather_connection(struct http_gather *g, struct slice v)
{
	struct slice item;

	while (http_list_next(&v, &item)) {
		if (!http_is_token(item) || ++g->hops > HTTP_HOPS_MAX)
			return REASON_BAD_FIELD;
		if (slice_iis(item, "close"))
			g->close = true;
		else if (slice_iis(item, "keep-alive"))
			g->keep_alive = true;
	}
	return REASON_OK;
}

/* Marks the fields that Connection names.  Those that frame or route the
 * message cannot be named away. */
static void
http_mark_hops(struct http_gather *g, struct slice v)
{
	struct slice item;

	while (http_list_next(&v, &item)) {
		for (size_t i = 0; i < g->n; i++) {
			if (g->field[i].id == FIELD_HOST ||
			    g->field[i].id == FIELD_CONTENT_LENGTH ||
			    g->field[i].id == FIELD_TRANSFER_ENCODING)
				continue;
			if (slice_ieq(g->field[i].name, item))
				g->field[i].hop = true;
		}
	}
}

static enum reason
http_gather_field(struct http_gather *g, const struct http_field *f)
{
	if (f->id == FIELD_OTHER)
		return REASON_OK;
	g->count[f->id]++;
	if (f->id == FIELD_CONTENT_LENGTH)
		http_gather_length(g, f->value);
	else if (f->id == FIELD_TRANSFER_ENCODING)
		g->chunked_only = slice_iis(f->value, "chunked");
	else if (f->id == FIELD_CONNECTION)
		return http_gather_connection(g, f->value);
	return REASON_OK;
}

/* Parses field lines up to the empty one. */
static enum reason
http_parse_fields(struct http_gather *g, const char *p, const char *end,
		  size_t fields_max)
{
	enum reason why;
	struct slice line;

	for (;;) {
		line = http_line(&p, end);
		if (line.len == 0)
			break;
		if (g->n == MIN(fields_max, (size_t)HTTP_FIELDS_MAX))
			return REASON_HEAD_TOO_LARGE;
		why = http_parse_field(line, &g->field[g->n]);
		if (why == REASON_OK)
			why = http_gather_field(g, &g->field[g->n]);
		if (why != REASON_OK)
			return why;
		g->n++;
	}
	for (size_t i = 0; i < g->n; i++)
		if (g->field[i].id == FIELD_CONNECTION)
			http_mark_hops(g, g->field[i].value);
	return REASON_OK;
}

static bool
http_is_hex(char c)
{
	return (c >= '0' && c <= '9') ||
	       (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
}

/* A name or an IPv4 address: unreserved characters of RFC 3986 2.3.  Escapes
 * and sub-delimiters occur in no name of a server. */
static bool
http_is_host_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = ascii_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '.' && c != '_' && c != '~')
			return false;
	}
	return s.len > 0;
}

/* What stands between "[" and "]": looks like an IPv6 address. */
static bool
http_is_host_v6(struct slice s)
{
	size_t colons = 0;

	for (size_t i = 0; i < s.len; i++) {
		colons += s.p[i] == ':';
		if (s.p[i] != ':' && s.p[i] != '.' && !http_is_hex(s.p[i]))
			return false;
	}
	return colons >= 2 && s.len <= 45;
}

/* host [":" port] as in RFC 9110 7.2; no comma, no user information. */
static bool
http_is_authority(struct slice s)
{
	struct slice host = s, port;
	const char *end;
	uint64_t n;

	if (s.len == 0 || s.len > 255)
		return false;
	end = memchr(s.p, s.p[0] == '[' ? ']' : ':', s.len);
	if (s.p[0] == '[' && end == NULL)
		return false;
	if (end != NULL)
		host.len = (size_t)(end - s.p);
	port = (struct slice){s.p + host.len, s.len - host.len};
	if (s.p[0] == '[') {
		host = (struct slice){host.p + 1, host.len - 1};
		port = (struct slice){port.p + 1, port.len - 1};
		if (!http_is_host_v6(host))
			return false;
	} else if (!http_is_host_name(host)) {
		return false;
	}
	if (port.len == 0)
		return true;
	if (port.p[0] != ':')
		return false;
	port = (struct slice){port.p + 1, port.len - 1};
	return port.len == 0 || str_u64(port, UINT16_MAX, &n) == 0;
}

/* The forms that belong to one method each, and right with it (RFC 9112 3.2.3,
 * 3.2.4).  Nobody can be served by either here. */
static bool
http_is_foreign_form(const struct http_req *r)
{
	if (slice_is(r->method_text, "OPTIONS"))
		return slice_is(r->target, "*");
	return slice_is(r->method_text, "CONNECT") &&
	       http_is_authority(r->target);
}

/* origin-form or absolute-form (RFC 9112 3.2); splits path and query. */
static enum reason
http_parse_target(struct http_req *r, struct slice *authority_r)
{
	struct slice t = r->target;
	const char *q;
	size_t skip = 0;

	*authority_r = (struct slice){NULL, 0};
	if (t.len > HTTP_TARGET_MAX)
		return REASON_TARGET_TOO_LONG;
	if (http_is_foreign_form(r))
		return REASON_METHOD;
	if (!http_all(t.p, t.len, C_PATH) ||
	    slice_is(r->method_text, "CONNECT"))
		return REASON_BAD_TARGET;
	if (t.len >= 7 && slice_iis((struct slice){t.p, 7}, "http://"))
		skip = 7;
	else if (t.len >= 8 && slice_iis((struct slice){t.p, 8}, "https://"))
		skip = 8;
	if (skip > 0) {
		const char *slash = memchr(t.p + skip, '/', t.len - skip);

		if (slash == NULL)
			return REASON_BAD_TARGET;
		*authority_r =
		    (struct slice){t.p + skip, (size_t)(slash - t.p) - skip};
		t.len -= (size_t)(slash - t.p);
		t.p = slash;
	}
	if (t.len == 0 || t.p[0] != '/')
		return REASON_BAD_TARGET;
	q = memchr(t.p, '?', t.len);
	r->path = t;
	r->query = (struct slice){t.p + t.len, 0};
	if (q != NULL) {
		r->path.len = (size_t)(q - t.p);
		r->query = (struct slice){q + 1, t.len - r->path.len - 1};
	}
	return REASON_OK;
}

static enum http_method
http_method_of(struct slice m)
{
	static const char *const other[] = {"PUT",     "DELETE", "OPTIONS",
					    "CONNECT", "TRACE",	 "PATCH"};

	if (slice_is(m, "POST"))
		return HTTP_POST;
	if (slice_is(m, "GET"))
		return HTTP_GET;
	if (slice_is(m, "HEAD"))
		return HTTP_HEAD;
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		if (slice_is(m, other[i]))
			return HTTP_OTHER;
	return HTTP_UNKNOWN;
}

/* method SP target SP HTTP/1.x, exactly one space each (RFC 9112 3). */
static enum reason
http_parse_request_line(struct http_req *r, struct slice line)
{
	const char *sp1 = memchr(line.p, ' ', line.len), *sp2;
	struct slice v;
	size_t left;

	if (sp1 == NULL)
		return REASON_BAD_REQUEST_LINE;
	r->method_text = (struct slice){line.p, (size_t)(sp1 - line.p)};
	left = line.len - r->method_text.len - 1;
	sp2 = memchr(sp1 + 1, ' ', left);
	if (sp2 == NULL || !http_is_token(r->method_text))
		return REASON_BAD_REQUEST_LINE;
	r->target = (struct slice){sp1 + 1, (size_t)(sp2 - sp1) - 1};
	v = (struct slice){sp2 + 1, left - r->target.len - 1};
	if (r->target.len == 0 || v.len != 8 || memcmp(v.p, "HTTP/", 5) != 0 ||
	    v.p[5] < '0' || v.p[5] > '9' || v.p[6] != '.' || v.p[7] < '0' ||
	    v.p[7] > '9')
		return REASON_BAD_REQUEST_LINE;
	if (v.p[5] != '1' || v.p[7] > '1')
		return REASON_VERSION;
	r->minor = v.p[7] - '0';
	r->method = http_method_of(r->method_text);
	return REASON_OK;
}

static void
http_req_pick(struct http_req *r)
{
	for (size_t i = 0; i < r->nfields; i++) {
		const struct http_field *f = &r->field[i];

		if (f->id == FIELD_HOST)
			r->host = f->value;
		else if (f->id == FIELD_AUTHORIZATION)
			r->authorization = f->value;
		else if (f->id == FIELD_SOAPACTION)
			r->soap_action = f->value;
		else if (f->id == FIELD_CONTENT_TYPE)
			r->content_type = f->value;
		else if (f->id == FIELD_VIA || f->id == FIELD_FORWARDED ||
			 f->id == FIELD_X_FORWARDED_FOR)
			r->intermediary = true;
	}
}

/* Fields of which two readers would take different ones.  Host and the
 * framing have reasons of their own. */
static enum reason
http_req_singles(const struct http_gather *g)
{
	static const enum http_field_id once[] = {
	    FIELD_AUTHORIZATION, FIELD_CONTENT_TYPE, FIELD_SOAPACTION};

	for (size_t i = 0; i < ARRAY_LEN(once); i++)
		if (g->count[once[i]] > 1)
			return REASON_BAD_FIELD;
	return REASON_OK;
}

/* RFC 9112 6: how long the body is, or why nobody can say. */
static enum reason
http_req_framing(struct http_req *r, const struct http_gather *g)
{
	size_t lengths = g->count[FIELD_CONTENT_LENGTH];
	size_t codings = g->count[FIELD_TRANSFER_ENCODING];

	r->framing = HTTP_NO_BODY;
	if (codings > 0 && lengths > 0)
		return REASON_LENGTH_AND_TE;
	if (codings > 0) {
		if (codings > 1 || !g->chunked_only || r->minor == 0)
			return REASON_BAD_TE;
		r->framing = HTTP_CHUNKED;
		return REASON_OK;
	}
	if (lengths == 0)
		return REASON_OK;
	if (lengths > 1 || g->bad_length)
		return REASON_BAD_LENGTH;
	r->has_length = true;
	r->length = g->length;
	r->framing = g->length > 0 ? HTTP_LENGTH : HTTP_NO_BODY;
	return REASON_OK;
}

static enum reason
http_req_expect(struct http_req *r, const struct http_gather *g)
{
	if (g->count[FIELD_EXPECT] == 0)
		return REASON_OK;
	for (size_t i = 0; i < r->nfields; i++)
		if (r->field[i].id == FIELD_EXPECT &&
		    !slice_iis(r->field[i].value, "100-continue"))
			return REASON_BAD_EXPECT;
	/* RFC 9110 10.1.1: HTTP/1.0 cannot expect; without a body it is moot */
	r->expect_continue = r->minor == 1 && r->framing != HTTP_NO_BODY;
	return REASON_OK;
}

static enum reason
http_req_sizes(const struct http_req *r, size_t len,
	       const struct http_limits *lim)
{
	if (r->authorization.len > lim->auth_max)
		return REASON_AUTH_TOO_LARGE;
	if (len - r->authorization.len > lim->head_max)
		return REASON_HEAD_TOO_LARGE;
	return REASON_OK;
}

static enum reason
http_req_host(const struct http_req *r, const struct http_gather *g,
	      struct slice authority)
{
	size_t hosts = g->count[FIELD_HOST];

	if (hosts > 1 || (hosts == 0 && r->minor == 1))
		return REASON_BAD_HOST;
	if (hosts == 1 && !http_is_authority(r->host))
		return REASON_BAD_HOST;
	if (authority.p != NULL &&
	    (hosts == 0 || !slice_ieq(authority, r->host)))
		return REASON_BAD_HOST;
	return REASON_OK;
}

enum reason
http_parse_req(struct http_req *r, const char *p, size_t len,
	       const struct http_limits *lim)
{
	const char *end = p + len;
	struct http_gather g = {.field = r->field};
	struct slice authority;
	enum reason why;

	/* field[] is not cleared: nfields bounds it */
	memset(r, 0, offsetof(struct http_req, field));
	why = http_parse_request_line(r, http_line(&p, end));
	if (why == REASON_OK)
		why = http_parse_target(r, &authority);
	if (why == REASON_OK)
		why = http_parse_fields(&g, p, end, lim->fields_max);
	if (why != REASON_OK)
		return why;
	r->nfields = g.n;
	http_req_pick(r);
	why = http_req_sizes(r, len, lim);
	if (why == REASON_OK)
		why = http_req_host(r, &g, authority);
	if (why == REASON_OK)
		why = http_req_framing(r, &g);
	if (why == REASON_OK && r->framing != HTTP_NO_BODY &&
	    (r->method == HTTP_GET || r->method == HTTP_HEAD))
		why = REASON_BODY_UNEXPECTED;
	if (why == REASON_OK)
		why = http_req_singles(&g);
	if (why == REASON_OK)
		why = http_req_expect(r, &g);
	if (why != REASON_OK)
		return why;
	r->keep_alive = r->minor == 1 ? !g.close : g.keep_alive && !g.close;
	if (r->framing == HTTP_LENGTH && r->length > lim->body_max)
		return REASON_BODY_TOO_LARGE;
	return REASON_OK;
}

/* HTTP/1.x SP 3DIGIT SP [reason] (RFC 9112 4). */
static bool
http_parse_status_line(struct http_reply *r, struct slice line)
{
	const char *s = line.p;

	if (line.len < 12 || memcmp(s, "HTTP/1.", 7) != 0)
		return false;
	if ((s[7] != '0' && s[7] != '1') || s[8] != ' ')
		return false;
	if (line.len > 12 && s[12] != ' ')
		return false;
	for (int i = 9; i < 12; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	if (!http_all(s, line.len, C_VALUE))
		return false;
	r->minor = s[7] - '0';
	r->status = (s[9] - '0') * 100 + (s[10] - '0') * 10 + (s[11] - '0');
	r->phrase = (struct slice){s + 12, line.len - 12};
	r->phrase = http_trim(r->phrase);
	return r->status >= 100 && r->status <= 599;
}

/* Replies that have no body whatever their fields say (RFC 9112 6.3).  Fields
 * that speak of one all the same leave in doubt what follows. */
static const char *
http_reply_bodiless(struct http_reply *r, const struct http_gather *g)
{
	bool speaks = g->count[FIELD_TRANSFER_ENCODING] > 0 || g->length > 0;

	r->framing = HTTP_NO_BODY;
	if (speaks && r->status < 200)
		return "an interim reply with a body";
	r->keep_alive = !speaks;
	return NULL;
}

/* Sets framing, length, and keep_alive as far as the framing allows it. */
static const char *
http_reply_framing(struct http_reply *r, const struct http_gather *g)
{
	size_t lengths = g->count[FIELD_CONTENT_LENGTH];
	size_t codings = g->count[FIELD_TRANSFER_ENCODING];

	if (codings > 0 && lengths > 0)
		return "both Content-Length and Transfer-Encoding";
	if (lengths > 1 || g->bad_length)
		return "bad Content-Length";
	if (codings > 1 || (codings == 1 && !g->chunked_only))
		return "Transfer-Encoding is not `chunked`";
	if (codings == 1 && r->minor == 0)
		return "Transfer-Encoding in HTTP/1.0";
	if (r->status < 200 || r->status == 204 || r->status == 304)
		return http_reply_bodiless(r, g);
	r->length = g->length;
	if (codings == 1)
		r->framing = HTTP_CHUNKED;
	else if (lengths == 1)
		r->framing = g->length > 0 ? HTTP_LENGTH : HTTP_NO_BODY;
	else
		r->framing = HTTP_CLOSE;
	r->keep_alive = r->framing != HTTP_CLOSE;
	return NULL;
}

enum reason
http_parse_reply(struct http_reply *r, const char *p, size_t len,
		 size_t fields_max, const char **why_r)
{
	const char *end = p + len;
	struct http_gather g = {.field = r->field};
	enum reason why;

	memset(r, 0, offsetof(struct http_reply, field));
	if (!http_parse_status_line(r, http_line(&p, end))) {
		*why_r = "malformed status line";
		return REASON_CLOUD_BAD_REPLY;
	}
	why = http_parse_fields(&g, p, end, fields_max);
	if (why != REASON_OK) {
		*why_r = reason_row(why)->text;
		return REASON_CLOUD_BAD_REPLY;
	}
	r->nfields = g.n;
	*why_r = http_reply_framing(r, &g);
	if (*why_r != NULL)
		return REASON_CLOUD_BAD_REPLY;
	for (size_t i = 0; i < r->nfields; i++)
		if (r->field[i].id == FIELD_CONTENT_TYPE)
			r->content_type = r->field[i].value;
	if (g.close || (r->minor == 0 && !g.keep_alive))
		r->keep_alive = false;
	return REASON_OK;
}

bool
http_req_is_soap(const struct http_req *r)
{
	static const char *const types[] = {"text/xml", "application/soap+xml"};

	if (r->method != HTTP_POST)
		return false;
	if (r->soap_action.p != NULL)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		size_t n = strlen(types[i]);

		if (r->content_type.len >= n &&
		    slice_iis((struct slice){r->content_type.p, n}, types[i]))
			return true;
	}
	return false;
}
