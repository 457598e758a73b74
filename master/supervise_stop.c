/*
 * Purpose: stop all children: relays first, then the others, then by force.
 *
 * Runs in: the master.
 * Trusts:  the kernel's word on processes.
 * Touches: child processes, their channels.
 * Failure: what does not end in its time is killed.
 */
#include <signal.h>

#include "master/supervise_priv.h"
#include "shm/msg.h"
#include "shm/base/log.h"

/* Grace beyond the drain's own limit, and for keeper and cloud agent. */
#define SUP_GRACE_MS 2000

bool
supervise_is_draining(const struct supervise *s)
{
	return s->phase != 0;
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
void
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
void
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
