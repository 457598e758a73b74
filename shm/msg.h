/*
 * msg: the bodies of the messages in ipc_msgs.def, field by field.
 *
 * Each struct is one body.  msg_X_pack() writes it and returns the length, 0
 * when it does not fit into size.  msg_X_unpack() reads it: 0, or -EPROTO
 * when the body is not exactly such a message (a liar).  Slices borrow from
 * the body.  Messages with an empty body have no struct.
 */
#ifndef RMS_MSG_H
#define RMS_MSG_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/identity.h"
#include "shm/role.h"
#include "shm/table.h"

/* --- SEGMENT --------------------------------------------------------- */
enum segment_kind {
	SEGMENT_STATS = 1,
	SEGMENT_TABLE = 2,
	SEGMENT_TOKEN = 3, /* read-write for the cloud agent, else read-only */
	SEGMENT_TICKETS = 4, /* read-only */
	SEGMENT_REPLAY = 5,  /* read-write, for the keeper */
	SEGMENT_TRAIL = 6,   /* read-write, for its relay */
	SEGMENT_MAX,
};
struct msg_segment {
	enum segment_kind kind;
};

/* --- LISTENER: which listener of the view ---------------------------- */
struct msg_listener {
	uint32_t index; /* position in the view's list of listeners */
};

/* --- TLS_KEY: of which of its certificates --------------------------- */
struct msg_tls_key {
	uint32_t index; /* of the listener */
	uint32_t place; /* in its list of certificates */
};

/* --- LISTENER_PEM: what relays know of a listener, all of it public --- */
enum listener_pem {
	PEM_CHAIN = 0,	  /* the certificate, then its issuers */
	PEM_BINDINGS = 1, /* channel_binding_certificates */
	PEM_CLIENT_CA = 2,
	PEM_CLIENT_CRL = 3,
	PEM_OCSP = 4, /* no PEM: a response in DER */
	PEM_MAX,
};
struct msg_listener_pem {
	uint32_t index; /* of the listener */
	enum listener_pem kind;
	uint32_t place;	  /* of PEM_CHAIN and PEM_OCSP: in the list of
			   * certificates; else 0 */
	uint64_t until_s; /* of PEM_OCSP: its end; else 0 */
};

/* --- PEER ------------------------------------------------------------ */
struct msg_peer {
	enum role role;
	uint32_t slot;
	uint64_t life; /* the master's number of that process, never reused */
};

/* --- ACCUSE: who had the channel is what PEER said ------------------- */
struct msg_accuse {
	enum role role;
	uint32_t slot;
	uint64_t life;
	struct slice why;
};

/* --- CONF_DONE, READY ------------------------------------------------ */
struct msg_set {
	uint64_t number; /* of the set of start-up or reload messages */
};

/* --- REFUSED --------------------------------------------------------- */
struct msg_refused {
	uint64_t number;
	struct slice why;
};

/* --- DRAIN ----------------------------------------------------------- */
struct msg_drain {
	uint64_t ms; /* until what is left is cut; 0: no limit */
};

/* --- CREDENTIALS (also in CONF_VIEW terms: master/store.h) ----------- */
#define MSG_CREDS_MAX 8
enum cred_kind {
	CRED_CLOUD = 0, /* tokens are fetched with it */
	CRED_PROXY = 1, /* Basic to a web proxy: client_id is the user */
	CRED_KIND_MAX,
};
struct msg_cred {
	uint32_t id; /* the store's number */
	enum cred_kind kind;
	char name[64];
	char client_id[256];
	char secret[1024]; /* wipe after use */
};
struct msg_creds {
	uint32_t n;
	struct msg_cred cred[MSG_CREDS_MAX];
};

/* --- EVENT ----------------------------------------------------------- */
struct msg_event {
	uint32_t id; /* events.def */
	/* All optional (empty); text of `detail` is the reason. */
	struct slice account;
	struct slice sid;
	struct slice address; /* of the client, "10.0.0.5" */
	struct slice mech;
	struct slice request; /* request id */
	struct slice detail;
};

/* --- SEEN: the first request of a connection's account ---------------- */
struct msg_seen {
	bool allowed;
	bool tls;
	bool bound;
	uint8_t mech;	     /* enum auth_mech */
	uint8_t role;	     /* enum server_role */
	uint8_t verdict;     /* enum verdict */
	uint32_t entry;	     /* that decided, 0 none */
	uint32_t other;	     /* an entry that disagrees, 0 none */
	uint32_t matches;    /* entries that match and have not expired */
	uint64_t generation; /* of the table that decided */
	int32_t enctype;
	uint32_t kvno;
	uint8_t lack;	    /* enum sid_lack; 0 while there are SIDs */
	uint32_t nsids;	    /* that the identity has */
	uint64_t sids_hash; /* of all of them, msg_sids_hash() */
	/* sids_pack() of all, or empty: those that were told with this hash */
	struct slice sids;
	struct slice account;
	struct slice sid; /* of the user, text, or empty */
	struct slice spn;
	struct slice address;
	struct slice listener; /* its name */
	struct slice request;
};
/* Names a list of SIDs to a process that has it, the same in every relay; 0
 * for the empty one. */
uint64_t msg_sids_hash(struct slice packed);

/* --- CLOUD_STATUS ---------------------------------------------------- */
struct msg_cloud_cred {
	uint32_t id;
	uint32_t state;	       /* enum token_state */
	uint64_t expires_in_s; /* 0: none valid */
	uint64_t retry_in_s;
	char error[512]; /* why the last fetch failed, or "" */
};
struct msg_cloud_status {
	uint32_t n;
	struct msg_cloud_cred cred[MSG_CREDS_MAX];
	uint32_t naddr;
	bool dns_failed;
	char addrs[512]; /* comma-separated */
	char dns_error[256];
};

/* --- KEEPER_STATUS: free text lines, one principal each -------------- */
struct msg_keeper_status {
	uint32_t entries;
	struct slice text; /* "principal kvno enctype\n" ... */
};

/* --- KEY_USE: tickets of one key since the last of these --------------- */
struct msg_key_use {
	char principal[512]; /* of the service */
	uint32_t kvno;	     /* 0: the ticket has none */
	int32_t enctype;
	uint64_t count;
	uint64_t first_ns, last_ns; /* CLOCK_REALTIME */
	uint64_t life_s; /* the longest that a ticket had still to live */
};

/* --- AUTH_STEP ------------------------------------------------------- */
#define MSG_BINDINGS_MAX 8
/* "tls-server-end-point:" and the largest hash that there is. */
#define MSG_BINDING_BYTES_MAX (21 + 64)
/* Largest token: 48 kB is what Windows makes, and there is head-room. */
#define MSG_TOKEN_BYTES_MAX 66560
/* ipc id: the relay's number of the exchange, the same for every leg. */
struct msg_auth_step {
	uint32_t deadline_ms; /* from now; later nobody waits */
	uint8_t first;	      /* 1: a new exchange */
	bool shared;	      /* an intermediary showed itself on this
			       * connection */
	bool must_bind;	      /* only a client that is bound will do */
	/*
	 * Channel bindings (RFC 5929 4) that the client may have: those of
	 * the certificates behind which it may think that we are.  own: the
	 * first is of the certificate that its own connection was shown; the
	 * others are of somebody who ends TLS before us.
	 */
	bool own;
	uint32_t nbindings;
	struct slice binding[MSG_BINDINGS_MAX];
	struct slice token; /* decoded from base64 */
};

/* --- AUTH_REPLY ------------------------------------------------------ */
enum auth_outcome {
	AUTH_OK = 0,
	AUTH_CONTINUE = 1, /* send token_r with 401, wait for another leg */
	AUTH_FAILED = 2,
	AUTH_BUSY = 3, /* queue full or deadline passed: 503 */
};
/* Why it failed: auth_causes.def, one line per cause. */
enum auth_cause {
#define AUTH_CAUSE(name, text, remedy) CAUSE_##name,
#include "shm/auth_causes.def"
#undef AUTH_CAUSE
	CAUSE_MAX
};
const char *auth_cause_name(enum auth_cause c);	  /* "no-key-for-spn" */
const char *auth_cause_text(enum auth_cause c);	  /* for log and event */
const char *auth_cause_remedy(enum auth_cause c); /* what would do */
/* Is it for now only, no fault of the client?  Then the outcome is AUTH_BUSY.
 */
bool auth_cause_is_busy(enum auth_cause c);

/* What does not belong to the outcome must be empty: unpack refuses it. */
struct msg_auth_reply {
	enum auth_outcome outcome;
	enum auth_cause cause; /* CAUSE_NONE unless AUTH_FAILED/BUSY, then
				* another */
	uint64_t took_ns;      /* inside the keeper */
	struct slice token;    /* for WWW-Authenticate; may be empty,
				* but not with AUTH_CONTINUE */
	struct slice detail;   /* the library's own words, for the log */
	struct slice identity; /* identity_pack(), only with AUTH_OK */
	/* Only with AUTH_FAILED, and where they are known: how the client came,
	 * and the account that it says it is.  Nothing is proven by either. */
	uint8_t mech; /* enum auth_mech */
	struct slice claimed;
};

/* --- SIGN, SIGN_REPLY ------------------------------------------------ */
enum sign_op {
	SIGN_RSA_RAW = 1,   /* RSA, the block of EMSA-PSS as given */
	SIGN_RSA_PKCS1 = 2, /* RSA, PKCS#1 v1.5 padding of a DigestInfo */
	SIGN_ECDSA = 3,	    /* ECDSA over a digest */
};
struct msg_sign {
	uint32_t index; /* of the listener whose (first) key it is */
	enum sign_op op;
	struct slice data;
	/* worker/spki.h: names the key itself, as a reload changes keys in
	 * the keeper and in a relay at different moments.  0: whatever key
	 * the listener has. */
	uint64_t key;
};
struct msg_sign_reply {
	bool ok;
	struct slice data; /* the signature; empty exactly when not ok */
};

/* --- TOKEN_STALE ----------------------------------------------------- */
struct msg_token_stale {
	uint32_t credential;
	uint64_t serial; /* of the token that was refused */
};

/* --- CLOUD_HEALTH ---------------------------------------------------- */
enum cloud_health {
	CLOUD_WAIT = 1, /* it asks to wait ms, for credential or (0) for all */
	CLOUD_DOWN = 2, /* this relay does not try it for ms */
	CLOUD_UP = 3,	/* a reply came again */
	CLOUD_BAD = 4,	/* addr takes no connections: try it last for ms */
	CLOUD_HEALTH_MAX,
};
struct msg_cloud_health {
	uint8_t what; /* enum cloud_health */
	uint32_t credential;
	uint32_t ms;
	uint8_t family; /* 4 or 6 with CLOUD_BAD, else 0 */
	struct slice addr;
};

#define MSG_DECLARE(X)                                                       \
	MUST_USE size_t msg_##X##_pack(const struct msg_##X *m, void *body,  \
				       size_t size);                         \
	MUST_USE int msg_##X##_unpack(struct msg_##X *m_r, const void *body, \
				      size_t len);

MSG_DECLARE(segment)
MSG_DECLARE(listener)
MSG_DECLARE(tls_key)
MSG_DECLARE(listener_pem)
MSG_DECLARE(peer)
MSG_DECLARE(accuse)
MSG_DECLARE(set)
MSG_DECLARE(refused)
MSG_DECLARE(drain)
MSG_DECLARE(creds)
MSG_DECLARE(event)
MSG_DECLARE(seen)
MSG_DECLARE(cloud_status)
MSG_DECLARE(keeper_status)
MSG_DECLARE(key_use)
MSG_DECLARE(auth_step)
MSG_DECLARE(auth_reply)
MSG_DECLARE(sign)
MSG_DECLARE(sign_reply)
MSG_DECLARE(token_stale)
MSG_DECLARE(cloud_health)
#undef MSG_DECLARE

#endif
