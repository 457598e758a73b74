/*
 * Purpose: write JSON that is valid whatever it is given.
 *
 * Runs in: every process.
 * Trusts:  nobody: strings may come from the network.
 * Touches: memory of its callers.
 * Failure: out->cut.
 */
#include "shm/base/json.h"

#include "shm/base/log.h"

void
json_init(struct json *j, struct sbuf *out)
{
	j->out = out;
	j->comma = false;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629), or 0. */
static size_t
json_utf8(const unsigned char *p, size_t len)
{
	size_t n;
	uint32_t c, min;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		n = 2;
		c = p[0] & 0x1fU;
		min = 0x80;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		n = 3;
		c = p[0] & 0x0fU;
		min = 0x800;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		n = 4;
		c = p[0] & 0x07U;
		min = 0x10000;
	} else {
		return 0;
	}
	if (n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fU);
	}
	if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

void
json_escape(struct sbuf *out, struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0, n;

	while (i < s.len) {
		unsigned char c = p[i];

		if (c == '"' || c == '\\') {
			sbuf_char(out, '\\');
			sbuf_char(out, (char)c);
			i++;
		} else if (c < 0x20 || c == 0x7f) {
			sbuf_fmt(out, "\\u%04x", c);
			i++;
		} else if ((n = json_utf8(p + i, s.len - i)) > 0) {
			sbuf_put(out, p + i, n);
			i += n;
		} else {
			sbuf_str(out, "\\ufffd");
			i++;
		}
	}
}

static void
json_key(struct json *j, const char *key)
{
	if (j->comma)
		sbuf_char(j->out, ',');
	j->comma = true;
	if (key == NULL)
		return;
	sbuf_char(j->out, '"');
	json_escape(j->out, slice_of(key));
	sbuf_str(j->out, "\":");
}

static void
json_open(struct json *j, const char *key, char c)
{
	json_key(j, key);
	sbuf_char(j->out, c);
	j->comma = false;
}

static void
json_close(struct json *j, char c)
{
	sbuf_char(j->out, c);
	j->comma = true;
}

void
json_object(struct json *j, const char *key)
{
	json_open(j, key, '{');
}

void
json_object_end(struct json *j)
{
	json_close(j, '}');
}

void
json_array(struct json *j, const char *key)
{
	json_open(j, key, '[');
}

void
json_array_end(struct json *j)
{
	json_close(j, ']');
}

void
json_slice(struct json *j, const char *key, struct slice s)
{
	json_key(j, key);
	sbuf_char(j->out, '"');
	json_escape(j->out, s);
	sbuf_char(j->out, '"');
}

void
json_str(struct json *j, const char *key, const char *s)
{
	if (s != NULL) {
		json_slice(j, key, slice_of(s));
		return;
	}
	json_key(j, key);
	sbuf_str(j->out, "null");
}

void
json_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	sbuf_u64(j->out, v);
}

void
json_i64(struct json *j, const char *key, int64_t v)
{
	json_key(j, key);
	sbuf_fmt(j->out, "%lld", (long long)v);
}

void
json_bool(struct json *j, const char *key, bool v)
{
	json_key(j, key);
	sbuf_str(j->out, v ? "true" : "false");
}

void
json_ms(struct json *j, const char *key, uint64_t ns)
{
	json_key(j, key);
	sbuf_fmt(j->out, "%llu.%03llu", (unsigned long long)(ns / 1000000),
		 (unsigned long long)(ns / 1000 % 1000));
}
