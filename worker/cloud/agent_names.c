/*
 * Purpose: the names that are connected to, the cloud's and the token
 *          endpoint's, or that of the web proxy on the way there.
 *
 * Runs in: cloud agent.
 * Trusts:  the master; name servers for no more than addresses.
 * Touches: name servers.
 * Failure: an event, once for each cause; old addresses stay.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "worker/child.h"
#include "worker/cloud/agent.h"
#include "worker/cloud/cloud_url.h"
#include "worker/cloud/publish.h"
#include "worker/cloud/token_fetch.h"
#include "worker/cloud/token_keep.h"
#include "shm/base/log.h"

/* --- what came of a lookup --------------------------------------------- */

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
		 a->way.used ? "web proxy " : "", resolve_name_host(a->tenant),
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

int
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

/* --- the names --------------------------------------------------------- */

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

/* --- the way through a proxy ------------------------------------------- */

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
agent_apply_proxy(struct agent *a, const struct conf *c,
		  const struct conf_proxy *tenant,
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
	a->way = *tenant;
	agent_set_basic(a, k, tenant->used);
}

/* GAP: when there is no memory for a name the set is refused, and what is
 * published stays as it is, changed addresses too, until the next set. */
int
agent_apply_names(struct agent *a, const struct conf *c, const char *token_url)
{
	bool fixed =
	    strcmp(a->conf.cloud_addresses.s, c->cloud_addresses.s) != 0;
	struct conf_proxy tenant, issuer;
	int rc;

	a->named = false; /* of one set and of the next: nothing of both */
	rc = agent_set_name(a, &a->tenant, c->tenant_url.s, c,
			    c->cloud_addresses.s, fixed, &tenant);
	if (rc != 0)
		return rc;
	agent_seed_tenant(a);
	/* The agent's borrowed pointer may be the one that goes. */
	token_keep_name(a->keep, NULL);
	rc = agent_set_name(a, &a->issuer, token_url, c, "", false, &issuer);
	if (rc == 0)
		agent_apply_proxy(a, c, &tenant, &issuer);
	token_keep_name(a->keep, a->issuer);
	a->named = rc == 0;
	return rc;
}
