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

#include <openssl/evp.h>

#include "conf/proxy.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/base/loop.h"
#include "worker/child.h"
#include "worker/cloud/cloud_url.h"
#include "worker/cloud/health_keep.h"
#include "worker/cloud/publish.h"
#include "worker/cloud/relays.h"
#include "worker/cloud/resolve.h"
#include "worker/cloud/token_fetch.h"
#include "worker/cloud/token_keep.h"

#define CA_BYTES_MAX (8 * 1024 * 1024)
#define STATUS_BODY  4096

struct agent {
	struct child *c;
	struct publish *publish;
	struct resolver *resolver;
	struct resolve_name *tenant; /* NULL: no tenant_url */
	bool named; /* those of a set are known; what is published stays */
	struct resolve_name *issuer; /* of the token endpoint */
	struct token_fetcher *fetcher;
	struct token_keep *keep;
	struct conf conf;	     /* as applied */
	bool via_proxy;		     /* tenant is the proxy's name */
	char basic[TOKEN_BASIC_MAX]; /* for it; published with its addresses */
	struct msg_creds creds;
	/* as received, until they are applied */
	char *ca, *proxy_ca;
	size_t ca_len, proxy_ca_len;
	struct msg_creds token_creds; /* those of creds for tokens */
	uint32_t dns_told;	      /* event sent for dns_why; 0: none */
	enum resolve_status dns_why;
	struct relays relays;
	struct health_keep health;
};

/* struct child_ops carries no argument; there is one agent per process. */
static struct agent agent;

/* --- telling ----------------------------------------------------------- */

static void
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
			 a->via_proxy ? "web proxy " : "",
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
agent_publish_basic(struct agent *a)
{
	memcpy(publish_value(a->publish)->proxy_basic, a->basic,
	       sizeof(a->basic));
}

/*
 * A name that has not been looked up yet is no news: relays use the way that
 * they had until there is another.  So what is for a proxy is published with
 * its name, not before: it would go to the one before.
 *
 * GAP: a proxy that changes its port or scheme, but not its name, is given the
 * new password by relays that have not applied the set yet, the old way.
 */
static void
agent_publish_addrs(struct agent *a)
{
	static const struct addr_set none;
	enum resolve_status st;

	if (!a->named)
		return;
	if (a->tenant == NULL) {
		agent_publish_basic(a);
		publish_addrs(a->publish, "", &none, false);
		return;
	}
	st = resolve_name_status(a->tenant);
	if (st == RESOLVE_PENDING && resolve_name_addrs(a->tenant)->n == 0)
		return;
	agent_publish_basic(a);
	publish_addrs(a->publish, resolve_name_host(a->tenant),
		      resolve_name_addrs(a->tenant),
		      st != RESOLVE_OK && st != RESOLVE_PENDING);
}

static void
agent_publish(struct agent *a)
{
	token_keep_fill(a->keep, publish_value(a->publish));
	agent_publish_addrs(a);
	if (publish_write(a->publish))
		relays_news(&a->relays);
	agent_status(a);
}

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

/* --- names ------------------------------------------------------------- */

/* 2102 with old addresses, 3105 with none; once per cause. */
static void
agent_dns_tell(struct agent *a)
{
	enum resolve_status st = resolve_name_status(a->tenant);
	uint32_t n = resolve_name_addrs(a->tenant)->n;
	uint32_t id = n > 0 ? 2102 : 3105;
	char detail[512];

	if (st == RESOLVE_OK) {
		if (a->dns_told != 0)
			log_info("%s is resolved again",
				 resolve_name_host(a->tenant));
		a->dns_told = 0;
		return;
	}
	if (a->dns_told == id && a->dns_why == st)
		return;
	a->dns_told = id;
	a->dns_why = st;
	snprintf(detail, sizeof(detail), "%s%s: %s",
		 a->via_proxy ? "web proxy " : "", resolve_name_host(a->tenant),
		 resolve_status_text(st));
	log_warn("%s", detail);
	agent_event(a, id, detail);
}

static void
agent_on_name(void *arg, struct resolve_name *n, bool changed)
{
	struct agent *a = arg;
	bool ok = resolve_name_status(n) == RESOLVE_OK;
	char text[ADDR_SET_TEXT];

	stat_add(a->c->row, ok ? STAT_dns_lookups : STAT_dns_failures, 1);
	if (changed) {
		addr_set_text(resolve_name_addrs(n), false, text, sizeof(text));
		log_info("%s has the addresses %s", resolve_name_host(n), text);
	}
	if (n == a->tenant) {
		agent_dns_tell(a);
		agent_publish(a);
	}
	if (n == a->issuer)
		token_keep_name(a->keep, n);
}

static const struct resolver_ops resolver_ops = {
    .on_result = agent_on_name,
};

static struct resolve_name *
agent_name(struct agent *a, const char *host, const char *fixed)
{
	struct addr_set set;

	if (fixed[0] != '\0' && addr_set_parse(&set, fixed) == 0)
		return resolve_name_fixed(a->resolver, host, &set);
	return resolve_name_new(a->resolver, host);
}

/* Replaces *n, the name to connect to for the URL, when its host or given
 * addresses are others.  The proxy looks up what is behind it. */
static int
agent_set_name(struct agent *a, struct resolve_name **n, const char *url,
	       const struct conf *c, const char *fixed, bool fixed_changed,
	       struct conf_proxy *way_r)
{
	struct cloud_url u;
	const char *host = u.host;

	memset(way_r, 0, sizeof(*way_r));
	if (cloud_url_parse(url, &u) != 0) {
		resolve_name_free(n);
		return 0;
	}
	if (conf_proxy_for(c, u.host, way_r) != 0)
		return -EINVAL;
	if (way_r->used) {
		host = way_r->host;
		fixed = "";
	}
	if (*n != NULL && strcmp(resolve_name_host(*n), host) == 0 &&
	    !fixed_changed)
		return 0;
	resolve_name_free(n);
	*n = agent_name(a, host, fixed);
	return *n == NULL ? -ENOMEM : 0;
}

/* --- configuration ----------------------------------------------------- */

static int
agent_apply_dns(struct agent *a, const struct conf *c)
{
	struct resolve_limits lim = {
	    .ttl_min_ms = (uint64_t)c->dns_ttl_min_ms,
	    .ttl_max_ms = (uint64_t)MAX(c->dns_ttl_min_ms, c->dns_ttl_max_ms),
	};
	int rc;

	if (a->resolver == NULL)
		rc = resolver_new(a->c->loop, c->dns_servers.s, &resolver_ops,
				  a, &a->resolver);
	else
		rc = resolver_servers(a->resolver, c->dns_servers.s);
	/* GAP: a resolv.conf that was replaced, not rewritten, is out of the
	 * sandbox's reach until the agent is started anew. */
	if (rc == -EIO)
		log_warn("resolv.conf cannot be read%s",
			 a->resolver == NULL ? "; set dns_servers"
					     : ": the name servers known so "
					       "far stay in use");
	if (a->resolver == NULL || (rc != 0 && rc != -EIO))
		return rc;
	resolver_limits(a->resolver, &lim);
	return 0;
}

/* A new process goes on with the addresses that the last one published. */
static void
agent_seed_tenant(struct agent *a)
{
	const struct token_value *v = publish_value(a->publish);
	struct addr_set set = {0};

	if (a->tenant == NULL ||
	    strcmp(v->host, resolve_name_host(a->tenant)) != 0)
		return;
	for (uint32_t i = 0; i < v->naddr; i++)
		addr_set_add(&set, &v->addr[i]);
	resolve_name_seed(a->tenant, &set);
}

/* The credential that proxy_credential names, or NULL. */
static const struct msg_cred *
agent_proxy_cred(struct agent *a, const struct conf *c)
{
	for (uint32_t i = 0; i < a->creds.n; i++) {
		const struct msg_cred *k = &a->creds.cred[i];

		if (k->kind == CRED_PROXY &&
		    strcmp(k->name, c->proxy_credential.s) == 0)
			return k;
	}
	if (c->proxy_credential.s[0] != '\0')
		log_warn("proxy_credential %s is not stored: rmsctl "
			 "credentials proxy",
			 c->proxy_credential.s);
	return NULL;
}

/* RFC 7617: user and password, for the relays' CONNECT. */
static void
agent_set_basic(struct agent *a, const struct msg_cred *k, bool used)
{
	char plain[TOKEN_BASIC_MAX / 4 * 3 - 4];
	int n;

	memset(a->basic, 0, sizeof(a->basic));
	if (!used || k == NULL)
		return;
	n = snprintf(plain, sizeof(plain), "%s:%s", k->client_id, k->secret);
	BUG_ON(n < 0 || n >= (int)sizeof(plain)); /* TOKEN_BASIC_MAX */
	EVP_EncodeBlock((unsigned char *)a->basic, (const unsigned char *)plain,
			n);
	str_wipe(plain, sizeof(plain));
}

static void
agent_apply_proxy(struct agent *a, const struct conf *c, bool tenant_via,
		  const struct conf_proxy *issuer)
{
	const struct msg_cred *k = agent_proxy_cred(a, c);
	struct fetch_proxy p = {.way = *issuer};

	if (k != NULL) {
		snprintf(p.user, sizeof(p.user), "%s", k->client_id);
		snprintf(p.password, sizeof(p.password), "%s", k->secret);
	}
	token_fetcher_proxy(a->fetcher, &p);
	token_fetcher_pins(a->fetcher, c->cloud_issuers.s);
	str_wipe(&p, sizeof(p));
	a->via_proxy = tenant_via;
	agent_set_basic(a, k, tenant_via);
}

static int
agent_apply_names(struct agent *a, const struct conf *c, const char *token_url)
{
	bool fixed =
	    strcmp(a->conf.cloud_addresses.s, c->cloud_addresses.s) != 0;
	struct conf_proxy tenant, issuer;
	int rc;

	rc = agent_set_name(a, &a->tenant, c->tenant_url.s, c,
			    c->cloud_addresses.s, fixed, &tenant);
	if (rc != 0)
		return rc;
	agent_seed_tenant(a);
	/* The agent's borrowed pointer may be the one that goes. */
	token_keep_name(a->keep, NULL);
	rc = agent_set_name(a, &a->issuer, token_url, c, "", false, &issuer);
	if (rc == 0)
		agent_apply_proxy(a, c, tenant.used, &issuer);
	token_keep_name(a->keep, a->issuer);
	a->named = rc == 0;
	return rc;
}

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

	snprintf(e.url, sizeof(e.url), "%s", token_url);
	snprintf(e.scope, sizeof(e.scope), "%s", c->token_scope.s);
	agent_token_creds(a);
	token_keep_apply(a->keep, &a->token_creds, &e);
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

static const struct relays_ops relays_ops;

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
