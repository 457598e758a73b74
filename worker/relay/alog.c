/*
 * Purpose: the access log.
 *
 * Runs in: relay.
 * Trusts:  nobody: every text is escaped.
 * Touches: a descriptor opened by the master, append-only.
 * Failure: lines are lost and counted; requests go on.
 */
#include "worker/relay/alog.h"

#include <errno.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/json.h"
#include "shm/base/log.h"
#include "worker/relay/client.h"

#define ALOG_BUF  65536
#define ALOG_LINE 4096

struct alog {
	struct relay *w;
	struct loop_timer *timer;
	int fd;
	size_t len, lines;
	bool told; /* of the present failure */
	char buf[ALOG_BUF];
};

static void
alog_on_timer(void *arg)
{
	alog_flush(arg);
}

struct alog *
alog_new(struct relay *w)
{
	struct alog *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->w = w;
	a->fd = -1;
	a->timer = loop_timer_new(w->loop, alog_on_timer, a);
	if (a->timer == NULL) {
		free(a);
		return NULL;
	}
	return a;
}

void
alog_set_fd(struct alog *a, int fd)
{
	alog_flush(a);
	fd_close(&a->fd);
	a->fd = fd;
	a->told = false;
}

static void
alog_failed(struct alog *a, int err)
{
	struct msg_event e = {.id = 3108, .detail = slice_of(strerror(err))};

	stat_add(a->w->row, STAT_log_dropped, a->lines);
	if (!a->told)
		child_event(a->w->c, &e);
	a->told = true;
}

void
alog_flush(struct alog *a)
{
	int r;

	loop_timer_set(a->timer, 0);
	if (a->len == 0)
		return;
	if (a->fd >= 0) {
		/* whole lines in one write: O_APPEND keeps them apart */
		r = fd_write_all(a->fd, a->buf, a->len);
		if (r != 0)
			alog_failed(a, -r);
		else
			a->told = false;
	}
	a->len = a->lines = 0;
}

static void
alog_who(struct json *j, const struct exchange *x)
{
	const struct identity *id = x->ident;
	char sid[SID_TEXT_MAX] = "";

	if (id != NULL && id->nsids > 0 && id->sids[0].source == SID_USER &&
	    sid_text(id->sids[0].bytes, id->sids[0].len, sid) != 0)
		sid[0] = '\0';
	json_str(j, "account", id == NULL ? "" : id->principal);
	json_str(j, "sid", sid);
	json_str(j, "mech", id == NULL ? "" : mech_name(id->mech));
	json_bool(j, "bound", id != NULL && id->bound);
	json_str(j, "role", server_role_name(x->role));
	json_u64(j, "entry", x->entry);
}

static void
alog_operation(struct json *j, const struct operation *o)
{
	enum soap_unread unread = operation_unread(o);

	json_str(j, "op", op_name(o->op));
	if (operation_differs(o))
		json_str(j, "op_body", o->other ? "other" : op_name(o->body));
	if (o->items_known)
		json_u64(j, "items", o->items);
	if (o->items_known && o->failed_known)
		json_u64(j, "items_failed", o->failed);
	if (unread != SOAP_READ)
		json_str(j, "unread", soap_unread_name(unread));
}

static void
alog_times(struct json *j, const struct exchange *x)
{
	uint64_t total = x->t_reply_end - x->t_start, service = 0;

	if (x->t_sent != 0 && x->t_reply_end > x->t_sent)
		service = x->t_reply_end - x->t_sent;
	json_ms(j, "auth_ms", x->auth_ns);
	json_ms(j, "queue_ms", x->queue_ns);
	json_ms(j, "connect_ms", x->connect_ns);
	json_ms(j, "service_ms", service);
	json_ms(j, "connector_ms", total - service);
	json_ms(j, "total_ms", total);
}

static const char *
alog_method(const struct exchange *x)
{
	switch (x->req.method) {
	case HTTP_GET:
		return "GET";
	case HTTP_HEAD:
		return "HEAD";
	case HTTP_POST:
		return "POST";
	case HTTP_OTHER:
	case HTTP_UNKNOWN:
		break;
	}
	return "";
}

void
alog_write(struct alog *a, struct client *c)
{
	const struct exchange *x = c->x;
	const struct conf *conf = &a->w->c->conf;
	UNINIT char line[ALOG_LINE];
	char when[CLOCK_TEXT_LEN], trace[TRACE_ID_LEN + 1];
	struct sbuf b;
	struct json j;

	if (a->fd < 0)
		return;
	clock_text(clock_real_ns(), when);
	sbuf_init(&b, line, sizeof(line));
	json_init(&j, &b);
	json_object(&j, NULL);
	json_str(&j, "time", when);
	json_str(&j, "request_id", x->id);
	json_str(&j, "node", conf->node_name.s);
	json_u64(&j, "worker", a->w->c->slot);
	json_str(&j, "client", c->address);
	json_str(&j, "balancer", c->balancer);
	json_str(&j, "listener", c->listener);
	json_bool(&j, "tls", c->wire.ssl != NULL);
	json_str(&j, "method", alog_method(x));
	json_str(&j, "path", x->path);
	alog_operation(&j, &x->operation);
	alog_who(&j, x);
	json_u64(&j, "status", (uint64_t)x->status);
	json_u64(&j, "bytes_in", x->bytes_in);
	json_u64(&j, "bytes_out", x->bytes_out);
	alog_times(&j, x);
	str_cut(trace, sizeof(trace),
		(struct slice){x->trace + TRACE_ID_AT,
			       x->trace[0] == '\0' ? 0 : TRACE_ID_LEN});
	json_str(&j, "trace", trace);
	json_str(&j, "upstream", x->upstream_addr);
	json_bool(&j, "reused", x->reused);
	json_u64(&j, "retries", (uint64_t)(x->retries + x->replays));
	if (operation_is_as_exchange(x))
		json_bool(&j, "as_exchange", true);
	json_str(&j, "end", reason_row(x->reason)->name);
	json_object_end(&j);
	sbuf_char(&b, '\n');
	if (b.cut) {
		stat_add(a->w->row, STAT_log_dropped, 1);
		return;
	}
	if (b.len > sizeof(a->buf) - a->len)
		alog_flush(a);
	memcpy(a->buf + a->len, b.p, b.len);
	if (a->len == 0)
		loop_timer_set(a->timer, ALOG_FLUSH_MS);
	a->len += b.len;
	a->lines++;
}
