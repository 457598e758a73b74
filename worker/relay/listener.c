/*
 * Purpose: take listeners from a set, whole or not at all.
 *
 * Runs in: relay.
 * Trusts:  the master.
 * Touches: listening sockets, TLS contexts; connections of listeners that are
 *          no more.
 * Failure: -errno and a line; what was in force stays.
 */
#include "worker/relay/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "worker/relay/client.h"
#include "worker/relay/sni.h"
#include "worker/relay/staple.h"

/* Largest PEM text that the master sends. */
#define LISTENER_PEM_MAX (UINT64_C(16) << 20)

_Static_assert(TLS_ID_BYTES == 32, "SHA-256");

void
listener_init(struct listener *l, struct relay *w, unsigned index)
{
	*l = (struct listener){.w = w, .index = index, .fd = -1, .next_fd = -1};
}

/* ---- messages of a set ----------------------------------------------- */

int
listener_take_fd(struct relay *w, struct ipc_msg *m)
{
	struct msg_listener ml;
	struct listener *l;

	if (msg_listener_unpack(&ml, m->body, m->len) != 0 ||
	    ml.index >= CONF_LISTENERS_MAX)
		return -EPROTO;
	l = &w->listener[ml.index];
	fd_close(&l->next_fd);
	l->next_fd = m->fd;
	m->fd = -1;
	return fd_nonblock(l->next_fd);
}

static void
text_drop(struct listener_text *t)
{
	free(t->pem);
	*t = (struct listener_text){0};
}

static struct listener_text *
text_of(struct listener *l, const struct msg_listener_pem *m)
{
	if (m->kind == PEM_CHAIN)
		return &l->next_chain[m->place];
	if (m->kind != PEM_OCSP)
		return &l->next[m->kind];
	l->next_ocsp_until_s[m->place] = m->until_s;
	return &l->next_ocsp[m->place];
}

int
listener_take_pem(struct relay *w, struct ipc_msg *m)
{
	struct msg_listener_pem mp;
	struct listener_text *t;

	if (msg_listener_pem_unpack(&mp, m->body, m->len) != 0 ||
	    mp.index >= CONF_LISTENERS_MAX || mp.place >= CONF_CERTS_MAX)
		return -EPROTO;
	t = text_of(&w->listener[mp.index], &mp);
	text_drop(t);
	return fd_read_all(m->fd, LISTENER_PEM_MAX, &t->pem, &t->len);
}

static void
listener_forget(struct listener *l)
{
	fd_close(&l->next_fd);
	for (size_t i = 0; i < PEM_MAX; i++)
		text_drop(&l->next[i]);
	for (size_t i = 0; i < CONF_CERTS_MAX; i++)
		text_drop(&l->next_chain[i]);
	for (size_t i = 0; i < CONF_CERTS_MAX; i++)
		text_drop(&l->next_ocsp[i]);
	SSL_CTX_free(l->next_ctx);
	l->next_ctx = NULL;
}

void
listener_abort(struct relay *w)
{
	for (size_t i = 0; i < CONF_LISTENERS_MAX; i++)
		listener_forget(&w->listener[i]);
}

/* ---- making ---------------------------------------------------------- */

static bool
hash_text(EVP_MD_CTX *md, const struct listener_text *t)
{
	/* the NUL behind each keeps one from running into the next */
	return EVP_DigestUpdate(md, t->pem, t->len) == 1 &&
	       EVP_DigestUpdate(md, "", 1) == 1;
}

/* Of the listener, and of the chains from `first` to `end`. */
static int
listener_hash(const struct listener *l, const struct conf_listener *cl,
	      size_t first, size_t end, uint8_t id_r[TLS_ID_BYTES])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

	ok = ok && EVP_DigestUpdate(md, cl->name, strlen(cl->name) + 1) == 1 &&
	     EVP_DigestUpdate(md, cl->client_certificate.s,
			      strlen(cl->client_certificate.s) + 1) == 1;
	for (size_t i = first; i < end; i++)
		ok = ok && hash_text(md, &l->next_chain[i]);
	for (size_t i = 0; i < PEM_MAX; i++)
		ok = ok && hash_text(md, &l->next[i]);
	ok = ok && EVP_DigestFinal_ex(md, id_r, NULL) == 1;
	EVP_MD_CTX_free(md);
	return ok ? 0 : -ENOMEM;
}

static struct slice
text_slice(const struct listener_text *t)
{
	return (struct slice){t->pem == NULL ? "" : t->pem, t->len};
}

/* That of one certificate; sessions are its own.  first: whose issuers of
 * clients it shares; NULL: it is the first.  NULL with a line. */
static SSL_CTX *
listener_cert_ctx(struct listener *l, const struct conf_listener *cl,
		  size_t place, SSL_CTX *first, char *err, size_t err_size)
{
	enum clientcert_mode mode = clientcert_mode(cl->client_certificate.s);
	uint8_t id[TLS_ID_BYTES];
	SSL_CTX *ctx;
	int r = 0;

	snprintf(err, err_size, "out of memory");
	if (listener_hash(l, cl, place, place + 1, id) != 0)
		return NULL;
	ctx = tls_server_ctx(l->w, text_slice(&l->next_chain[place]), id, err,
			     err_size);
	if (ctx != NULL && mode != CLIENTCERT_OFF)
		r = first != NULL
			? clientcert_share(ctx, first)
			: clientcert_setup(ctx, mode,
					   text_slice(&l->next[PEM_CLIENT_CA]),
					   text_slice(&l->next[PEM_CLIENT_CRL]),
					   err, err_size);
	if (r == 0 && ctx != NULL)
		r = staple_install(ctx);
	if (r == 0)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static size_t
listener_chains(const struct listener *l)
{
	size_t n = 0;

	while (n < CONF_CERTS_MAX && l->next_chain[n].pem != NULL)
		n++;
	return n;
}

/* The others of several certificates, on the first. */
static int
listener_make_others(struct listener *l, const struct conf_listener *cl,
		     size_t n, char *err, size_t err_size)
{
	struct sni *s = sni_new();
	int r = s == NULL ? -ENOMEM : sni_add(s, l->next_ctx);

	snprintf(err, err_size, "out of memory");
	for (size_t i = 1; r == 0 && i < n; i++) {
		SSL_CTX *ctx =
		    listener_cert_ctx(l, cl, i, l->next_ctx, err, err_size);

		r = ctx == NULL ? -EINVAL : sni_add(s, ctx);
	}
	if (r == 0)
		r = sni_install(l->next_ctx, &s);
	sni_free(&s);
	return r;
}

static int
listener_make_ctx(struct listener *l, const struct conf_listener *cl)
{
	size_t n = listener_chains(l);
	char err[256] = "no certificate";
	int r = 0;

	if (!cl->tls)
		return 0;
	if (l->ctx != NULL && memcmp(l->id, l->next_id, sizeof(l->id)) == 0) {
		SSL_CTX_up_ref(l->ctx); /* the same: so is its session cache */
		l->next_ctx = l->ctx;
		return 0;
	}
	if (n > 0)
		l->next_ctx =
		    listener_cert_ctx(l, cl, 0, NULL, err, sizeof(err));
	if (l->next_ctx != NULL && n > 1)
		r = listener_make_others(l, cl, n, err, sizeof(err));
	if (l->next_ctx != NULL && r == 0)
		return 0;
	log_err("listener %s: %s", cl->name, err);
	return -EINVAL;
}

static int
listener_make_bindings(struct listener *l, const struct conf_listener *cl)
{
	const struct listener_text *t = &l->next[PEM_BINDINGS];
	struct listener_bindings *b = &l->next_further;
	size_t n;

	*b = (struct listener_bindings){0};
	if (t->pem == NULL)
		return 0;
	while (b->n < MSG_BINDINGS_MAX - 1) {
		n = tls_binding_at(text_slice(t), b->n, b->at[b->n].bytes);
		if (n == 0)
			break;
		b->at[b->n++].len = n;
	}
	if (b->n > 0)
		return 0;
	log_err("listener %s: no certificate in "
		"channel_binding_certificates",
		cl->name);
	return -EINVAL;
}

int
listener_prepare(struct relay *w)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->c->conf.nlisteners; i++) {
		struct listener *l = &w->listener[i];
		const struct conf_listener *cl = &w->c->conf.listener[i];

		r = listener_hash(l, cl, 0, listener_chains(l), l->next_id);
		if (r == 0)
			r = listener_make_ctx(l, cl);
		if (r == 0)
			r = listener_make_bindings(l, cl);
	}
	return r;
}

/* ---- putting into force ---------------------------------------------- */

static void
listener_on_accept(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
	client_accept(arg);
}

static void
listener_close(struct listener *l)
{
	if (l->ev != NULL)
		event_free(l->ev);
	l->ev = NULL;
	fd_close(&l->fd);
	SSL_CTX_free(l->ctx); /* connections hold their own reference */
	l->ctx = NULL;
	l->up = false;
}

static void
listener_open(struct listener *l)
{
	if (l->fd < 0 || l->ev != NULL || l->w->draining)
		return;
	l->ev = event_new(loop_base(l->w->loop), l->fd, EV_READ | EV_PERSIST,
			  listener_on_accept, l);
	/* As with accept() that fails: the next set, or the next process,
	 * does better. */
	if (l->ev == NULL || event_add(l->ev, NULL) != 0)
		log_err("no memory to listen");
}

/* Not of what a context is made of: another response ends no session. */
static void
listener_staple(struct listener *l)
{
	for (size_t i = 0; l->ctx != NULL && i < CONF_CERTS_MAX; i++) {
		struct listener_text *t = &l->next_ocsp[i];
		SSL_CTX *ctx = sni_at(l->ctx, i);

		if (ctx != NULL)
			staple_set(ctx, &t->pem, t->len,
				   l->next_ocsp_until_s[i]);
	}
}

static enum binding_mode
listener_binding(const struct conf_listener *cl)
{
	if (strcmp(cl->channel_binding.s, "off") == 0)
		return BINDING_OFF;
	if (strcmp(cl->channel_binding.s, "require") == 0)
		return BINDING_REQUIRE;
	return BINDING_ALLOW;
}

/* Its own word where it has one, else the node's. */
static bool
listener_connection_auth(const struct listener *l,
			 const struct conf_listener *cl)
{
	if (strcmp(cl->connection_auth.s, "node") == 0)
		return l->w->c->conf.connection_auth;
	return strcmp(cl->connection_auth.s, "true") == 0;
}

static void
listener_use(struct listener *l, const struct conf_listener *cl)
{
	ssize_t n;

	if (l->next_fd >= 0) { /* its event is the old socket's */
		if (l->ev != NULL)
			event_free(l->ev);
		l->ev = NULL;
		fd_close(&l->fd);
		l->fd = l->next_fd;
		l->next_fd = -1;
	}
	SSL_CTX_free(l->ctx);
	l->ctx = l->next_ctx;
	l->next_ctx = NULL;
	listener_staple(l);
	memcpy(l->id, l->next_id, sizeof(l->id));
	l->further = l->next_further;
	l->binding = listener_binding(cl);
	l->clientcert = clientcert_mode(cl->client_certificate.s);
	l->connection_auth = listener_connection_auth(l, cl);
	n = net_parse_list(cl->proxy_protocol.s, l->proxy, ARRAY_LEN(l->proxy));
	l->nproxies = n < 0 ? 0 : (size_t)n; /* conf/check.c has seen it */
	l->up = true;
}

void
listener_commit(struct relay *w)
{
	for (size_t i = 0; i < CONF_LISTENERS_MAX; i++) {
		struct listener *l = &w->listener[i];

		if (i < w->c->conf.nlisteners)
			listener_use(l, &w->c->conf.listener[i]);
		else
			listener_close(l);
		listener_forget(l);
		if (l->up)
			listener_open(l);
	}
	client_retire(w);
}

void
listener_stop(struct relay *w)
{
	for (size_t i = 0; i < CONF_LISTENERS_MAX; i++) {
		if (w->listener[i].ev != NULL)
			event_free(w->listener[i].ev);
		w->listener[i].ev = NULL;
	}
}

void
listener_resume(struct relay *w)
{
	for (size_t i = 0; i < CONF_LISTENERS_MAX; i++)
		if (w->listener[i].ev != NULL)
			event_add(w->listener[i].ev, NULL);
}

struct listener *
listener_find(struct relay *w, const char *name)
{
	for (size_t i = 0; i < w->c->conf.nlisteners; i++)
		if (w->listener[i].up &&
		    strcmp(w->c->conf.listener[i].name, name) == 0)
			return &w->listener[i];
	return NULL;
}
