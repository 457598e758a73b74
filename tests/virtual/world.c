/*
 * Purpose: play everybody around a relay.
 *
 * Runs in: tests, the script's thread.
 * Trusts:  the test.
 * Touches: the other ends of the relay's channels and sockets.
 * Failure: the scenario ends with a line.
 */
#include "tests/virtual/world.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/ipc.h"
#include "shm/msg.h"
#include "shm/table.h"
#include "shm/tickets.h"
#include "shm/token.h"
#include "shm/trail.h"
#include "worker/child.h"

#define CLOUD_NAME   "cloud.test"
#define PROXY_NAME   "proxy.test"
#define ROUNDS_MAX   10000
#define END_BYTES    (64U << 20)
#define CLIENT_TOKEN "bm90IGEgcmVhbCB0b2tlbg=="

int relay_main(int argc, char **argv); /* main() of rms-relay.c, renamed */

struct world world;

static struct {
	int master, keeper, agent, cloud; /* agent 0: there is none */
	EVP_PKEY *key; /* of the listener, which the keeper has */
	SSL_CTX *server, *client;
	char *ca_pem, *other_pem, *cert_pem;
	struct pub *token;
	uint32_t sets;
	uint8_t packet[IPC_BODY_MAX + sizeof(struct ipc_head)];
	uint8_t body[IPC_BODY_MAX];
} p;

/* --- certificates ----------------------------------------------------------
 */

static EVP_PKEY *
new_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	VIRT_NEED(key != NULL);
	return key;
}

static void
add_ext(X509 *c, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, c, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	VIRT_NEED(ext != NULL && X509_add_ext(c, ext, -1) == 1);
	X509_EXTENSION_free(ext);
}

static X509 *
new_cert(EVP_PKEY *key, const char *cn, X509 *ca, EVP_PKEY *ca_key)
{
	X509 *c = X509_new();
	X509_NAME *name;

	VIRT_NEED(c != NULL);
	X509_set_version(c, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c), ca == NULL ? 1 : 2);
	X509_gmtime_adj(X509_getm_notBefore(c), -3600);
	X509_gmtime_adj(X509_getm_notAfter(c), 365 * 24 * 3600);
	X509_set_pubkey(c, key);
	name = X509_get_subject_name(c);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
				   (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(c, ca == NULL ? name : X509_get_subject_name(ca));
	if (ca == NULL) {
		add_ext(c, c, NID_basic_constraints, "critical,CA:TRUE");
		add_ext(c, c, NID_key_usage, "critical,keyCertSign,cRLSign");
	} else {
		add_ext(c, ca, NID_subject_alt_name,
			"DNS:" CLOUD_NAME ",DNS:" PROXY_NAME);
	}
	VIRT_NEED(X509_sign(c, ca_key, EVP_sha256()) > 0);
	return c;
}

static char *
pem_of(X509 *c)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *data, *out;
	long n;

	VIRT_NEED(b != NULL && PEM_write_bio_X509(b, c) == 1);
	n = BIO_get_mem_data(b, &data);
	out = strndup(data, (size_t)n);
	BIO_free(b);
	VIRT_NEED(out != NULL);
	return out;
}

static void
make_certificates(void)
{
	EVP_PKEY *ca_key = new_key();
	X509 *ca = new_cert(ca_key, "virtual CA", NULL, ca_key), *c;
	X509 *other = new_cert(ca_key, "another CA", NULL, ca_key);

	p.key = new_key();
	c = new_cert(p.key, CLOUD_NAME, ca, ca_key);
	p.ca_pem = pem_of(ca);
	p.other_pem = pem_of(other);
	p.cert_pem = pem_of(c);
	p.server = SSL_CTX_new(TLS_server_method());
	p.client = SSL_CTX_new(TLS_client_method());
	VIRT_NEED(p.server != NULL && p.client != NULL);
	VIRT_NEED(SSL_CTX_use_certificate(p.server, c) == 1 &&
		  SSL_CTX_use_PrivateKey(p.server, p.key) == 1);
	SSL_CTX_set_mode(p.server, SSL_MODE_ENABLE_PARTIAL_WRITE |
				       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_mode(p.client, SSL_MODE_ENABLE_PARTIAL_WRITE |
				       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	X509_free(c);
	X509_free(ca);
	X509_free(other);
	EVP_PKEY_free(ca_key);
}

/* --- the master ------------------------------------------------------------
 */

static void
tell(enum ipc_type type, const void *body, size_t len, int fd)
{
	VIRT_NEED(ipc_send_wait(p.master, ROLE_MASTER, ROLE_RELAY, type, 0,
				body, len, fd) == 0,
		  "the relay takes no message");
}

static void
tell_segment(enum segment_kind kind, int fd)
{
	struct msg_segment m = {kind};
	size_t len = msg_segment_pack(&m, p.body, sizeof(p.body));

	VIRT_NEED(len > 0 && fd >= 0);
	tell(IPC_SEGMENT, p.body, len, fd);
	close(fd);
}

static void
tell_stats(void)
{
	unsigned row = stats_row_index(ROLE_RELAY, 0);
	const char *why = "";
	struct stats *s = stats_new(&why);

	VIRT_NEED(s != NULL);
	world.row = stats_row(s, row);
	tell_segment(SEGMENT_STATS, dup(stats_row_fd(s, row)));
}

static void
tell_table(void)
{
	struct table_in in[] = {
	    {.id = 1,
	     .kind = SUBJECT_PRINCIPAL,
	     .key = slice_of(world.principal),
	     .role = SERVER_EXCHANGE,
	     .name = SLICE_LIT("the server")},
	    {.id = 2,
	     .kind = SUBJECT_PRINCIPAL,
	     .key = SLICE_LIT(CRAWLER),
	     .role = SERVER_SHAREPOINT,
	     .name = SLICE_LIT("one that crawls")},
	    {.id = 3,
	     .kind = SUBJECT_PRINCIPAL,
	     .key = SLICE_LIT(CRAWLER_2),
	     .role = SERVER_SHAREPOINT,
	     .name = SLICE_LIT("another one")},
	};

	if (!world.listed)
		in[0].key = SLICE_LIT("somebody@ELSE.TEST");
	tell_segment(SEGMENT_TABLE, table_build(in, ARRAY_LEN(in), 1));
}

void
world_addresses(const uint8_t *last, unsigned n)
{
	/* RFC 5737, RFC 3849 */
	static const struct token_addr four = {.family = 4,
					       .bytes = {192, 0, 2}};
	static const struct token_addr six = {
	    .family = 6, .bytes = {0x20, 0x01, 0x0d, 0xb8}};
	struct token_value *t = &world.token;

	memset(t->addr, 0, sizeof(t->addr));
	for (unsigned i = 0; i < n; i++) {
		bool is_six = last[i] >= 0x60;

		t->addr[i] = is_six ? six : four;
		t->addr[i].bytes[is_six ? 15 : 3] = last[i];
	}
	t->naddr = n;
	t->addr_serial++;
}

static void
token_init(struct token_value *t)
{
	t->slot[0] = (struct token_slot){.credential = 1,
					 .state = TOKEN_OK,
					 .serial = 1,
					 .expires = UINT64_MAX,
					 .len = 7};
	memcpy(t->slot[0].bytes, "a-token", 7);
	world_addresses((const uint8_t[]){2}, 1);
	snprintf(t->host, sizeof(t->host), CLOUD_NAME);
}

static void
tell_token(void)
{
	int fd = pub_create("token", sizeof(world.token), TOKEN_LAYOUT);
	const char *why = "";

	p.token = pub_map(fd, sizeof(world.token), TOKEN_LAYOUT, true, &why);
	VIRT_NEED(p.token != NULL);
	pub_write(p.token, &world.token);
	tell_segment(SEGMENT_TOKEN, fd);
}

void
world_token(void)
{
	pub_write(p.token, &world.token);
	if (p.agent > 0)
		VIRT_NEED(ipc_send_wait(p.agent, ROLE_CLOUD, ROLE_RELAY,
					IPC_TOKEN_NEWS, 0, NULL, 0, -1) == 0);
}

static void
tell_tickets(void)
{
	static struct tickets_value t = {.nkeys = 1};
	const char *why = "";
	int fd = pub_create("tickets", sizeof(t), TICKETS_LAYOUT);
	struct pub *pub = pub_map(fd, sizeof(t), TICKETS_LAYOUT, true, &why);

	VIRT_NEED(pub != NULL);
	memset(&t.key[0], 0x5a, sizeof(t.key[0]));
	pub_write(pub, &t);
	tell_segment(SEGMENT_TICKETS, fd);
}

static void
tell_trail(void)
{
	tell_segment(SEGMENT_TRAIL, trail_create(0));
}

static void
tell_listener(uint32_t index, const char *name)
{
	struct msg_listener m = {index};
	size_t len = msg_listener_pack(&m, p.body, sizeof(p.body));
	int fd = virt_listen(name);

	tell(IPC_LISTENER, p.body, len, fd);
	close(fd);
}

static void
tell_cert(uint32_t index)
{
	struct msg_listener_pem m = {.index = index, .kind = PEM_CHAIN};
	size_t len = msg_listener_pem_pack(&m, p.body, sizeof(p.body));
	int fd = fd_memfd_sealed("chain", p.cert_pem, strlen(p.cert_pem));

	VIRT_NEED(len > 0 && fd >= 0);
	tell(IPC_LISTENER_PEM, p.body, len, fd);
	close(fd);
}

static void
tell_ca(enum ipc_type type, enum world_ca which)
{
	const char *pem = which == CA_OURS    ? p.ca_pem
			  : which == CA_OTHER ? p.other_pem
					      : "no certificate";
	int fd = fd_memfd_sealed("ca", pem, strlen(pem));

	VIRT_NEED(fd >= 0);
	tell(type, NULL, 0, fd);
	close(fd);
}

/* The relay's channel to another process: our end of it. */
static int
tell_peer(enum role role)
{
	struct msg_peer m = {.role = role, .slot = 0, .life = 1};
	size_t len = msg_peer_pack(&m, p.body, sizeof(p.body));
	int fd[2];

	VIRT_NEED(ipc_pair(fd) == 0 && len > 0);
	tell(IPC_PEER, p.body, len, fd[1]);
	close(fd[1]);
	return fd[0];
}

static void
tell_set(bool first, enum world_ca cloud, enum world_ca proxy)
{
	struct msg_set m = {.number = ++p.sets};
	size_t len =
	    conf_view_pack(&world.conf, ROLE_RELAY, p.body, sizeof(p.body));

	VIRT_NEED(len > 0);
	tell(IPC_CONF_VIEW, p.body, len, -1);
	tell_ca(IPC_CLOUD_CA, cloud);
	tell_ca(IPC_PROXY_CA, proxy);
	tell_cert(1);
	if (first) {
		tell_listener(0, "plain");
		tell_listener(1, "tls");
	}
	len = msg_set_pack(&m, p.body, sizeof(p.body));
	tell(IPC_CONF_DONE, p.body, len, -1);
}

void
world_reload(enum world_ca cloud, enum world_ca proxy)
{
	tell_set(false, cloud, proxy);
	world_run();
}

void
world_init(void)
{
	struct conf_listener *l = world.conf.listener;
	char err[256];

	conf_defaults(&world.conf);
	world.conf.nlisteners = 2;
	conf_listener_defaults(&l[0]);
	conf_listener_defaults(&l[1]);
	snprintf(l[0].name, sizeof(l[0].name), "plain");
	snprintf(l[1].name, sizeof(l[1].name), "tls");
	l[1].tls = true;
	VIRT_NEED(conf_setting_set(&world.conf, "tenant_url",
				   "https://" CLOUD_NAME, err,
				   sizeof(err)) == 0);
	snprintf(world.conf.log_level.s, sizeof(world.conf.log_level.s), "err");
	world.conf.role_credential[SERVER_EXCHANGE] = 1;
	world.conf.role_credential[SERVER_SHAREPOINT] = 1;
	snprintf(world.principal, sizeof(world.principal), "EXCH01$@LAB.TEST");
	world.listed = true;
	token_init(&world.token);
}

void
world_up(void)
{
	static char *argv[] = {(char *)(uintptr_t) "rms-relay",
			       (char *)(uintptr_t) "0", NULL};
	int fd[2];

	make_certificates();
	VIRT_NEED(ipc_pair(fd) == 0);
	VIRT_NEED(fd[0] != CHILD_CHANNEL_FD || (fd[0] = dup(fd[0])) >= 0);
	if (fd[1] != CHILD_CHANNEL_FD)
		VIRT_NEED(dup2(fd[1], CHILD_CHANNEL_FD) == CHILD_CHANNEL_FD);
	p.master = fd[0];
	p.cloud = virt_listen("cloud");
	virt_set_cloud("cloud");
	tell_stats();
	tell_table();
	tell_token();
	tell_tickets();
	tell_trail();
	p.keeper = tell_peer(ROLE_KEEPER);
	tell_set(true, CA_OURS, CA_OURS);
	virt_start(relay_main, 2, argv);
	world_run();
	VIRT_NEED(world.ready == 1 && !virt_ended(), "it did not get ready");
}

/* The next message at this moment; false when there is none. */
static bool
hear(int fd, enum role self, struct ipc_msg *m)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	if (poll(&pfd, 1, 0) != 1 || (pfd.revents & POLLIN) == 0)
		return false;
	return ipc_recv_wait(fd, self, ROLE_RELAY, p.packet, 1000, m) == 0;
}

static void
note_event(unsigned id)
{
	memmove(world.events + 1, world.events,
		sizeof(world.events) - sizeof(world.events[0]));
	world.events[0] = id;
}

static bool
hear_master(void)
{
	struct msg_event e;
	struct ipc_msg m;

	if (!hear(p.master, ROLE_MASTER, &m))
		return false;
	if (m.type == IPC_READY)
		world.ready++;
	if (m.type == IPC_REFUSED)
		world.refused++;
	if (m.type == IPC_EVENT && msg_event_unpack(&e, m.body, m.len) == 0)
		note_event(e.id);
	return true;
}

/* --- the keeper ------------------------------------------------------------
 */

static void
answer_auth(uint64_t id)
{
	struct identity ident = {.mech = MECH_KERBEROS};
	struct msg_auth_reply r = {.outcome = AUTH_OK};
	static uint8_t packed[IDENTITY_PACKED_MAX];
	struct pack k;
	size_t len;

	if (world.keeper == KEEPER_SILENT)
		return;
	memcpy(ident.principal, world.principal, sizeof(ident.principal));
	pack_init(&k, packed, sizeof(packed));
	identity_pack(&k, &ident);
	r.identity = (struct slice){(const char *)packed, k.len};
	len = msg_auth_reply_pack(&r, p.body, sizeof(p.body));
	VIRT_NEED(len > 0);
	VIRT_NEED(ipc_send_wait(p.keeper, ROLE_KEEPER, ROLE_RELAY,
				IPC_AUTH_REPLY, id, p.body, len, -1) == 0);
}

static void
answer_sign(uint64_t id, const struct msg_sign *s)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(p.key, NULL);
	struct msg_sign_reply r = {.ok = true};
	unsigned char sig[256];
	size_t len = sizeof(sig);

	if (world.keeper == KEEPER_SILENT)
		return;
	VIRT_NEED(s->op == SIGN_ECDSA && ctx != NULL);
	VIRT_NEED(EVP_PKEY_sign_init(ctx) == 1);
	VIRT_NEED(EVP_PKEY_sign(ctx, sig, &len,
				(const unsigned char *)s->data.p,
				s->data.len) == 1);
	EVP_PKEY_CTX_free(ctx);
	r.data = (struct slice){(const char *)sig, len};
	len = msg_sign_reply_pack(&r, p.body, sizeof(p.body));
	VIRT_NEED(ipc_send_wait(p.keeper, ROLE_KEEPER, ROLE_RELAY,
				IPC_SIGN_REPLY, id, p.body, len, -1) == 0);
}

static bool
hear_keeper(void)
{
	struct msg_sign s;
	struct ipc_msg m;

	if (!hear(p.keeper, ROLE_KEEPER, &m))
		return false;
	if (m.type == IPC_AUTH_STEP) {
		world.steps++;
		answer_auth(m.id);
	} else if (m.type == IPC_SIGN) {
		world.signs++;
		VIRT_NEED(msg_sign_unpack(&s, m.body, m.len) == 0);
		answer_sign(m.id, &s);
	}
	return true;
}

/* --- the cloud agent -------------------------------------------------------
 */

void
world_agent(void)
{
	p.agent = tell_peer(ROLE_CLOUD);
	world_run();
}

static bool
hear_agent(void)
{
	struct ipc_msg m;

	if (p.agent <= 0 || !hear(p.agent, ROLE_CLOUD, &m))
		return false;
	world.stale += m.type == IPC_TOKEN_STALE;
	return true;
}

/* --- time ------------------------------------------------------------------
 */

void
world_run(void)
{
	for (int n = 0; n < ROUNDS_MAX; n++) {
		virt_run();
		if (virt_ended())
			return;
		bool more = hear_master();

		more |= hear_keeper();
		more |= hear_agent();
		if (!more)
			return;
	}
	VIRT_NEED(false, "it does not come to rest");
}

void
world_advance(uint64_t ms)
{
	/* in steps, so that the keeper is heard meanwhile */
	for (uint64_t step; ms > 0 && !virt_ended(); ms -= step) {
		step = MIN(ms, UINT64_C(50));
		world_run();
		virt_advance(step);
	}
	world_run();
}

uint64_t
world_stat(enum stat_id id)
{
	return stat_get(world.row, id);
}

bool
world_had_event(unsigned id)
{
	for (size_t i = 0; i < ARRAY_LEN(world.events); i++)
		if (world.events[i] == id)
			return true;
	return false;
}

void
world_expect_at(uint64_t ms, bool (*done)(void *arg), void *arg)
{
	world_run();
	VIRT_NEED(!done(arg), "before its time");
	world_advance(ms - 10);
	VIRT_NEED(!done(arg), "before its time");
	world_advance(30);
	VIRT_NEED(done(arg), "not when its time was over");
}

/* --- ends ------------------------------------------------------------------
 */

static void
end_init(struct end *e, int fd, SSL_CTX *ctx)
{
	*e = (struct end){.fd = fd, .got = malloc(END_BYTES / 64)};
	VIRT_NEED(e->got != NULL);
	e->got[0] = '\0';
	if (ctx == NULL)
		return;
	e->ssl = SSL_new(ctx);
	VIRT_NEED(e->ssl != NULL && SSL_set_fd(e->ssl, fd) == 1);
}

void
end_dial(struct end *e, bool tls)
{
	end_init(e, virt_dial(tls ? "tls" : "plain"), tls ? p.client : NULL);
	if (tls)
		SSL_set_connect_state(e->ssl);
}

void
end_handshake(struct end *e)
{
	for (int n = 0; n < ROUNDS_MAX; n++) {
		int r = SSL_do_handshake(e->ssl);

		if (r == 1)
			return;
		r = SSL_get_error(e->ssl, r);
		VIRT_NEED(r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE,
			  "the handshake fails");
		world_run();
	}
	VIRT_NEED(false, "the handshake does not end");
}

/* More room for what comes. */
static void
end_room(struct end *e, size_t n)
{
	if (e->len + n + 1 <= END_BYTES / 64)
		return;
	VIRT_NEED(e->len + n + 1 <= END_BYTES);
	e->got = realloc(e->got, END_BYTES);
	VIRT_NEED(e->got != NULL);
}

static ssize_t
end_read(struct end *e, char *mem, size_t size)
{
	size_t n = 0;
	int r;

	if (e->ssl == NULL)
		return recv(e->fd, mem, size, 0);
	ERR_clear_error();
	r = SSL_read_ex(e->ssl, mem, size, &n);
	if (r == 1)
		return (ssize_t)n;
	switch (SSL_get_error(e->ssl, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		errno = ECONNRESET;
		return -1;
	}
}

void
end_take(struct end *e)
{
	char mem[65536];
	ssize_t n;

	while (!e->eof && !e->reset) {
		n = end_read(e, mem, sizeof(mem));
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			e->reset = true;
		if (n == 0)
			e->eof = true;
		if (n <= 0)
			return;
		end_room(e, (size_t)n);
		memcpy(e->got + e->len, mem, (size_t)n);
		e->len += (size_t)n;
		e->got[e->len] = '\0';
	}
}

void
end_clear(struct end *e)
{
	e->len = 0;
	e->got[0] = '\0';
}

bool
end_has(const struct end *e, const char *text)
{
	return strstr(e->got, text) != NULL;
}

void
end_await(struct end *e, const char *text)
{
	for (int n = 0; n < 100; n++) {
		end_take(e);
		if (end_has(e, text))
			return;
		world_run();
	}
	VIRT_NEED(false, "this did not come:", text, "but this:", e->got);
}

static ssize_t
end_write(struct end *e, const char *data, size_t len)
{
	int r;

	if (e->ssl == NULL)
		return send(e->fd, data, len, MSG_NOSIGNAL);
	ERR_clear_error();
	r = SSL_write(e->ssl, data, (int)len);
	if (r > 0)
		return r;
	r = SSL_get_error(e->ssl, r);
	errno = r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE ? EAGAIN
								      : EPIPE;
	return -1;
}

void
end_send_bytes(struct end *e, const void *data, size_t len)
{
	const char *at = data;
	int stuck = 0;

	while (len > 0) {
		ssize_t n = end_write(e, at, len);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
			stuck = 0;
			continue;
		}
		if (errno != EAGAIN)
			return; /* the relay closed: what came tells */
		world_run();
		VIRT_NEED(++stuck < 100, "the relay takes no more");
	}
	world_run();
}

void
end_send(struct end *e, const char *text)
{
	end_send_bytes(e, text, strlen(text));
}

void
end_half_close(struct end *e)
{
	if (e->ssl != NULL)
		SSL_shutdown(e->ssl);
	shutdown(e->fd, SHUT_WR);
	world_run();
}

void
end_close(struct end *e)
{
	SSL_free(e->ssl);
	SSL_free(e->outer);
	close(e->fd);
	free(e->got);
	*e = (struct end){.fd = -1};
	world_run();
}

/* --- the cloud -------------------------------------------------------------
 */

bool
proxy_accept(struct end *e)
{
	int fd = accept4(p.cloud, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	end_init(e, fd, NULL);
	return true;
}

void
end_become_tls(struct end *e)
{
	BIO *b = NULL;

	e->outer = e->ssl;
	e->ssl = SSL_new(p.server);
	VIRT_NEED(e->ssl != NULL);
	if (e->outer != NULL) {
		b = BIO_new(BIO_f_ssl());
		VIRT_NEED(b != NULL);
		BIO_set_ssl(b, e->outer, BIO_NOCLOSE);
		SSL_set_bio(e->ssl, b, b);
	} else {
		VIRT_NEED(SSL_set_fd(e->ssl, e->fd) == 1);
	}
	SSL_set_accept_state(e->ssl);
}

bool
cloud_accept(struct end *e)
{
	if (!proxy_accept(e))
		return false;
	end_become_tls(e);
	return true;
}

bool
cloud_request_is_whole(const struct end *e)
{
	const char *end = strstr(e->got, "\r\n\r\n");
	const char *length = strstr(e->got, "Content-Length: ");

	if (end == NULL)
		return false;
	if (length == NULL || length > end)
		return strstr(e->got, "Transfer-Encoding: chunked") == NULL ||
		       strstr(end, "\r\n0\r\n\r\n") != NULL;
	return e->len - (size_t)(end + 4 - e->got) >=
	       strtoull(length + 16, NULL, 10);
}

void
cloud_serve(struct end *e)
{
	VIRT_NEED(cloud_accept(e), "no connection to the cloud");
	end_handshake(e);
	for (int n = 0; n < 1000 && !cloud_request_is_whole(e); n++) {
		world_run();
		end_take(e);
	}
	VIRT_NEED(cloud_request_is_whole(e), "no whole request");
}

const char *
request(const char *path, const char *body)
{
	static char text[4096];

	if (body == NULL)
		snprintf(text, sizeof(text),
			 "GET %s HTTP/1.1\r\nHost: c\r\nAuthorization: "
			 "Negotiate " CLIENT_TOKEN "\r\n\r\n",
			 path);
	else
		snprintf(text, sizeof(text),
			 "POST %s HTTP/1.1\r\nHost: c\r\nAuthorization: "
			 "Negotiate " CLIENT_TOKEN "\r\n"
			 "Content-Type: text/xml; charset=utf-8\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 path, strlen(body), body);
	return text;
}
