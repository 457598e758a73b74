/*
 * Purpose: hear what the children say: ready, events, accounts, reports.
 *
 * Runs in: the master.
 * Trusts:  nobody: a body is unpacked with bounds, texts are only passed on,
 *          and what becomes a line on the disk has a budget.
 * Touches: the event log, the memory of accounts.
 * Failure: a body that is not what its type says, or says what is not its
 *          sender's to say, costs the sender its life.
 */
#include "master/master.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "master/event.h"
#include "master/keyuse.h"
#include "master/refusal.h"
#include "master/rollout.h"
#include "master/seen.h"
#include "master/supervise.h"
#include "master/trouble.h"
#include "shm/base/clock.h"
#include "shm/identity.h"
#include "shm/base/log.h"

/* --- telling ----------------------------------------------------------- */

/* A process as events name it. */
struct name {
	char text[24];
};

static struct name
name_of(const struct proc *p)
{
	struct name n;

	snprintf(n.text, sizeof(n.text), "%s %u", role_name(p->role), p->slot);
	return n;
}

static struct budget *
budget_of(struct master *m, const struct proc *p)
{
	return &m->budget[stats_row_index(p->role, p->slot)];
}

/* Once in a while: how many events of this process were not told. */
static void
tell_held(struct master *m, const struct proc *p)
{
	struct name name = name_of(p);
	struct event_args e = {.id = 2107, .process = name.text};

	e.count = budget_held(budget_of(m, p), clock_mono_ns());
	if (e.count == 0)
		return;
	event_tell(m->events, &e);
	master_trouble(m, p, 2107, "%llu events", (unsigned long long)e.count);
}

/* An event that a child's word makes due. */
static void
tell(struct master *m, struct proc *p, const struct event_args *e)
{
	if (budget_take(budget_of(m, p), clock_mono_ns()))
		event_tell(m->events, e);
	tell_held(m, p);
}

/* --- sets -------------------------------------------------------------- */

/* Each number once, of those that it was sent. */
static int
on_ready(struct master *m, struct proc *p, const struct msg_set *set)
{
	if (set->number <= p->set || set->number <= p->refused ||
	    set->number < p->set_first || set->number > p->set_last)
		return -EPROTO;
	/* The first READY of a life is its start. */
	if (p->set == 0)
		event_tellf(m->events, 1101, "%s %u, pid %d, %s",
			    role_name(p->role), p->slot, (int)p->pid,
			    p->restarts == 0 ? "first start" : "started again");
	p->set = set->number;
	if (p->set == p->set_last)
		trouble_over(m->trouble, stats_row_index(p->role, p->slot),
			     2100);
	/* The keeper tells 3109, when there is reason to, before READY. */
	if (p->role == ROLE_KEEPER && !m->keytab_told)
		trouble_over(m->trouble, stats_row_index(p->role, p->slot),
			     3109);
	if (p->role == ROLE_KEEPER)
		m->keytab_told = false;
	rollout_look(m->rollout);
	return 0;
}

/* Likewise; what it goes on with is the set before. */
static int
on_refused(struct master *m, struct proc *p, const struct msg_refused *in)
{
	if (in->number <= p->set || in->number <= p->refused ||
	    in->number < p->set_first || in->number > p->set_last)
		return -EPROTO;
	p->refused = in->number;
	snprintf(p->refused_why, sizeof(p->refused_why), "%.*s",
		 (int)MIN(in->why.len, sizeof(p->refused_why) - 1), in->why.p);
	rollout_look(m->rollout);
	return 0;
}

/* --- accusations ------------------------------------------------------- */

/* Who is believed when two accuse each other: the more, the higher. */
static int
standing(enum role r)
{
	if (r == ROLE_RELAY)
		return 0;
	return r == ROLE_NTLM ? 1 : 2;
}

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
	    !ipc_neighbours(p->role, from->role))
		return -EPROTO; /* it never had that neighbour */
	if (standing(from->role) < standing(p->role)) {
		/* One that is trusted less than whom it accuses is itself
		 * replaced, and with it the channel.  Or a relay that was
		 * taken over could keep the keeper from working. */
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

/* What is told once, or held back, may go on: `rmsctl status` knows. */
static void
note_trouble(struct master *m, struct proc *p, const struct msg_event *in)
{
	unsigned row = stats_row_index(p->role, p->slot);

	trouble_note(m->trouble, row, in->id, in->detail, clock_real_ns(),
		     clock_mono_ns());
	if (in->id == 1104) {
		trouble_over_all(m->trouble, 3106);
		trouble_over_all(m->trouble, 3107);
	} else if (in->id == 1105) {
		trouble_over(m->trouble, row, 3109);
	} else if (in->id == 3109) {
		m->keytab_told = true;
	}
}

static int
on_event(struct master *m, struct proc *p, const struct msg_event *in)
{
	struct name name = name_of(p);
	const struct seen_account *known;
	struct event_args e = {
	    .id = in->id,
	    .account = in->account,
	    .sid = in->sid,
	    .address = in->address,
	    .mech = in->mech,
	    .request = in->request,
	    .process = name.text,
	    .reason = in->detail,
	};

	if (!event_from_child(in->id, p->role))
		return -EPROTO;
	if (e.sid.len == 0 && e.account.len > 0) {
		known = seen_subject(m->seen, e.account);
		e.sid = slice_of(known == NULL ? "" : known->sid);
	}
	note_trouble(m, p, in);
	event_tell_limited(m->events, &e, budget_of(m, p), clock_mono_ns());
	tell_held(m, p);
	return 0;
}

/* --- accounts ---------------------------------------------------------- */

static void
tell_allowed(struct master *m, struct proc *p, const struct msg_seen *in,
	     const struct seen_news *news, struct event_args *e)
{
	char text[160];

	e->role = server_role_name((enum server_role)in->role);
	e->entry = in->entry;
	if (news->allowed) {
		e->id = 1002;
		snprintf(text, sizeof(text), "entry %u lets it in as %s",
			 in->entry, e->role);
		e->reason = slice_of(text);
		tell(m, p, e);
	}
	if (news->to_https || news->insecure) {
		e->id = news->insecure ? 2002 : 1003;
		e->reason =
		    slice_of(!news->insecure ? "it came over HTTP before"
			     : news->relapse ? "it came over HTTPS before"
					     : "");
		tell(m, p, e);
	}
	if (news->conflict) {
		snprintf(text, sizeof(text),
			 "entry %u decides; entry %u matches too, with another "
			 "role",
			 in->entry, in->other);
		e->id = 2103;
		e->reason = slice_of(text);
		tell(m, p, e);
	}
}

static void
on_seen(struct master *m, struct proc *p, const struct msg_seen *in)
{
	struct name name = name_of(p);
	struct seen_news news;
	char text[768];
	struct sbuf why;
	struct event_args e = {
	    .account = in->account,
	    .sid = in->sid,
	    .address = in->address,
	    .mech = slice_of(mech_name((enum auth_mech)in->mech)),
	    .request = in->request,
	    .process = name.text,
	};

	seen_report(m->seen, in, clock_real_ns(), clock_mono_ns(), &news);
	if (!news.refused) {
		tell_allowed(m, p, in, &news, &e);
		return;
	}
	e.id = 2001;
	sbuf_init(&why, text, sizeof(text));
	refusal_say(&why,
		    &(struct refusal){
			.verdict = (enum verdict)in->verdict,
			.mech = (enum auth_mech)in->mech,
			.lack = (enum sid_lack)in->lack,
			.nsids = in->nsids,
			.entry = in->entry,
			.subject = in->sid.len > 0 ? in->sid : in->account,
		    });
	e.reason = (struct slice){why.p, why.len};
	e.count = news.held;
	tell(m, p, &e);
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

/* One message; 0, or -EPROTO for a liar. */
static int
on_body(struct master *m, struct proc *p, const struct ipc_msg *msg)
{
	union {
		struct msg_set set;
		struct msg_refused refused;
		struct msg_event event;
		struct msg_accuse accuse;
		struct msg_seen seen;
		struct msg_cloud_status cloud;
		struct msg_keeper_status keeper;
		struct msg_key_use use;
	} u;
	int r = -1;

	/* ipc.c lets only these come from a child. */
	if (msg->type == IPC_READY) {
		r = msg_set_unpack(&u.set, msg->body, msg->len);
		if (r == 0)
			r = on_ready(m, p, &u.set);
	} else if (msg->type == IPC_REFUSED) {
		r = msg_refused_unpack(&u.refused, msg->body, msg->len);
		if (r == 0)
			r = on_refused(m, p, &u.refused);
	} else if (msg->type == IPC_EVENT) {
		r = msg_event_unpack(&u.event, msg->body, msg->len);
		if (r == 0)
			r = on_event(m, p, &u.event);
	} else if (msg->type == IPC_ACCUSE) {
		r = msg_accuse_unpack(&u.accuse, msg->body, msg->len);
		if (r == 0)
			r = on_accuse(m, p, &u.accuse);
	} else if (msg->type == IPC_SEEN) {
		r = msg_seen_unpack(&u.seen, msg->body, msg->len);
		if (r == 0)
			on_seen(m, p, &u.seen);
	} else if (msg->type == IPC_CLOUD_STATUS) {
		r = msg_cloud_status_unpack(&u.cloud, msg->body, msg->len);
		if (r == 0)
			on_cloud_status(m, &u.cloud);
	} else if (msg->type == IPC_KEEPER_STATUS) {
		r = msg_keeper_status_unpack(&u.keeper, msg->body, msg->len);
		if (r == 0)
			on_keeper_status(m, &u.keeper);
	} else if (msg->type == IPC_KEY_USE) {
		r = msg_key_use_unpack(&u.use, msg->body, msg->len);
		if (r == 0)
			keyuse_add(m->keyuse, &u.use);
	}
	return r;
}

void
master_on_msg(void *arg, struct proc *p, struct ipc_msg *msg)
{
	if (on_body(arg, p, msg) != 0)
		supervise_lied(p, ipc_type_name(msg->type));
}
