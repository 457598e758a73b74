/*
 * world: a relay and everybody around it, played by the script.
 *
 * The relay is the real one, its main() included.  The script plays the
 * master (which gives it what the real one would), the keeper, a client and
 * the cloud, which speaks real TLS with a certificate of a CA made here.
 * world_run() lets the relay run until nothing more happens; on the way the
 * keeper answers as world.keeper says.
 */
#ifndef RMS_WORLD_H
#define RMS_WORLD_H

#include <openssl/types.h>

#include "conf/conf.h"
#include "shm/identity.h"
#include "shm/stats.h"
#include "shm/token.h"
#include "tests/virtual/virt.h"

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

enum keeper_mode {
	KEEPER_OK,     /* the identity of world.principal */
	KEEPER_SILENT, /* takes, and never answers */
};

struct world {
	struct conf conf; /* to be changed before world_up() */
	char principal[IDENTITY_PRINCIPAL_MAX]; /* of who asks from now on */
	bool listed; /* it is in the table, when the relay is started */
	enum keeper_mode keeper;
	struct stats_row *row;	  /* the relay's counters */
	unsigned steps, signs;	  /* AUTH_STEP and SIGN that came */
	unsigned events[8];	  /* the last numbers of events, newest first */
	unsigned ready, refused;  /* READY and REFUSED that came */
	unsigned stale;		  /* TOKEN_STALE that came */
	struct token_value token; /* for world_token() */
};
extern struct world world;

/* Who is listed as SharePoint, besides world.principal as Exchange. */
#define CRAWLER	  "SP01$@LAB.TEST"
#define CRAWLER_2 "SP02$@LAB.TEST"

/* Defaults: a plain listener 0 and a TLS listener 1, one exchange server and
 * two of SharePoint, a token, an address of the cloud. */
void world_init(void);
void world_up(void);
/* The cloud agent comes; until then there is none. */
void world_agent(void);
/* It publishes world.token, and says so. */
void world_token(void);
/* It finds these addresses now, named by their last bytes (virt.h), those
 * from 0x60 on of IPv6.  Before world_up() or world_token(). */
void world_addresses(const uint8_t *last, unsigned n);
/* A reload: world.conf, and what vouches for cloud and proxy: our CA, another
 * one, or a text that is none. */
enum world_ca { CA_OURS, CA_OTHER, CA_NONE };
void world_reload(enum world_ca cloud, enum world_ca proxy);
void world_run(void);
/* The same while time passes. */
void world_advance(uint64_t ms);
uint64_t world_stat(enum stat_id id);
/* Is it one of world.events? */
bool world_had_event(unsigned id);
/* Has a timer that fires after `ms` fired only now?  Advances to one
 * millisecond before and to it; fails when done() is true too early or not
 * then (a heartbeat's width of slack). */
void world_expect_at(uint64_t ms, bool (*done)(void *arg), void *arg);

/* --- ends -------------------------------------------------------------- */
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
