/*
 * Purpose: play the master and the relays.
 *
 * Runs in: keeper_driver.
 * Trusts:  whoever runs the test.
 * Touches: the keeper, its channels.
 * Failure: what cannot be done ends the driver.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/msg.h"
#include "shm/stats.h"
#include "tests/fault/keeper_driver.h"

/* --- from the keeper --------------------------------------------------------
 */

static void
on_keeper(void *arg, struct ipc *c, struct ipc_msg *m)
{
	struct msg_keeper_status status;
	struct msg_refused refused;
	struct msg_accuse accuse;
	struct msg_event event;
	struct msg_set set;

	(void)arg;
	(void)c;
	if (m->type == IPC_READY) {
		NEED(msg_set_unpack(&set, m->body, m->len) == 0);
		say_begin("ready");
		json_u64(&js, "set", set.number);
	} else if (m->type == IPC_EVENT) {
		NEED(msg_event_unpack(&event, m->body, m->len) == 0);
		say_begin("event");
		json_u64(&js, "id", event.id);
		json_slice(&js, "detail", event.detail);
	} else if (m->type == IPC_REFUSED) {
		NEED(msg_refused_unpack(&refused, m->body, m->len) == 0);
		say_begin("refused");
		json_u64(&js, "set", refused.number);
		json_slice(&js, "why", refused.why);
	} else if (m->type == IPC_ACCUSE) {
		NEED(msg_accuse_unpack(&accuse, m->body, m->len) == 0);
		say_begin("accuse");
		json_str(&js, "role", role_name(accuse.role));
		json_u64(&js, "slot", accuse.slot);
		json_u64(&js, "life", accuse.life);
		json_slice(&js, "why", accuse.why);
	} else if (m->type == IPC_KEY_USE) {
		return; /* now and then, of what it accepted */
	} else {
		NEED(m->type == IPC_KEEPER_STATUS);
		NEED(msg_keeper_status_unpack(&status, m->body, m->len) == 0);
		say_begin("status");
		json_u64(&js, "entries", status.entries);
		json_slice(&js, "text", status.text);
	}
	say_end();
}

static void
on_keeper_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	int status = 0;

	(void)arg;
	(void)c;
	(void)end;
	(void)why;
	ipc_free(&d.keeper);
	waitpid(d.pid, &status, 0);
	say_begin("end");
	json_i64(&js, "status",
		 WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	say_end();
}

static void
on_relay(void *arg, struct ipc *c, struct ipc_msg *m)
{
	static const char *const outcome[] = {"ok", "continue", "failed",
					      "busy"};
	struct msg_auth_reply a;
	struct msg_sign_reply s;

	(void)arg;
	say_begin(m->type == IPC_SIGN_REPLY ? "sign" : "auth");
	json_u64(&js, "slot", ipc_peer_slot(c));
	json_u64(&js, "id", m->id);
	if (m->type == IPC_SIGN_REPLY) {
		NEED(msg_sign_reply_unpack(&s, m->body, m->len) == 0);
		json_bool(&js, "ok", s.ok);
		say_hex("data", s.data);
	} else {
		NEED(msg_auth_reply_unpack(&a, m->body, m->len) == 0);
		json_str(&js, "outcome", outcome[a.outcome]);
		json_str(&js, "cause", auth_cause_name(a.cause));
		json_slice(&js, "detail", a.detail);
		json_str(&js, "mech_claimed",
			 mech_name((enum auth_mech)a.mech));
		json_slice(&js, "claimed", a.claimed);
		json_u64(&js, "took_ns", a.took_ns);
		say_hex("token", a.token);
		if (a.outcome == AUTH_OK)
			say_identity(a.identity);
	}
	say_end();
}

void
relay_part(unsigned slot)
{
	NEED(slot < SLOTS);
	ipc_free(&d.relay[slot]);
	fd_close(&d.raw[slot]);
}

static void
on_relay_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	(void)arg;
	(void)end;
	say_begin("cut");
	json_u64(&js, "slot", ipc_peer_slot(c));
	json_str(&js, "why", why);
	say_end();
	relay_part(ipc_peer_slot(c));
}

static const struct ipc_ops keeper_ops = {on_keeper, on_keeper_end};
static const struct ipc_ops relay_ops = {on_relay, on_relay_end};

/* --- to the keeper -----------------------------------------------------------
 */

static void
send_body(enum ipc_type type, const void *body, size_t len, int fd)
{
	NEED(d.keeper != NULL);
	NEED(ipc_send(d.keeper, type, 0, body, len, fd) == 0);
}

int
peer_pair(enum role role, unsigned slot, uint64_t life)
{
	struct msg_peer m = {role, slot, life};
	uint8_t body[16];
	size_t len = msg_peer_pack(&m, body, sizeof(body));
	int fd[2];

	NEED(len > 0 && ipc_pair(fd) == 0);
	send_body(IPC_PEER, body, len, fd[1]);
	close(fd[1]);
	return fd[0];
}

void
cmd_start(void)
{
	struct msg_segment m = {SEGMENT_STATS};
	uint8_t body[16];
	size_t len = msg_segment_pack(&m, body, sizeof(body));
	int fd[2];

	NEED(len > 0 && d.keeper == NULL && ipc_pair(fd) == 0);
	d.pid = fork();
	NEED(d.pid >= 0);
	if (d.pid == 0) {
		NEED(dup2(fd[1], 9) == 9 && dup2(9, 3) == 3);
		execl(d.binary, "rms-keeper", "0", NULL);
		_exit(127);
	}
	close(fd[1]);
	d.keeper = ipc_new(d.loop, fd[0], ROLE_MASTER, ROLE_KEEPER, 0, 1024,
			   &keeper_ops, NULL);
	NEED(d.keeper != NULL);
	send_body(IPC_SEGMENT, body, len,
		  stats_row_fd(d.stats, stats_row_index(ROLE_KEEPER, 0)));
}

void
send_file(enum ipc_type type, const void *body, size_t len, const char *path)
{
	FILE *f = fopen(path, "re");

	NEED(f != NULL);
	send_body(type, body, len, fileno(f));
	fclose(f);
}

void
cmd_apply(void)
{
	static uint8_t body[65536];
	struct msg_set set = {++d.set};
	size_t len = conf_view_pack(&d.conf, ROLE_KEEPER, body, sizeof(body));

	NEED(len > 0);
	send_body(IPC_CONF_VIEW, body, len, -1);
	for (uint32_t i = 0; i < CONF_LISTENERS_MAX; i++) {
		struct msg_tls_key m = {.index = i};

		if (d.key[i][0] == '\0')
			continue;
		len = msg_tls_key_pack(&m, body, sizeof(body));
		send_file(IPC_TLS_KEY, body, len, d.key[i]);
	}
	if (d.keytab[0] != '\0')
		send_file(IPC_KEYTAB, NULL, 0, d.keytab);
	len = msg_set_pack(&set, body, sizeof(body));
	send_body(IPC_CONF_DONE, body, len, -1);
}

void
cmd_drain(unsigned ms)
{
	struct msg_drain m = {ms};
	uint8_t body[8];
	size_t len = msg_drain_pack(&m, body, sizeof(body));

	send_body(IPC_DRAIN, body, len, -1);
}

/* --- relays ------------------------------------------------------------------
 */

void
cmd_peer(unsigned slot)
{
	int fd;

	NEED(slot < SLOTS);
	fd = peer_pair(ROLE_RELAY, slot, ++d.lives);
	relay_part(slot);
	d.raw[slot] = dup(fd);
	d.relay[slot] = ipc_new(d.loop, fd, ROLE_RELAY, ROLE_KEEPER, slot, 8192,
				&relay_ops, NULL);
	NEED(d.relay[slot] != NULL);
}

void
relay_send(unsigned slot, enum ipc_type type, uint64_t id, const void *body,
	   size_t len)
{
	NEED(slot < SLOTS && d.relay[slot] != NULL);
	NEED(ipc_send(d.relay[slot], type, id, body, len, -1) == 0);
}

static void
send_step(unsigned slot, uint64_t id, const struct msg_auth_step *m)
{
	static uint8_t body[1 << 17];
	size_t len = msg_auth_step_pack(m, body, sizeof(body));

	NEED(len > 0);
	relay_send(slot, IPC_AUTH_STEP, id, body, len);
}

void
cmd_step(char *rest)
{
	struct msg_auth_step m = {0};
	unsigned slot, first, must, own;
	unsigned long long id;
	char binding[2048], *next = binding, *one;
	int at = 0;

	NEED(sscanf(rest, "%u %llu %u %u %u %u %2047s %n", &slot, &id, &first,
		    &m.deadline_ms, &must, &own, binding, &at) == 7 &&
	     at > 0);
	m.first = (uint8_t)first;
	m.must_bind = must != 0;
	m.own = own != 0;
	m.shared = d.via;
	while (strcmp(binding, "-") != 0 &&
	       (one = strsep(&next, ",")) != NULL) {
		NEED(m.nbindings < MSG_BINDINGS_MAX);
		m.binding[m.nbindings++] = get_hex(one);
	}
	m.token = get_hex(rest + at);
	send_step(slot, id, &m);
}

void
cmd_flood(char *rest)
{
	struct msg_auth_step m = {.deadline_ms = 60000, .first = 1};
	unsigned slot, count;
	unsigned long long id;
	int at = 0;

	NEED(sscanf(rest, "%u %llu %u %n", &slot, &id, &count, &at) == 3 &&
	     at > 0);
	m.token = get_hex(rest + at);
	for (unsigned i = 0; i < count; i++)
		send_step(slot, id + i, &m);
}

void
cmd_sign(char *rest)
{
	static uint8_t body[2048];
	struct msg_sign m = {0};
	unsigned slot, op;
	unsigned long long id;
	size_t len;
	int at = 0;

	NEED(sscanf(rest, "%u %llu %u %u %n", &slot, &id, &m.index, &op, &at) ==
		 4 &&
	     at > 0);
	m.op = (enum sign_op)op;
	m.data = get_hex(rest + at);
	len = msg_sign_pack(&m, body, sizeof(body));
	NEED(len > 0);
	relay_send(slot, IPC_SIGN, id, body, len);
}

void
cmd_body(char *rest)
{
	unsigned slot, type;
	struct slice s;
	int at = 0;

	NEED(sscanf(rest, "%u %u %n", &slot, &type, &at) == 2 && at > 0);
	s = get_hex(rest + at);
	relay_send(slot, (enum ipc_type)type, 7, s.p, s.len);
}

void
cmd_raw(char *rest)
{
	struct slice s;
	unsigned slot;
	int at = 0;

	NEED(sscanf(rest, "%u %n", &slot, &at) == 1 && slot < SLOTS);
	s = get_hex(rest + at);
	NEED(send(d.raw[slot], s.p, s.len, 0) == (ssize_t)s.len);
}
