/*
 * world: a relay and everybody around it, played by the script.
 *
 * The relay is the real one, its main() included.  The script plays the
 * master (which gives it what the real one would) and the keeper; with end.h a
 * client and the cloud, which speaks real TLS with a certificate of a CA made
 * here.  world_run() lets the relay run until nothing more happens; on the way
 * the keeper answers as world.keeper says.
 */
#ifndef RMS_WORLD_H
#define RMS_WORLD_H

#include "conf/conf.h"
#include "shm/identity.h"
#include "shm/stats.h"
#include "shm/token.h"
#include "tests/virtual/virt.h"

enum keeper_mode {
	KEEPER_OK,	/* the identity of world.principal */
	KEEPER_GOES_ON, /* another leg */
	KEEPER_REFUSES, /* the ticket has expired */
	KEEPER_SILENT,	/* takes, and never answers */
};

struct world {
	struct conf conf; /* to be changed before world_up() */
	char principal[IDENTITY_PRINCIPAL_MAX]; /* of who asks from now on */
	bool listed; /* it is in the table, when the relay is started */
	enum keeper_mode keeper;
	struct slice keeper_token; /* that its answers bring; empty: none */
	struct stats_row *row;	   /* the relay's counters */
	unsigned steps, signs;	   /* AUTH_STEP and SIGN that came */
	unsigned aborts;	   /* AUTH_ABORT that came */
	unsigned events[8];	  /* the last numbers of events, newest first */
	bool deaf;		  /* the master takes nothing */
	unsigned seen;		  /* SEEN of world.principal that came */
	unsigned ready, refused;  /* READY and REFUSED that came */
	unsigned stale;		  /* TOKEN_STALE that came */
	struct token_value token; /* for world_token() */
};
extern struct world world;

/* Who is listed as SharePoint, besides world.principal as Exchange. */
#define CRAWLER	  "SP01$@LAB.TEST"
#define CRAWLER_2 "SP02$@LAB.TEST"

/* What /proc/meminfo says of the host from now on, in MiB. */
void world_memory(unsigned total, unsigned available);
/* Defaults: half of the host's memory is available and there is no control
 * group, a plain listener 0 and a TLS listener 1, one exchange server and
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

#endif
