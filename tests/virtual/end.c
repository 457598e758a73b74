/*
 * Purpose: play the other ends of the relay's connections.
 *
 * Runs in: tests, the script's thread.
 * Trusts:  the test.
 * Touches: sockets.
 * Failure: the scenario ends with a line.
 */
#include "tests/virtual/end.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/virtual/world_priv.h"

#define END_BYTES    (64U << 20)
#define CLIENT_TOKEN "bm90IGEgcmVhbCB0b2tlbg=="

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
	end_init(e, virt_dial(tls ? "tls" : "plain"),
		 tls ? world_own.client : NULL);
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
	int fd =
	    accept4(world_own.cloud, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

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
	e->ssl = SSL_new(world_own.server);
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
