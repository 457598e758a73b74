/*
 * Purpose: a message as the relay reads it.
 *
 * Runs in: tests.
 * Trusts:  nobody.
 * Touches: nothing but its arguments.
 * Failure: none; memory that is missing ends the process.
 */
#include <stdio.h>
#include <string.h>

#include "shm/base/log.h"
#include "tests/differ/differ.h"
#include "worker/relay/chunk.h"
#include "worker/relay/http.h"

static const struct http_limits ours_limits = {
    .fields_max = 100,
    .head_max = 32768,
    .auth_max = 90112,
    .body_max = 1 << 30,
};

static void
ours_refuse(struct differ_msg *m, const char *why)
{
	m->outcome = DIFFER_REFUSED;
	m->why = why;
}

/* What llhttp does not know as white space, in a field that it goes by. */
static bool
ours_has_tab(const struct http_field *f)
{
	const char *end = rawmemchr(f->name.p, '\r'); /* the line has one */

	return (f->id == FIELD_CONTENT_LENGTH ||
		f->id == FIELD_TRANSFER_ENCODING ||
		f->id == FIELD_CONNECTION) &&
	       memchr(f->name.p, '\t', (size_t)(end - f->name.p)) != NULL;
}

static void
ours_fields(struct differ_msg *m, const struct http_field *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		m->tab |= ours_has_tab(&f[i]);
		differ_add_name(&m->fields, f[i].name.p, f[i].name.len);
		differ_add(&m->fields, ":", 1);
		differ_add_value(&m->fields, f[i].value.p, f[i].value.len);
		differ_add(&m->fields, "\n", 1);
	}
}

static bool
ours_has_blank(const char *p, size_t len)
{
	return memchr(p, ' ', len) != NULL || memchr(p, '\t', len) != NULL;
}

static void
ours_chunks(struct differ_msg *m, const char *p, size_t len)
{
	struct chunk c = {0};
	enum chunk_result r;
	size_t at = 0;

	do {
		const char *data = NULL;
		size_t used = 0, n = 0;

		r = chunk_read(&c, p + at, len - at, &used, &data, &n);
		if (r == CHUNK_DATA)
			differ_add(&m->body, data, n);
		m->blank |= ours_has_blank(p + at, used - n);
		at += used;
	} while (r == CHUNK_DATA);
	if (r == CHUNK_BAD)
		ours_refuse(m, reason_row(REASON_BAD_CHUNK)->name);
	else if (r == CHUNK_END)
		m->outcome = DIFFER_TAKEN;
	m->used += at;
}

/* What is behind the head, by its framing. */
static void
ours_body(struct differ_msg *m, enum http_framing framing, uint64_t length,
	  const char *p, size_t len)
{
	switch (framing) {
	case HTTP_CHUNKED:
		ours_chunks(m, p, len);
		return;
	case HTTP_LENGTH:
		len = (size_t)MIN((uint64_t)len, length);
		if (len == length)
			m->outcome = DIFFER_TAKEN;
		break;
	case HTTP_CLOSE:
		m->outcome = DIFFER_TAKEN;
		break;
	case HTTP_NO_BODY:
		m->outcome = DIFFER_TAKEN;
		return;
	}
	differ_add(&m->body, p, len);
	m->used += len;
}

static void
ours_request(struct differ_msg *m, const char *p, size_t len, size_t head)
{
	static struct http_req r;
	enum reason why = http_parse_req(&r, p, head, &ours_limits);
	char version = '0';

	if (why == REASON_OK && r.method == HTTP_UNKNOWN)
		why = REASON_METHOD_UNKNOWN; /* as local.c has it */
	if (why != REASON_OK) {
		ours_refuse(m, reason_row(why)->name);
		return;
	}
	version = (char)(version + r.minor);
	differ_add(&m->start, r.method_text.p, r.method_text.len);
	differ_add(&m->start, " ", 1);
	differ_add(&m->start, r.target.p, r.target.len);
	differ_add(&m->start, " 1.", 3);
	differ_add(&m->start, &version, 1);
	ours_fields(m, r.field, r.nfields);
	m->keep_alive = r.keep_alive;
	ours_body(m, r.framing, r.length, p + head, len - head);
}

static void
ours_reply(struct differ_msg *m, const char *p, size_t len, size_t head)
{
	static struct http_reply r;
	const char *why;
	char text[16];
	int n;

	if (http_parse_reply(&r, p, head, 200, &why) != REASON_OK) {
		ours_refuse(m, why);
		return;
	}
	n = snprintf(text, sizeof(text), "1.%d %03d ", r.minor, r.status);
	differ_add(&m->start, text, (size_t)n);
	differ_add_value(&m->start, r.phrase.p, r.phrase.len);
	ours_fields(m, r.field, r.nfields);
	m->keep_alive = r.keep_alive;
	m->no_body = r.status < 200 || r.status == 204 || r.status == 304;
	ours_body(m, r.framing, r.length, p + head, len - head);
}

void
differ_ours(struct differ_msg *m, enum differ_kind kind, const char *p,
	    size_t len)
{
	struct http_scan scan = {0};
	size_t skip = 0, head = 0;

	differ_init(m, len);
	/* as head.c has it; the cloud's replies have no such line */
	if (kind == DIFFER_REQUEST && len >= 2 && memcmp(p, "\r\n", 2) == 0)
		skip = 2;
	p += skip;
	len -= skip;
	switch (http_scan(&scan, p, len, &head)) {
	case HTTP_MORE:
		return;
	case HTTP_BAD_LINE:
		ours_refuse(m, reason_row(REASON_BAD_LINE_END)->name);
		return;
	case HTTP_DONE:
		break;
	}
	m->used = skip + head;
	if (kind == DIFFER_REQUEST)
		ours_request(m, p, len, head);
	else
		ours_reply(m, p, len, head);
}
