/*
 * end: the other ends of the relay's connections, a client's and the cloud's,
 * played by the script.
 */
#ifndef RMS_END_H
#define RMS_END_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

/* A connection as the script has it. */
struct end {
	int fd;
	SSL *ssl;   /* NULL: plain */
	SSL *outer; /* what carries it: an https proxy's; NULL: nothing */
	char *got;  /* what came, with a NUL behind it */
	size_t len;
	bool eof; /* the relay closed or half closed it */
	bool reset;
};

void end_dial(struct end *e, bool tls); /* a client's; tls: not yet shaken */
void end_handshake(struct end *e);	/* until done; fails otherwise */
void end_send(struct end *e, const char *text);
void end_send_bytes(struct end *e, const void *data, size_t len);
void end_half_close(struct end *e);
void end_close(struct end *e);
/* Takes what is there. */
void end_take(struct end *e);
/* Runs and takes until the text came; fails when it does not.  (A Unix socket
 * takes some 280 pieces, however small, before one must be read.) */
void end_await(struct end *e, const char *text);
/* Forgets what came. */
void end_clear(struct end *e);
bool end_has(const struct end *e, const char *text);

/* The next connection of the relay to the cloud; false when there is none. */
bool cloud_accept(struct end *e);
/* The same, plain: it is a web proxy's. */
bool proxy_accept(struct end *e);
/* From now on it is TLS, this end the server: within what TLS there is, when
 * the way through an https proxy is open. */
void end_become_tls(struct end *e);
/* With its handshake, and until a whole request (by Content-Length) came. */
void cloud_serve(struct end *e);
bool cloud_request_is_whole(const struct end *e);

/* A request with a valid Authorization; body NULL: none (a GET). */
const char *request(const char *path, const char *body);
#define REQ_PATH "/_wmcs/licensing/license.asmx"

#endif
