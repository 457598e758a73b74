/*
 * Purpose: where the cloud is, and how one gets there.
 *
 * Runs in: relay.
 * Trusts:  the configuration; the cloud agent for addresses.
 * Touches: the TLS contexts towards cloud and proxy, the pool.
 * Failure: a line; the old state stays.
 */
#include "worker/relay/way.h"

#include <errno.h>
#include <openssl/ssl.h>

#include "shm/base/log.h"
#include "worker/relay/relay.h"
#include "worker/relay/tls.h"
#include "worker/relay/upstream.h"

/* Splits tenant_url, which conf/check.c has found well-formed:
 * https://host[:port][/path]. */
static void
way_set_tenant(struct relay *w)
{
	const char *url = w->c->conf.tenant_url.s, *p, *slash;
	struct slice auth, port = {NULL, 0};
	uint64_t n = 443;
	size_t host_len;

	w->tenant_host[0] = w->tenant_authority[0] = '\0';
	w->tenant_path[0] = w->tenant_base[0] = '\0';
	if (strncmp(url, "https://", 8) != 0)
		return;
	p = url + 8;
	slash = strchrnul(p, '/');
	auth = (struct slice){p, (size_t)(slash - p)};
	host_len = auth.len;
	if (auth.len > 0 && auth.p[0] == '[') {
		const char *end = memchr(auth.p, ']', auth.len);

		if (end == NULL)
			return;
		host_len = (size_t)(end - auth.p) + 1;
	} else {
		const char *colon = memchr(auth.p, ':', auth.len);

		if (colon != NULL)
			host_len = (size_t)(colon - auth.p);
	}
	if (host_len + 1 < auth.len)
		port = (struct slice){auth.p + host_len + 1,
				      auth.len - host_len - 1};
	if (port.len > 0 && str_u64(port, 65535, &n) != 0)
		return;
	if (str_copy(w->tenant_authority, sizeof(w->tenant_authority), auth) !=
		0 ||
	    str_copy(w->tenant_host, sizeof(w->tenant_host),
		     auth.p[0] == '['
			 ? (struct slice){auth.p + 1, host_len - 2}
			 : (struct slice){auth.p, host_len}) != 0 ||
	    !conf_tenant_base(&w->c->conf, w->tenant_base,
			      sizeof(w->tenant_base)) ||
	    str_copy(w->tenant_path, sizeof(w->tenant_path), slice_of(slash)) !=
		0) {
		w->tenant_host[0] = '\0';
		return;
	}
	w->tenant_port = (uint16_t)n;
	n = strlen(w->tenant_path);
	if (n > 0 && w->tenant_path[n - 1] == '/')
		w->tenant_path[n - 1] = '\0';
}

/* What was verified or carried otherwise serves no new request. */
static void
way_new_epoch(struct relay *w)
{
	w->cloud_epoch++;
	upstream_sweep(w, true);
	upstream_hurry(w);
	health_forget_addresses(w);
}

/* ---- proxy ----------------------------------------------------------- */

static bool
way_same(const struct conf_proxy *a, const struct conf_proxy *b)
{
	return a->used == b->used && a->tls == b->tls && a->port == b->port &&
	       strcmp(a->host, b->host) == 0;
}

static const char *
way_dial_host(const struct relay *w, const struct conf_proxy *p)
{
	return p->used ? p->host : w->tenant_host;
}

/* Are the addresses in w->tv those of the name that p dials? */
static bool
way_addresses_of(const struct relay *w, const struct conf_proxy *p)
{
	return strcasecmp(w->tv->host, way_dial_host(w, p)) == 0;
}

/* Are they published for p itself, as its password is? */
static bool
way_is_published(const struct relay *w, const struct conf_proxy *p)
{
	const struct token_value *v = w->tv;

	if (!way_addresses_of(w, p))
		return false;
	if (!p->used)
		return v->proxy_port == 0;
	return v->proxy_port == p->port && (v->proxy_tls != 0) == p->tls;
}

/* Issuers for the web proxy came with a set: they are for its proxy, not for
 * the one before.  true: there were some, and a new epoch has to begin. */
static bool
way_use_issuers(struct relay *w)
{
	if (w->proxy_next == NULL)
		return false;
	SSL_CTX_free(w->proxy_ctx);
	w->proxy_ctx = w->proxy_next;
	w->proxy_next = NULL;
	return true;
}

static void
way_take(struct relay *w)
{
	if (way_same(&w->way, &w->want))
		return;
	w->way = w->want;
	(void)way_use_issuers(w);
	way_new_epoch(w);
	if (w->way.used)
		log_info("the cloud is reached through the web proxy %s:%u",
			 w->way.host, (unsigned)w->way.port);
	else
		log_info("the cloud is reached without a web proxy");
}

/* ---- what is published of it ------------------------------------------ */

static void
way_learn_addresses(struct relay *w)
{
	const struct token_value *v = w->tv;
	struct way_known *k = &w->known;

	memcpy(k->addr, v->addr, sizeof(k->addr));
	memcpy(k->bad, v->health.bad, sizeof(k->bad));
	k->addr_serial = v->addr_serial;
	k->naddr = v->naddr;
}

static void
way_learn(struct relay *w)
{
	way_learn_addresses(w);
	memcpy(w->known.proxy_basic, w->tv->proxy_basic,
	       sizeof(w->known.proxy_basic));
	w->known.any = true;
}

/* What everybody looks at. */
static void
way_show(struct relay *w)
{
	struct token_value *v = w->tv;
	const struct way_known *k = &w->known;

	memcpy(v->addr, k->addr, sizeof(v->addr));
	memcpy(v->health.bad, k->bad, sizeof(v->health.bad));
	v->addr_serial = k->addr_serial;
	v->naddr = k->naddr;
	memcpy(v->proxy_basic, k->proxy_basic, sizeof(v->proxy_basic));
}

static void
way_forget(struct relay *w)
{
	str_wipe(&w->known, sizeof(w->known));
}

void
way_on_published(struct relay *w)
{
	if (way_is_published(w, &w->want))
		way_take(w);
	if (way_is_published(w, &w->way))
		way_learn(w);
	else if (w->known.any && way_addresses_of(w, &w->way))
		way_learn_addresses(w); /* whatever the port */
	way_show(w);
}

/* ---- configuration --------------------------------------------------- */

/* What a configuration makes new, before any of it is in force. */
struct way_next {
	bool issuers; /* the pins may be other, too */
	SSL_CTX *cloud, *proxy;
};

static int
way_prepare(struct relay *w, struct way_next *n)
{
	const char *pins = w->c->conf.cloud_issuers.s;
	char err[256];

	*n = (struct way_next){0};
	if (w->cloud_ca.pem == NULL || w->proxy_ca.pem == NULL) {
		log_err("the master gave no issuers for the cloud");
		return -EINVAL;
	}
	n->issuers = w->cloud_ca.fresh || strcmp(pins, w->cloud_issuers) != 0;
	if (n->issuers)
		n->cloud = tls_cloud_ctx(w, err, sizeof(err));
	if ((!n->issuers || n->cloud != NULL) && w->proxy_ca.fresh)
		n->proxy = tls_proxy_ctx(w, err, sizeof(err));
	if ((n->issuers && n->cloud == NULL) ||
	    (w->proxy_ca.fresh && n->proxy == NULL)) {
		log_err("cloud: %s", err);
		SSL_CTX_free(n->cloud);
		return -EINVAL;
	}
	return 0;
}

static void
way_commit_issuers(struct relay *w, const struct way_next *n)
{
	if (n->cloud != NULL) {
		SSL_CTX_free(w->cloud_ctx);
		w->cloud_ctx = n->cloud;
		tls_cloud_forget();
	}
	if (n->proxy != NULL) {
		SSL_CTX_free(w->proxy_next);
		w->proxy_next = n->proxy;
	}
	str_cut(w->cloud_issuers, sizeof(w->cloud_issuers),
		slice_of(w->c->conf.cloud_issuers.s));
	if (n->cloud != NULL)
		way_new_epoch(w);
	w->cloud_ca.fresh = w->proxy_ca.fresh = false;
}

int
way_set(struct relay *w)
{
	char before[sizeof(w->tenant_base)];
	struct way_next next;
	int r = way_prepare(w, &next);

	if (r != 0)
		return r;
	way_commit_issuers(w, &next);
	memcpy(before, w->tenant_base, sizeof(before));
	way_set_tenant(w);
	/* conf/check.c has found it well-formed, as the tenant */
	BUG_ON(conf_proxy_for(&w->c->conf, w->tenant_host, &w->want) != 0);
	if (strcmp(before, w->tenant_base) != 0) {
		/* nothing of another tenant's: tokens, nor its way */
		w->way = w->want;
		relay_creds_drop(w);
		way_forget(w);
		way_show(w);
		way_new_epoch(w);
		tls_cloud_forget();
	}
	if (way_same(&w->way, &w->want) && way_use_issuers(w))
		way_new_epoch(w);
	return 0;
}
