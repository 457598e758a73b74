/*
 * Purpose: ask a web proxy to open the way to the cloud.
 *
 * Runs in: relay.
 * Trusts:  the proxy no more than any peer: it may answer anything, and what
 *          goes through it is TLS with the cloud.
 * Touches: the upstream's wire and block.
 * Failure: a reason each for junk, refusal, 407, silence and a close.
 */
#include "worker/relay/proxy.h"

#include "shm/base/log.h"
#include "shm/version.h"
#include "worker/relay/http.h"
#include "worker/relay/out.h"
#include "worker/relay/tls.h"
#include "worker/relay/upstream.h"

#define PROXY_FIELDS_MAX 100

/* One reply head is handled at a time, within one handler. */
static struct http_reply proxy_reply;

static void
proxy_put_target(struct out *o, const struct relay *w)
{
	bool v6 = strchr(w->tenant_host, ':') != NULL;

	out_str(o, v6 ? "[" : "");
	out_str(o, w->tenant_host);
	out_str(o, v6 ? "]:" : ":");
	out_u64(o, w->tenant_port);
}

enum io_result
proxy_ask(struct upstream *u)
{
	struct relay *w = u->w;
	struct out o;

	u->block = relay_block_take(w);
	if (u->block == NULL)
		return IO_FAIL;
	out_begin(&o, &u->wire);
	out_str(&o, "CONNECT ");
	proxy_put_target(&o, w);
	out_str(&o, " HTTP/1.1\r\nHost: ");
	proxy_put_target(&o, w);
	out_str(&o, "\r\nUser-Agent: rms-connector/" RMS_VERSION "\r\n");
	if (w->tv->proxy_basic[0] != '\0') {
		out_str(&o, "Proxy-Authorization: Basic ");
		out_str(&o, w->tv->proxy_basic);
		out_str(&o, "\r\n");
	}
	out_str(&o, "\r\n");
	return out_end(&o) ? IO_OK : IO_FAIL;
}

static enum io_result
proxy_fail(enum reason why, enum reason *why_r, char *text, size_t size,
	   const char *words)
{
	*why_r = why;
	snprintf(text, size, "%s", words);
	return IO_FAIL;
}

/* What is behind the head is the cloud's, through the tunnel. */
static enum io_result
proxy_open(struct upstream *u, enum reason *why_r, char *text, size_t size)
{
	int r = wire_tunnel(&u->wire, u->w->cloud_ctx, u->block + u->rpos,
			    u->wpos - u->rpos);

	relay_block_give(u->w, u->block);
	u->block = NULL;
	u->rpos = u->wpos = 0;
	u->scan = (struct http_scan){0};
	if (r == 0)
		r = tls_cloud_start(u->w, u->wire.ssl);
	if (r != 0)
		return proxy_fail(REASON_NOMEM, why_r, text, size,
				  "out of memory");
	return IO_OK;
}

static enum io_result
proxy_refused(const struct relay *w, enum reason *why_r, char *text,
	      size_t size)
{
	char phrase[64];
	struct slice said = proxy_reply.phrase;

	if (proxy_reply.status == 407)
		return proxy_fail(
		    REASON_PROXY_AUTH, why_r, text, size,
		    w->tv->proxy_basic[0] != '\0'
			? "HTTP 407 to CONNECT: it does not take the "
			  "proxy_credential (sent as Basic)"
			: "HTTP 407 to CONNECT: it wants authentication; no "
			  "proxy_credential is set, or it is not stored");
	str_cut(phrase, sizeof(phrase), said);
	for (char *p = phrase; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
			*p = '?';
	*why_r = REASON_PROXY_REFUSED;
	snprintf(text, size, "HTTP %d to CONNECT %s:%u: %s", proxy_reply.status,
		 w->tenant_host, (unsigned)w->tenant_port, phrase);
	return IO_FAIL;
}

/* The head that is at u->rpos, when it is whole. */
static enum io_result
proxy_head(struct upstream *u, enum reason *why_r, char *text, size_t size)
{
	size_t len = 0, have = u->wpos - u->rpos;
	const char *why = "";

	switch (http_scan(&u->scan, u->block + u->rpos, have, &len)) {
	case HTTP_MORE:
		if (u->wpos < PROXY_HEAD_MAX)
			return IO_AGAIN;
		return proxy_fail(REASON_PROXY_BAD_REPLY, why_r, text, size,
				  "its answer to CONNECT has no end");
	case HTTP_BAD_LINE:
		return proxy_fail(REASON_PROXY_BAD_REPLY, why_r, text, size,
				  "its answer to CONNECT is not HTTP, or a "
				  "line of it does not end with CR LF");
	case HTTP_DONE:
		break;
	}
	if (http_parse_reply(&proxy_reply, u->block + u->rpos, len,
			     PROXY_FIELDS_MAX, &why) != REASON_OK) {
		*why_r = REASON_PROXY_BAD_REPLY;
		snprintf(text, size, "malformed answer to CONNECT: %s", why);
		return IO_FAIL;
	}
	u->rpos += len;
	u->scan = (struct http_scan){0};
	return IO_OK;
}

static enum io_result
proxy_read(struct upstream *u, enum reason *why_r, char *text, size_t size)
{
	size_t n = 0;
	enum io_result r = wire_read(&u->wire, u->block + u->wpos,
				     PROXY_HEAD_MAX - u->wpos, &n);

	u->wpos += n;
	if (r == IO_OK || r == IO_AGAIN)
		return r;
	if (u->wire.nomem)
		return proxy_fail(REASON_NOMEM, why_r, text, size,
				  "out of memory");
	return proxy_fail(REASON_PROXY_CLOSED, why_r, text, size,
			  u->wpos == 0
			      ? "it closed the connection instead of an "
				"answer to CONNECT"
			      : "it closed the connection in its answer to "
				"CONNECT");
}

enum io_result
proxy_run(struct upstream *u, enum reason *why_r, char *text, size_t size)
{
	enum io_result r;

	for (;;) {
		r = u->wpos > u->rpos ? proxy_head(u, why_r, text, size)
				      : IO_AGAIN;
		if (r == IO_FAIL)
			return r;
		if (r == IO_OK && proxy_reply.status / 100 == 2)
			return proxy_open(u, why_r, text, size);
		if (r == IO_OK && proxy_reply.status / 100 == 1 &&
		    proxy_reply.status != 101)
			continue; /* RFC 9110 15.2: not the answer yet */
		if (r == IO_OK)
			return proxy_refused(u->w, why_r, text, size);
		r = proxy_read(u, why_r, text, size);
		if (r != IO_OK)
			return r;
	}
}
