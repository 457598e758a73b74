/*
 * Any request head, with what may come before it.  The first byte chooses
 * where the scan is cut.  What is accepted must be sound, and must mean the
 * same when it is written anew.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits lim = {
    .fields_max = 100,
    .head_max = 32768,
    .auth_max = 4096,
    .body_max = 1 << 30,
};

static void
check_within(struct slice s, const char *p, size_t len)
{
	if (s.p == NULL) {
		BUG_ON(s.len != 0);
		return;
	}
	BUG_ON(s.p < p || s.p > p + len || s.len > (size_t)(p + len - s.p));
}

static void
check_clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		BUG_ON(s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0');
}

static size_t
count(const struct http_req *r, enum http_field_id id)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nfields; i++)
		n += r->field[i].id == id;
	return n;
}

static void
check_fields(const struct http_req *r, const char *p, size_t len)
{
	BUG_ON(r->nfields > lim.fields_max);
	for (size_t i = 0; i < r->nfields; i++) {
		const struct http_field *f = &r->field[i];

		check_within(f->name, p, len);
		check_within(f->value, p, len);
		check_clean(f->value);
		BUG_ON(!http_is_token(f->name));
		BUG_ON(f->value.len > 0 &&
		       (f->value.p[0] == ' ' ||
			f->value.p[f->value.len - 1] == ' '));
		if (f->id == FIELD_OTHER)
			BUG_ON(http_fate_req(f) != FATE_DROP);
	}
	BUG_ON(count(r, FIELD_HOST) > 1 || count(r, FIELD_AUTHORIZATION) > 1);
	BUG_ON(count(r, FIELD_CONTENT_LENGTH) +
		   count(r, FIELD_TRANSFER_ENCODING) >
	       1);
	BUG_ON(r->minor == 1 && count(r, FIELD_HOST) == 0);
}

static void
check_req(const struct http_req *r, const char *p, size_t len)
{
	const struct slice all[] = {
	    r->method_text, r->target,	      r->path,	      r->query,
	    r->host,	    r->authorization, r->soap_action, r->content_type};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		check_within(all[i], p, len);
		check_clean(all[i]);
	}
	BUG_ON(!http_is_token(r->method_text));
	BUG_ON(r->path.len == 0 || r->path.p[0] != '/');
	BUG_ON(memchr(r->path.p, '?', r->path.len) != NULL);
	BUG_ON(r->minor != 0 && r->minor != 1);
	BUG_ON(r->framing == HTTP_CLOSE);
	BUG_ON(r->framing == HTTP_CHUNKED && (r->minor == 0 || r->has_length));
	BUG_ON(r->framing == HTTP_LENGTH &&
	       (r->length == 0 || r->length > lim.body_max));
	BUG_ON(r->framing == HTTP_NO_BODY && r->length != 0);
	BUG_ON(r->expect_continue && r->framing == HTTP_NO_BODY);
	BUG_ON(r->authorization.len > lim.auth_max);
	check_fields(r, p, len);
}

/* Writes what was understood, in the plainest form. */
static void
write_req(struct sbuf *b, const struct http_req *r)
{
	sbuf_slice(b, r->method_text);
	sbuf_char(b, ' ');
	sbuf_slice(b, r->path);
	if (r->query.len > 0) {
		sbuf_char(b, '?');
		sbuf_slice(b, r->query);
	}
	sbuf_fmt(b, " HTTP/1.%d\r\n", r->minor);
	for (size_t i = 0; i < r->nfields; i++) {
		sbuf_slice(b, r->field[i].name);
		sbuf_str(b, ": ");
		sbuf_slice(b, r->field[i].value);
		sbuf_str(b, "\r\n");
	}
	sbuf_str(b, "\r\n");
}

static void
check_same(const struct http_req *a, const struct http_req *b)
{
	BUG_ON(a->method != b->method || a->minor != b->minor);
	BUG_ON(!slice_eq(a->path, b->path) || !slice_eq(a->query, b->query));
	BUG_ON(a->framing != b->framing || a->length != b->length);
	BUG_ON(a->has_length != b->has_length);
	BUG_ON(a->keep_alive != b->keep_alive);
	BUG_ON(a->expect_continue != b->expect_continue);
	BUG_ON(a->intermediary != b->intermediary);
	BUG_ON(!slice_eq(a->host, b->host));
	BUG_ON(!slice_eq(a->authorization, b->authorization));
	BUG_ON(!slice_eq(a->soap_action, b->soap_action));
	BUG_ON(!slice_eq(a->content_type, b->content_type));
	BUG_ON(http_req_is_soap(a) != http_req_is_soap(b));
	BUG_ON(a->nfields != b->nfields);
	for (size_t i = 0; i < a->nfields; i++) {
		BUG_ON(a->field[i].id != b->field[i].id);
		BUG_ON(a->field[i].hop != b->field[i].hop);
		BUG_ON(!slice_eq(a->field[i].value, b->field[i].value));
	}
}

static void
check_written(const struct http_req *r, size_t len)
{
	static struct http_req again;
	struct http_scan s = {0};
	size_t size = len + r->nfields * 4 + 64, n = 0;
	char *mem = malloc(size);
	struct sbuf b;

	BUG_ON(mem == NULL);
	sbuf_init(&b, mem, size);
	write_req(&b, r);
	BUG_ON(b.cut);
	BUG_ON(http_scan(&s, b.p, b.len, &n) != HTTP_DONE || n != b.len);
	/* ": " may be longer than what was there: the bound of the head */
	if (b.len <= len || b.len <= lim.head_max) {
		BUG_ON(http_parse_req(&again, b.p, b.len, &lim) != REASON_OK);
		check_same(r, &again);
	}
	free(mem);
}

/* In two pieces as in one. */
static enum http_scan_result
scan(const char *p, size_t len, size_t cut, size_t *n_r)
{
	struct http_scan one = {0}, two = {0};
	size_t n = 0, m = 0;
	enum http_scan_result a = http_scan(&one, p, len, &n), b;

	b = http_scan(&two, p, cut, &m);
	if (b == HTTP_MORE)
		b = http_scan(&two, p, len, &m);
	BUG_ON(a != b || (a == HTTP_DONE && n != m) || n > len);
	*n_r = n;
	return a;
}

/* As client.c does it: no more than one is skipped. */
static size_t
skip(const char *p, size_t len)
{
	size_t n = 9;

	if (!http_empty_line(p, len, &n)) {
		BUG_ON(len != 1 || p[0] != '\r' || n != 0);
		return len;
	}
	BUG_ON(n != 0 && n != 2);
	BUG_ON((n == 2) != (len >= 2 && memcmp(p, "\r\n", 2) == 0));
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_req r;
	const char *p = (const char *)data + 1;
	size_t len, n;

	if (size < 1)
		return 0;
	n = skip(p, size - 1);
	p += n;
	size -= n;
	if (scan(p, size - 1, data[0] % size, &len) != HTTP_DONE)
		return 0;
	if (http_parse_req(&r, p, len, &lim) != REASON_OK)
		return 0;
	check_req(&r, p, len);
	check_written(&r, len);
	return 0;
}
