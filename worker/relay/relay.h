/*
 * relay: what one relay worker has, and who in it owns what.
 *
 * One struct relay per process.  Everything per connection hangs off struct
 * client (client.h) and struct upstream (upstream.h).
 */
#ifndef RMS_RELAY_H
#define RMS_RELAY_H

#include <openssl/types.h>
#include <stdbool.h>

#include "conf/conf.h"
#include "conf/proxy.h"
#include "shm/base/hash.h"
#include "shm/base/loop.h"
#include "shm/ipc.h"
#include "shm/stats.h"
#include "shm/table.h"
#include "shm/tickets.h"
#include "shm/token.h"
#include "worker/child.h"
#include "worker/relay/health.h"
#include "worker/relay/listener.h"
#include "worker/relay/way.h"

/* Size of the blocks that heads and bodies are read into. */
#define RELAY_BLOCK 65536
/* Worker-wide scratch in which what is sent is put together. */
#define RELAY_SCRATCH (RELAY_BLOCK + 32768)
/* Ciphertext collected before it is sent: a scratch in records, and slack. */
#define RELAY_OBUF (RELAY_SCRATCH + 16384)

struct client;
struct trail;
struct upstream;
struct alog;
struct admit;

/* A credential as requests use it, made from the token segment. */
struct relay_cred {
	uint32_t id;
	uint64_t serial;
	uint64_t expires; /* CLOCK_BOOTTIME ns */
	bool failed;	  /* the agent's last fetch did */
	char *field;	  /* "Authorization: Bearer ...\r\n"; owned */
	size_t field_len;
};

/* Issuers as received. */
struct relay_ca {
	char *pem; /* owned */
	size_t len;
	bool fresh; /* not yet in a context */
};

struct relay {
	struct child *c;
	struct loop *loop;
	struct stats_row *row;
	bool draining;

	struct listener listener[CONF_LISTENERS_MAX];
	bool accept_paused;

	struct table *table;
	struct pub *tickets;
	struct trail *trail; /* NULL: requests are not noted */
	struct pub *token;
	uint64_t token_seq;
	struct token_value *tv; /* copy of the newest; addresses and proxy_basic
				 * are those of `way` (way.h); owned */
	struct relay_cred cred[TOKEN_CREDS_MAX]; /* for tenant_base alone */

	struct ipc *keeper;
	struct ipc *cloud;
	struct alog *alog;
	struct admit *admit;

	/* the cloud, from tenant_url, and the way to it (way.c) */
	SSL_CTX *cloud_ctx, *proxy_ctx;
	SSL_CTX *proxy_next; /* of `want`, until it is used; NULL: no other */
	struct relay_ca cloud_ca, proxy_ca;
	struct conf_proxy way;	 /* in use */
	struct conf_proxy want;	 /* configured: used once its addresses come */
	struct way_known known;	 /* of `way` */
	uint64_t cloud_epoch;	 /* another tenant, way or issuers: one more */
	char cloud_issuers[512]; /* the pins that the pool was made with */
	char tenant_host[256];
	char tenant_authority[264]; /* Host field: host[:port] */
	uint16_t tenant_port;
	char tenant_path[128]; /* prefix from tenant_url, usually "" */
	/* its name; what GetRmsoUri answers */
	char tenant_base[TOKEN_TENANT_MAX];

	/* lists (client.c, upstream.c) */
	struct client *clients;
	struct upstream *idle; /* pool, most recently used first */
	size_t nclients, nidle, nexchanges;
	size_t trim_peak;     /* most clients since memory was given back */
	uint64_t rest_id;     /* next_id at the last sweep */
	unsigned rest_sweeps; /* in turn without a request */
	struct health health;
	size_t next_addr;	  /* round robin over the cloud's addresses */
	uint32_t cloud_event;	  /* of the present outage; 0: none */
	struct loop_timer *sweep; /* pool and periodic work */
	struct loop_timer *drain_timer;

	struct hash_key hash;
	struct hash_key trace_key; /* of traces that we begin */
	uint64_t boot_id;	   /* random part of request ids */
	uint64_t next_id;	   /* requests, and exchanges with the keeper */

	/* scratch: valid within one handler only */
	char *scratch; /* RELAY_SCRATCH */
	char *obuf;    /* RELAY_OBUF */
	size_t olen;
	struct wire *oowner; /* whose bytes are in obuf; NULL when empty */

	/* free blocks of RELAY_BLOCK, most recently used first */
	void *blocks;
	size_t nblocks;
};

/* A block of RELAY_BLOCK bytes, or NULL.  Give it back when empty. */
MUST_USE char *relay_block_take(struct relay *w);
void relay_block_give(struct relay *w, char *block);

/* Newest token of a credential: reads the segment when it has news.  NULL
 * when there is none; the caller checks `expires`. */
const struct relay_cred *relay_cred_find(struct relay *w, uint32_t id);
/* Reads the token segment when it has news. */
void relay_token_refresh(struct relay *w);
/* The tenant is another one: no token is for it before relay_token_refresh()
 * finds some. */
void relay_creds_drop(struct relay *w);

#endif
