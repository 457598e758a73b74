/*
 * Purpose: the relay worker: what it is given, and how it puts it to use.
 *
 * Runs in: relay.
 * Trusts:  the master, the keeper for identities, the cloud agent for tokens
 *          and addresses; no client and no server.
 * Touches: no file, no key, no name service.
 * Failure: at start-up it exits with a line; later the old state stays.
 */
#include <errno.h>
#include <event2/event.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/trail.h"
#include "worker/relay/algorithms.h"
#include "worker/relay/alog.h"
#include "worker/relay/await.h"
#include "worker/relay/client.h"
#include "worker/relay/relay.h"
#include "worker/relay/tls.h"
#include "worker/relay/tlskey.h"
#include "worker/relay/tlsmem.h"
#include "worker/relay/upstream.h"
#include "worker/relay/way.h"

#define RELAY_SWEEP_MS	   1000
#define RELAY_REST_SWEEPS  3
#define RELAY_TRIM_CLIENTS 200 /* some 3 MB */
#define RELAY_BLOCKS_KEEP  64  /* free blocks kept for the next burst */
#define RELAY_PEER_QUEUE   2048
#define RELAY_CA_MAX	   (8 * 1024 * 1024)

static struct relay relay;

/* ---- memory ---------------------------------------------------------- */

char *
relay_block_take(struct relay *w)
{
	void *b = w->blocks;

	if (b == NULL)
		return malloc(RELAY_BLOCK);
	memcpy(&w->blocks, b, sizeof(w->blocks)); /* the link is inside */
	w->nblocks--;
	return b;
}

void
relay_block_give(struct relay *w, char *block)
{
	if (w->nblocks >= RELAY_BLOCKS_KEEP) {
		free(block);
		return;
	}
	memcpy(block, &w->blocks, sizeof(w->blocks));
	w->blocks = block;
	w->nblocks++;
}

/* ---- tokens and addresses -------------------------------------------- */

static void
relay_cred_drop(struct relay_cred *r)
{
	if (r->field != NULL)
		OPENSSL_cleanse(r->field, r->field_len);
	free(r->field);
	*r = (struct relay_cred){0};
}

/* false: there is no memory for it, and r is as it was. */
static bool
relay_cred_set(struct relay *w, struct relay_cred *r,
	       const struct token_slot *s)
{
	const char *scheme = w->c->conf.cloud_auth_scheme.s;
	struct sbuf b;
	size_t size = 32 + strlen(scheme) + s->len;
	char *field;

	if (s->credential == 0 || s->len == 0 || s->len > TOKEN_BYTES_MAX) {
		relay_cred_drop(r);
		return true;
	}
	field = malloc(size);
	if (field == NULL)
		return false;
	relay_cred_drop(r);
	r->field = field;
	sbuf_init(&b, r->field, size);
	sbuf_fmt(&b, "Authorization: %s ", scheme);
	sbuf_put(&b, s->bytes, s->len);
	sbuf_str(&b, "\r\n");
	r->field_len = b.len;
	r->id = s->credential;
	r->serial = s->serial;
	r->expires = s->expires;
	r->failed = s->state == TOKEN_FAILED;
	return true;
}

void
relay_creds_drop(struct relay *w)
{
	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++)
		relay_cred_drop(&w->cred[i]);
}

static void
relay_creds_take(struct relay *w)
{
	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++) {
		if (relay_cred_set(w, &w->cred[i], &w->tv->slot[i]))
			continue;
		if (w->row != NULL)
			stat_add(w->row, STAT_nomem, 1);
		w->token_seq = 0; /* still news: relay_on_sweep() */
	}
}

/*
 * The cloud agent may be at another tenant than we: it learns of a
 * configuration before or after us.  Its tokens are not for ours then, and
 * what we took of ours before is good for it until it expires.
 */
static void
relay_token_apply(struct relay *w)
{
	struct token_value *v = w->tv;

	v->tenant[sizeof(v->tenant) - 1] = '\0';
	v->host[sizeof(v->host) - 1] = '\0';
	v->proxy_basic[sizeof(v->proxy_basic) - 1] = '\0';
	if (v->naddr > TOKEN_ADDRS_MAX)
		v->naddr = 0;
	if (strcmp(v->tenant, w->tenant_base) == 0)
		relay_creds_take(w);
	way_on_published(w);
}

void
relay_token_refresh(struct relay *w)
{
	if (w->token == NULL || pub_seq(w->token) == w->token_seq)
		return;
	w->token_seq = pub_read(w->token, w->tv);
	relay_token_apply(w);
}

const struct relay_cred *
relay_cred_find(struct relay *w, uint32_t id)
{
	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++)
		if (w->cred[i].id == id && id != 0)
			return &w->cred[i];
	return NULL;
}

/* ---- channels to the keeper and the cloud agent ----------------------- */

static void
relay_on_keeper(void *arg, struct ipc *ch UNUSED, struct ipc_msg *m)
{
	struct relay *w = arg;
	struct msg_sign_reply sr;

	if (m->type == IPC_AUTH_REPLY)
		auth_on_reply(w, m->id, m->body, m->len);
	else if (m->type == IPC_SIGN_REPLY &&
		 msg_sign_reply_unpack(&sr, m->body, m->len) == 0)
		tlskey_on_reply(m->id, &sr);
}

static void
relay_on_cloud(void *arg, struct ipc *ch UNUSED, struct ipc_msg *m)
{
	if (m->type == IPC_TOKEN_NEWS)
		await_on_news(arg);
}

static void
relay_on_peer_end(void *arg, struct ipc *ch, enum ipc_end end, const char *why)
{
	struct relay *w = arg;

	log_info("channel to the %s ended (%s)", role_name(ipc_peer(ch)), why);
	if (end != IPC_CLOSED)
		child_accuse(w->c, ipc_peer(ch), 0, why);
	if (ch == w->keeper) {
		ipc_free(&w->keeper);
		tlskey_keeper_gone();
		auth_keeper_gone(w);
	} else if (ch == w->cloud) {
		ipc_free(&w->cloud);
	}
}

static const struct ipc_ops relay_keeper_ops = {
    .on_msg = relay_on_keeper,
    .on_end = relay_on_peer_end,
};
static const struct ipc_ops relay_cloud_ops = {
    .on_msg = relay_on_cloud,
    .on_end = relay_on_peer_end,
};

static int
relay_take_peer(struct relay *w, struct ipc_msg *m)
{
	struct msg_peer p;
	struct ipc **slot;
	bool keeper;

	if (msg_peer_unpack(&p, m->body, m->len) != 0 ||
	    (p.role != ROLE_KEEPER && p.role != ROLE_CLOUD))
		return -EPROTO;
	keeper = p.role == ROLE_KEEPER;
	slot = keeper ? &w->keeper : &w->cloud;
	if (*slot != NULL) {
		ipc_free(slot);
		if (keeper) {
			tlskey_keeper_gone();
			auth_keeper_gone(w);
		}
	}
	*slot = ipc_new(w->loop, m->fd, ROLE_RELAY, p.role, 0, RELAY_PEER_QUEUE,
			keeper ? &relay_keeper_ops : &relay_cloud_ops, w);
	m->fd = -1;
	return *slot == NULL ? -ENOMEM : 0;
}

/* ---- segments, listeners, certificates -------------------------------- */

static int
relay_take_segment(struct relay *w, struct ipc_msg *m)
{
	struct msg_segment seg;
	struct table *t;
	const char *why = "";

	if (msg_segment_unpack(&seg, m->body, m->len) != 0)
		return -EPROTO;
	switch (seg.kind) {
	case SEGMENT_TABLE:
		t = table_map(m->fd, &why);
		if (t == NULL)
			break;
		table_unmap(&w->table);
		w->table = t;
		if (w->row != NULL)
			stat_set(w->row, STAT_table_generation,
				 table_generation(t));
		return 0;
	case SEGMENT_TOKEN:
		pub_unmap(&w->token);
		w->token = pub_map(m->fd, sizeof(struct token_value),
				   TOKEN_LAYOUT, false, &why);
		w->token_seq = 0;
		if (w->token == NULL)
			break;
		relay_token_refresh(w);
		return 0;
	case SEGMENT_TICKETS:
		pub_unmap(&w->tickets);
		w->tickets = pub_map(m->fd, sizeof(struct tickets_value),
				     TICKETS_LAYOUT, false, &why);
		if (w->tickets == NULL)
			break;
		return 0;
	case SEGMENT_TRAIL:
		trail_detach(&w->trail);
		w->trail = trail_attach(m->fd, w->c->slot, &why);
		if (w->trail == NULL)
			break;
		return 0;
	case SEGMENT_STATS:  /* child.c */
	case SEGMENT_REPLAY: /* the keeper's */
	case SEGMENT_MAX:
		return -EPROTO;
	}
	log_err("segment %d refused: %s", (int)seg.kind, why);
	return -EPROTO;
}

static int
relay_read_ca(struct relay_ca *ca, struct ipc_msg *m)
{
	char *pem;
	size_t len;
	int r = fd_read_all(m->fd, RELAY_CA_MAX, &pem, &len);

	if (r != 0)
		return r;
	if (ca->pem != NULL && len == ca->len &&
	    memcmp(pem, ca->pem, len) == 0) {
		free(pem); /* the same: sessions and context stay */
		return 0;
	}
	free(ca->pem);
	*ca = (struct relay_ca){.pem = pem, .len = len, .fresh = true};
	return 0;
}

static int
relay_take_ca(struct relay *w, struct ipc_msg *m)
{
	return relay_read_ca(
	    m->type == IPC_PROXY_CA ? &w->proxy_ca : &w->cloud_ca, m);
}

static int
relay_take_log(struct relay *w, struct ipc_msg *m)
{
	alog_set_fd(w->alog, m->fd);
	m->fd = -1;
	return 0;
}

static const struct {
	enum ipc_type type;
	int (*take)(struct relay *w, struct ipc_msg *m);
} relay_takes[] = {
    {IPC_SEGMENT, relay_take_segment}, {IPC_LISTENER, listener_take_fd},
    {IPC_PEER, relay_take_peer},       {IPC_LISTENER_PEM, listener_take_pem},
    {IPC_CLOUD_CA, relay_take_ca},     {IPC_ACCESS_LOG, relay_take_log},
    {IPC_PROXY_CA, relay_take_ca},
};

static int
relay_on_msg(struct child *c, struct ipc_msg *m)
{
	struct relay *w = &relay;

	if (w->c == NULL) { /* the first one */
		w->c = c;
		w->loop = c->loop;
		for (size_t i = 0; i < CONF_LISTENERS_MAX; i++)
			listener_init(&w->listener[i], w, (unsigned)i);
		w->tv = calloc(1, sizeof(*w->tv));
		w->alog = alog_new(w);
		if (w->tv == NULL || w->alog == NULL)
			return -ENOMEM;
	}
	w->row = c->row;
	for (size_t i = 0; i < ARRAY_LEN(relay_takes); i++)
		if (relay_takes[i].type == m->type)
			return relay_takes[i].take(w, m);
	log_warn("message %s has no meaning here", ipc_type_name(m->type));
	return 0;
}

/* ---- configuration ---------------------------------------------------- */

/* A TLS connection is 14 kB in thirty pieces.  When many have gone, what they
 * had lies between pieces that are in use, and free() gives none of it back
 * to the system. */
static void
relay_trim(struct relay *w)
{
	w->trim_peak = MAX(w->trim_peak, w->nclients);
	if (w->trim_peak - w->nclients < RELAY_TRIM_CLIENTS ||
	    w->nclients > w->trim_peak / 2)
		return;
	w->trim_peak = w->nclients;
	tlsmem_rest();
	malloc_trim(0);
}

/*
 * Nothing was asked for a while: what the last burst needed goes back to the
 * system, once.  The next one gets it again page by page, which costs it a
 * fraction of a microsecond each.
 */
static void
relay_rest(struct relay *w)
{
	if (w->nexchanges > 0 || w->next_id != w->rest_id) {
		w->rest_id = w->next_id;
		w->rest_sweeps = 0;
		return;
	}
	if (w->rest_sweeps >= RELAY_REST_SWEEPS ||
	    ++w->rest_sweeps < RELAY_REST_SWEEPS)
		return;
	while (w->blocks != NULL)
		free(relay_block_take(w));
	exchange_rest();
	tlsmem_rest();
	malloc_trim(0);
}

static void
relay_on_sweep(void *arg)
{
	struct relay *w = arg;

	upstream_sweep(w, false);
	admit_sweep(w);
	relay_trim(w);
	relay_rest(w);
	if (w->token != NULL && w->token_seq == 0)
		await_on_news(w); /* there was no memory for it */
	if (w->accept_paused && !w->draining) {
		w->accept_paused = false;
		listener_resume(w);
	}
	loop_timer_set(w->sweep, RELAY_SWEEP_MS);
}

static int
relay_init(struct relay *w)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	if (getrandom(&w->boot_id, sizeof(w->boot_id), 0) !=
	    (ssize_t)sizeof(w->boot_id))
		return -EIO;
	hash_key_new(&w->hash);
	hash_key_new(&w->trace_key);
	w->scratch = malloc(RELAY_SCRATCH);
	w->obuf = malloc(RELAY_OBUF);
	w->sweep = loop_timer_new(w->loop, relay_on_sweep, w);
	w->admit = admit_new(w);
	if (w->scratch == NULL || w->obuf == NULL || w->sweep == NULL ||
	    w->admit == NULL)
		return -ENOMEM;
	loop_timer_set(w->sweep, RELAY_SWEEP_MS);
	return 0;
}

static int
relay_on_conf(struct child *c, bool first)
{
	struct relay *w = &relay;
	int r = 0;

	if (w->c == NULL)
		return -EPROTO; /* no message but CONF_DONE */
	w->row = c->row;
	if (first)
		r = relay_init(w);
	/* What can fail comes first; after it nothing does. */
	if (r == 0)
		r = listener_prepare(w);
	if (r == 0)
		r = way_set(w);
	if (r != 0) {
		listener_abort(w);
		return r;
	}
	listener_commit(w);
	if (!first)
		health_reset(w);
	w->token_seq = 0; /* host and scheme may have changed */
	await_on_news(w);
	if (!first)
		admit_on_conf(w);
	return 0;
}

static void
relay_on_abort(struct child *c UNUSED)
{
	if (relay.c != NULL)
		listener_abort(&relay);
}

static void
relay_on_drain_end(void *arg)
{
	struct relay *w = arg;

	log_warn("%zu requests are cut: the time to drain is over",
		 w->nexchanges);
	loop_stop(w->loop, 0);
}

static void
relay_on_drain(struct child *c, uint64_t ms)
{
	struct relay *w = &relay;

	w->draining = true;
	listener_stop(w);
	client_drain_idle(w);
	upstream_sweep(w, true);
	if (w->nclients == 0) {
		loop_stop(c->loop, 0);
		return;
	}
	w->drain_timer = loop_timer_new(c->loop, relay_on_drain_end, w);
	if (w->drain_timer == NULL)
		loop_stop(c->loop, 0);
	else if (ms > 0)
		loop_timer_set(w->drain_timer, ms);
}

static const struct child_ops relay_ops = {
    .on_msg = relay_on_msg,
    .on_abort = relay_on_abort,
    .on_conf = relay_on_conf,
    .on_drain = relay_on_drain,
};

int
main(int argc, char **argv)
{
	int status, r;

	tlsmem_init();
	r = algorithms_init();
	if (r == -EINVAL) {
		const char *why = ERR_reason_error_string(ERR_peek_error());

		die(EX_CONFIG, "OpenSSL refuses its openssl.cnf, mend that: %s",
		    why != NULL ? why : "it does not say why");
	}
	if (r != 0)
		die(EX_OSERR, "OpenSSL cannot be set up: no memory");
	status = child_main(ROLE_RELAY, argc, argv, &relay_ops);

	if (relay.alog != NULL)
		alog_flush(relay.alog);
	return status;
}
