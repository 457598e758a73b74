/*
 * Purpose: rms-ntlm, a process that does NTLM for the keeper and nothing else.
 *
 * Runs in: processes of their own, started by rms-connectord while NTLM is on.
 * Trusts:  the master; the keeper for what is to be done.
 * Touches: winbind's pipe by name, the accounts of ntlm_user_file through a
 *          descriptor from the master.
 * Failure: without the mechanism it ends; a step that winbind holds up stops
 *          the heart, and the master's watchdog replaces the process.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"
#include "worker/child.h"
#include "worker/ntlm/mech.h"
#include "worker/ntlm/session.h"

/* The keeper has one step under way: answers never wait. */
#define KEEPER_QUEUE_MAX 16

struct ntlm {
	struct child *c;
	struct sessions *sessions;
	struct ipc *keeper;
	int peer;     /* came before there was a loop; -1 none */
	int accounts; /* of a set that has not ended yet; -1 none */
	uint8_t identity[IPC_BODY_MAX];
	uint8_t body[IPC_BODY_MAX];
};

static struct ntlm ntlm = {.peer = -1, .accounts = -1};

/* --- the keeper ------------------------------------------------------------
 */

/* The channel is gone, and with it who would ask for another leg. */
static void
forget(struct ntlm *n)
{
	ipc_free(&n->keeper);
	sessions_free(&n->sessions);
}

static void
reply(struct ntlm *n, uint64_t number, const struct session_result *r)
{
	struct msg_auth_reply m = {
	    .outcome = r->outcome,
	    .cause = r->cause,
	    .token = {r->token.value, r->token.length},
	    .detail = slice_of(r->detail),
	};
	struct pack k;
	size_t len;

	if (r->outcome == AUTH_FAILED) {
		m.mech = MECH_NTLM;
		m.claimed = slice_of(r->claimed);
	}
	if (r->identity != NULL) {
		pack_init(&k, n->identity, sizeof(n->identity));
		identity_pack(&k, r->identity);
		BUG_ON(k.full);
		m.identity = (struct slice){(const char *)n->identity, k.len};
	}
	len = msg_auth_reply_pack(&m, n->body, sizeof(n->body));
	BUG_ON(len == 0);
	if (ipc_send(n->keeper, IPC_NTLM_REPLY, number, n->body, len, -1) != 0)
		log_warn("the keeper takes no answer");
	str_wipe(n->body, len);
}

static void
do_step(struct ntlm *n, const struct ipc_msg *m)
{
	struct session_result r;
	struct msg_auth_step step;

	if (msg_auth_step_unpack(&step, m->body, m->len) != 0) {
		ipc_lied(n->keeper, "a body that is not one");
		return;
	}
	session_step(n->sessions, m->id, &step, &r);
	stat_add(n->c->row, STAT_ntlm_steps, 1);
	if (r.outcome == AUTH_FAILED)
		log_debug("refused: %s: %s", auth_cause_name(r.cause),
			  r.detail);
	reply(n, m->id, &r);
	session_result_fini(&r);
}

static void
on_keeper(void *arg, struct ipc *ch UNUSED, struct ipc_msg *m)
{
	struct ntlm *n = arg;

	if (m->type == IPC_NTLM_STEP)
		do_step(n, m);
	else
		session_abort(n->sessions, m->id);
}

static void
on_keeper_end(void *arg, struct ipc *ch UNUSED, enum ipc_end end,
	      const char *why)
{
	struct ntlm *n = arg;

	log_info("channel to the keeper ended (%s)", why);
	if (end != IPC_CLOSED)
		child_accuse(n->c, ROLE_KEEPER, 0, why);
	forget(n);
}

static const struct ipc_ops keeper_ops = {
    .on_msg = on_keeper,
    .on_end = on_keeper_end,
};

static int
use_keeper(struct ntlm *n, int fd)
{
	forget(n);
	n->sessions = sessions_new();
	n->keeper = ipc_new(n->c->loop, fd, ROLE_NTLM, ROLE_KEEPER, 0,
			    KEEPER_QUEUE_MAX, &keeper_ops, n);
	return n->sessions == NULL || n->keeper == NULL ? -ENOMEM : 0;
}

/* --- the child's life ------------------------------------------------------
 */

static int
take_peer(struct ntlm *n, struct ipc_msg *m)
{
	struct msg_peer p;
	int fd = m->fd;

	if (msg_peer_unpack(&p, m->body, m->len) != 0 || p.role != ROLE_KEEPER)
		return -EPROTO;
	m->fd = -1;
	if (n->c != NULL)
		return use_keeper(n, fd);
	fd_close(&n->peer);
	n->peer = fd;
	return 0;
}

static int
ntlm_on_msg(struct child *c UNUSED, struct ipc_msg *m)
{
	struct ntlm *n = &ntlm;

	if (m->type == IPC_PEER)
		return take_peer(n, m);
	if (m->type == IPC_NTLM_USERS) {
		fd_close(&n->accounts);
		n->accounts = m->fd;
		m->fd = -1;
	}
	return 0;
}

static void
ntlm_on_abort(struct child *c UNUSED)
{
	fd_close(&ntlm.accounts);
}

static int
ntlm_start(struct ntlm *n, struct child *c)
{
	char why[512];
	int r = mech_open(why, sizeof(why));

	if (r != 0) {
		log_err("NTLM cannot be done here: %s", why);
		return r;
	}
	n->c = c;
	if (n->peer < 0)
		return 0;
	r = use_keeper(n, n->peer);
	n->peer = -1;
	return r;
}

static int
ntlm_on_conf(struct child *c, bool first)
{
	struct ntlm *n = &ntlm;
	int r = first ? ntlm_start(n, c) : 0;

	if (r == 0)
		r = mech_use_accounts(n->accounts);
	fd_close(&n->accounts);
	return r;
}

static void
ntlm_on_drain(struct child *c, uint64_t ms UNUSED)
{
	/* The relays that asked have gone before. */
	loop_stop(c->loop, 0);
}

static const struct child_ops ntlm_ops = {
    .on_msg = ntlm_on_msg,
    .on_abort = ntlm_on_abort,
    .on_conf = ntlm_on_conf,
    .on_drain = ntlm_on_drain,
};

int
main(int argc, char **argv)
{
	return child_main(ROLE_NTLM, argc, argv, &ntlm_ops);
}
