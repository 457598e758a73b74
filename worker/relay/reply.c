/*
 * Purpose: what the connector itself says to a client.
 *
 * Runs in: relay.
 * Trusts:  nobody: texts of a client are escaped or left out.
 * Touches: the client's wire.
 * Failure: the wire fails; the caller ends the client.
 */
#include "worker/relay/reply.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/client.h"
#include "worker/relay/date.h"

#define REPLY_RETRY_AFTER_S 5 /* of 503: a keeper or token hiccup is over */

static void
reply_xml(struct sbuf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '<')
			sbuf_str(b, "&lt;");
		else if (*s == '>')
			sbuf_str(b, "&gt;");
		else if (*s == '&')
			sbuf_str(b, "&amp;");
		else if ((unsigned char)*s >= 0x20 && (unsigned char)*s < 0x7f)
			sbuf_char(b, *s);
	}
}

/* SOAP 1.1 Fault; the name in the shape that MS-RMPR 3.1.4.5 gives. */
static void
reply_fault(struct sbuf *b, const struct exchange *x,
	    const struct reason_row *row, const char *detail)
{
	sbuf_str(b,
		 "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n"
		 "<soap:Envelope xmlns:soap="
		 "\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body>"
		 "<soap:Fault><faultcode>soap:Server</faultcode><faultstring>");
	sbuf_fmt(b, "RmsConnector.%s: %s", row->name, row->text);
	if (detail != NULL) {
		sbuf_str(b, ": ");
		reply_xml(b, detail);
	}
	sbuf_fmt(b, " (fault of: %s; request %s)</faultstring></soap:Fault>",
		 row->fault, x->id);
	sbuf_str(b, "</soap:Body></soap:Envelope>\r\n");
}

static void
reply_text(struct sbuf *b, const struct exchange *x,
	   const struct reason_row *row, const char *detail)
{
	sbuf_fmt(b, "%d %s\r\nRmsConnector.%s: %s", row->status,
		 reason_phrase(row->status), row->name, row->text);
	if (detail != NULL) {
		sbuf_str(b, ": ");
		reply_xml(b, detail);
	}
	sbuf_fmt(b, "\r\nFault of: %s. Request %s.\r\n", row->fault, x->id);
}

/* RFC 9110 10.2.1; of "*" and an authority what the server has at all. */
static const char *
reply_allow(const struct http_req *r)
{
	return r->path.len == 0 || service_takes_post(r->path)
		   ? "POST, GET, HEAD"
		   : "GET, HEAD";
}

/* later: with Retry-After. */
static void
reply_head(struct sbuf *b, struct client *c, int status, bool later,
	   const char *type, size_t len, bool keep)
{
	struct exchange *x = c->x;

	sbuf_fmt(b,
		 "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		 "X-RMS-Request-Id: %s\r\nCache-Control: no-store\r\n%s",
		 status, reason_phrase(status), type, len, x->id,
		 date_line(clock_real_ns()));
	if (!keep)
		sbuf_str(b, "Connection: close\r\n");
	else if (x->req.minor == 0)
		sbuf_str(b, "Connection: keep-alive\r\n");
	auth_put_fields(c, status == 401, b);
	if (later)
		sbuf_fmt(b, "Retry-After: %u\r\n",
			 x->retry_after_s > 0 ? (unsigned)x->retry_after_s
					      : REPLY_RETRY_AFTER_S);
	exchange_put_timing(c, b);
	if (status == 405)
		sbuf_fmt(b, "Allow: %s\r\n", reply_allow(&x->req));
	sbuf_str(b, "\r\n");
}

static void
reply_send(struct client *c, int status, bool later, const char *type,
	   struct slice body, bool keep)
{
	struct exchange *x = c->x;
	struct sbuf b;

	x->status = status;
	x->reply_started = true;
	sbuf_init(&b, c->w->scratch, RELAY_SCRATCH);
	reply_head(&b, c, status, later, type, body.len, keep);
	if (x->req.method != HTTP_HEAD) {
		sbuf_slice(&b, body);
		x->bytes_out += body.len;
	}
	if (b.cut || wire_write(&c->wire, b.p, b.len) != IO_OK ||
	    wire_flush(&c->wire) != IO_OK)
		c->wire.failed = true;
}

void
reply_refuse(struct client *c, enum reason why, const char *detail, bool keep)
{
	const struct reason_row *row = reason_row(why);
	char mem[4096];
	struct sbuf b;

	BUG_ON(row->status == 0);
	sbuf_init(&b, mem, sizeof(mem));
	if (c->x->soap)
		reply_fault(&b, c->x, row, detail);
	else
		reply_text(&b, c->x, row, detail);
	reply_send(c, row->status, strcmp(row->retry, "later") == 0,
		   c->x->soap ? "text/xml; charset=utf-8"
			      : "text/plain; charset=utf-8",
		   (struct slice){b.p, b.len}, keep);
}

void
reply_local(struct client *c, const char *type, struct slice body, bool keep)
{
	reply_send(c, 200, false, type, body, keep);
}
