/*
 * client: a connection from a server, and the request that it carries.
 *
 * One request at a time: what a client sends ahead waits in the block or in
 * the kernel.  A client ends in one place, client_end(), with a reason; a
 * request ends in exchange_end().
 *
 * States, what is true in them, and what ends them:
 *	PROXY	 a balancer's header is due	its end, or head_timeout_ms
 *	TLS	 handshake under way		done, or tls_timeout_ms
 *	IDLE	 no byte of a request yet	a byte, or idle_timeout_ms
 *	HEAD	 part of a head is there	its end, or head_timeout_ms
 *	AUTH	 the keeper has the token	AUTH_REPLY, or auth_timeout_ms
 *	QUEUE	 waits for its turn (admit.h)	it comes, or queue_timeout_ms
 *	CONNECT	 waits for a connection		up_on_ready/up_on_failed
 *	TOKEN	 waits for a token (await.h)	news, or token_wait_ms
 *	RELAY	 request and reply flow		end of both, or a time-out
 *	DRAIN	 refused, body unread		end of body, or a bound; then,
 *		 where x->late says so, the reply, else it is sent before
 *	LINGER	 own bytes sent, half closed	the peer's end, or 2 s
 *	CLOSED	 freed at the end of the turn
 *
 * From HEAD to RELAY the request as a whole has request_timeout_ms, too, from
 * its first byte.  Whatever is waited for when that is over is what the end
 * names; who had less than half of the time is not blamed for it, and it is
 * no failure of the cloud's (health.h).
 */
#ifndef RMS_CLIENT_H
#define RMS_CLIENT_H

#include <stdbool.h>

#include "shm/identity.h"
#include "worker/relay/admit.h"
#include "worker/relay/chunk.h"
#include "worker/relay/http.h"
#include "worker/relay/meter.h"
#include "worker/relay/operation.h"
#include "worker/relay/patience.h"
#include "worker/relay/relay.h"
#include "worker/relay/service.h"
#include "worker/relay/trace.h"
#include "worker/relay/wire.h"

enum client_state {
	CLIENT_PROXY,
	CLIENT_TLS,
	CLIENT_IDLE,
	CLIENT_HEAD,
	CLIENT_AUTH,
	CLIENT_QUEUE,
	CLIENT_CONNECT,
	CLIENT_TOKEN,
	CLIENT_RELAY,
	CLIENT_DRAIN,
	CLIENT_LINGER,
	CLIENT_CLOSED,
};

/* 16 hex digits of the worker's boot, a dash, the number, and a NUL. */
#define REQUEST_ID_LEN 40
/* The keeper ends what is late, and says of what; its clock ticks in tenths of
 * a second.  Only when it says nothing at all it is the keeper that is late. */
#define CLIENT_AUTH_GRACE_MS 250
#define CLIENT_LINGER_MS     2000

/* What CLIENT_RELAY waits for: its timer runs for that. */
enum exchange_wait {
	WAIT_NOTHING,
	WAIT_BODY,	   /* bytes of the request */
	WAIT_CLOUD_TAKES,  /* the cloud to take some of it */
	WAIT_REPLY,	   /* the head of the reply */
	WAIT_REPLY_BODY,   /* bytes of the reply */
	WAIT_CLIENT_TAKES, /* the client to take some of it */
	WAIT_MAX,
};

/* One request and its reply. */
struct exchange {
	struct exchange *next_free;
	uint64_t number; /* of id */
	enum service service;
	bool soap; /* our own errors are SOAP faults */

	/* who */
	struct identity *ident; /* borrowed from the client, or owned */
	bool ident_owned;
	enum server_role role;
	uint32_t entry;
	uint64_t generation; /* of the table that decided */
	uint8_t decided;     /* 1 + enum verdict; 0: not yet */
	enum auth_cause auth_cause;
	uint64_t account; /* of ident's principal, hashed; by authorize() */
	uint32_t credential;
	char *auth_out;	  /* base64 for WWW-Authenticate; owned; may be NULL */
	bool auth_ntlm;	  /* the client's scheme is NTLM, not Negotiate */
	bool auth_proved; /* ident is from this request's Authorization */
	bool ntlm_lost;	  /* an NTLM identity went when this request showed an
			   * intermediary */

	/* its turn (admit.c) */
	enum admit_place place;
	bool exchange_role;  /* its queue; stays while it has a place */
	struct meter *meter; /* of the account; valid while in a place */
	uint64_t table_gen;  /* of the table that allowed it to wait */
	uint64_t t_queue, queue_ns;

	bool trace_theirs; /* it is the client's, and passes */

	/* the request's body, from the client's block to the cloud */
	size_t body_start; /* in the block; meaningful while held */
	size_t cursor;	   /* next byte of the block to look at */
	bool held;	   /* everything since body_start is in the block */
	bool body_done;
	bool head_sent;
	bool last_chunk_sent; /* all of the request is on its way */
	bool continued;	      /* 100 Continue was sent */
	uint64_t left;	      /* HTTP_LENGTH */
	struct chunk chunk;

	/* the cloud */
	struct upstream *up;
	bool probe;		/* tries for all whether the cloud is back */
	uint32_t retry_after_s; /* of a refusal; 0: the usual */
	int retries;		/* after a pooled connection died */
	int anew;		/* after the way changed under an attempt */
	int replays;		/* after a 401 */
	uint64_t token_serial;	/* of what was sent last; 0: none yet */
	bool token_due;		/* it has to wait for one (await.h) */

	/* the reply */
	int status;
	bool reply_started;   /* the head went to the client */
	bool reply_head_done; /* the cloud's head was read */
	bool up_keep;	      /* the cloud's connection may be used again */
	bool reply_done;
	bool reply_chunked; /* towards the client */
	bool close_after;   /* the client's connection ends with it */
	enum http_framing reply_framing;
	uint64_t reply_left;
	struct chunk reply_chunk;
	/* gzip undone: NULL when it is not; the run of the block that is being
	 * fed to it, and whether it may have output left */
	struct gunzip *gz;
	const char *gz_run;
	size_t gz_left;
	bool gz_pending;
	size_t flight; /* body bytes put since the last flush */

	enum exchange_wait wait;
	uint64_t wait_at;    /* how far that had come when the timer was set */
	uint64_t wait_since; /* CLOCK_MONOTONIC ns */
	uint64_t waited[WAIT_MAX]; /* ns, of each kind, before that */

	struct operation operation;

	/* a refusal that is told in the end of CLIENT_DRAIN; REASON_OK: none.
	 * The detail is owned, and may be NULL. */
	enum reason late;
	char *late_detail;

	/* account */
	enum reason reason;
	uint64_t bytes_in, bytes_out;
	uint64_t t_start, t_auth, t_connect, t_sent, t_reply_end;
	uint64_t auth_ns, connect_ns;
	bool reused;

	/* Texts: of these only the first byte is cleared for a request. */
	char id[REQUEST_ID_LEN];
	char path[128];		   /* as sent, cut, for the log */
	char trace[TRACE_LEN + 1]; /* traceparent, or its start; "" none yet */
	char auth_detail[96];	   /* the security library's words, cut */
	char entry_name[TABLE_NAME_MAX + 1];
	char upstream_addr[64];

	struct http_req req;
};

struct gunzip;

struct client {
	struct client *next, *prev;
	struct relay *w;
	char listener[64]; /* its name when this was accepted */
	struct wire wire;
	enum client_state state;
	struct loop_timer *timer;
	struct loop_cell cell;
	char address[48];  /* of the client, text */
	char balancer[48]; /* of the balancer that named it; "" for none */

	char *block; /* NULL when nothing is buffered */
	size_t size, rpos, wpos;
	struct http_scan scan;

	struct client *wait_next, *wait_prev; /* in CLIENT_QUEUE */
	struct meter *source;	/* of the address; held; may be NULL */
	struct meter *account;	/* of who spoke last; held; may be NULL */
	struct exchange *x;	/* NULL between requests */
	struct identity *ident; /* persists as auth.c says; owned */
	uint64_t agent;		/* User-Agent that ident came with, hashed */
	bool shared;		/* an intermediary showed itself */
	/* by the certificate of its handshake; owned; good for cert_id */
	struct identity *cert;
	uint8_t cert_id[TLS_ID_BYTES];
	uint64_t auth_id;	  /* exchange with the keeper; 0 none */
	struct client *auth_next; /* auth.c: others with ids of one bucket */
	bool auth_pending;	  /* it has a half-done handshake of ours */
	bool auth_raw;		  /* the handshake is in the scheme NTLM */
	uint64_t discard;	  /* bytes that may still be thrown away */
	uint64_t t_head;	  /* first byte of the present head */
	bool eof;
	bool owes;  /* output waits to be taken, and the timer is for that */
	bool total; /* the timer is for the end of request_timeout_ms */
};

/* Frees what is kept for the next exchanges. */
void exchange_rest(void);
/* Accepts what waits on a listener; bounded work. */
void client_accept(struct listener *l);

/* The only state transition: also sets the timer of the state. */
void client_enter(struct client *c, enum client_state s);
/* The timer of a request, by p and what is left of it as a whole, which need
 * not be in p. */
void client_set_patience(struct client *c, struct patience p);
/* Looks at everything that can go on now. */
void client_run(struct client *c);
/* Ends the connection (and the request on it, with the same reason). */
void client_end(struct client *c, enum reason why);
/* The request has its reply complete and sent: log it, go on or close. */
void client_finish(struct client *c, enum reason why);
/* Own reply instead of the cloud's (reply.h), then as client_finish(); behind
 * a body of unknown length, when whether the connection ends depends on it. */
void client_refuse(struct client *c, enum reason why, const char *detail);
/* More bytes into the block.  IO_AGAIN when there is no room or no byte.
 * IO_FAIL with ->block NULL: there is no memory for one; not while there is a
 * request, which keeps the block of its head. */
enum io_result client_fill(struct client *c);
/* The worker drains: idle connections close. */
void client_drain_idle(struct relay *w);
/* Likewise those whose listener is gone, or is one of another kind now. */
void client_retire(struct relay *w);
/* Memory is short: connections that nobody uses now close. */
void client_shed_idle(struct relay *w);
/* "Server-Timing: ...\r\n" when that is wanted, else nothing. */
void exchange_put_timing(struct client *c, struct sbuf *out);
/* Sends "100 Continue" once when it was asked for. */
void client_continue(struct client *c);

enum body_result {
	BODY_RUN,  /* *data_r, *n_r: the next bytes of the request's body */
	BODY_NEED, /* more must be read (client_fill) */
	BODY_END,
	BODY_BAD,   /* REASON_BAD_CHUNK */
	BODY_LARGE, /* REASON_BODY_TOO_LARGE */
};
/* Next run of the request's body that is in the block. */
enum body_result client_body_next(struct client *c, const char **data_r,
				  size_t *n_r);
/* Back to the start of a body that is still held, for another try. */
void client_body_rewind(struct client *c);

/* --- auth.c ----------------------------------------------------------- */
/* Establishes x->ident: at once (true: go on), or later, or refuses. */
bool auth_begin(struct client *c);
void auth_on_reply(struct relay *w, uint64_t id, const uint8_t *body,
		   size_t len);
/* The keeper is gone: everything that waits is refused. */
void auth_keeper_gone(struct relay *w);
/* Forgets a half-done handshake. */
void auth_abort(struct client *c);
/* An intermediary showed itself, now for the first time on this connection:
 * somebody else's requests may follow on it. */
void auth_on_intermediary(struct client *c);
/* The field Persistent-Auth with its line end; "" where it is not said. */
const char *auth_persistence(const struct exchange *x);
/* That, and fields for WWW-Authenticate: the token for the client, or with
 * offer what may be used, the better one first. */
void auth_put_fields(const struct client *c, bool offer, struct sbuf *b);
/* The TLS handshake failed: an event when it was for the client's
 * certificate. */
void auth_tls_failed(struct client *c);

/* --- authorize.c ------------------------------------------------------ */
/* Decides by the newest table and tells the master what it has not heard:
 * REASON_OK with x->role and x->entry set, or the refusal. */
enum reason authorize(struct client *c);

/* --- forward.c -------------------------------------------------------- */
/* Decides by the newest table, then sends the request on its way. */
void forward_begin(struct client *c);
/* The turn of a request that waited has come. */
void forward_admitted(struct client *c);
/* The client of a request that waits hung up: true when that ended it. */
bool forward_client_gone(struct client *c);
/* Moves bytes both ways as far as they go. */
void forward_pump(struct client *c);
/* From upstream.c: a connection for c is ready, or cannot be had. */
void forward_on_ready(struct client *c, struct upstream *u);
/* The time of CLIENT_RELAY is over: says who was waited for. */
void forward_on_timeout(struct client *c);
/* The same of CLIENT_CONNECT. */
void forward_on_connect_timeout(struct client *c);
void forward_on_failed(struct client *c, enum reason why, const char *detail);

#endif
