/*
 * Purpose: route a request by path and method; answer the local ones.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: nothing but the request.
 * Failure: a refusal with its reason.
 *
 * Everything but the health path needs an authenticated caller, as in IIS
 * with anonymous access off; only the services need an authorized one.
 */
#include "worker/relay/local.h"

#include "shm/base/log.h"
#include "worker/relay/client.h"
#include "worker/relay/reply.h"

static enum path_kind
local_path(struct client *c)
{
	struct exchange *x = c->x;

	return service_find(x->req.path, slice_of(c->w->c->conf.health_path.s),
			    &x->service);
}

static bool
local_is_read(const struct exchange *x)
{
	return x->req.method == HTTP_GET || x->req.method == HTTP_HEAD;
}

static void
local_send(struct client *c, const char *type, struct slice body)
{
	struct exchange *x = c->x;
	/* A body that was only announced may or may not come. */
	bool keep = x->req.keep_alive && !c->w->draining &&
		    (x->body_done || (x->req.framing == HTTP_LENGTH &&
				      !x->req.expect_continue));

	stat_add(c->w->row, STAT_requests_local, 1);
	x->close_after = !keep;
	reply_local(c, type, body, keep);
	client_finish(c, REASON_LOCAL);
}

static void
local_service_page(struct client *c)
{
	struct exchange *x = c->x;
	char mem[16384], base[320];
	struct sbuf out, b;

	sbuf_init(&out, mem, sizeof(mem));
	if (!slice_iis(x->req.query, "wsdl")) {
		service_page(&out, x->service);
		local_send(c, "text/html; charset=utf-8",
			   (struct slice){out.p, out.len});
		return;
	}
	sbuf_init(&b, base, sizeof(base));
	sbuf_str(&b, c->wire.ssl != NULL ? "https://" : "http://");
	sbuf_slice(&b, x->req.host);
	service_wsdl(&out, x->service, (struct slice){b.p, b.len});
	local_send(c, "text/xml; charset=utf-8",
		   (struct slice){out.p, out.len});
}

void
local_authenticated(struct client *c)
{
	struct exchange *x = c->x;

	switch (local_path(c)) {
	case PATH_RMSO_URI:
		if (c->w->tenant_base[0] == '\0')
			client_refuse(c, REASON_NO_TENANT, NULL);
		else
			local_send(c, "text/plain; charset=utf-8",
				   slice_of(c->w->tenant_base));
		return;
	case PATH_SERVICE:
		if (x->req.method == HTTP_POST)
			forward_begin(c);
		else
			local_service_page(c);
		return;
	case PATH_HEALTH: /* by a reload while the keeper worked */
	case PATH_UNKNOWN:
	case PATH_BAD:
		break;
	}
	client_refuse(c, REASON_NOT_FOUND, NULL);
}

static enum reason
local_check(struct client *c, enum path_kind kind)
{
	const struct exchange *x = c->x;

	if (x->req.method == HTTP_UNKNOWN)
		return REASON_METHOD_UNKNOWN;
	if (kind == PATH_BAD)
		return REASON_BAD_TARGET;
	if (kind == PATH_UNKNOWN)
		return REASON_NOT_FOUND;
	if (kind == PATH_SERVICE && x->req.method == HTTP_POST) {
		if (x->req.framing == HTTP_NO_BODY && !x->req.has_length)
			return REASON_LENGTH_REQUIRED;
		return REASON_OK;
	}
	return local_is_read(x) ? REASON_OK : REASON_METHOD;
}

void
local_dispatch(struct client *c)
{
	enum path_kind kind = local_path(c);
	enum reason why = local_check(c, kind);

	if (why != REASON_OK)
		client_refuse(c, why, NULL);
	else if (kind == PATH_HEALTH)
		local_send(c, "text/plain; charset=utf-8", SLICE_LIT("ok\n"));
	else if (auth_begin(c))
		local_authenticated(c);
}
