/*
 * Purpose: a request's operation and its items, while the bodies pass.
 *
 * Runs in: relay.
 * Trusts:  nobody: a client or the cloud may say anything here, and it is
 *          believed for log and counters only.
 * Touches: counters, the channel to the master.
 * Failure: "not known".
 */
#include "worker/relay/operation.h"

#include "shm/base/log.h"
#include "worker/relay/client.h"
#include "worker/relay/tell.h"

static const struct operation_row {
	struct soap_path request, reply;
	const char *element; /* of the reply; NULL: no batch */
} operation_rows[OP_MAX] = {
#define BATCH(op, items, answers, mark, nil) \
	[OP_##op] = {{items, "", false}, {answers, mark, nil}, #op "Response"},
#include "worker/relay/batches.def"
#undef BATCH
};

static const struct {
	enum stat_id asked, failed;
} operation_stats[OP_MAX] = {
#define SERVICE(ident, path, title, kind, ns)
#define OP(kind, name, who) \
	[OP_##name] = {STAT_op_##name, STAT_op_##name##_failed},
#include "worker/relay/services.def"
#undef SERVICE
#undef OP
};

/*
 * A server's envelopes begin with the same bytes again and again, and so do
 * the cloud's: what came of those that were seen last, for each operation of a
 * head.  Comparing is a hundredth of looking anew.
 */
#define MEMO_MAX 768
struct operation_memo {
	size_t len; /* 0: none */
	enum op body;
	char text[MEMO_MAX];
	struct soap after; /* the first element was dealt with */
};
static struct operation_memo operation_asked[OP_MAX];
static struct operation_memo operation_answered[OP_MAX];

/* How many bytes are known already; 0 when they are not. */
static size_t
operation_recall(const struct operation_memo *m, struct soap *s, const char *p,
		 size_t n)
{
	if (m->len == 0 || n < m->len || !soap_is_new(s) ||
	    memcmp(p, m->text, m->len) != 0)
		return 0;
	/* tokens begin anew */
	memcpy(s, &m->after, offsetof(struct soap, token));
	return m->len;
}

static void
operation_keep(struct operation_memo *m, const struct soap *s, enum op body,
	       const char *p, size_t n)
{
	if (n > MEMO_MAX)
		return;
	m->body = body;
	memcpy(m->text, p, n);
	m->len = n;
	m->after = *s;
}

static bool
operation_went_well(const struct exchange *x)
{
	return x->status >= 200 && x->status < 300;
}

/* By which items are counted. */
static enum op
operation_counted(const struct operation *o)
{
	return o->body != OP_UNKNOWN ? o->body : o->op;
}

/* ---- the request ----------------------------------------------------- */

static bool
operation_is_coded(const struct http_req *r)
{
	for (size_t i = 0; i < r->nfields; i++)
		if (r->field[i].id == FIELD_CONTENT_ENCODING &&
		    !slice_iis(r->field[i].value, "identity"))
			return true;
	return false;
}

/* The first element is known. */
static void
operation_on_first(struct exchange *x)
{
	struct operation *o = &x->operation;
	struct soap *s = &o->request;
	const struct operation_row *row;

	if (s->first_ns == SOAP_NS_DRM)
		o->body = service_op_named(x->service, soap_first(s));
	o->other = o->body == OP_UNKNOWN;
	if (o->op == OP_UNKNOWN)
		o->op = o->body;
	row = &operation_rows[o->body];
	if (o->other || row->element == NULL)
		soap_stop(s, o->other ? SOAP_UNEXPECTED : SOAP_READ);
	else
		soap_count(s, &row->request);
}

void
operation_request(struct exchange *x, const char *p, size_t n)
{
	struct operation *o = &x->operation;
	struct operation_memo *m = &operation_asked[o->op];
	struct soap *s = &o->request;
	bool from_start = o->op != OP_UNKNOWN && soap_is_new(s);
	size_t used;

	if (s->state == SOAP_DONE)
		return;
	used = from_start ? operation_recall(m, s, p, n) : 0;
	if (used > 0) {
		o->body = m->body;
		o->other = o->body == OP_UNKNOWN;
	} else {
		used = soap_feed(s, p, n);
	}
	if (s->state == SOAP_FIRST) {
		operation_on_first(x);
		if (from_start)
			operation_keep(m, s, o->body, p, used);
	}
	if (used < n)
		soap_feed(s, p + used, n - used);
}

void
operation_rewind(struct exchange *x)
{
	struct operation *o = &x->operation;

	o->body = OP_UNKNOWN;
	o->other = false;
	soap_init(&o->request);
	if (operation_is_coded(&x->req))
		soap_stop(&o->request, SOAP_CODED);
}

void
operation_begin(struct client *c)
{
	struct exchange *x = c->x;

	x->operation.op =
	    service_op(x->service, x->req.soap_action, x->req.content_type);
	x->operation.begun = true;
	operation_rewind(x);
	/* A request that is refused now has no more than this. */
	if (x->operation.op != OP_UNKNOWN || c->block == NULL ||
	    x->req.framing != HTTP_LENGTH)
		return;
	operation_request(
	    x, c->block + x->cursor,
	    (size_t)MIN((uint64_t)(c->wpos - x->cursor), x->left));
	operation_rewind(x);
}

/* ---- the reply ------------------------------------------------------- */

void
operation_reply_begin(struct exchange *x, bool coded)
{
	struct operation *o = &x->operation;
	const enum op op = operation_counted(o);
	const struct operation_row *row = &operation_rows[op];

	if (row->element == NULL || row->reply.mark[0] == '\0' ||
	    !operation_went_well(x))
		return;
	o->answers = op;
	soap_init(&o->reply);
	if (coded)
		soap_stop(&o->reply, SOAP_CODED);
}

static void
operation_on_answer(struct operation *o)
{
	const struct operation_row *row = &operation_rows[o->answers];
	struct soap *s = &o->reply;

	if (s->first_ns == SOAP_NS_DRM && slice_is(soap_first(s), row->element))
		soap_count(s, &row->reply);
	else
		soap_stop(s, SOAP_UNEXPECTED);
}

void
operation_reply(struct exchange *x, const char *p, size_t n)
{
	struct operation *o = &x->operation;
	struct operation_memo *m = &operation_answered[o->answers];
	struct soap *s = &o->reply;
	bool from_start;
	size_t used;

	if (o->answers == OP_UNKNOWN || s->state == SOAP_DONE)
		return;
	from_start = soap_is_new(s);
	used = operation_recall(m, s, p, n);
	if (used == 0)
		used = soap_feed(s, p, n);
	if (s->state == SOAP_FIRST) {
		operation_on_answer(o);
		if (from_start)
			operation_keep(m, s, OP_UNKNOWN, p, used);
	}
	if (used < n)
		soap_feed(s, p + used, n - used);
}

/* ---- what came of it ------------------------------------------------- */

enum soap_unread
operation_unread(const struct operation *o)
{
	if (o->begun && o->request.unread != SOAP_READ)
		return (enum soap_unread)o->request.unread;
	return o->answers != OP_UNKNOWN ? (enum soap_unread)o->reply.unread
					: SOAP_READ;
}

bool
operation_differs(const struct operation *o)
{
	return o->op != OP_UNKNOWN &&
	       (o->other || (o->body != OP_UNKNOWN && o->body != o->op));
}

bool
operation_is_as_exchange(const struct exchange *x)
{
	const struct operation *o = &x->operation;

	return x->decided == 1 + VERDICT_ALLOW && x->role != SERVER_EXCHANGE &&
	       (op_is_of_exchange(o->op) || op_is_of_exchange(o->body));
}

/* What ended while more was expected is not what it seems. */
static void
operation_conclude(struct exchange *x)
{
	struct operation *o = &x->operation;
	const enum op op = operation_counted(o);
	const struct operation_row *row = &operation_rows[op];

	if (x->body_done && o->request.state == SOAP_READING)
		o->request.unread = SOAP_MALFORMED;
	if (o->answers != OP_UNKNOWN && o->reply.state == SOAP_READING)
		o->reply.unread = SOAP_MALFORMED;
	o->items_known =
	    o->body != OP_UNKNOWN && o->request.unread == SOAP_READ;
	o->items = row->element != NULL ? o->request.items : 1;
	o->failed_known = true;
	if (!operation_went_well(x)) {
		o->failed = o->items;
	} else if (row->element != NULL && row->reply.mark[0] != '\0') {
		o->failed = o->reply.marked;
		o->failed_known =
		    o->answers == op && o->reply.unread == SOAP_READ;
	}
}

static void
operation_count(struct client *c)
{
	const struct operation *o = &c->x->operation;
	struct stats_row *row = c->w->row;

	if (o->op != OP_UNKNOWN) {
		stat_add(row, operation_stats[o->op].asked, 1);
		if (!operation_went_well(c->x))
			stat_add(row, operation_stats[o->op].failed, 1);
	}
	if (operation_unread(o) != SOAP_READ)
		stat_add(row, STAT_soap_unread, 1);
	if (operation_differs(o))
		stat_add(row, STAT_soap_differs, 1);
	if (!o->items_known)
		return;
	stat_add(row, STAT_items, o->items);
	stat_add(row, STAT_batches, o->items > 1);
	if (!o->failed_known || o->failed == 0)
		return;
	stat_add(row, STAT_items_failed, o->failed);
	stat_add(row, STAT_batches_failed, o->items > 1);
}

static void
operation_tell(struct client *c)
{
	static struct tell_limit limit;
	const struct exchange *x = c->x;
	const struct operation *o = &x->operation;
	char text[256];
	struct msg_event e = {
	    .id = 2113,
	    .account = slice_of(x->ident->principal),
	    .address = slice_of(c->address),
	    .request = slice_of(x->id),
	};

	stat_add(c->w->row, STAT_as_exchange, 1);
	if (!tell_may(&limit))
		return;
	/* one for an account: the master tells repeats by the start */
	snprintf(text, sizeof(text),
		 "it asks for what only Exchange asks for (%s), and entry %lu "
		 "of the list lets it in as %s",
		 op_name(op_is_of_exchange(o->op) ? o->op : o->body),
		 (unsigned long)x->entry, server_role_name(x->role));
	e.detail = slice_of(text);
	child_event(c->w->c, &e);
}

void
operation_end(struct client *c)
{
	struct exchange *x = c->x;

	if (!x->operation.begun)
		return;
	if (x->t_sent != 0) {
		operation_conclude(x);
		operation_count(c);
	}
	if (operation_is_as_exchange(x))
		operation_tell(c);
}
