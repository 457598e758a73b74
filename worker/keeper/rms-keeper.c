/*
 * Purpose: rms-keeper, the process that holds the keytab and the TLS keys,
 *          decides who a client is, and signs for handshakes.
 *
 * Runs in: a process of its own, started by rms-connectord.
 * Trusts:  the master.
 * Touches: the keytab and key files through descriptors from the master,
 *          krb5.conf by name.
 * Failure: a bad keytab leaves the last good one in force (event 3109); a bad
 *          TLS key refuses the whole set.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/replay_log.h"
#include "shm/base/log.h"
#include "worker/child.h"
#include "worker/keeper/keytab.h"
#include "worker/keeper/krb5conf.h"
#include "worker/keeper/relays.h"
#include "worker/keeper/sign.h"

/* IPC_KEEPER_STATUS takes 16,384 bytes with its other fields. */
#define STATUS_TEXT_MAX 16000

struct keeper {
	struct relays *relays;	/* NULL before the first set is in force */
	struct replay_log *log; /* NULL: none came */
	struct keytab *kt;	/* NULL: none */
	struct sign_keys *keys; /* in force */
	/* Of a set that has not ended yet. */
	int next_keytab; /* -1: the set has none */
	struct sign_keys *next_keys;
	bool bad_key;
	int peer[RELAY_MAX]; /* came before there was a loop; -1 none */
	int ntlm[NTLM_MAX];  /* likewise */
};

static struct keeper keeper;

/* --- messages of a set ---------------------------------------------------- */

static int
take_peer(struct keeper *k, struct ipc_msg *m)
{
	struct msg_peer p;
	int *later;

	if (msg_peer_unpack(&p, m->body, m->len) != 0)
		return -EPROTO;
	if (p.role == ROLE_RELAY && p.slot < RELAY_MAX)
		later = &k->peer[p.slot];
	else if (p.role == ROLE_NTLM && p.slot < NTLM_MAX)
		later = &k->ntlm[p.slot];
	else
		return -EPROTO;
	if (k->relays == NULL) {
		fd_close(later);
		*later = m->fd;
	} else if (p.role == ROLE_RELAY) {
		relays_add(k->relays, p.slot, m->fd);
	} else {
		relays_add_ntlm(k->relays, p.slot, m->fd);
	}
	m->fd = -1;
	return 0;
}

static int
take_tls_key(struct keeper *k, const struct ipc_msg *m)
{
	struct msg_tls_key at;
	char why[256];

	if (msg_tls_key_unpack(&at, m->body, m->len) != 0)
		return -EPROTO;
	if (k->next_keys == NULL)
		k->next_keys = sign_keys_new();
	if (k->next_keys == NULL)
		return -ENOMEM;
	if (sign_keys_load(k->next_keys, &at, m->fd, why, sizeof(why)) != 0) {
		/* The set is refused as a whole when it ends. */
		log_err("TLS key %u of listener %u: %s", at.place, at.index,
			why);
		k->bad_key = true;
	}
	return 0;
}

/* --- Kerberos --------------------------------------------------------------
 */

static void
send_status(struct child *c, const struct keytab *kt)
{
	static char text[STATUS_TEXT_MAX];
	static uint8_t body[16384];
	struct msg_keeper_status m = {0};
	size_t len;

	text[0] = '\0';
	if (kt != NULL) {
		m.entries = (uint32_t)keytab_entries(kt);
		keytab_text(kt, text, sizeof(text));
	}
	m.text = slice_of(text);
	len = msg_keeper_status_pack(&m, body, sizeof(body));
	BUG_ON(len == 0);
	if (ipc_send(c->master, IPC_KEEPER_STATUS, 0, body, len, -1) != 0)
		log_warn("cannot tell the master what the keytab holds");
}

static void
keytab_event(struct child *c, const char *why, bool kept)
{
	struct msg_event e = {.id = 3109};
	char text[768];

	snprintf(text, sizeof(text), "%s%s", why,
		 kept ? " (the last good keytab stays in force)" : "");
	log_err("keytab: %s", text);
	e.detail = slice_of(text);
	child_event(c, &e);
}

/* Which keys came and went; not for the first keytab of a life. */
static void
tell_new(struct child *c, const struct keytab *old, const struct keytab *now)
{
	struct msg_event e = {.id = 1105};
	char text[1024];

	if (old == NULL)
		return;
	if (!keytab_diff(old, now, text, sizeof(text)))
		snprintf(text, sizeof(text),
			 "the same principals, versions and types");
	log_info("new keytab: %s", text);
	e.detail = slice_of(text);
	child_event(c, &e);
}

/* The keytab of next_keytab, or with a fault the one in force. */
static struct keytab *
open_keytab(struct child *c, struct keeper *k)
{
	char why[512];
	struct keytab *kt = keytab_load(k->next_keytab, why, sizeof(why));

	fd_close(&k->next_keytab);
	if (kt == NULL) {
		keytab_event(c, why, k->kt != NULL);
		return k->kt;
	}
	if (!keytab_has_http(kt))
		log_warn("the keytab has no key for HTTP/<name>: clients that "
			 "ask for that service are refused");
	return kt;
}

/* The keytab in force after this set: its own, or the last good one. */
static struct keytab *
load_keytab(struct child *c, struct keeper *k)
{
	char why[512], diff[64];
	struct keytab *kt;

	/* Also without a keytab: a later one must find its includes open. */
	if (krb5conf_use(c->conf.krb5_config.s, why, sizeof(why)) != 0 &&
	    k->next_keytab >= 0) {
		fd_close(&k->next_keytab);
		keytab_event(c, why, k->kt != NULL);
		return k->kt;
	}
	if (k->next_keytab < 0)
		return NULL;
	kt = open_keytab(c, k);
	/* A reload for another reason is no news. */
	if (kt != k->kt && keytab_diff(k->kt, kt, diff, sizeof(diff)))
		tell_new(c, k->kt, kt);
	return kt;
}

/* Between sets: the file has changed.  Nothing that is under way notices: a
 * leg is one turn, and no exchange holds a key. */
static void
change_keytab(struct child *c, struct keeper *k, int *fd)
{
	struct keytab *old = k->kt;

	k->next_keytab = *fd;
	*fd = -1;
	k->kt = open_keytab(c, k);
	relays_use(k->relays, k->kt, k->keys);
	if (k->kt != old) {
		tell_new(c, old, k->kt);
		keytab_free(&old);
	}
	send_status(c, k->kt);
}

/* Only at the start: the set of authenticators is made from it once. */
static int
take_segment(struct keeper *k, const struct ipc_msg *m)
{
	struct msg_segment seg;
	const char *why = "";

	if (msg_segment_unpack(&seg, m->body, m->len) != 0)
		return -EPROTO;
	if (seg.kind != SEGMENT_REPLAY || k->relays != NULL || k->log != NULL)
		return 0;
	k->log = replay_log_map(m->fd, &why);
	if (k->log != NULL)
		return 0;
	log_err("the log of authenticators cannot be used: %s", why);
	return -EPROTO;
}

static int
keeper_on_msg(struct child *c, struct ipc_msg *m)
{
	struct keeper *k = &keeper;

	switch ((int)m->type) {
	case IPC_PEER:
		return take_peer(k, m);
	case IPC_TLS_KEY:
		return take_tls_key(k, m);
	case IPC_SEGMENT:
		return take_segment(k, m);
	case IPC_KEYTAB:
		fd_close(&k->next_keytab);
		k->next_keytab = m->fd;
		m->fd = -1;
		return 0;
	case IPC_KEYTAB_NEWS:
		if (k->relays != NULL)
			change_keytab(c, k, &m->fd);
		return 0;
	default:
		return 0;
	}
}

/* --- the child's life ------------------------------------------------------
 */

static void
use_peers(struct keeper *k)
{
	for (unsigned s = 0; s < RELAY_MAX; s++) {
		if (k->peer[s] >= 0)
			relays_add(k->relays, s, k->peer[s]);
		k->peer[s] = -1;
	}
	for (unsigned s = 0; s < NTLM_MAX; s++) {
		if (k->ntlm[s] >= 0)
			relays_add_ntlm(k->relays, s, k->ntlm[s]);
		k->ntlm[s] = -1;
	}
}

/* The set as a whole is good. */
static void
use_set(struct child *c, struct keeper *k)
{
	struct keytab *old_kt = k->kt;
	struct sign_keys *old_keys = k->keys;

	k->kt = load_keytab(c, k);
	k->keys = k->next_keys;
	k->next_keys = NULL;
	relays_use(k->relays, k->kt, k->keys);
	if (old_kt != k->kt)
		keytab_free(&old_kt);
	if (k->keys != NULL)
		sign_keys_succeed(k->keys, &old_keys);
	sign_keys_free(&old_keys);
	send_status(c, k->kt);
	log_info("%zu keys in the keytab, %zu TLS keys",
		 k->kt == NULL ? (size_t)0 : keytab_entries(k->kt),
		 k->keys == NULL ? (size_t)0 : sign_keys_count(k->keys));
}

static void
keeper_on_abort(struct child *c UNUSED)
{
	struct keeper *k = &keeper;

	k->bad_key = false;
	sign_keys_free(&k->next_keys);
	fd_close(&k->next_keytab);
}

/*
 * A relay that asks goes on with its other connections, and we answer all that
 * has come by then.  Under the default policy the kernel would have us run at
 * each message, where CPUs are few: then every signature and every ticket costs
 * two switches of processes.  A policy that the operator gave us all stays.
 */
static void
keeper_wait_our_turn(void)
{
	static const struct sched_param none;

	if (sched_getscheduler(0) == SCHED_OTHER &&
	    sched_setscheduler(0, SCHED_BATCH, &none) != 0)
		log_warn("SCHED_BATCH: %s; signatures cost more CPU time",
			 strerror(errno));
}

static int
keeper_on_conf(struct child *c, bool first)
{
	struct keeper *k = &keeper;

	if (k->bad_key) {
		keeper_on_abort(c);
		return -EINVAL;
	}
	if (first) {
		keeper_wait_our_turn();
		krb5conf_environment();
		sign_init();
		k->relays = relays_new(c, k->log);
		if (k->relays == NULL)
			return -ENOMEM;
	}
	use_set(c, k);
	use_peers(k);
	return 0;
}

static void
keeper_on_drain(struct child *c UNUSED, uint64_t ms)
{
	relays_drain(keeper.relays, ms);
}

/* For reloads, and what krb5 reads by itself.  Its plug-in directories are not
 * among them: nothing but krb5 looks into a ticket. */
static const char *const *
keeper_readable(struct child *c)
{
	static const char *path[KRB5CONF_INCLUDES_MAX + 3];
	const char *const *include = krb5conf_includes();
	const char *own = c->conf.krb5_config.s;
	size_t n = 0;

	path[n++] = own[0] != '\0' ? own : "/etc/krb5.conf";
	path[n++] = "/dev/null";
	while (*include != NULL && n + 1 < ARRAY_LEN(path))
		path[n++] = *include++;
	path[n] = NULL;
	return path;
}

static const struct child_ops keeper_ops = {
    .on_msg = keeper_on_msg,
    .on_abort = keeper_on_abort,
    .on_conf = keeper_on_conf,
    .on_drain = keeper_on_drain,
    .readable = keeper_readable,
};

int
main(int argc, char **argv)
{
	keeper.next_keytab = -1;
	for (int s = 0; s < RELAY_MAX; s++)
		keeper.peer[s] = -1;
	for (int s = 0; s < NTLM_MAX; s++)
		keeper.ntlm[s] = -1;
	return child_main(ROLE_KEEPER, argc, argv, &keeper_ops);
}
