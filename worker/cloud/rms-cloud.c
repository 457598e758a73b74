/*
 * Purpose: rms-cloud, the cloud agent: tokens and names, published to the
 *	    relays through the token segment.
 *
 * Runs in: cloud agent.
 * Trusts:  the master.  Relays only to say that a token was refused.
 * Touches: token service and name servers; the token segment.
 * Failure: each is an event and a CLOUD_STATUS; what is still valid stays.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/base/loop.h"
#include "worker/child.h"
#include "worker/cloud/agent.h"
#include "worker/cloud/publish.h"
#include "worker/cloud/token_fetch.h"
#include "worker/cloud/token_keep.h"

#define CA_BYTES_MAX (8 * 1024 * 1024)

/* struct child_ops carries no argument; there is one agent per process. */
static struct agent agent;

/* --- tokens ------------------------------------------------------------ */

static void
agent_on_changed(void *arg)
{
	agent_publish(arg);
}

static void
agent_on_event(void *arg, uint32_t id, const char *detail)
{
	agent_event(arg, id, detail);
}

static void
agent_on_fetched(void *arg, bool ok)
{
	struct agent *a = arg;

	stat_add(a->c->row, ok ? STAT_token_fetches : STAT_token_failures, 1);
}

static const struct token_keep_ops keep_ops = {
    .changed = agent_on_changed,
    .event = agent_on_event,
    .fetched = agent_on_fetched,
};

static void
agent_token_creds(struct agent *a)
{
	str_wipe(&a->token_creds, sizeof(a->token_creds));
	for (uint32_t i = 0; i < a->creds.n; i++)
		if (a->creds.cred[i].kind == CRED_CLOUD)
			a->token_creds.cred[a->token_creds.n++] =
			    a->creds.cred[i];
}

static void
agent_apply_tokens(struct agent *a, const struct conf *c, const char *token_url)
{
	struct token_endpoint e = {
	    .timeout_ms = (uint64_t)c->token_timeout_ms,
	    .retry_max_ms = (uint64_t)c->token_retry_max_ms,
	};

	(void)conf_tenant_base(c, e.tenant, sizeof(e.tenant));
	snprintf(e.url, sizeof(e.url), "%s", token_url);
	snprintf(e.scope, sizeof(e.scope), "%s", c->token_scope.s);
	agent_token_creds(a);
	token_keep_apply(a->keep, &a->token_creds, &e);
}

/* --- relays ------------------------------------------------------------ */

static void
agent_on_stale(void *arg, uint32_t credential, uint64_t serial)
{
	struct agent *a = arg;

	token_keep_stale(a->keep, credential, serial);
}

static void
agent_on_health(void *arg, unsigned slot, const struct msg_cloud_health *m)
{
	struct agent *a = arg;

	if (a->publish != NULL &&
	    health_keep_take(&a->health, publish_value(a->publish), slot, m,
			     clock_boot_ns()) &&
	    publish_write(a->publish))
		relays_news(&a->relays);
}

static const struct relays_ops relays_ops = {
    .stale = agent_on_stale,
    .health = agent_on_health,
};

/* --- configuration ----------------------------------------------------- */

static int
agent_apply_ca(struct agent *a)
{
	int rc = 0;

	if (a->ca != NULL)
		rc = token_fetcher_ca(a->fetcher, a->ca, a->ca_len);
	if (rc == 0 && a->proxy_ca != NULL)
		rc = token_fetcher_proxy_ca(a->fetcher, a->proxy_ca,
					    a->proxy_ca_len);
	if (rc != 0)
		return rc;
	free(a->ca);
	free(a->proxy_ca);
	a->ca = a->proxy_ca = NULL;
	return 0;
}

/* Everything made once, before the sandbox closes. */
static int
agent_make(struct agent *a)
{
	int rc = token_fetch_init();

	if (rc != 0)
		return rc;
	if (a->publish == NULL) {
		log_err("the master gave no token segment");
		return -EPROTO;
	}
	a->fetcher = token_fetcher_new(a->c->loop);
	if (a->fetcher == NULL)
		return -ENOMEM;
	a->keep = token_keep_new(a->c->loop, a->fetcher, &keep_ops, a);
	if (a->keep == NULL)
		return -ENOMEM;
	token_keep_adopt(a->keep, publish_value(a->publish));
	return 0;
}

static int
agent_on_conf(struct child *c, bool first)
{
	struct agent *a = &agent;
	char token_url[CONF_TEXT_MAX];
	int rc;

	a->c = c;
	if (first) {
		rc = agent_make(a);
		if (rc != 0)
			return rc;
	}
	relays_open(&a->relays, c, &relays_ops, a);
	if (!conf_token_url(&c->conf, token_url, sizeof(token_url)))
		token_url[0] = '\0';
	rc = agent_apply_ca(a);
	if (rc == 0)
		rc = agent_apply_dns(a, &c->conf);
	if (rc != 0)
		return rc;
	agent_apply_tokens(a, &c->conf, token_url);
	rc = agent_apply_names(a, &c->conf, token_url);
	if (rc != 0)
		return rc;
	a->conf = c->conf;
	agent_publish(a);
	return 0;
}

/* --- messages ---------------------------------------------------------- */

static int
agent_take_segment(struct agent *a, const struct ipc_msg *m)
{
	struct msg_segment seg;
	struct publish *fresh;
	const char *why;

	if (msg_segment_unpack(&seg, m->body, m->len) != 0 ||
	    seg.kind != SEGMENT_TOKEN)
		return -EPROTO;
	fresh = publish_new(m->fd, &why);
	if (fresh == NULL) {
		log_err("token segment: %s", why);
		return -EPROTO;
	}
	publish_free(&a->publish);
	a->publish = fresh;
	if (a->keep != NULL)
		agent_publish(a);
	return 0;
}

static int
agent_take_ca(const struct ipc_msg *m, char **pem_r, size_t *len_r)
{
	char *pem;
	size_t len;
	int rc = fd_read_all(m->fd, CA_BYTES_MAX, &pem, &len);

	if (rc != 0)
		return rc;
	free(*pem_r);
	*pem_r = pem;
	*len_r = len;
	return 0;
}

static int
agent_take_creds(struct agent *a, const struct ipc_msg *m)
{
	str_wipe(&a->creds, sizeof(a->creds));
	if (msg_creds_unpack(&a->creds, m->body, m->len) != 0 ||
	    a->creds.n > MSG_CREDS_MAX) {
		str_wipe(&a->creds, sizeof(a->creds));
		return -EPROTO;
	}
	return 0;
}

static int
agent_on_msg(struct child *c, struct ipc_msg *m)
{
	struct agent *a = &agent;

	a->c = c;
	switch ((int)m->type) {
	case IPC_PEER:
		return relays_take(&a->relays, m);
	case IPC_SEGMENT:
		return agent_take_segment(a, m);
	case IPC_CLOUD_CA:
		return agent_take_ca(m, &a->ca, &a->ca_len);
	case IPC_PROXY_CA:
		return agent_take_ca(m, &a->proxy_ca, &a->proxy_ca_len);
	case IPC_CREDENTIALS:
		return agent_take_creds(a, m);
	default:
		return -EPROTO;
	}
}

/* The newest set always brings both. */
static void
agent_on_abort(struct child *c UNUSED)
{
	free(agent.ca);
	free(agent.proxy_ca);
	agent.ca = agent.proxy_ca = NULL;
	str_wipe(&agent.creds, sizeof(agent.creds));
}

/* Nothing here is worth waiting for: relays go on with what is published. */
static void
agent_on_drain(struct child *c, uint64_t ms)
{
	(void)ms;
	loop_stop(c->loop, 0);
}

static const char *const *
agent_readable(struct child *c)
{
	static const char *const paths[] = {"/etc/hosts", "/etc/resolv.conf",
					    "/dev/urandom", NULL};

	(void)c;
	return paths;
}

static void
agent_wipe(struct agent *a)
{
	if (a->keep != NULL)
		token_keep_name(a->keep, NULL);
	token_keep_free(&a->keep);
	token_fetcher_free(&a->fetcher);
	resolve_name_free(&a->tenant);
	resolve_name_free(&a->issuer);
	resolver_free(&a->resolver);
	publish_free(&a->publish);
	relays_fini(&a->relays);
	free(a->ca);
	free(a->proxy_ca);
	str_wipe(&a->creds, sizeof(a->creds));
	str_wipe(&a->token_creds, sizeof(a->token_creds));
	str_wipe(a->basic, sizeof(a->basic));
}

int
main(int argc, char **argv)
{
	static const struct child_ops ops = {
	    .on_msg = agent_on_msg,
	    .on_abort = agent_on_abort,
	    .on_conf = agent_on_conf,
	    .on_drain = agent_on_drain,
	    .readable = agent_readable,
	};
	int status;

	relays_init(&agent.relays);
	status = child_main(ROLE_CLOUD, argc, argv, &ops);
	agent_wipe(&agent);
	return status;
}
