/*
 * Purpose: bring a child process up, in one order for all, and keep it tied
 *          to its master.
 *
 * Runs in: every process but the master.
 * Trusts:  the master, which made the channel; nobody else.
 * Touches: descriptors 2 and 3, the stats row of this process.
 * Failure: exits; the master starts another with back-off.
 */
#include "worker/child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"
#include "shm/base/sandbox.h"

#define CHILD_START_MS	   30000
#define CHILD_HEARTBEAT_MS 500
#define CHILD_QUEUE_MAX	   4096

struct child_run {
	struct child c;
	const struct child_ops *ops;
	struct loop_timer *beat;
	uint64_t peer_life[ROLE_MAX][RELAY_MAX]; /* of the last PEER */
	uint64_t set;	   /* number of the set in force */
	bool in_set;	   /* CONF_VIEW came, CONF_DONE not yet */
	char refused[192]; /* why that set is not to be, or "" */
	bool ready;
};

_Static_assert(offsetof(struct child_run, c) == 0, "child_accuse() casts");

static void child_on_master(void *arg, struct ipc *ch, struct ipc_msg *m);
static void child_on_master_end(void *arg, struct ipc *ch, enum ipc_end end,
				const char *why);

static const struct ipc_ops child_master_ops = {
    .on_msg = child_on_master,
    .on_end = child_on_master_end,
};

static void
child_beat(void *arg)
{
	struct child_run *r = arg;

	atomic_store_explicit(&r->c.row->heartbeat, clock_mono_ns(),
			      memory_order_relaxed);
	loop_timer_set(r->beat, CHILD_HEARTBEAT_MS);
}

static void
child_log_level(const struct child *c)
{
	enum log_level level;

	if (log_level_parse(c->conf.log_level.s, &level) == 0)
		log_set_level(level);
}

static void
child_send_ready(struct child_run *r)
{
	struct msg_set m = {.number = r->set};
	uint8_t body[16];
	size_t len = msg_set_pack(&m, body, sizeof(body));

	BUG_ON(len == 0);
	if (ipc_send(r->c.master, IPC_READY, 0, body, len, -1) != 0)
		log_err("cannot tell the master that set %llu is in force",
			(unsigned long long)r->set);
}

static int
child_take_stats(struct child_run *r, struct ipc_msg *m)
{
	unsigned row = stats_row_index(r->c.role, r->c.slot);
	const char *why = "";

	r->c.row = stats_attach(m->fd, row, &why);
	if (r->c.row == NULL) {
		log_err("cannot map the row of counters: %s", why);
		return -EPROTO;
	}
	atomic_store_explicit(&r->c.row->pid, (uint64_t)getpid(),
			      memory_order_relaxed);
	atomic_store_explicit(&r->c.row->started, clock_real_ns(),
			      memory_order_relaxed);
	atomic_store_explicit(&r->c.row->heartbeat, clock_mono_ns(),
			      memory_order_relaxed);
	return 0;
}

/* Everything but CONF_DONE and DRAIN, at start-up and later. */
static int
child_take(struct child_run *r, struct ipc_msg *m)
{
	struct msg_segment seg;
	struct msg_peer peer;

	if (m->type == IPC_CONF_VIEW)
		return conf_view_unpack(&r->c.conf_next, r->c.role, m->body,
					m->len);
	if (m->type == IPC_SEGMENT) {
		if (msg_segment_unpack(&seg, m->body, m->len) != 0)
			return -EPROTO;
		if (seg.kind == SEGMENT_STATS) /* once, at start-up */
			return r->c.row != NULL ? 0 : child_take_stats(r, m);
	}
	if (m->type == IPC_PEER) {
		if (msg_peer_unpack(&peer, m->body, m->len) != 0)
			return -EPROTO;
		r->peer_life[peer.role][peer.slot] = peer.life;
	}
	return r->ops->on_msg(&r->c, m);
}

/* The set before goes on, and the master knows. */
static void
child_send_refused(struct child_run *r, uint64_t number, const char *why)
{
	struct msg_refused m = {.number = number, .why = slice_of(why)};
	uint8_t body[512];
	size_t len = msg_refused_pack(&m, body, sizeof(body));

	log_err("set %llu is not applied: %s", (unsigned long long)number, why);
	BUG_ON(len == 0);
	if (ipc_send(r->c.master, IPC_REFUSED, 0, body, len, -1) != 0)
		log_err("and the master cannot be told");
}

/* 0, or -errno with the old configuration in force. */
static int
child_apply(struct child_run *r)
{
	struct conf *old = malloc(sizeof(*old));
	int e;

	if (old == NULL)
		return -ENOMEM;
	*old = r->c.conf;
	r->c.conf = r->c.conf_next;
	e = r->ops->on_conf(&r->c, false);
	if (e != 0)
		r->c.conf = *old;
	free(old);
	return e;
}

static void
child_abort(struct child_run *r)
{
	if (r->ops->on_abort != NULL)
		r->ops->on_abort(&r->c);
}

static void
child_end_set(struct child_run *r, const struct ipc_msg *m)
{
	struct msg_set set;
	int e;

	r->in_set = false;
	if (msg_set_unpack(&set, m->body, m->len) != 0)
		return;
	if (r->refused[0] != '\0') {
		child_abort(r);
		child_send_refused(r, set.number, r->refused);
		return;
	}
	e = child_apply(r);
	if (e != 0) {
		snprintf(r->refused, sizeof(r->refused), "%s; its log says why",
			 strerror(-e));
		child_send_refused(r, set.number, r->refused);
		return;
	}
	r->set = set.number;
	child_log_level(&r->c);
	child_send_ready(r);
}

/* A part of a set, or something by itself. */
static void
child_hear(struct child_run *r, struct ipc_msg *m)
{
	int e;

	if (m->type == IPC_CONF_VIEW) {
		r->in_set = true;
		r->refused[0] = '\0';
	}
	if (r->in_set && r->refused[0] != '\0')
		return; /* no half of a set is taken */
	e = child_take(r, m);
	if (e == 0)
		return;
	snprintf(r->refused, sizeof(r->refused), "%s: %s",
		 ipc_type_name(m->type), strerror(-e));
	if (r->in_set)
		return;
	/* An old table or a neighbour missing is worse than a new process. */
	log_err("cannot follow the master, ends: %s", r->refused);
	loop_stop(r->c.loop, EX_SOFTWARE);
}

static void
child_on_master(void *arg, struct ipc *ch UNUSED, struct ipc_msg *m)
{
	struct child_run *r = arg;
	struct msg_drain drain;

	if (m->type == IPC_CONF_DONE) {
		child_end_set(r, m);
	} else if (m->type == IPC_DRAIN) {
		if (msg_drain_unpack(&drain, m->body, m->len) != 0)
			return;
		r->c.draining = true;
		r->ops->on_drain(&r->c, drain.ms);
	} else {
		child_hear(r, m);
	}
}

static void
child_on_master_end(void *arg, struct ipc *ch UNUSED, enum ipc_end end UNUSED,
		    const char *why)
{
	struct child_run *r = arg;

	log_info("the master is gone (%s)", why);
	loop_stop(r->c.loop, 0);
}

void
child_event(struct child *c, const struct msg_event *e)
{
	uint8_t body[4096];
	size_t len = msg_event_pack(e, body, sizeof(body));
	int r = -EMSGSIZE;

	if (len > 0 && c->master != NULL)
		r = ipc_send(c->master, IPC_EVENT, 0, body, len, -1);
	if (r != 0)
		log_warn("event %u not delivered: %s: %.*s", (unsigned)e->id,
			 strerror(-r), (int)MIN(e->detail.len, (size_t)512),
			 e->detail.p == NULL ? "" : e->detail.p);
}

void
child_accuse(struct child *c, enum role who, unsigned slot, const char *why)
{
	struct child_run *r = (struct child_run *)c; /* its first member */
	struct msg_accuse m = {.role = who, .slot = slot};
	uint8_t body[256];
	size_t len;

	BUG_ON((unsigned)who >= ROLE_MAX || slot >= RELAY_MAX);
	m.life = r->peer_life[who][slot];
	m.why = (struct slice){why, MIN(strlen(why), (size_t)160)};
	log_err("%s %u broke the rules of messages: %s", role_name(who), slot,
		why);
	len = msg_accuse_pack(&m, body, sizeof(body));
	BUG_ON(len == 0);
	if (c->master == NULL ||
	    ipc_send(c->master, IPC_ACCUSE, 0, body, len, -1) != 0)
		log_err("and the master cannot be told");
}

/* Reads the set of start-up messages; 0 or -errno. */
static int
child_read_set(struct child_run *r)
{
	size_t size = IPC_BODY_MAX + sizeof(struct ipc_head);
	void *buf = malloc(size);
	struct msg_set set;
	struct ipc_msg m;
	int e;

	if (buf == NULL)
		return -ENOMEM;
	for (;;) {
		e = ipc_recv_wait(CHILD_CHANNEL_FD, r->c.role, ROLE_MASTER, buf,
				  CHILD_START_MS, &m);
		if (e != 0)
			break;
		if (m.type == IPC_CONF_DONE) {
			e = msg_set_unpack(&set, m.body, m.len);
			r->set = e == 0 ? set.number : 0;
			break;
		}
		e = m.type == IPC_DRAIN ? -ESHUTDOWN : child_take(r, &m);
		fd_close(&m.fd);
		if (e != 0) {
			log_err("start-up message %s: %s",
				ipc_type_name(m.type), strerror(-e));
			break;
		}
	}
	str_wipe(buf, size); /* it held credentials or a keytab's name */
	free(buf);
	return e;
}

static void
child_signals(void)
{
	/* The master speaks for the terminal: ^C reaches the whole group. */
	signal(SIGINT, SIG_IGN);
	/* nor may a service manager that signals the whole group cut what is
	 * under way: the master drains us, and kills who does not end */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
}

static void
child_set_up(struct child_run *r)
{
	const char *note = NULL, *group = NULL;
	int e = child_read_set(r);

	if (e != 0)
		die(EX_UNAVAILABLE, "no start-up messages: %s", strerror(-e));
	if (r->c.row == NULL)
		die(EX_SOFTWARE, "the master gave no row of counters");
	r->c.conf = r->c.conf_next;
	child_log_level(&r->c);
	if (r->c.role == ROLE_NTLM)
		group = r->c.conf.ntlm_group.s;
	e = sandbox_drop(r->c.conf.user.s, group, &note);
	if (e != 0)
		die(EX_NOPERM, "cannot drop privileges: %s", strerror(-e));
	if (note != NULL)
		log_info("%s", note);
	r->c.master =
	    ipc_new(r->c.loop, CHILD_CHANNEL_FD, r->c.role, ROLE_MASTER, 0,
		    CHILD_QUEUE_MAX, &child_master_ops, r);
	if (r->c.master == NULL)
		die(EX_OSERR, "no memory");
	e = r->ops->on_conf(&r->c, true);
	if (e != 0)
		die(EX_CONFIG, "cannot start with this configuration: %s",
		    strerror(-e));
	note = NULL;
	e = sandbox_enter(
	    r->c.role,
	    r->ops->readable == NULL ? NULL : r->ops->readable(&r->c), &note);
	if (e != 0)
		die(EX_OSERR, "cannot enter the sandbox: %s", strerror(-e));
	if (note != NULL)
		log_info("%s", note);
}

int
child_main(enum role role, int argc, char **argv, const struct child_ops *ops)
{
	struct child_run *r = calloc(1, sizeof(*r));
	uint64_t slot = 0;
	int status;

	if (r == NULL || argc != 2 ||
	    str_u64(slice_of(argv[1]), RELAY_MAX - 1, &slot) != 0)
		die(EX_USAGE, "started by rms-connectord only, as: %s SLOT",
		    argc > 0 ? argv[0] : "rms");
	log_init(role_name(role),
		 role == ROLE_RELAY || role == ROLE_NTLM ? (int)slot : -1);
	close_range(CHILD_CHANNEL_FD + 1, ~0U, 0);
	child_signals();
	tzset(); /* or gmtime_r() opens /etc/localtime behind the sandbox */
	r->ops = ops;
	r->c.role = role;
	r->c.slot = (unsigned)slot;
	conf_defaults(&r->c.conf);
	conf_defaults(&r->c.conf_next);
	r->c.loop = loop_new();
	if (r->c.loop == NULL)
		die(EX_OSERR, "cannot make an event loop");
	child_set_up(r);
	r->beat = loop_timer_new(r->c.loop, child_beat, r);
	if (r->beat == NULL)
		die(EX_OSERR, "no memory");
	child_beat(r);
	child_send_ready(r);
	status = loop_run(r->c.loop);
	log_debug("ends with status %d", status);
	return status;
}
