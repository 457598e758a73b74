/*
 * listener: a listening socket, and what its connections are held to.
 *
 * A set brings sockets and certificates one by one; they are kept aside.
 * listener_prepare() makes of them what connections need, which can fail;
 * listener_commit() puts that into force, which cannot.  So a set is taken
 * whole or leaves what was.  Connections hold their own reference to the
 * context that they began with; what else they are held to is looked up by
 * the listener's name for each request, so the newest is in force.
 */
#ifndef RMS_LISTENER_H
#define RMS_LISTENER_H

#include <openssl/types.h>
#include <stdbool.h>

#include "conf/conf.h"
#include "shm/base/bug.h"
#include "shm/base/net.h"
#include "shm/msg.h"
#include "worker/relay/clientcert.h"
#include "worker/relay/tls.h"

struct event;
struct ipc_msg;
struct relay;

enum binding_mode {
	BINDING_ALLOW = 0, /* what is there must be right */
	BINDING_OFF,	   /* none is looked at */
	BINDING_REQUIRE,   /* and one must be there */
};

/* A PEM text (or DER).  NULL: none. */
struct listener_text {
	char *pem; /* owned */
	size_t len;
};

struct listener_bindings {
	size_t n;
	struct {
		size_t len;
		uint8_t bytes[TLS_BINDING_MAX];
	} at[MSG_BINDINGS_MAX];
};

struct listener {
	struct relay *w;
	unsigned index; /* in conf.listener[] */

	/* in force */
	bool up; /* the newest set has it */
	int fd;
	struct event *ev; /* NULL: does not accept */
	SSL_CTX *ctx;	  /* NULL on a plain listener; sni.h: others hang
			   * on it where there are several certificates */
	/* Of all that a handshake here depends on: another one, another
	 * session id context, so none is resumed across. */
	uint8_t id[TLS_ID_BYTES];
	enum binding_mode binding;
	enum clientcert_mode clientcert;
	bool connection_auth; /* an identity may stay with a connection */
	struct listener_bindings further;
	struct net proxy[CONF_NETS_MAX]; /* balancers, by proxy_protocol */
	size_t nproxies;

	/* of the set under way */
	int next_fd;
	struct listener_text next_chain[CONF_CERTS_MAX];
	struct listener_text next_ocsp[CONF_CERTS_MAX]; /* DER */
	uint64_t next_ocsp_until_s[CONF_CERTS_MAX];
	struct listener_text next[PEM_MAX]; /* but chains and OCSP */
	SSL_CTX *next_ctx;
	uint8_t next_id[TLS_ID_BYTES];
	struct listener_bindings next_further;
};

void listener_init(struct listener *l, struct relay *w, unsigned index);

/* Messages of a set.  0, or -errno. */
MUST_USE int listener_take_fd(struct relay *w, struct ipc_msg *m);
MUST_USE int listener_take_pem(struct relay *w, struct ipc_msg *m);
/* The set is not to be. */
void listener_abort(struct relay *w);

/* Makes the set's, as w->c->conf says.  0, or -errno with a line in the log:
 * then listener_abort(). */
MUST_USE int listener_prepare(struct relay *w);
/* Puts it into force, and ends the connections of listeners that are gone. */
void listener_commit(struct relay *w);

/* Accept no more; or again, after a rest (accept.c). */
void listener_stop(struct relay *w);
void listener_resume(struct relay *w);

/* By name, among those in force; NULL when it is gone. */
struct listener *listener_find(struct relay *w, const char *name);

#endif
