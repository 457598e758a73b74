/*
 * Purpose: hear what the children say: ready, events, accounts, reports.
 *
 * Runs in: the master.
 * Trusts:  nobody: a body is unpacked with bounds, texts are only passed on.
 * Touches: the event log, the memory of accounts.
 * Failure: a body that is not what its type says costs the sender its life.
 */
#include "master/master.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "master/event.h"
#include "master/seen.h"
#include "master/supervise.h"
#include "shm/base/clock.h"
#include "shm/identity.h"
#include "shm/base/log.h"

static void
on_ready(struct master *m, struct proc *p, const struct msg_set *set)
{
	/* The first READY of a life is its start. */
	if (p->set == 0)
		event_tellf(m->events, 1101, "%s %u, pid %d, %s",
			    role_name(p->role), p->slot, (int)p->pid,
			    p->restarts == 0 ? "first start" : "started again");
	p->set = set->number;
}

/* --- accusations ------------------------------------------------------- */

/*
 * A child saw its neighbour break the rules and has closed the channel between
 * them.  Without it the neighbour is of no use, whichever of the two lied; so
 * it is replaced.  0, or -EPROTO: the accuser lies.
 */
static int
on_accuse(struct master *m, struct proc *from, const struct msg_accuse *in)
{
	struct proc *p = supervise_find(m->supervise, in->role, in->slot);
	char why[128];

	if (p == NULL || in->life == 0 || in->life > p->life ||
	    (p->role == ROLE_RELAY) == (from->role == ROLE_RELAY))
		return -EPROTO; /* it never had that neighbour */
	if (from->role == ROLE_RELAY) {
		/* A relay is trusted less than whom it accuses: it is the one
		 * that is replaced, and with it the channel.  Or a relay that
		 * was taken over could keep the keeper from working. */
		snprintf(why, sizeof(why), "its channel to the %s broke: %.*s",
			 role_name(p->role), (int)MIN(in->why.len, (size_t)80),
			 in->why.p);
		supervise_lied(from, why);
		return 0;
	}
	/* The successor did nothing. */
	if (in->life != p->life || p->pid <= 0 || p->killed)
		return 0;
	snprintf(why, sizeof(why), "%.*s (seen by the %s)",
		 (int)MIN(in->why.len, (size_t)80), in->why.p,
		 role_name(from->role));
	supervise_lied(p, why);
	return 0;
}

/* --- events ------------------------------------------------------------ */

static void
on_event(struct master *m, struct proc *p, const struct msg_event *in)
{
	struct event_args e = {
	    .id = in->id,
	    .account = in->account,
	    .sid = in->sid,
	    .address = in->address,
	    .mech = in->mech,
	    .request = in->request,
	    .reason = in->detail,
	};

	if (!event_from_child(in->id)) {
		log_err("%s %u: asks for event %u, which is not its to tell",
			role_name(p->role), p->slot, in->id);
		return;
	}
	event_tell_limited(m->events, &e, clock_mono_ns());
}

/* --- accounts ---------------------------------------------------------- */

static void
on_seen(struct master *m, const struct msg_seen *in)
{
	struct seen_news news;
	char conflict[128];
	struct event_args e = {
	    .account = in->account,
	    .sid = in->sid,
	    .address = in->address,
	    .mech = slice_of(mech_name((enum auth_mech)in->mech)),
	    .request = in->request,
	};

	seen_report(m->seen, in, clock_real_ns(), clock_mono_ns(), &news);
	if (news.refused) {
		e.id = 2001;
		e.reason = slice_of(verdict_text((enum verdict)in->verdict));
		e.count = news.held;
		event_tell(m->events, &e);
		return;
	}
	e.role = server_role_name((enum server_role)in->role);
	e.entry = in->entry;
	if (news.allowed) {
		e.id = 1002;
		event_tell(m->events, &e);
	}
	if (news.to_https || news.insecure) {
		e.id = news.insecure ? 2002 : 1003;
		event_tell(m->events, &e);
	}
	if (news.conflict) {
		snprintf(conflict, sizeof(conflict),
			 "entry %u decides; entry %u matches too, with another "
			 "role",
			 in->entry, in->other);
		e.id = 2103;
		e.reason = slice_of(conflict);
		event_tell(m->events, &e);
	}
}

/* --- reports ----------------------------------------------------------- */

static void
on_cloud_status(struct master *m, const struct msg_cloud_status *in)
{
	m->cloud = *in;
	m->cloud_mono_ns = clock_mono_ns();
}

static void
on_keeper_status(struct master *m, const struct msg_keeper_status *in)
{
	size_t n = MIN(in->text.len, sizeof(m->keeper_text) - 1);

	m->keeper_entries = in->entries;
	if (n > 0)
		memcpy(m->keeper_text, in->text.p, n);
	m->keeper_text[n] = '\0';
}

/* Unpacks one type; 0, or -EPROTO for a liar. */
static int
on_body(struct master *m, struct proc *p, const struct ipc_msg *msg)
{
	union {
		struct msg_set set;
		struct msg_event event;
		struct msg_accuse accuse;
		struct msg_seen seen;
		struct msg_cloud_status cloud;
		struct msg_keeper_status keeper;
	} u;
	int r = -1;

	/* ipc.c lets only these come from a child. */
	if (msg->type == IPC_READY) {
		r = msg_set_unpack(&u.set, msg->body, msg->len);
		if (r == 0)
			on_ready(m, p, &u.set);
	} else if (msg->type == IPC_EVENT) {
		r = msg_event_unpack(&u.event, msg->body, msg->len);
		if (r == 0)
			on_event(m, p, &u.event);
	} else if (msg->type == IPC_ACCUSE) {
		r = msg_accuse_unpack(&u.accuse, msg->body, msg->len);
		if (r == 0)
			r = on_accuse(m, p, &u.accuse);
	} else if (msg->type == IPC_SEEN) {
		r = msg_seen_unpack(&u.seen, msg->body, msg->len);
		if (r == 0)
			on_seen(m, &u.seen);
	} else if (msg->type == IPC_CLOUD_STATUS) {
		r = msg_cloud_status_unpack(&u.cloud, msg->body, msg->len);
		if (r == 0)
			on_cloud_status(m, &u.cloud);
	} else if (msg->type == IPC_KEEPER_STATUS) {
		r = msg_keeper_status_unpack(&u.keeper, msg->body, msg->len);
		if (r == 0)
			on_keeper_status(m, &u.keeper);
	}
	return r;
}

void
master_on_msg(void *arg, struct proc *p, struct ipc_msg *msg)
{
	if (on_body(arg, p, msg) != 0)
		supervise_lied(p, ipc_type_name(msg->type));
}
