/*
 * proxy: the way through a web proxy: CONNECT (RFC 9110 9.3.6).
 *
 * The upstream's wire is connected to the proxy (and has finished the TLS
 * with it, for an https proxy).  Nothing but the cloud's name, port and the
 * proxy's own credentials is told to it.
 */
#ifndef RMS_PROXY_H
#define RMS_PROXY_H

#include "shm/base/bug.h"
#include "worker/relay/reason.h"
#include "worker/relay/wire.h"

struct relay;
struct upstream;

/* The largest head of a proxy's reply, interim ones included, in bytes. */
#define PROXY_HEAD_MAX 16384

/* Sends CONNECT.  IO_OK, or IO_FAIL, with u->block NULL, or the wire's nomem,
 * for want of memory. */
enum io_result proxy_ask(struct upstream *u);

/*
 * Looks at what the proxy answers.  IO_OK: the way is open, and the wire is
 * ready for the handshake with the cloud; IO_AGAIN; IO_FAIL with the reason
 * and words for the operator.
 */
enum io_result proxy_run(struct upstream *u, enum reason *why_r, char *text,
			 size_t size);

#endif
