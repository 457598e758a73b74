/*
 * Purpose: one child, from its start to its end and its next start.
 *
 * Runs in: the master.
 * Trusts:  the kernel's word on processes; nothing that a child sends.
 * Touches: a child process, its channel, its row of the stats segment.
 * Failure: a child that cannot be started is tried again after a pause.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "master/spawn.h"
#include "master/supervise_priv.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

/* Messages that may wait for one child: a set is at most a hundred. */
#define SUP_QUEUE_MAX 1024
/* A child that lived so long before it failed starts without a pause. */
#define SUP_HEALTHY_NS (UINT64_C(60) * NS_PER_S)
#define SUP_BACKOFF_MS UINT64_C(100)

static void proc_on_msg(void *arg, struct ipc *c, struct ipc_msg *m);
static void proc_on_channel_end(void *arg, struct ipc *c, enum ipc_end end,
				const char *why);

static const struct ipc_ops channel_ops = {
    .on_msg = proc_on_msg,
    .on_end = proc_on_channel_end,
};

const char *
proc_state_name(enum proc_state s)
{
	static const char *const name[] = {"waiting", "starting", "ready",
					   "ending", "stopped"};

	return name[s];
}

bool
proc_is_up(const struct proc *p)
{
	return p->ipc != NULL &&
	       (p->state == PROC_STARTING || p->state == PROC_READY);
}

/* --- starting ---------------------------------------------------------- */

uint64_t
supervise_backoff_ms(unsigned failures, uint64_t max_ms)
{
	uint64_t ms;

	if (failures <= 1)
		return 0;
	/* 2^20 of the first pause is beyond any bound of respawn_max_ms. */
	ms = SUP_BACKOFF_MS << MIN(failures - 2, 20U);
	return MIN(ms, max_ms);
}

static void
proc_wait(struct proc *p, uint64_t ms)
{
	p->state = PROC_WAITING;
	p->retry_mono_ns = clock_mono_ns() + ms * NS_PER_MS;
	loop_timer_set(p->timer, MAX(ms, UINT64_C(1)));
}

void
proc_start(void *arg)
{
	struct proc *p = arg;
	struct supervise *s = p->owner;
	char path[600];
	int fd[2], r;

	BUG_ON(p->state != PROC_WAITING || p->pid != 0 || p->ipc != NULL);
	if (s->phase >= proc_kind(p->role)->phase) {
		p->state = PROC_STOPPED;
		sup_check_phase(s);
		return;
	}
	snprintf(path, sizeof(path), "%s/%s", s->conf.bin_dir,
		 proc_kind(p->role)->program);
	r = ipc_pair(fd);
	if (r == 0) {
		p->pid = spawn_child(path, p->slot, fd[1]);
		fd_close(&fd[1]);
		if (p->pid < 0) {
			r = p->pid;
			p->pid = 0;
			fd_close(&fd[0]);
		}
	}
	if (r != 0) {
		log_err("%s %u: cannot be started: %s", role_name(p->role),
			p->slot, strerror(-r));
		p->failures++;
		proc_wait(p, MAX(supervise_backoff_ms(p->failures,
						      s->conf.respawn_max_ms),
				 UINT64_C(1000)));
		return;
	}
	p->state = PROC_STARTING;
	p->started_ns = clock_real_ns();
	p->started_mono_ns = clock_mono_ns();
	p->killed = p->draining = false;
	p->set = p->set_first = p->set_last = p->refused = 0;
	p->life = ++s->lives;
	p->ipc = ipc_new(s->loop, fd[0], ROLE_MASTER, p->role, p->slot,
			 SUP_QUEUE_MAX, &channel_ops, p);
	if (p->ipc == NULL) { /* out of memory: it ends by its channel */
		p->state = PROC_ENDING;
		p->dying_mono_ns = p->started_mono_ns;
		return;
	}
	s->ops->on_spawn(s->arg, p);
}

/* --- ending ------------------------------------------------------------ */

void
proc_dying(struct proc *p)
{
	if (p->state == PROC_STARTING || p->state == PROC_READY) {
		p->state = PROC_ENDING;
		p->dying_mono_ns = clock_mono_ns();
	}
}

void
proc_kill(struct proc *p, enum proc_end end, const char *why)
{
	struct supervise *s = p->owner;

	if (p->pid > 0)
		kill(p->pid, SIGKILL);
	if (p->killed)
		return;
	p->killed = true;
	proc_dying(p);
	snprintf(p->last_end, sizeof(p->last_end), "%s", why);
	s->ops->on_end(s->arg, p, end, why);
}

void
supervise_lied(struct proc *p, const char *why)
{
	char text[sizeof(p->last_end)];

	snprintf(text, sizeof(text), "killed: broke the rules of messages: %s",
		 why);
	proc_kill(p, PROC_END_LIED, text);
}

static void
proc_describe_end(const struct proc *p, char *out, size_t size)
{
	if (WIFSIGNALED(p->status))
		snprintf(out, size, "ended by signal %d (%s)",
			 WTERMSIG(p->status), sigdescr_np(WTERMSIG(p->status)));
	else
		snprintf(out, size, "exited with status %d",
			 WEXITSTATUS(p->status));
}

/* Both the process and its channel are gone: fold, tell, start another. */
static void
proc_ended(struct proc *p)
{
	struct supervise *s = p->owner;
	bool stopping = !p->wanted || s->phase >= proc_kind(p->role)->phase;
	bool clean = WIFEXITED(p->status) && WEXITSTATUS(p->status) == 0;

	stats_fold(s->stats, stats_row_index(p->role, p->slot), s->total);
	if (!p->killed) {
		proc_describe_end(p, p->last_end, sizeof(p->last_end));
		s->ops->on_end(s->arg, p,
			       stopping && clean ? PROC_END_STOPPED
						 : PROC_END_CRASHED,
			       p->last_end);
	}
	if (stopping) {
		p->state = PROC_STOPPED;
		sup_check_phase(s);
		return;
	}
	if (clock_mono_ns() - p->started_mono_ns >= SUP_HEALTHY_NS)
		p->failures = 0;
	p->failures++;
	p->restarts++;
	proc_wait(p, supervise_backoff_ms(p->failures, s->conf.respawn_max_ms));
}

void
proc_check_ended(struct proc *p)
{
	if (p->state == PROC_ENDING && p->pid == 0 && p->ipc == NULL)
		proc_ended(p);
}

/* A kind is switched on or off. */
void
proc_want(struct proc *p, bool wanted)
{
	if (p->wanted == wanted)
		return;
	p->wanted = wanted;
	if (wanted && p->state == PROC_STOPPED) {
		p->failures = 0;
		proc_wait(p, 0);
	} else if (!wanted && p->state == PROC_WAITING) {
		loop_timer_set(p->timer, 0);
		p->state = PROC_STOPPED;
	} else if (!wanted && p->pid > 0) {
		/* it may be stuck in a call: asking would not do */
		kill(p->pid, SIGKILL);
		p->killed = true;
		proc_dying(p);
	}
}

/* --- its channel ------------------------------------------------------- */

void
supervise_send(struct proc *p, enum ipc_type type, const void *body, size_t len,
	       int fd)
{
	char why[128];
	int r;

	if (!proc_is_up(p))
		return;
	r = ipc_send(p->ipc, type, 0, body, len, fd);
	if (r == 0 || r == -EPIPE) /* its end is on the way */
		return;
	snprintf(why, sizeof(why), "killed: does not take %s: %s",
		 ipc_type_name(type), strerror(-r));
	proc_kill(p, PROC_END_STUCK, why);
}

static void
proc_on_msg(void *arg, struct ipc *c, struct ipc_msg *m)
{
	struct proc *p = arg;

	(void)c;
	if (m->type == IPC_READY && p->state == PROC_STARTING)
		p->state = PROC_READY;
	/* What a liar said before it died is not heard. */
	if (!p->killed)
		p->owner->ops->on_msg(p->owner->arg, p, m);
}

static void
proc_on_channel_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	struct proc *p = arg;

	BUG_ON(c != p->ipc);
	if (end == IPC_LIED)
		supervise_lied(p, why);
	ipc_free(&p->ipc);
	proc_dying(p);
	proc_check_ended(p);
}
