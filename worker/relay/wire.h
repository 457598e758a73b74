/*
 * wire: a non-blocking byte stream to a peer, TLS or plain, on one
 * edge-triggered event that is registered once.
 *
 * Reading: `readable` stays set until the kernel has no more; a short read
 * clears it without another system call, and a later edge sets it again.
 * Writing: bytes are encrypted into the worker's output buffer and leave with
 * one send() in wire_flush(); what the kernel does not take is kept in
 * `pend`, and while there is any, wire_blocked() is true and the caller stops
 * reading the other side: so memory per connection is bounded by one output
 * buffer.  Output of one wire at a time: flush before another writes.
 */
#ifndef RMS_WIRE_H
#define RMS_WIRE_H

#include <openssl/types.h>
#include <stdbool.h>

#include "shm/base/bug.h"

struct event;
struct relay;

enum io_result {
	IO_OK,
	IO_AGAIN, /* wait for the next event */
	IO_EOF,	  /* orderly end of the peer's bytes */
	IO_FAIL,  /* the connection is broken */
};

struct wire {
	struct relay *w;
	int fd; /* -1: closed */
	SSL *ssl;
	/* A tunnel through a web proxy: what carries the ssl, NULL when that
	 * is the socket; and bytes of it that came with the proxy's answer. */
	SSL *outer;
	char *early;
	size_t early_len, early_off;
	struct event *ev;
	/* The peer may have bytes for us, or room for ours. */
	void (*on_event)(void *arg);
	void *arg;
	char *pend;
	size_t pend_len, pend_off, pend_size;
	bool readable;
	bool rdhup; /* the peer has shut down its side: read to the end */
	bool handshaken;
	bool ended;	/* close_notify was read: nothing follows */
	bool truncated; /* TLS ended without close_notify */
	bool failed;
	bool nomem; /* failed, or its handshake may, for want of memory */
	/* A peer that takes no more may still have said something: with
	 * read_on, a failed send makes the wire mute, not failed. */
	bool read_on, mute;
	bool shut;   /* wire_shutdown() is complete */
	bool direct; /* within wire_write_last() */
};

/*
 * Takes fd (non-blocking).  ctx NULL: plain.  0 or -ENOMEM (fd is then
 * closed).  wire_fini() in any case.
 */
MUST_USE int wire_init(struct wire *x, struct relay *w, int fd, SSL_CTX *ctx,
		       bool server, void (*on_event)(void *), void *arg);
/* Sends close_notify when that can be done at once, closes, frees. */
void wire_fini(struct wire *x);

/*
 * What was read and written so far becomes the carrier of another TLS, whose
 * handshake is next.  early: its first bytes, which were read already; copied.
 * 0 or -ENOMEM.
 */
MUST_USE int wire_tunnel(struct wire *x, SSL_CTX *ctx, const char *early,
			 size_t early_len);

/* IO_OK when finished; IO_AGAIN also while the keeper signs. */
enum io_result wire_handshake(struct wire *x);

/*
 * Reads up to size bytes.  IO_OK with *n_r > 0.
 */
enum io_result wire_read(struct wire *x, void *data, size_t size, size_t *n_r);

/* Takes all of data.  IO_OK or IO_FAIL. */
enum io_result wire_write(struct wire *x, const void *data, size_t len);
/* Sends what was written.  IO_OK also when some of it waits in pend. */
enum io_result wire_flush(struct wire *x);
/* Both, for the last bytes of a flight: one record leaves without a copy into
 * the output buffer. */
enum io_result wire_write_last(struct wire *x, const void *data, size_t len);
static inline bool
wire_blocked(const struct wire *x)
{
	return x->pend_len > 0;
}

/* Calls on_event in the next turn, as if more could be read. */
void wire_again(struct wire *x);

/* Half-close after the last byte: close_notify, then shutdown(SHUT_WR). */
void wire_shutdown(struct wire *x);

#endif
