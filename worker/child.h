/*
 * child: the one start-up ladder of every process but the master.
 *
 *	close what was not given -> read messages up to CONF_DONE -> map
 *	segments -> drop privileges -> apply the configuration -> sandbox ->
 *	loop -> READY
 *
 * The master starts a child as `rms-ROLE SLOT` with standard error as
 * descriptor 2 and the channel to the master as descriptor 3, nothing else.
 * The channel's end ends the child: no child outlives its master.
 */
#ifndef RMS_CHILD_H
#define RMS_CHILD_H

#include "conf/conf.h"
#include "shm/base/bug.h"
#include "shm/ipc.h"
#include "shm/msg.h"
#include "shm/stats.h"

struct loop;

#define CHILD_CHANNEL_FD 3

struct child {
	enum role role;
	unsigned slot;
	struct loop *loop;
	struct ipc *master;    /* NULL at start-up */
	struct conf conf;      /* of the last CONF_DONE */
	struct conf conf_next; /* as received, before CONF_DONE */
	struct stats_row *row; /* our counters */
	bool draining;
};

struct child_ops {
	/*
	 * Every message but CONF_VIEW, SEGMENT(stats), CONF_DONE and DRAIN,
	 * at start-up and later alike.  The handler owns m->fd when it sets
	 * it to -1.  0, or -errno with what is in force as it was: within a
	 * set, its rest is not read, on_abort() follows, and the master hears
	 * REFUSED; by itself (a newer table, a neighbour), or at start-up,
	 * the child ends, for another gets the same anew.
	 */
	int (*on_msg)(struct child *c, struct ipc_msg *m);
	/* The set under way is not to be: forget what came of it.  May be
	 * NULL. */
	void (*on_abort)(struct child *c);
	/*
	 * c->conf is new.  first: privileges are dropped, the sandbox is not
	 * yet closed: make everything here.  0, or -errno: the child ends,
	 * later (the old state must stay in force) the master hears REFUSED.
	 */
	int (*on_conf)(struct child *c, bool first);
	/* Finish: no new work; call loop_stop(c->loop, 0) when done, at the
	 * latest after ms (0: no limit). */
	void (*on_drain)(struct child *c, uint64_t ms);
	/* Paths that may be read after the sandbox closes; may be NULL. */
	const char *const *(*readable)(struct child *c);
};

/* Runs the process; its exit status. */
int child_main(enum role role, int argc, char **argv,
	       const struct child_ops *ops);

/* Sends an event to the master (shm/msg.h); lost only when the channel is
 * full, which is logged. */
void child_event(struct child *c, const struct msg_event *e);

/*
 * A neighbour broke ipc_msgs.def on its channel to us, the one that the last
 * PEER brought.  The master cannot see that channel: it is told (ACCUSE), ends
 * the liar if that process still runs, and starts another, and with it comes
 * a new channel.
 */
void child_accuse(struct child *c, enum role who, unsigned slot,
		  const char *why);

#endif
