/*
 * Purpose: a message as llhttp reads it.
 *
 * Runs in: tests.
 * Trusts:  nobody.
 * Touches: nothing but its arguments.
 * Failure: none; memory that is missing ends the process.
 *
 * Its names clash with those of worker/relay/http.h, so no file has both.
 */
#include <llhttp/llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "tests/differ/differ.h"

struct theirs {
	llhttp_t parser; /* first: callbacks cast it back */
	struct differ_msg *m;
	struct differ_text status, value, trailer;
	bool complete;
};

static struct theirs *
theirs_of(llhttp_t *parser)
{
	return (struct theirs *)(void *)parser;
}

static int
theirs_on_method(llhttp_t *parser, const char *p, size_t len)
{
	differ_add(&theirs_of(parser)->m->start, p, len);
	return 0;
}

static int
theirs_on_url(llhttp_t *parser, const char *p, size_t len)
{
	struct differ_text *t = &theirs_of(parser)->m->start;

	if (t->len > 0 && memchr(t->p, ' ', t->len) == NULL)
		differ_add(t, " ", 1);
	differ_add(t, p, len);
	return 0;
}

static int
theirs_on_status(llhttp_t *parser, const char *p, size_t len)
{
	differ_add(&theirs_of(parser)->status, p, len);
	return 0;
}

static int
theirs_on_name(llhttp_t *parser, const char *p, size_t len)
{
	struct theirs *t = theirs_of(parser);

	differ_add_name(t->m->head_done ? &t->trailer : &t->m->fields, p, len);
	return 0;
}

/* Fields that llhttp goes by, and heeds as trailers too. */
static bool
theirs_frames(const struct differ_text *name)
{
	static const char *const names[] = {"content-length",
					    "transfer-encoding", "connection",
					    "proxy-connection", "upgrade"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (name->len == strlen(names[i]) &&
		    memcmp(name->p, names[i], name->len) == 0)
			return true;
	return false;
}

static int
theirs_on_name_end(llhttp_t *parser)
{
	struct theirs *t = theirs_of(parser);

	if (!t->m->head_done)
		differ_add(&t->m->fields, ":", 1);
	else if (theirs_frames(&t->trailer))
		t->m->in_trailer = true;
	t->trailer.len = 0;
	return 0;
}

static int
theirs_on_value(llhttp_t *parser, const char *p, size_t len)
{
	differ_add(&theirs_of(parser)->value, p, len);
	return 0;
}

static int
theirs_on_value_end(llhttp_t *parser)
{
	struct theirs *t = theirs_of(parser);

	if (!t->m->head_done) {
		differ_add_value(&t->m->fields, t->value.p, t->value.len);
		differ_add(&t->m->fields, "\n", 1);
	}
	t->value.len = 0;
	return 0;
}

static int
theirs_on_head(llhttp_t *parser)
{
	struct theirs *t = theirs_of(parser);
	struct differ_text *start = &t->m->start;
	char text[16];
	int n;

	t->m->head_done = true;
	if (parser->type == HTTP_REQUEST) {
		n = snprintf(text, sizeof(text), " %u.%u", parser->http_major,
			     parser->http_minor);
		differ_add(start, text, (size_t)n);
		return 0;
	}
	n = snprintf(text, sizeof(text), "%u.%u %03u ", parser->http_major,
		     parser->http_minor, parser->status_code);
	differ_add(start, text, (size_t)n);
	differ_add_value(start, t->status.p, t->status.len);
	return 0;
}

static int
theirs_on_body(llhttp_t *parser, const char *p, size_t len)
{
	differ_add(&theirs_of(parser)->m->body, p, len);
	return 0;
}

static int
theirs_on_message(llhttp_t *parser)
{
	struct theirs *t = theirs_of(parser);

	t->complete = true;
	t->m->keep_alive = llhttp_should_keep_alive(parser) != 0;
	return HPE_PAUSED;
}

static const llhttp_settings_t theirs_settings = {
    .on_method = theirs_on_method,
    .on_url = theirs_on_url,
    .on_status = theirs_on_status,
    .on_header_field = theirs_on_name,
    .on_header_field_complete = theirs_on_name_end,
    .on_header_value = theirs_on_value,
    .on_header_value_complete = theirs_on_value_end,
    .on_headers_complete = theirs_on_head,
    .on_body = theirs_on_body,
    .on_message_complete = theirs_on_message,
};

void
differ_theirs(struct differ_msg *m, enum differ_kind kind, const char *p,
	      size_t len)
{
	struct theirs t = {.m = m};
	llhttp_errno_t e;
	const char *end;

	differ_init(m, len);
	t.status = (struct differ_text){.size = len + 1};
	t.trailer = t.value = t.status;
	t.status.p = malloc(len + 1);
	t.value.p = malloc(len + 1);
	t.trailer.p = malloc(len + 1);
	BUG_ON(t.status.p == NULL || t.value.p == NULL || t.trailer.p == NULL);
	llhttp_init(&t.parser,
		    kind == DIFFER_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE,
		    &theirs_settings);
	e = llhttp_execute(&t.parser, p, len);
	end = e == HPE_OK ? p + len : llhttp_get_error_pos(&t.parser);
	if (e == HPE_OK && llhttp_message_needs_eof(&t.parser))
		(void)llhttp_finish(&t.parser);
	if (t.complete) {
		m->outcome = DIFFER_TAKEN;
		m->used = (size_t)(end - p);
	} else if (e != HPE_OK) {
		m->outcome = DIFFER_REFUSED;
		m->why = llhttp_errno_name(e);
	}
	free(t.status.p);
	free(t.value.p);
	free(t.trailer.p);
}
