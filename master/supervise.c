/*
 * Purpose: all children as a table: make it, start them, reap them, and see
 *          that each lives.
 *
 * Runs in: the master.
 * Trusts:  the kernel's word on processes; nothing that a child writes but
 *          its own heartbeat, with which it can only harm itself.
 * Touches: child processes, the stats segment.
 * Failure: a child that stands still is killed and replaced.
 */
#include "master/supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/supervise_priv.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

/* From fork to the first beat, on top of watchdog_ms: loading and mapping. */
#define SUP_START_MS 10000
/* A child may need so long to exit after its channel ended. */
#define SUP_EXIT_NS (UINT64_C(2) * NS_PER_S)

/* Every kind of child; started from the top, stopped in order of phase. */
static const struct proc_kind kinds[] = {
    {ROLE_KEEPER, "rms-keeper", 2},
    {ROLE_CLOUD, "rms-cloud", 2},
    {ROLE_NTLM, "rms-ntlm", 2},
    {ROLE_RELAY, "rms-relay", 1},
};
_Static_assert(ARRAY_LEN(kinds) == PROC_KINDS, "a row for each kind");

static void sup_watch(void *arg);

const struct proc_kind *
proc_kind(enum role role)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (kinds[i].role == role)
			return &kinds[i];
	}
	BUG_ON(true);
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

/* --- from the start on -------------------------------------------------- */

/* In the order of the table, each when its turn of the loop comes. */
void
supervise_start(struct supervise *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->proc[i].wanted)
			proc_start(&s->proc[i]);
	sup_watch(s);
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
