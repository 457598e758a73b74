/*
 * client_priv: what the files that make up a client share with each other
 * and with nobody else: client.c (states, events, end), accept.c, head.c,
 * body.c, exchange.c.
 */
#ifndef RMS_CLIENT_PRIV_H
#define RMS_CLIENT_PRIV_H

#include <sys/socket.h>

#include "worker/relay/client.h"

/* --- exchange.c ------------------------------------------------------- */
MUST_USE struct exchange *exchange_new(struct relay *w);
/* The request of c is over in every respect; nothing when there is none. */
void exchange_end(struct client *c);

/* --- body.c ----------------------------------------------------------- */
void client_block_drop(struct client *c);
/* A head may be larger than a block: up to both bounds together. */
size_t client_head_max(const struct client *c);
/* Room for such a head.  0, -ENOBUFS (there is), or -ENOMEM. */
MUST_USE int client_block_grow(struct client *c);
/* Makes room at the end of the block: what was looked at goes. */
void client_block_compact(struct client *c);
/* The body starts at x->body_start. */
void client_body_init(struct client *c);

/* --- balancer.c ------------------------------------------------------- */
/* Is the peer one that has to send a PROXY header? */
bool client_is_proxied(const struct listener *l,
		       const struct sockaddr_storage *peer);
/* CLIENT_PROXY; true: go on with the state that is now. */
bool client_run_proxy(struct client *c);

/* --- accept.c --------------------------------------------------------- */
void client_address(struct client *c, const struct sockaddr_storage *ss);

/* --- head.c ----------------------------------------------------------- */
/* CLIENT_IDLE and CLIENT_HEAD; true: go on with the state that is now. */
bool client_run_head(struct client *c);
/* A refusal before there is a request to refuse. */
void client_refuse_head(struct client *c, enum reason why);

/* --- client.c --------------------------------------------------------- */
/* Output waits for a client that need not be waited for otherwise: sets its
 * timer once, for all of it. */
void client_owe(struct client *c);
void client_on_event(void *arg);
void client_on_timer(void *arg);

#endif
