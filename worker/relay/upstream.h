/*
 * upstream: connections to the cloud, pooled.
 *
 * A connection belongs to the pool (idle) or to one client.  It is used again
 * only when its last reply ended cleanly and asked for no close, and only for
 * what it was made and used for: the same epoch (so the same name, issuers and
 * web proxy: w->cloud_epoch), an address that is still published, and the same
 * credential.  Each request carries its own token, so HTTP needs no
 * such key; but whatever stands in front of the service may take the first
 * one's identity for the connection's, and then Exchange's rights must not be
 * what a file server's request finds there.
 *
 * An attempt whose epoch is over is given up and made anew, before another
 * byte goes to where it leads: what it would send or be verified by is the
 * new way's.  So is one that fails while other addresses were published.
 * Neither counts as a failure.
 */
#ifndef RMS_UPSTREAM_H
#define RMS_UPSTREAM_H

#include <netinet/in.h>
#include <stdbool.h>

#include "shm/base/loop.h"
#include "worker/relay/dial.h"
#include "worker/relay/http.h"
#include "worker/relay/reason.h"
#include "worker/relay/wire.h"

struct client;
struct relay;

enum upstream_state {
	UP_CONNECT,   /* ->dial tries addresses of the cloud or the proxy */
	UP_PROXY_TLS, /* with an https proxy */
	UP_PROXY,     /* CONNECT is sent */
	UP_TLS,
	UP_BUSY, /* carries a request of ->client */
	UP_IDLE, /* in the pool */
	UP_CLOSED,
};

struct upstream {
	struct upstream *next, *prev; /* pool, most recently used first */
	struct relay *w;
	struct client *client;
	struct wire wire;
	enum upstream_state state;
	struct loop_timer *timer; /* until UP_BUSY only */
	struct loop_cell cell;
	uint64_t t_begin, t_idle; /* CLOCK_MONOTONIC */
	uint64_t epoch;		  /* of the relay, when it was begun */
	bool proxied;		  /* through w->way */
	uint64_t addr_serial;	/* of a list that it is in, or was begun with */
	struct token_addr addr; /* that it is connected to */
	uint32_t
	    credential;	   /* of the requests it has carried; key of the pool */
	struct dial *dial; /* until UP_BUSY; owned */
	char address[64];  /* addr, and the port */
	unsigned uses;
	bool reused;   /* came from the pool for this request */
	bool got_byte; /* of the present reply */

	char *block;
	size_t rpos, wpos;
	struct http_scan scan;
};

/*
 * Gets a connection for c: forward_on_ready() is called before it returns
 * when the pool has one, else later; forward_on_failed() when there is none
 * to be had.  fresh: do not use the pool.
 */
void upstream_get(struct client *c, bool fresh);
/* The reply is complete: back to the pool when reusable, else closed. */
void upstream_give(struct upstream **u, bool reusable);
/* Ends it at once; ->client is forgotten. */
void upstream_drop(struct upstream **u);
/* Attempts of an old epoch are made anew soon, not only at their next step. */
void upstream_hurry(struct relay *w);
/* Stops a connection attempt of c, if there is one. */
void upstream_cancel(struct client *c);

/* Closes idle ones that are too old, more than cloud_pool_max, or of an address
 * that is not published; or all. */
void upstream_sweep(struct relay *w, bool all);

/* Reads into the block; IO_AGAIN when there is no room or no byte.  IO_FAIL
 * with ->block NULL: there is no memory for one, the connection is as it was.
 */
enum io_result upstream_fill(struct upstream *u);

#endif
