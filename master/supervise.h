/*
 * supervise: the children, from fork to the last row of their counters.
 *
 * The table of processes is data (supervise.c, `kinds`).  A child that ends
 * is started again, with a pause that doubles while it keeps failing.  A
 * child whose heartbeat stands still, or that breaks the table of messages,
 * is killed and replaced.  What it was allowed to touch survives: listeners,
 * counters and segments are the master's.
 *
 * A child has ended when it was reaped *and* its channel is read to the end;
 * only then is its stats row folded and its slot used again.
 */
#ifndef RMS_SUPERVISE_H
#define RMS_SUPERVISE_H

#include <stdbool.h>
#include <sys/types.h>

#include "shm/base/bug.h"
#include "shm/ipc.h"
#include "shm/role.h"

struct loop;
struct loop_timer;
struct stats;
struct supervise;

enum proc_state {
	PROC_WAITING,  /* not running; ends when the timer starts it */
	PROC_STARTING, /* forked; ends with READY */
	PROC_READY,    /* said READY */
	PROC_ENDING,   /* channel ended, killed or reaped; ends with both
			* channel and process gone */
	PROC_STOPPED,  /* gone, and not to be started (again) */
};

/*
 * One child slot.  Others read it; only supervise*.c write it, except the
 * numbers of sets, which they set to 0 at a start.
 */
struct proc {
	struct supervise *owner;
	enum role role;
	unsigned slot;
	bool wanted; /* false: its kind is switched off */
	enum proc_state state;
	pid_t pid;	    /* 0: none, or reaped */
	uint64_t life;	    /* number of this start, never reused */
	struct ipc *ipc;    /* NULL: no channel */
	uint64_t set;	    /* number of the last READY */
	uint64_t set_first; /* numbers of the sets that were sent to it: */
	uint64_t set_last;  /* first and last, none is left out; 0 none */
	uint64_t refused;   /* number of the last REFUSED */
	char refused_why[192];
	uint64_t started_ns; /* CLOCK_REALTIME of the last fork */
	uint64_t started_mono_ns;
	uint64_t dying_mono_ns; /* since when PROC_ENDING */
	unsigned restarts;	/* since the master's start */
	unsigned failures;	/* in a row */
	uint64_t retry_mono_ns; /* when PROC_WAITING */
	bool draining;
	bool killed;	    /* by us: its end is already explained */
	int status;	    /* of waitpid */
	char last_end[160]; /* "" or how the one before ended */
	struct loop_timer *timer;
};

enum proc_end {
	PROC_END_STOPPED, /* it was asked to */
	PROC_END_CRASHED, /* event 3101 */
	PROC_END_STUCK,	  /* event 3102; told before it is dead */
	PROC_END_LIED,	  /* event 3103; told before it is dead */
};

struct supervise_ops {
	/* Forked; its channel is open: send the start-up messages. */
	void (*on_spawn)(void *arg, struct proc *p);
	/* A message that ipc_msgs.def allows.  READY comes here too. */
	void (*on_msg)(void *arg, struct proc *p, struct ipc_msg *m);
	/* Something to tell the operator: why is the text. */
	void (*on_end)(void *arg, struct proc *p, enum proc_end end,
		       const char *why);
	/* After supervise_drain() or supervise_kill(): nothing is left. */
	void (*on_all_gone)(void *arg);
};

struct supervise_conf {
	unsigned relays;
	unsigned ntlm_slots; /* processes for NTLM, when it is on */
	bool ntlm;	     /* on */
	char bin_dir[512];   /* of rms-relay, rms-keeper ... */
	uint64_t watchdog_ms;
	uint64_t respawn_max_ms;
};

/* stats is borrowed.  NULL when out of memory. */
MUST_USE struct supervise *
supervise_new(struct loop *l, const struct supervise_conf *conf,
	      struct stats *stats, const struct supervise_ops *ops, void *arg);
/* Kills what is left without waiting for it. */
void supervise_free(struct supervise **s);
/* New times, and NTLM switched on or off: its processes are started, or ended
 * at once.  The other members of conf are ignored. */
void supervise_tune(struct supervise *s, const struct supervise_conf *conf);

/* Starts every child that is wanted: keeper, cloud agent, NTLM, relays. */
void supervise_start(struct supervise *s);
/* SIGCHLD came. */
void supervise_reap(struct supervise *s);

/*
 * Stops: relays drain first, up to ms (0: no limit), then keeper and cloud
 * agent; what is left after that is killed.  on_all_gone follows.
 */
void supervise_drain(struct supervise *s, uint64_t ms);
/* Kills all now; on_all_gone follows. */
void supervise_kill(struct supervise *s);
bool supervise_is_draining(const struct supervise *s);

size_t supervise_count(const struct supervise *s);
struct proc *supervise_proc(struct supervise *s, size_t i);
/* NULL when there is no such slot. */
struct proc *supervise_find(struct supervise *s, enum role role, unsigned slot);
/* A child that may be sent messages now. */
bool proc_is_up(const struct proc *p);
const char *proc_state_name(enum proc_state s);

/*
 * Sends to a child that is up.  One that takes no more messages is stuck: it
 * is killed, for a relay with an old table must not go on.
 */
void supervise_send(struct proc *p, enum ipc_type type, const void *body,
		    size_t len, int fd);
/* A body that is not what its type says, or another breach of the rules. */
void supervise_lied(struct proc *p, const char *why);

/* The master's totals: counters of rows folded so far. */
const uint64_t *supervise_totals(const struct supervise *s);

/* Pause before start number `failures` + 1 in a row; 0 for the first. */
uint64_t supervise_backoff_ms(unsigned failures, uint64_t max_ms);
/* Checks that the programs are there.  0 or -errno with a line in err. */
MUST_USE int supervise_check_programs(const char *bin_dir, char *err,
				      size_t err_size);

#endif
