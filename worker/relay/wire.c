/*
 * Purpose: bytes in and out of a connection with as few system calls and
 *          copies as TLS allows.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: its socket, the worker's output buffer.
 * Failure: IO_FAIL; the session that owns the wire ends.
 */
#include "worker/relay/wire.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/log.h"
#include "worker/relay/relay.h"
#include "worker/relay/tls.h"
#include "worker/relay/tlsmem.h"

static void
wire_on_event(evutil_socket_t fd UNUSED, short what, void *arg)
{
	struct wire *x = arg;

	if ((what & (EV_READ | EV_CLOSED)) != 0)
		x->readable = true;
	if ((what & EV_CLOSED) != 0)
		x->rdhup = true;
	if ((what & EV_WRITE) != 0 && x->pend_len > 0)
		(void)wire_flush(x); /* marks a failure itself */
	x->on_event(x->arg);
}

int
wire_init(struct wire *x, struct relay *w, int fd, SSL_CTX *ctx, bool server,
	  void (*on_event)(void *), void *arg)
{
	*x = (struct wire){.w = w, .fd = fd, .on_event = on_event, .arg = arg};
	x->ev = event_new(loop_base(w->loop), fd,
			  EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST,
			  wire_on_event, x);
	if (x->ev == NULL)
		return -ENOMEM;
	if (ctx == NULL) {
		x->handshaken = true;
	} else {
		x->ssl = tls_new(ctx, x, server);
		if (x->ssl == NULL)
			return -ENOMEM;
	}
	return event_add(x->ev, NULL) == 0 ? 0 : -ENOMEM;
}

static void
wire_drop_output(struct wire *x)
{
	if (x->w != NULL && x->w->oowner == x) {
		x->w->olen = 0;
		x->w->oowner = NULL;
	}
}

/* close_notify: of the TLS, then of what carries it. */
static void
wire_say_end(struct wire *x)
{
	SSL *ssl[2] = {x->handshaken ? x->ssl : NULL, x->outer};

	for (size_t i = 0; i < 2; i++) {
		if (ssl[i] == NULL ||
		    (SSL_get_shutdown(ssl[i]) & SSL_SENT_SHUTDOWN) != 0)
			continue;
		ERR_clear_error();
		SSL_shutdown(ssl[i]);
	}
}

int
wire_tunnel(struct wire *x, SSL_CTX *ctx, const char *early, size_t early_len)
{
	SSL *ssl;

	BUG_ON(x->outer != NULL || x->early != NULL || !x->handshaken);
	if (early_len > 0) {
		x->early = malloc(early_len);
		if (x->early == NULL)
			return -ENOMEM;
		memcpy(x->early, early, early_len);
		x->early_len = early_len;
	}
	ssl = tls_new_inner(ctx, x);
	if (ssl == NULL)
		return -ENOMEM;
	x->outer = x->ssl;
	x->ssl = ssl;
	x->handshaken = false;
	return 0;
}

void
wire_fini(struct wire *x)
{
	if (x->ssl != NULL) {
		if (!x->failed && !x->mute && x->pend_len == 0) {
			wire_say_end(x);
			if (wire_flush(x) == IO_FAIL)
				x->failed = true;
		}
		tls_free(&x->ssl, x);
		SSL_free(x->outer);
		x->outer = NULL;
	}
	free(x->early);
	x->early = NULL;
	x->early_len = 0;
	wire_drop_output(x);
	if (x->ev != NULL)
		event_free(x->ev);
	if (x->fd >= 0)
		close(x->fd);
	free(x->pend);
	x->ev = NULL;
	x->pend = NULL;
	x->pend_len = 0;
	x->fd = -1;
}

/* Keeps what the kernel did not take. */
static int
wire_keep(struct wire *x, const char *data, size_t len)
{
	size_t used = x->pend_len;

	if (x->pend_off > 0 && used > 0)
		memmove(x->pend, x->pend + x->pend_off, used);
	x->pend_off = 0;
	if (x->pend_size - used < len) {
		char *p = realloc(x->pend, used + len);

		if (p == NULL)
			return -ENOMEM;
		x->pend = p;
		x->pend_size = used + len;
	}
	memcpy(x->pend + used, data, len);
	x->pend_len = used + len;
	return 0;
}

/* Bytes that the kernel took, 0 when it is full, or -errno. */
static ssize_t
wire_send(struct wire *x, const char *data, size_t len)
{
	ssize_t n;

	do
		n = send(x->fd, data, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN ? 0 : -errno;
}

static enum io_result
wire_send_failed(struct wire *x)
{
	if (x->read_on)
		x->mute = true;
	else
		x->failed = true;
	x->pend_len = 0; /* nobody waits for room any more */
	wire_drop_output(x);
	return IO_FAIL;
}

/* It was not the peer that took no more, but we who could not send: there is
 * nothing to be read about that. */
static enum io_result
wire_send_lost(struct wire *x, bool nomem)
{
	x->failed = true;
	x->nomem |= nomem;
	return wire_send_failed(x);
}

enum io_result
wire_flush(struct wire *x)
{
	struct relay *w = x->w;
	size_t len = w->oowner == x ? w->olen : 0;
	ssize_t n = 0;

	if (x->failed || x->mute) {
		wire_drop_output(x);
		return IO_FAIL;
	}
	if (x->pend_len > 0) {
		n = wire_send(x, x->pend + x->pend_off, x->pend_len);
		if (n < 0)
			goto fail;
		x->pend_off += (size_t)n;
		x->pend_len -= (size_t)n;
		if (x->pend_len == 0) {
			free(x->pend);
			x->pend = NULL;
			x->pend_size = x->pend_off = 0;
		}
	}
	if (len == 0)
		return IO_OK;
	n = 0;
	if (x->pend_len == 0)
		n = wire_send(x, w->obuf, len);
	if (n < 0)
		goto fail;
	if ((size_t)n < len && wire_keep(x, w->obuf + n, len - (size_t)n) != 0)
		return wire_send_lost(x, true);
	w->olen = 0;
	w->oowner = NULL;
	return IO_OK;
fail:
	return wire_send_failed(x);
}

/* Sends from where the bytes are. */
static enum io_result
wire_put_direct(struct wire *x, const char *data, size_t len)
{
	ssize_t n = x->pend_len == 0 ? wire_send(x, data, len) : 0;

	if (n < 0)
		return wire_send_failed(x);
	if ((size_t)n < len && wire_keep(x, data + n, len - (size_t)n) != 0)
		return wire_send_lost(x, true);
	return IO_OK;
}

/* Appends to the output buffer, flushing when it is full.  What tls.c's
 * output BIO and plain writes share. */
enum io_result
wire_put(struct wire *x, const char *data, size_t len)
{
	struct relay *w = x->w;

	/* Left half way by a session that ends before it could flush: what
	 * there is of it goes, and its own wire says whether that went well. */
	if (w->oowner != NULL && w->oowner != x)
		(void)wire_flush(w->oowner);
	if (x->direct)
		return wire_put_direct(x, data, len);
	while (len > 0) {
		size_t n = MIN(len, (size_t)RELAY_OBUF - w->olen);

		memcpy(w->obuf + w->olen, data, n);
		w->olen += n;
		w->oowner = x;
		data += n;
		len -= n;
		if (w->olen == RELAY_OBUF && wire_flush(x) != IO_OK)
			return IO_FAIL;
	}
	return IO_OK;
}

/* SSL_get_error() needs an empty queue of errors.  It nearly always is one,
 * and emptying it costs ten times as much as looking. */
static void
wire_forget_errors(void)
{
	if (ERR_peek_error() != 0)
		ERR_clear_error();
}

enum io_result
wire_write(struct wire *x, const void *data, size_t len)
{
	size_t lacked = tlsmem_failures();

	if (x->failed || x->mute)
		return IO_FAIL;
	if (len == 0)
		return IO_OK;
	if (x->ssl == NULL)
		return wire_put(x, data, len);
	wire_forget_errors();
	/* The output BIO takes everything, so SSL_write never asks to wait.
	 * That it could not send is known then; else it is SSL_write's own
	 * failure. */
	while (len > 0) {
		int part = (int)MIN(len, (size_t)1 << 30);
		int n = SSL_write(x->ssl, data, part);

		if (n <= 0)
			return x->mute ? IO_FAIL
				       : wire_send_lost(x, tlsmem_failures() !=
							       lacked);
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	return IO_OK;
}

enum io_result
wire_write_last(struct wire *x, const void *data, size_t len)
{
	enum io_result r;

	/* more than a record: several, which shall leave together */
	if (x->w->oowner != NULL || len > SSL3_RT_MAX_PLAIN_LENGTH) {
		r = wire_write(x, data, len);
		return r == IO_OK ? wire_flush(x) : r;
	}
	x->direct = true;
	r = wire_write(x, data, len);
	x->direct = false;
	return r;
}

/* What carries the inner TLS of a tunnel: bytes, 0 at its end, or -errno. */
ssize_t
wire_recv_inner(struct wire *x, char *data, size_t size)
{
	size_t n = MIN(size, x->early_len);

	if (n > 0) {
		memcpy(data, x->early + x->early_off, n);
		x->early_off += n;
		x->early_len -= n;
		return (ssize_t)n;
	}
	if (x->outer == NULL)
		return wire_recv(x, data, size);
	if (SSL_read_ex(x->outer, data, size, &n) == 1)
		return (ssize_t)n;
	switch (SSL_get_error(x->outer, 0)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return -EPROTO;
	}
}

enum io_result
wire_put_inner(struct wire *x, const char *data, size_t len)
{
	if (x->outer == NULL)
		return wire_put(x, data, len);
	/* the output BIO takes everything, as for wire_write() */
	return SSL_write(x->outer, data, (int)len) == (int)len ? IO_OK
							       : IO_FAIL;
}

/* Bytes that no event of the socket will tell of. */
static bool
wire_has_pending(const struct wire *x)
{
	return SSL_has_pending(x->ssl) || x->early_len > 0 ||
	       (x->outer != NULL && SSL_has_pending(x->outer));
}

/* recv() that notices when the kernel has no more. */
ssize_t
wire_recv(struct wire *x, char *data, size_t size)
{
	ssize_t n;

	if (!x->readable)
		return -EAGAIN;
	do
		n = recv(x->fd, data, size, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN)) {
		x->readable = false;
		return -EAGAIN;
	}
	if (n < 0)
		return -errno;
	/* Drained, unless an end of stream is queued behind the bytes: that
	 * came with the same edge, and there will not be another. */
	if (n > 0 && (size_t)n < size && !x->rdhup)
		x->readable = false;
	return n;
}

static enum io_result
wire_read_tls(struct wire *x, void *data, size_t size, size_t *n_r)
{
	size_t lacked = tlsmem_failures();
	int ok, e;

	if (x->ended)
		return IO_EOF;
	/* Nothing in the kernel and nothing decrypted: SSL_read would take a
	 * buffer, look, and give it back to say so. */
	if (!x->readable && !wire_has_pending(x))
		return IO_AGAIN;
	wire_forget_errors();
	ok = SSL_read_ex(x->ssl, data, size, n_r);
	e = ok == 1 ? SSL_ERROR_NONE : SSL_get_error(x->ssl, 0);
	/* Reading may write: an alert (also for a peer that just went), the
	 * answer to a key update.  The buffer is for the next one's use. */
	if (x->w->oowner == x)
		(void)wire_flush(x); /* marks a failure itself */
	if (ok == 1)
		return IO_OK;
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return IO_AGAIN;
	if (e == SSL_ERROR_ZERO_RETURN) {
		x->ended = true;
		return IO_EOF;
	}
	x->failed = true;
	if (e == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_last_error()) ==
				      SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		x->truncated = true;
		ERR_clear_error();
		return IO_EOF; /* framing tells whether it came too early */
	}
	x->nomem |= tlsmem_failures() != lacked;
	return IO_FAIL;
}

enum io_result
wire_read(struct wire *x, void *data, size_t size, size_t *n_r)
{
	ssize_t n;

	if (x->failed)
		return x->truncated ? IO_EOF : IO_FAIL;
	if (x->ssl != NULL)
		return wire_read_tls(x, data, size, n_r);
	n = wire_recv(x, data, size);
	if (n == -EAGAIN)
		return IO_AGAIN;
	if (n == 0)
		return IO_EOF;
	if (n < 0) {
		x->failed = true;
		return IO_FAIL;
	}
	*n_r = (size_t)n;
	return IO_OK;
}

enum io_result
wire_handshake(struct wire *x)
{
	size_t lacked = tlsmem_failures();
	enum io_result r;

	if (x->handshaken)
		return IO_OK;
	if (x->failed)
		return IO_FAIL;
	r = tls_handshake(x->ssl, x);
	/* also where it goes on: it may fail of that in a later step */
	x->nomem |= tlsmem_failures() != lacked;
	if (wire_flush(x) != IO_OK && r != IO_FAIL)
		r = IO_FAIL;
	if (r == IO_OK) {
		x->handshaken = true;
		x->nomem = false;
	}
	if (r == IO_FAIL)
		x->failed = true;
	return r;
}

void
wire_again(struct wire *x)
{
	event_active(x->ev, EV_READ, 0);
}

void
wire_shutdown(struct wire *x)
{
	if (x->failed || x->mute || x->fd < 0 || x->shut)
		return;
	if (x->ssl != NULL)
		wire_say_end(x);
	if (wire_flush(x) == IO_OK && x->pend_len == 0) {
		shutdown(x->fd, SHUT_WR);
		x->shut = true;
	}
}
