/*
 * Purpose: the cloud's reply, read strictly, its head rebuilt, its body byte
 *          for byte.
 *
 * Runs in: relay.
 * Trusts:  the cloud no more than a client: a malformed reply becomes 502.
 * Touches: both connections of the exchange.
 * Failure: before the head went out a refusal; after it the connection is
 *          cut, so that the client cannot take a part for the whole.
 */
#include "worker/relay/answer.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/await.h"
#include "worker/relay/client.h"
#include "worker/relay/coding.h"
#include "worker/relay/date.h"
#include "worker/relay/gunzip.h"
#include "worker/relay/out.h"
#include "worker/relay/upstream.h"

#define ANSWER_FILLS	  8
#define ANSWER_FIELDS_MAX 200
/* Undone bytes that are put together before they are sent. */
#define ANSWER_FLIGHT 65536

/* One reply head is handled at a time, within one handler. */
static struct http_reply answer_head;

enum answer_step {
	ANSWER_WAIT,  /* until something can be read or written */
	ANSWER_FLUSH, /* much was put together: out with it, then go on */
	ANSWER_GO,    /* a step was taken */
	ANSWER_DONE,  /* the reply is complete */
	ANSWER_OVER,  /* the exchange has ended or changed its connection */
};

static void
answer_bad(struct client *c, const char *why)
{
	log_warn("cloud: malformed reply: %s (request %s)", why, c->x->id);
	stat_add(c->w->row, STAT_up_failed, 1);
	client_refuse(c, REASON_CLOUD_BAD_REPLY, why);
}

static void
answer_put_framing(struct client *c, struct out *o)
{
	struct exchange *x = c->x;

	if ((x->reply_framing == HTTP_LENGTH && x->gz == NULL) ||
	    (x->reply_framing == HTTP_NO_BODY && x->status != 204 &&
	     x->status != 304)) {
		out_str(o, "Content-Length: ");
		out_u64(o, x->reply_left);
		out_str(o, "\r\n");
	} else if (x->reply_framing != HTTP_NO_BODY) {
		/* length not known: chunked, or for HTTP/1.0 up to the end */
		x->reply_chunked = x->req.minor == 1;
		if (x->reply_chunked)
			out_str(o, "Transfer-Encoding: chunked\r\n");
		else
			x->close_after = true;
	}
	if (x->close_after)
		out_str(o, "Connection: close\r\n");
	else if (x->req.minor == 0)
		out_str(o, "Connection: keep-alive\r\n");
}

/* ---- gzip (wan_compression) ------------------------------------------ */

static bool
answer_client_takes_gzip(const struct http_req *r)
{
	struct coding_wish w = {0};

	for (size_t i = 0; i < r->nfields; i++)
		if (r->field[i].id == FIELD_ACCEPT_ENCODING)
			coding_line(&w, r->field[i].value);
	return coding_takes_gzip(&w);
}

static bool
answer_is_gzip(const struct http_reply *r)
{
	size_t n = 0;
	bool gzip = false;

	for (size_t i = 0; i < r->nfields; i++) {
		if (r->field[i].id != FIELD_CONTENT_ENCODING)
			continue;
		n++;
		gzip = slice_iis(r->field[i].value, "gzip") ||
		       slice_iis(r->field[i].value, "x-gzip");
	}
	return gzip && n == 1;
}

/* Not OK: it is to be undone and cannot be. */
static enum reason
answer_gunzip_begin(struct client *c, const struct http_reply *r)
{
	const struct conf *conf = &c->w->c->conf;
	struct exchange *x = c->x;

	if (!conf->wan_compression || r->framing == HTTP_NO_BODY ||
	    !answer_is_gzip(r) || answer_client_takes_gzip(&x->req))
		return REASON_OK;
	if (r->status == 206) /* a part of a stream cannot be undone */
		return REASON_CLOUD_BAD_REPLY;
	x->gz = gunzip_new((uint64_t)conf->wan_reply_bytes_max);
	return x->gz == NULL ? REASON_NOMEM : REASON_OK;
}

/* Does the body that the client gets have a coding? */
static bool
answer_is_coded(const struct exchange *x, const struct http_reply *r)
{
	for (size_t i = 0; i < r->nfields; i++)
		if (r->field[i].id == FIELD_CONTENT_ENCODING)
			return x->gz == NULL;
	return false;
}

/* Of what was undone these are not true any more. */
static bool
answer_is_of_coding(const struct http_field *f)
{
	return f->id == FIELD_CONTENT_ENCODING || f->id == FIELD_CONTENT_MD5 ||
	       f->id == FIELD_CONTENT_DIGEST || f->id == FIELD_REPR_DIGEST ||
	       f->id == FIELD_ACCEPT_RANGES;
}

static void
answer_put_field(const struct exchange *x, const struct http_field *f,
		 struct out *o)
{
	if (x->gz != NULL && answer_is_of_coding(f))
		return;
	out_slice(o, f->name);
	out_put(o, ": ", 2);
	/* RFC 9110 8.8.3: other bytes, so not the same strong validator */
	if (x->gz != NULL && f->id == FIELD_ETAG && f->value.len > 0 &&
	    f->value.p[0] == '"')
		out_put(o, "W/", 2);
	out_slice(o, f->value);
	out_put(o, "\r\n", 2);
}

/* ---- head ------------------------------------------------------------ */

static void
answer_put_head(struct client *c, const struct http_reply *r, struct out *o)
{
	struct exchange *x = c->x;
	bool dated = false;
	struct sbuf timing;
	char text[160];

	out_str(o, "HTTP/1.1 ");
	out_u64(o, (uint64_t)r->status);
	out_str(o, " ");
	out_slice(o, r->phrase);
	out_str(o, "\r\n");
	for (size_t i = 0; i < r->nfields; i++) {
		const struct http_field *f = &r->field[i];

		if (http_fate_reply(f) != FATE_PASS)
			continue;
		dated |= f->id == FIELD_DATE;
		answer_put_field(x, f, o);
	}
	if (c->w->c->conf.wan_compression && answer_is_gzip(r))
		out_str(o, "Vary: Accept-Encoding\r\n");
	if (!dated) /* RFC 9110 6.6.1 */
		out_str(o, date_line(clock_real_ns()));
	out_str(o, "X-RMS-Request-Id: ");
	out_str(o, x->id);
	out_str(o, "\r\n");
	out_str(o, auth_persistence(x));
	if (x->auth_out != NULL) {
		out_str(o, x->auth_ntlm ? "WWW-Authenticate: NTLM "
					: "WWW-Authenticate: Negotiate ");
		out_str(o, x->auth_out);
		out_str(o, "\r\n");
	}
	sbuf_init(&timing, text, sizeof(text));
	exchange_put_timing(c, &timing);
	out_put(o, timing.p, timing.len);
	answer_put_framing(c, o);
	out_str(o, "\r\n");
}

/* The final head is there. */
static enum answer_step
answer_on_head(struct client *c, const struct http_reply *r, struct out *o)
{
	struct exchange *x = c->x;
	enum reason why;

	health_reply(c, r);
	if (r->status == 401) {
		await_unauthorized(c);
		return ANSWER_OVER;
	}
	why = answer_gunzip_begin(c, r);
	if (why == REASON_CLOUD_BAD_REPLY)
		answer_bad(c, "gzip that cannot be undone");
	else if (why != REASON_OK)
		client_refuse(c, why, NULL);
	if (why != REASON_OK)
		return ANSWER_OVER;
	x->status = r->status;
	x->reply_started = true;
	x->reply_framing = r->framing;
	x->reply_left = r->framing == HTTP_LENGTH ? r->length : 0;
	x->reply_chunk = (struct chunk){0};
	x->up_keep = r->keep_alive;
	/* a reply that overtakes its request: both connections end with it */
	x->close_after = !x->req.keep_alive || !x->body_done || c->w->draining;
	answer_put_head(c, r, o);
	operation_reply_begin(x, answer_is_coded(x, r));
	x->reply_head_done = true;
	return ANSWER_GO;
}

static enum answer_step
answer_head_step(struct client *c, struct out *o)
{
	struct upstream *u = c->x->up;
	size_t len = 0;
	const char *why = "";

	switch (
	    http_scan(&u->scan, u->block + u->rpos, u->wpos - u->rpos, &len)) {
	case HTTP_MORE:
		if (u->wpos - u->rpos < RELAY_BLOCK)
			return ANSWER_WAIT;
		answer_bad(c, "the head is too large");
		return ANSWER_OVER;
	case HTTP_BAD_LINE:
		answer_bad(c, "a line of the head does not end with CR LF");
		return ANSWER_OVER;
	case HTTP_DONE:
		break;
	}
	if (http_parse_reply(&answer_head, u->block + u->rpos, len,
			     ANSWER_FIELDS_MAX, &why) != REASON_OK ||
	    answer_head.status == 101) {
		answer_bad(c, answer_head.status == 101 ? "101" : why);
		return ANSWER_OVER;
	}
	u->rpos += len;
	u->scan = (struct http_scan){0};
	if (answer_head.status < 200) /* 100, 102, 103: not for the client */
		return ANSWER_GO;
	return answer_on_head(c, &answer_head, o);
}

static void
answer_emit(struct client *c, struct out *o, const char *p, size_t n)
{
	char head[CHUNK_HEAD_MAX];

	operation_reply(c->x, p, n);
	c->x->bytes_out += n;
	c->x->flight += n;
	if (!c->x->reply_chunked) {
		out_put(o, p, n);
		return;
	}
	out_put(o, head, chunk_head(head, n));
	out_put(o, p, n);
	out_put(o, "\r\n", 2);
}

/* The next bytes of the reply's body, which stay where they are until they
 * are used up. */
static void
answer_put_run(struct client *c, struct out *o, const char *p, size_t n)
{
	struct exchange *x = c->x;

	if (x->gz == NULL) {
		answer_emit(c, o, p, n);
		return;
	}
	x->gz_run = p;
	x->gz_left = n;
	x->gz_pending = true;
}

static enum answer_step
answer_gunzip_bad(struct client *c, const char *why)
{
	log_warn("cloud: malformed reply: gzip: %s (request %s)", why,
		 c->x->id);
	stat_add(c->w->row, STAT_up_failed, 1);
	client_end(c, REASON_CLOUD_BAD_REPLY);
	return ANSWER_OVER;
}

static enum answer_step
answer_gunzip_step(struct client *c, struct out *o)
{
	struct exchange *x = c->x;
	const char *data, *why = "";
	size_t used, n;
	enum gunzip_result r;

	r = gunzip_run(x->gz, x->gz_run, x->gz_left, &used, &data, &n, &why);
	x->gz_run += used;
	x->gz_left -= used;
	if (r == GUNZIP_BAD)
		return answer_gunzip_bad(c, why);
	if (r == GUNZIP_NOMEM) {
		client_end(c, REASON_NOMEM);
		return ANSWER_OVER;
	}
	if (r == GUNZIP_DATA)
		answer_emit(c, o, data, n);
	x->gz_pending = r == GUNZIP_DATA || x->gz_left > 0;
	/* only with more to come: after a flush it goes on by itself */
	return r == GUNZIP_DATA && x->flight >= ANSWER_FLIGHT ? ANSWER_FLUSH
							      : ANSWER_GO;
}

static enum answer_step
answer_body_done(struct client *c, struct out *o)
{
	if (c->x->gz != NULL && !gunzip_is_complete(c->x->gz))
		return answer_gunzip_bad(c, "it ends too early");
	if (c->x->reply_chunked)
		out_str(o, "0\r\n\r\n");
	return ANSWER_DONE;
}

static enum answer_step
answer_chunked_step(struct client *c, struct out *o)
{
	struct exchange *x = c->x;
	struct upstream *u = x->up;
	const char *data;
	size_t used = 0, n = 0;
	enum chunk_result r;

	r = chunk_read(&x->reply_chunk, u->block + u->rpos, u->wpos - u->rpos,
		       &used, &data, &n);
	if (r == CHUNK_DATA)
		answer_put_run(c, o, data, n);
	u->rpos += used;
	if (r == CHUNK_END)
		return answer_body_done(c, o);
	if (r == CHUNK_BAD) {
		client_end(c, REASON_CLOUD_BAD_REPLY);
		return ANSWER_OVER;
	}
	return r == CHUNK_MORE ? ANSWER_WAIT : ANSWER_GO;
}

/* Takes one step with the bytes that are in the block. */
static enum answer_step
answer_step(struct client *c, struct out *o)
{
	struct exchange *x = c->x;
	struct upstream *u = x->up;
	size_t n = u->wpos - u->rpos;

	if (!x->reply_head_done)
		return n == 0 ? ANSWER_WAIT : answer_head_step(c, o);
	if (x->reply_framing == HTTP_NO_BODY)
		return ANSWER_DONE;
	if (x->gz_pending)
		return answer_gunzip_step(c, o);
	if (x->reply_framing == HTTP_LENGTH && x->reply_left == 0)
		return answer_body_done(c, o);
	if (n == 0)
		return ANSWER_WAIT;
	if (x->reply_framing == HTTP_CHUNKED)
		return answer_chunked_step(c, o);
	if (x->reply_framing == HTTP_LENGTH)
		n = (size_t)MIN((uint64_t)n, x->reply_left);
	answer_put_run(c, o, u->block + u->rpos, n);
	u->rpos += n;
	if (x->reply_framing == HTTP_CLOSE)
		return ANSWER_GO;
	x->reply_left -= n;
	return ANSWER_GO;
}

/* All bytes of the block; ends with anything but ANSWER_GO. */
static enum answer_step
answer_steps(struct client *c, struct out *o)
{
	enum answer_step s;

	do
		s = answer_step(c, o);
	while (s == ANSWER_GO);
	return s;
}

/* The cloud ended its side, or the connection broke, or there is nothing to
 * read it into. */
static enum answer_step
answer_on_end(struct client *c, enum io_result r, struct out *o)
{
	struct exchange *x = c->x;

	if (x->up->block == NULL || x->up->wire.nomem) {
		client_refuse(c, REASON_NOMEM, NULL);
		return ANSWER_OVER;
	}
	if (r == IO_EOF && x->reply_head_done &&
	    x->reply_framing == HTTP_CLOSE && !x->up->wire.truncated) {
		x->up_keep = false;
		return answer_body_done(c, o);
	}
	if (x->reply_started) {
		stat_add(c->w->row, STAT_up_failed, 1);
		client_end(c, REASON_CLOUD_CLOSED);
		return ANSWER_OVER;
	}
	forward_up_lost(c, r == IO_EOF ? REASON_CLOUD_CLOSED : REASON_CLOUD_IO,
			NULL);
	return ANSWER_OVER;
}

static void
answer_finish(struct client *c)
{
	struct exchange *x = c->x;

	x->t_reply_end = clock_mono_ns();
	upstream_give(&x->up, x->up_keep && x->body_done && x->last_chunk_sent);
	client_finish(c, REASON_OK);
}

bool
answer_pump(struct client *c)
{
	enum answer_step s = ANSWER_WAIT;
	enum io_result r = IO_OK;
	struct out o;

	for (int i = 0; i < ANSWER_FILLS; i++) {
		if (wire_blocked(&c->wire))
			return true;
		/* the block stays as it is while a run of it is being undone */
		r = c->x->gz_pending ? IO_OK : upstream_fill(c->x->up);
		if (r == IO_AGAIN && c->x->up->rpos == c->x->up->wpos)
			return true;
		c->x->flight = 0;
		out_begin(&o, &c->wire);
		s = answer_steps(c, &o);
		if (s == ANSWER_WAIT && r != IO_OK && r != IO_AGAIN)
			s = answer_on_end(c, r, &o);
		if (s == ANSWER_OVER)
			return false;
		if (!out_end(&o)) {
			client_end(c, REASON_CLIENT_IO);
			return false;
		}
		if (s == ANSWER_DONE) {
			answer_finish(c);
			return false;
		}
		if (r == IO_AGAIN && s != ANSWER_FLUSH)
			return true;
	}
	wire_again(&c->x->up->wire);
	return true;
}
