/*
 * Any reply head of the cloud.  What is accepted must be sound, and must mean
 * the same when it is written anew.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS 60

static void
check_within(struct slice s, const char *p, size_t len)
{
	if (s.p == NULL) {
		BUG_ON(s.len != 0);
		return;
	}
	BUG_ON(s.p < p || s.p > p + len || s.len > (size_t)(p + len - s.p));
	for (size_t i = 0; i < s.len; i++)
		BUG_ON(s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0');
}

static void
check_reply(const struct http_reply *r, const char *p, size_t len)
{
	size_t framing = 0;

	BUG_ON(r->minor != 0 && r->minor != 1);
	BUG_ON(r->status < 100 || r->status > 599);
	BUG_ON(r->nfields > FIELDS);
	BUG_ON(r->framing == HTTP_CLOSE && r->keep_alive);
	BUG_ON(r->framing == HTTP_CHUNKED && r->minor == 0);
	BUG_ON(r->framing == HTTP_LENGTH && r->length == 0);
	BUG_ON(r->framing != HTTP_LENGTH && r->length != 0);
	if (r->status < 200 || r->status == 204 || r->status == 304)
		BUG_ON(r->framing != HTTP_NO_BODY);
	check_within(r->phrase, p, len);
	check_within(r->content_type, p, len);
	for (size_t i = 0; i < r->nfields; i++) {
		const struct http_field *f = &r->field[i];

		check_within(f->name, p, len);
		check_within(f->value, p, len);
		BUG_ON(!http_is_token(f->name));
		if (f->id == FIELD_CONTENT_LENGTH ||
		    f->id == FIELD_TRANSFER_ENCODING) {
			framing++;
			BUG_ON(http_fate_reply(f) == FATE_PASS);
		}
		if (f->hop)
			BUG_ON(http_fate_reply(f) != FATE_DROP);
	}
	BUG_ON(framing > 1);
}

static void
write_reply(struct sbuf *b, const struct http_reply *r)
{
	sbuf_fmt(b, "HTTP/1.%d %d ", r->minor, r->status);
	sbuf_slice(b, r->phrase);
	sbuf_str(b, "\r\n");
	for (size_t i = 0; i < r->nfields; i++) {
		sbuf_slice(b, r->field[i].name);
		sbuf_str(b, ": ");
		sbuf_slice(b, r->field[i].value);
		sbuf_str(b, "\r\n");
	}
	sbuf_str(b, "\r\n");
}

static void
check_written(const struct http_reply *r, size_t len)
{
	static struct http_reply again;
	struct http_scan s = {0};
	size_t size = len + r->nfields * 4 + 64, n = 0;
	char *mem = malloc(size);
	const char *why = NULL;
	struct sbuf b;

	BUG_ON(mem == NULL);
	sbuf_init(&b, mem, size);
	write_reply(&b, r);
	BUG_ON(b.cut);
	BUG_ON(http_scan(&s, b.p, b.len, &n) != HTTP_DONE || n != b.len);
	BUG_ON(http_parse_reply(&again, b.p, b.len, FIELDS, &why) != REASON_OK);
	BUG_ON(r->minor != again.minor || r->status != again.status);
	BUG_ON(r->framing != again.framing || r->length != again.length);
	BUG_ON(r->keep_alive != again.keep_alive);
	BUG_ON(!slice_eq(r->phrase, again.phrase));
	BUG_ON(!slice_eq(r->content_type, again.content_type));
	BUG_ON(r->nfields != again.nfields);
	free(mem);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_reply r;
	const char *p = (const char *)data, *why = NULL;
	struct http_scan s = {0};
	size_t len = 0;

	if (http_scan(&s, p, size, &len) != HTTP_DONE)
		return 0;
	if (http_parse_reply(&r, p, len, FIELDS, &why) != REASON_OK) {
		BUG_ON(why == NULL || why[0] == '\0');
		return 0;
	}
	check_reply(&r, p, len);
	check_written(&r, len);
	return 0;
}
