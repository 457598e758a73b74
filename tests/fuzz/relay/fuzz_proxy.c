/*
 * Any answer of a web proxy to CONNECT.
 *
 * Input: a byte that says how large the pieces are, then what the proxy
 * sends before it closes.  Holds:
 *	- the pieces do not matter: the way is open, or is not for the same
 *	  reason, as if all had come at once;
 *	- an open way has an answer of 2xx behind it, and the bytes behind that
 *	  are the first of the TLS with the cloud, none lost, none added;
 *	- a refusal has words, one line of text that may be printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "shm/base/log.h"
#include "worker/relay/proxy.h"
#include "worker/relay/relay.h"
#include "worker/relay/tls.h"
#include "worker/relay/upstream.h"

#define WORDS 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct relay relay;

/* In rms-relay.c for the relay; here each block is one by itself. */
char *
relay_block_take(struct relay *w)
{
	(void)w;
	return malloc(RELAY_BLOCK);
}

void
relay_block_give(struct relay *w, char *block)
{
	(void)w;
	free(block);
}

struct outcome {
	enum io_result r;
	enum reason why;
	char words[WORDS];
	size_t early; /* bytes that are left to the TLS */
};

static void
begin(void)
{
	static struct child child;
	static char none[] = "no issuer";
	char err[256];

	relay.c = &child;
	conf_defaults(&child.conf);
	relay.loop = loop_new();
	relay.tv = calloc(1, sizeof(*relay.tv));
	relay.scratch = malloc(RELAY_SCRATCH);
	relay.obuf = malloc(RELAY_OBUF);
	BUG_ON(relay.loop == NULL || relay.tv == NULL ||
	       relay.scratch == NULL || relay.obuf == NULL);
	snprintf(relay.tenant_host, sizeof(relay.tenant_host), "cloud.test");
	relay.tenant_port = 443;
	/* Makes what every TLS needs, and then finds no certificate; any
	 * context will do here, where there is no handshake. */
	relay.cloud_ca.pem = none;
	relay.cloud_ca.len = sizeof(none) - 1;
	BUG_ON(tls_cloud_ctx(&relay, err, sizeof(err)) != NULL);
	relay.cloud_ctx = SSL_CTX_new(TLS_client_method());
	BUG_ON(relay.cloud_ctx == NULL);
}

static void
on_event(void *arg)
{
	(void)arg;
}

/* The words are one line of text that is not empty. */
static void
check_words(const char *s)
{
	size_t n = strnlen(s, WORDS);

	BUG_ON(n == 0 || n == WORDS);
	for (size_t i = 0; i < n; i++)
		BUG_ON((unsigned char)s[i] < 0x20 ||
		       (unsigned char)s[i] > 0x7e);
}

static void
ask(const uint8_t *p, size_t len, size_t piece, struct outcome *o)
{
	struct upstream u = {.w = &relay};
	char connect[1024];
	int fd[2], left = 0;

	memset(o, 0, sizeof(*o));
	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0);
	BUG_ON(wire_init(&u.wire, &relay, fd[0], NULL, false, on_event, &u) !=
	       0);
	BUG_ON(proxy_ask(&u) != IO_OK || wire_flush(&u.wire) != IO_OK);
	BUG_ON(recv(fd[1], connect, sizeof(connect), 0) <= 0);
	o->r = IO_AGAIN;
	for (size_t n; len > 0 && o->r == IO_AGAIN; p += n, len -= n) {
		n = MIN(piece, len);
		BUG_ON(send(fd[1], p, n, 0) != (ssize_t)n);
		u.wire.readable = true;
		o->r = proxy_run(&u, &o->why, o->words, sizeof(o->words));
		BUG_ON(u.block != NULL && u.wpos > PROXY_HEAD_MAX);
	}
	if (o->r == IO_AGAIN) {
		close(fd[1]);
		fd[1] = -1;
		u.wire.readable = true;
		u.wire.rdhup = true;
		o->r = proxy_run(&u, &o->why, o->words, sizeof(o->words));
	}
	BUG_ON(o->r != IO_OK && o->r != IO_FAIL);
	BUG_ON(o->r == IO_OK && (u.block != NULL || u.wire.ssl == NULL));
	BUG_ON(ioctl(fd[0], FIONREAD, &left) != 0);
	o->early = u.wire.early_len + (size_t)left + len;
	if (u.block != NULL)
		relay_block_give(&relay, u.block);
	wire_fini(&u.wire);
	if (fd[1] >= 0)
		close(fd[1]);
}

/* Behind the head that ends at most there. */
static const uint8_t *
behind_head(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *e = memmem(p, (size_t)(end - p), "\r\n\r\n", 4);

	BUG_ON(e == NULL);
	return e + 4;
}

static void
check_open(const uint8_t *p, size_t len, const struct outcome *o)
{
	const uint8_t *end = p + len;

	/* interim answers stand before it */
	while (p[9] == '1')
		p = behind_head(p, end);
	BUG_ON(p[9] != '2');
	BUG_ON(o->early != (size_t)(end - behind_head(p, end)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, pieces;

	if (relay.loop == NULL)
		begin();
	if (size < 1 || size > 100000)
		return 0;
	ask(data + 1, size - 1, size, &whole);
	ask(data + 1, size - 1, (size_t)1 + data[0] % 64, &pieces);
	BUG_ON(whole.r != pieces.r || whole.why != pieces.why);
	if (whole.r == IO_FAIL) {
		check_words(whole.words);
		check_words(pieces.words);
		return 0;
	}
	BUG_ON(whole.early != pieces.early);
	check_open(data + 1, size - 1, &whole);
	return 0;
}
