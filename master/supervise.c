/*
 * Purpose: start, watch, replace and stop the children.
 *
 * Runs in: the master.
 * Trusts:  the kernel's word on processes; nothing that a child writes but
 *          its own heartbeat, with which it can only harm itself.
 * Touches: child processes, their channels, the stats segment.
 * Failure: a child that cannot be started is tried again after a pause.
 */
#include "master/supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/spawn.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/msg.h"
#include "shm/stats.h"
#include "shm/base/log.h"

/* Messages that may wait for one child: a set is at most a hundred. */
#define SUP_QUEUE_MAX 1024
/* A child that lived so long before it failed starts without a pause. */
#define SUP_HEALTHY_NS (UINT64_C(60) * NS_PER_S)
#define SUP_BACKOFF_MS UINT64_C(100)
/* From fork to the first beat, on top of watchdog_ms: loading and mapping. */
#define SUP_START_MS 10000
/* A child may need so long to exit after its channel ended. */
#define SUP_EXIT_NS (UINT64_C(2) * NS_PER_S)
/* Grace beyond the drain's own limit, and for keeper and cloud agent. */
#define SUP_GRACE_MS 2000

/* Every kind of child; started from the top, stopped in order of phase. */
static const struct proc_kind {
	enum role role;
	const char *program;
	int phase; /* of the stop: 1 first */
} kinds[] = {
    {ROLE_KEEPER, "rms-keeper", 2},
    {ROLE_CLOUD, "rms-cloud", 2},
    {ROLE_NTLM, "rms-ntlm", 2},
    {ROLE_RELAY, "rms-relay", 1},
};

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
	struct proc proc[RELAY_MAX + NTLM_MAX + ARRAY_LEN(kinds)];
};

static void proc_start(void *arg);
static void proc_want(struct proc *p, bool wanted);
static void sup_check_phase(struct supervise *s);
static void sup_on_msg(void *arg, struct ipc *c, struct ipc_msg *m);
static void sup_on_channel_end(void *arg, struct ipc *c, enum ipc_end end,
			       const char *why);
static void sup_watch(void *arg);
static void sup_drain_over(void *arg);

static const struct ipc_ops channel_ops = {
    .on_msg = sup_on_msg,
    .on_end = sup_on_channel_end,
};

static const struct proc_kind *
proc_kind(enum role role)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (kinds[i].role == role)
			return &kinds[i];
	}
	BUG_ON(true);
}

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

int
supervise_check_programs(const char *bin_dir, char *err, size_t err_size)
{
	char path[600];

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		snprintf(path, sizeof(path), "%s/%s", bin_dir,
			 kinds[i].program);
		if (access(path, X_OK) != 0) {
			int e = errno;

			snprintf(err, err_size,
				 "%s: %s; install the connector whole, or set "
				 "libexec_dir to the directory of its programs",
				 path, strerror(e));
			return -e;
		}
	}
	return 0;
}

/* --- making ------------------------------------------------------------ */

static int
sup_add(struct supervise *s, enum role role, unsigned slot)
{
	struct proc *p = &s->proc[s->n];

	*p = (struct proc){
	    .owner = s, .role = role, .slot = slot, .state = PROC_WAITING};
	p->wanted = role != ROLE_NTLM || s->conf.ntlm;
	if (!p->wanted)
		p->state = PROC_STOPPED;
	p->timer = loop_timer_new(s->loop, proc_start, p);
	if (p->timer == NULL)
		return -ENOMEM;
	s->n++;
	return 0;
}

/* Slots of a kind. */
static unsigned
sup_slots(const struct supervise_conf *conf, enum role role)
{
	if (role == ROLE_RELAY)
		return conf->relays;
	return role == ROLE_NTLM ? conf->ntlm_slots : 1;
}

struct supervise *
supervise_new(struct loop *l, const struct supervise_conf *conf,
	      struct stats *stats, const struct supervise_ops *ops, void *arg)
{
	struct supervise *s = calloc(1, sizeof(*s));
	int r = 0;

	BUG_ON(conf->relays == 0 || conf->relays > RELAY_MAX ||
	       conf->ntlm_slots > NTLM_MAX);
	if (s == NULL)
		return NULL;
	s->loop = l;
	s->conf = *conf;
	s->stats = stats;
	s->ops = ops;
	s->arg = arg;
	s->watchdog = loop_timer_new(l, sup_watch, s);
	s->drain_timer = loop_timer_new(l, sup_drain_over, s);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(kinds); i++) {
		unsigned many = sup_slots(conf, kinds[i].role);

		for (unsigned slot = 0; r == 0 && slot < many; slot++)
			r = sup_add(s, kinds[i].role, slot);
	}
	if (r != 0 || s->watchdog == NULL || s->drain_timer == NULL)
		supervise_free(&s);
	return s;
}

void
supervise_free(struct supervise **sp)
{
	struct supervise *s = *sp;

	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++) {
		struct proc *p = &s->proc[i];

		if (p->pid > 0)
			kill(p->pid, SIGKILL);
		ipc_free(&p->ipc);
		loop_timer_free(&p->timer);
	}
	loop_timer_free(&s->watchdog);
	loop_timer_free(&s->drain_timer);
	free(s);
	*sp = NULL;
}

void
supervise_tune(struct supervise *s, const struct supervise_conf *conf)
{
	s->conf.watchdog_ms = conf->watchdog_ms;
	s->conf.respawn_max_ms = conf->respawn_max_ms;
	if (s->phase != 0)
		return;
	s->conf.ntlm = conf->ntlm;
	for (size_t i = 0; i < s->n; i++)
		if (s->proc[i].role == ROLE_NTLM)
			proc_want(&s->proc[i], conf->ntlm);
}

size_t
supervise_count(const struct supervise *s)
{
	return s->n;
}

struct proc *
supervise_proc(struct supervise *s, size_t i)
{
	BUG_ON(i >= s->n);
	return &s->proc[i];
}

struct proc *
supervise_find(struct supervise *s, enum role role, unsigned slot)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->proc[i].role == role && s->proc[i].slot == slot)
			return &s->proc[i];
	}
	return NULL;
}

const uint64_t *
supervise_totals(const struct supervise *s)
{
	return s->total;
}

bool
supervise_is_draining(const struct supervise *s)
{
	return s->phase != 0;
}

/* --- starting ---------------------------------------------------------- */

/* In the order of the table, each when its turn of the loop comes. */
void
supervise_start(struct supervise *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->proc[i].wanted)
			proc_start(&s->proc[i]);
	sup_watch(s);
}

static void
proc_wait(struct proc *p, uint64_t ms)
{
	p->state = PROC_WAITING;
	p->retry_mono_ns = clock_mono_ns() + ms * NS_PER_MS;
	loop_timer_set(p->timer, MAX(ms, UINT64_C(1)));
}

static void
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

static void
proc_dying(struct proc *p)
{
	if (p->state == PROC_STARTING || p->state == PROC_READY) {
		p->state = PROC_ENDING;
		p->dying_mono_ns = clock_mono_ns();
	}
}

static void
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
sup_tell_gone(void *arg)
{
	struct supervise *s = arg;

	s->ops->on_all_gone(s->arg);
}

/* Asks one to finish; one that does not run stays so. */
static void
proc_drain(struct proc *p, const void *body, size_t len)
{
	p->draining = true;
	if (p->state == PROC_WAITING) {
		loop_timer_set(p->timer, 0);
		p->state = PROC_STOPPED;
	}
	supervise_send(p, IPC_DRAIN, body, len, -1);
}

/* Moves the stop on when a phase has nobody left. */
static void
sup_check_phase(struct supervise *s)
{
	size_t left[3] = {0};

	for (size_t i = 0; i < s->n; i++) {
		struct proc *p = &s->proc[i];

		if (p->state != PROC_STOPPED)
			left[proc_kind(p->role)->phase]++;
	}
	if (s->phase == 1 && left[1] == 0) {
		s->phase = 2;
		loop_timer_set(s->drain_timer, SUP_GRACE_MS);
		for (size_t i = 0; i < s->n; i++) {
			struct proc *p = &s->proc[i];
			uint8_t body[8];
			struct msg_drain m = {.ms = SUP_GRACE_MS / 2};
			size_t len = msg_drain_pack(&m, body, sizeof(body));

			proc_drain(p, body, len);
		}
		sup_check_phase(s); /* none may be running */
		return;
	}
	if (s->phase >= 2 && left[1] + left[2] == 0 && !s->gone_told) {
		s->gone_told = true;
		loop_defer(s->loop, &s->gone_cell, sup_tell_gone, s);
	}
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

/* A kind is switched on or off. */
static void
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

static void
proc_check_ended(struct proc *p)
{
	if (p->state == PROC_ENDING && p->pid == 0 && p->ipc == NULL)
		proc_ended(p);
}

static void
sup_on_channel_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	struct proc *p = arg;

	BUG_ON(c != p->ipc);
	if (end == IPC_LIED)
		supervise_lied(p, why);
	ipc_free(&p->ipc);
	proc_dying(p);
	proc_check_ended(p);
}

void
supervise_reap(struct supervise *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < s->n; i++) {
			struct proc *p = &s->proc[i];

			if (p->pid != pid)
				continue;
			p->pid = 0;
			p->status = status;
			proc_dying(p);
			proc_check_ended(p);
			break;
		}
	}
}

static void
sup_on_msg(void *arg, struct ipc *c, struct ipc_msg *m)
{
	struct proc *p = arg;

	(void)c;
	if (m->type == IPC_READY && p->state == PROC_STARTING)
		p->state = PROC_READY;
	/* What a liar said before it died is not heard. */
	if (!p->killed)
		p->owner->ops->on_msg(p->owner->arg, p, m);
}

/* --- the watchdog ------------------------------------------------------ */

static void
proc_watch(struct proc *p, uint64_t now)
{
	struct supervise *s = p->owner;
	struct stats_row *row =
	    stats_row(s->stats, stats_row_index(p->role, p->slot));
	uint64_t beat =
	    atomic_load_explicit(&row->heartbeat, memory_order_relaxed);
	uint64_t limit_ms = s->conf.watchdog_ms, age_ms;
	char why[128];

	if (p->state == PROC_ENDING) {
		if (p->pid > 0 && now - p->dying_mono_ns > SUP_EXIT_NS)
			kill(p->pid, SIGKILL);
		return;
	}
	if (!proc_is_up(p))
		return;
	if (beat < p->started_mono_ns) { /* no beat yet */
		beat = p->started_mono_ns;
		limit_ms += SUP_START_MS;
	}
	age_ms = beat >= now ? 0 : (now - beat) / NS_PER_MS;
	if (age_ms <= limit_ms)
		return;
	snprintf(why, sizeof(why), "killed: no sign of life for %llu ms",
		 (unsigned long long)age_ms);
	proc_kill(p, PROC_END_STUCK, why);
}

static void
sup_watch(void *arg)
{
	struct supervise *s = arg;
	uint64_t now = clock_mono_ns();
	uint64_t pause_ms =
	    MIN(MAX(s->conf.watchdog_ms / 4, UINT64_C(100)), UINT64_C(1000));
	/* A look that comes late says that the whole host stood still, not
	 * the children: give them until the next one to beat. */
	bool late = s->watched_ns != 0 &&
		    now - s->watched_ns >
			(pause_ms + s->conf.watchdog_ms / 2) * NS_PER_MS;

	for (size_t i = 0; !late && i < s->n; i++)
		proc_watch(&s->proc[i], now);
	s->watched_ns = now;
	loop_timer_set(s->watchdog, pause_ms);
}

/* --- stopping ---------------------------------------------------------- */

void
supervise_drain(struct supervise *s, uint64_t ms)
{
	uint8_t body[8];
	struct msg_drain m = {.ms = ms};
	size_t len = msg_drain_pack(&m, body, sizeof(body));

	if (s->phase >= 2)
		return;
	s->phase = 1;
	s->drain_ms = ms;
	loop_timer_set(s->drain_timer, ms > 0 ? ms + SUP_GRACE_MS : 0);
	for (size_t i = 0; i < s->n; i++) {
		struct proc *p = &s->proc[i];

		if (proc_kind(p->role)->phase == 1)
			proc_drain(p, body, len);
	}
	sup_check_phase(s);
}

/* What is left of this phase had its time. */
static void
sup_drain_over(void *arg)
{
	struct supervise *s = arg;

	for (size_t i = 0; i < s->n; i++) {
		struct proc *p = &s->proc[i];

		if (p->pid <= 0 || proc_kind(p->role)->phase > s->phase)
			continue;
		log_warn("%s %u: did not end in time: killed",
			 role_name(p->role), p->slot);
		kill(p->pid, SIGKILL);
		p->killed = true;
		proc_dying(p);
	}
}

void
supervise_kill(struct supervise *s)
{
	s->phase = 3;
	for (size_t i = 0; i < s->n; i++) {
		struct proc *p = &s->proc[i];

		p->killed = true;
		if (p->state == PROC_WAITING) {
			loop_timer_set(p->timer, 0);
			p->state = PROC_STOPPED;
		}
		if (p->pid > 0)
			kill(p->pid, SIGKILL);
		proc_dying(p);
	}
	sup_check_phase(s);
}
