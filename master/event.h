/*
 * event: numbered events for the operator (events.def).
 *
 * One line to standard error, one JSON object to the event log, and the last
 * EVENT_RING in memory for `rmsctl events`.  Written by the master alone; the
 * children ask for one with the message EVENT, and may only ask for those
 * that are theirs to tell.
 *
 * Events that a client can cause at will are limited per account, address and
 * cause: the first at once, then at most one a minute, which says how many were
 * not written.  All that a child asks for is limited by its budget besides.
 */
#ifndef RMS_EVENT_H
#define RMS_EVENT_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/role.h"

#define EVENT_RING     1000
#define EVENT_JSON_MAX 24576 /* of one line; event 1004 lists accounts */
/* Pause between two of the same cause. */
#define EVENT_LIMIT_NS UINT64_C(60000000000)
/* Accounts that clients of one address claim to be which are told apart in
 * that time; beyond, the address and the cause alone count. */
#define EVENT_CLAIMS_MAX 8

struct budget;
struct event_log;

/* One event to be told.  Everything but id may be empty; borrowed during the
 * call. */
struct event_args {
	uint32_t id;
	struct slice account;
	struct slice sid;
	struct slice address;
	struct slice mech;
	struct slice request;
	const char *process; /* that it came from, "relay 0"; NULL none */
	const char *role;    /* of the server, NULL or "" none */
	uint32_t entry;	     /* 0 none */
	struct slice reason;
	struct slice author; /* of a change */
	uint64_t count;	     /* like it that were not written before */
	struct slice more;   /* further JSON members, already rendered */
};

enum event_level { EVENT_INFO, EVENT_WARNING, EVENT_ERROR };

/* One line of events.def. */
struct event_def {
	uint32_t id;
	enum event_level level;
	enum role from;
	const char *text;
	const char *remedy;
};
/* NULL when there is no such event. */
const struct event_def *event_def(uint32_t id);
/* May a child of this role ask for it? */
bool event_from_child(uint32_t id, enum role role);

/* NULL when out of memory. */
MUST_USE struct event_log *event_log_new(void);
void event_log_free(struct event_log **l);
/* Name of the node in every event from now on; copied. */
void event_log_set_node(struct event_log *l, const char *node);
/* Where the JSON lines go; -1: nowhere.  Borrowed until the next call. */
void event_log_set_fd(struct event_log *l, int fd);

/* NULL, or why lines do not reach the descriptor; since when, CLOCK_REALTIME
 * ns. */
const char *event_log_failing(const struct event_log *l, uint64_t *since_r);

/* Tells an event; one without a definition is a BUG. */
void event_tell(struct event_log *l, const struct event_args *e);
/* Shorthand: only a reason. */
PRINTF(3, 4)
void event_tellf(struct event_log *l, uint32_t id, const char *fmt, ...);

/*
 * An event of a child: told unless its like was told less than
 * EVENT_LIMIT_NS before mono_ns, or the child's budget is spent.
 * False when it was held back (it is counted).
 */
bool event_tell_limited(struct event_log *l, const struct event_args *e,
			struct budget *b, uint64_t mono_ns);

/* One listener for every new event's JSON; fn NULL: none. */
void event_log_follow(struct event_log *l,
		      void (*fn)(void *arg, struct slice json), void *arg);
/* Visits the last n events' JSON, oldest first. */
void event_log_last(struct event_log *l, size_t n,
		    void (*fn)(void *arg, struct slice json), void *arg);

#endif
