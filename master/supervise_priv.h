/*
 * supervise_priv: what the parts of supervise share; nobody else includes it.
 *
 *	supervise.c		all children as a table: made, started,
 *				reaped, watched
 *	supervise_proc.c	one child, from its start to its end
 *	supervise_stop.c	the stop of all, phase by phase
 */
#ifndef RMS_SUPERVISE_PRIV_H
#define RMS_SUPERVISE_PRIV_H

#include "master/supervise.h"
#include "shm/base/loop.h"
#include "shm/stats.h"

/* A kind of child: a row of the table in supervise.c. */
#define PROC_KINDS 4
struct proc_kind {
	enum role role;
	const char *program;
	int phase; /* of the stop: 1 first */
};
const struct proc_kind *proc_kind(enum role role);

struct supervise {
	struct loop *loop;
	struct supervise_conf conf;
	struct stats *stats;
	const struct supervise_ops *ops;
	void *arg;
	int phase; /* 0 running, 1 relays drain, 2 the others, 3 killed */
	uint64_t drain_ms;
	struct loop_timer *drain_timer;
	struct loop_timer *watchdog;
	uint64_t watched_ns; /* last look, to see our own delays */
	uint64_t total[STAT_MAX];
	uint64_t lives; /* starts so far */
	struct loop_cell gone_cell;
	bool gone_told;
	size_t n;
	struct proc proc[RELAY_MAX + NTLM_MAX + PROC_KINDS];
};

/* --- one child (supervise_proc.c) -------------------------------------- */

/* arg is a child that is PROC_WAITING: forks it, tells on_spawn. */
void proc_start(void *arg);
/* A kind is switched on or off. */
void proc_want(struct proc *p, bool wanted);
/* It has begun to end, if it was up. */
void proc_dying(struct proc *p);
/* Its process and its channel are gone?  Then it has ended. */
void proc_check_ended(struct proc *p);
/* Kills it at once; the first time on_end is told why. */
void proc_kill(struct proc *p, enum proc_end end, const char *why);

/* --- the stop of all (supervise_stop.c) -------------------------------- */

/* Moves the stop on when a phase has nobody left. */
void sup_check_phase(struct supervise *s);
/* drain_timer's: what is left of this phase had its time. */
void sup_drain_over(void *arg);

#endif
