/*
 * Purpose: tell relays and master what the cloud agent knows.
 *
 * Runs in: cloud agent.
 * Trusts:  nobody.
 * Touches: the token segment; the channel to the master.
 * Failure: a status that is not delivered is a line in the log; the next one
 *          says it all again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/child.h"
#include "worker/cloud/agent.h"
#include "worker/cloud/publish.h"
#include "worker/cloud/token_keep.h"
#include "shm/base/log.h"

#define STATUS_BODY 4096

void
agent_event(struct agent *a, uint32_t id, const char *detail)
{
	struct msg_event e = {.id = id, .detail = slice_of(detail)};

	child_event(a->c, &e);
}

static void
agent_dns_status(struct agent *a, struct msg_cloud_status *s)
{
	enum resolve_status st;

	if (a->tenant == NULL)
		return;
	st = resolve_name_status(a->tenant);
	s->naddr = resolve_name_addrs(a->tenant)->n;
	addr_set_text(resolve_name_addrs(a->tenant), false, s->addrs,
		      sizeof(s->addrs));
	s->dns_failed = st != RESOLVE_OK && st != RESOLVE_PENDING;
	if (s->dns_failed)
		snprintf(s->dns_error, sizeof(s->dns_error), "%s%.160s: %s",
			 a->way.used ? "web proxy " : "",
			 resolve_name_host(a->tenant), resolve_status_text(st));
}

static void
agent_status(struct agent *a)
{
	struct msg_cloud_status *s = calloc(1, sizeof(*s));
	uint8_t body[STATUS_BODY];
	size_t len;
	int rc;

	if (s == NULL)
		return;
	token_keep_status(a->keep, s);
	agent_dns_status(a, s);
	len = msg_cloud_status_pack(s, body, sizeof(body));
	BUG_ON(len == 0); /* texts are bounded so that eight fit */
	rc = ipc_send(a->c->master, IPC_CLOUD_STATUS, 0, body, len, -1);
	if (rc != 0)
		log_warn("status not delivered: %s", strerror(-rc));
	free(s);
}

static void
agent_publish_proxy(struct agent *a)
{
	struct token_value *v = publish_value(a->publish);

	v->proxy_port = a->way.used ? a->way.port : 0;
	v->proxy_tls = a->way.used && a->way.tls;
	memcpy(v->proxy_basic, a->basic, sizeof(v->proxy_basic));
}

/*
 * A name that has not been looked up yet is no news: relays use the way that
 * they had until there is another.  So what is for a proxy is published with
 * its name, not before, and with its port and scheme: a relay that has not
 * applied the set yet, or has before us, sees that it is not for the proxy
 * that it uses (worker/relay/way.c).
 */
static void
agent_publish_addrs(struct agent *a)
{
	static const struct addr_set none;
	enum resolve_status st;

	if (!a->named)
		return;
	if (a->tenant == NULL) {
		agent_publish_proxy(a);
		publish_addrs(a->publish, "", &none, false);
		return;
	}
	st = resolve_name_status(a->tenant);
	if (st == RESOLVE_PENDING && resolve_name_addrs(a->tenant)->n == 0)
		return;
	agent_publish_proxy(a);
	publish_addrs(a->publish, resolve_name_host(a->tenant),
		      resolve_name_addrs(a->tenant),
		      st != RESOLVE_OK && st != RESOLVE_PENDING);
}

void
agent_publish(struct agent *a)
{
	token_keep_fill(a->keep, publish_value(a->publish));
	agent_publish_addrs(a);
	if (publish_write(a->publish))
		relays_news(&a->relays);
	agent_status(a);
}
