/*
 * agent: what the parts of the cloud agent share; for rms-cloud.c and agent_*.c
 * alone.
 *
 *	rms-cloud.c	messages, a new configuration, the process
 *	agent_names.c	the names to connect to, and the way through a proxy
 *	agent_tell.c	what relays and master are told
 */
#ifndef RMS_CLOUD_AGENT_H
#define RMS_CLOUD_AGENT_H

#include "conf/conf.h"
#include "conf/proxy.h"
#include "shm/base/bug.h"
#include "shm/msg.h"
#include "shm/token.h"
#include "worker/cloud/health_keep.h"
#include "worker/cloud/relays.h"
#include "worker/cloud/resolve.h"

struct child;
struct publish;
struct token_fetcher;
struct token_keep;

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
	struct conf_proxy way;	     /* used: tenant is the proxy's name */
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

/* --- agent_tell.c ------------------------------------------------------ */

/* An event, by the master. */
void agent_event(struct agent *a, uint32_t id, const char *detail);
/* Writes the segment and says so to the relays when it is another; tells the
 * master the state of tokens and names. */
void agent_publish(struct agent *a);

/* --- agent_names.c ----------------------------------------------------- */

/* Each takes its part of a new configuration: the name servers; then the names
 * of tenant and token endpoint ("" none) with the way there.  0 or -errno. */
MUST_USE int agent_apply_dns(struct agent *a, const struct conf *c);
MUST_USE int agent_apply_names(struct agent *a, const struct conf *c,
			       const char *token_url);

#endif
