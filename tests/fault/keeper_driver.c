/*
 * Purpose: play the master and the relays for one rms-keeper, on command.
 *
 * Runs in: tests.  Usage: keeper_driver RMS_KEEPER RMS_NTLM; reads commands on
 *standard input, a line each, and prints what the keeper does as JSON, a line
 *each. Trusts:  whoever runs the test. Touches: a child process, its segment
 *and channels. Failure: a command that cannot be carried out ends the driver.
 *
 *	set NAME VALUE		a directive
 *	keytab FILE|-		of the next set
 *	news FILE		the keytab's file has changed
 *	key INDEX FILE|-	of the next set
 *	start			the keeper
 *	apply			send a set
 *	peer SLOT		be a relay (anew)
 *	step SLOT ID FIRST DEADLINE_MS MUST_BIND OWN BINDING,...|- TOKEN
 *		in hex
 *	flood SLOT ID COUNT TOKEN	COUNT first legs at once, from ID on
 *	abort SLOT ID
 *	sign SLOT ID INDEX OP DATA
 *	body SLOT TYPE BYTES	a body that is not packed (- for none)
 *	raw SLOT BYTES		a packet of any shape
 *	part SLOT		close that channel
 *	via 0|1			later steps: an intermediary showed itself
 *	users FILE|-		ntlm_user_file of NTLM processes from now on
 *	ntlm SLOT		start the NTLM process RMS_NTLM for the keeper
 *	fake SLOT		be an NTLM process
 *	answer SLOT NUMBER MECH PRINCIPAL	what that says to a step
 *	stats
 *	drain MS | quit
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/conf.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/json.h"
#include "shm/base/log.h"
#include "shm/base/loop.h"
#include "shm/ipc.h"
#include "shm/msg.h"
#include "shm/stats.h"

#define SLOTS 5 /* four can fill ACCEPT_OPEN_MAX */

struct driver {
	const char *binary;
	struct loop *loop;
	struct event *input;
	char line[1 << 20];
	size_t len;
	struct conf conf;
	char keytab[512];
	char key[CONF_LISTENERS_MAX][512];
	struct stats *stats;
	uint64_t lives; /* of relays */
	struct ipc *keeper;
	struct ipc *relay[SLOTS];
	int raw[SLOTS]; /* the same sockets, to break the rules; -1 none */
	pid_t pid;
	uint64_t set;
	bool via;
	const char *ntlm_binary;
	char users[512];
	struct {
		pid_t pid; /* 0: none, or played by us */
		struct ipc *master, *keeper;
	} ntlm[NTLM_MAX];
};

static struct driver d;

#define NEED(what)                                                        \
	do {                                                              \
		if (!(what))                                              \
			die(1, "driver line %d: %s (errno %d)", __LINE__, \
			    #what, errno);                                \
	} while (0)

/* --- what is said ----------------------------------------------------------
 */

static char text[1 << 18];
static struct sbuf out;
static struct json js;

static void
begin(const char *what)
{
	sbuf_init(&out, text, sizeof(text));
	json_init(&js, &out);
	json_object(&js, NULL);
	json_str(&js, "what", what);
}

static void
finish(void)
{
	json_object_end(&js);
	NEED(!out.cut);
	puts(text);
	fflush(stdout);
}

static void
put_hex(const char *key, struct slice s)
{
	static char hex[1 << 18];
	struct sbuf b;

	sbuf_init(&b, hex, sizeof(hex));
	for (size_t i = 0; i < s.len; i++)
		sbuf_fmt(&b, "%02x", (unsigned char)s.p[i]);
	json_str(&js, key, hex);
}

/* Bytes of a hex text ("-": none) in static memory. */
static struct slice
get_hex(const char *hex)
{
	static char mem[MSG_BINDINGS_MAX + 1][1 << 17];
	static unsigned turn;
	char *p = mem[turn++ % ARRAY_LEN(mem)];
	size_t n = 0;
	unsigned v;

	for (; hex[0] != '-' && sscanf(hex, "%2x", &v) == 1; hex += 2) {
		NEED(n < sizeof(mem[0]));
		p[n++] = (char)v;
	}
	return (struct slice){p, n};
}

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
		begin("ready");
		json_u64(&js, "set", set.number);
	} else if (m->type == IPC_EVENT) {
		NEED(msg_event_unpack(&event, m->body, m->len) == 0);
		begin("event");
		json_u64(&js, "id", event.id);
		json_slice(&js, "detail", event.detail);
	} else if (m->type == IPC_REFUSED) {
		NEED(msg_refused_unpack(&refused, m->body, m->len) == 0);
		begin("refused");
		json_u64(&js, "set", refused.number);
		json_slice(&js, "why", refused.why);
	} else if (m->type == IPC_ACCUSE) {
		NEED(msg_accuse_unpack(&accuse, m->body, m->len) == 0);
		begin("accuse");
		json_str(&js, "role", role_name(accuse.role));
		json_u64(&js, "slot", accuse.slot);
		json_u64(&js, "life", accuse.life);
		json_slice(&js, "why", accuse.why);
	} else if (m->type == IPC_KEY_USE) {
		return; /* now and then, of what it accepted */
	} else {
		NEED(m->type == IPC_KEEPER_STATUS);
		NEED(msg_keeper_status_unpack(&status, m->body, m->len) == 0);
		begin("status");
		json_u64(&js, "entries", status.entries);
		json_slice(&js, "text", status.text);
	}
	finish();
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
	begin("end");
	json_i64(&js, "status",
		 WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	finish();
}

/* ["user S-1-…", "group S-1-…"] in their order. */
static void
put_sids(const struct identity *id)
{
	char sid[SID_TEXT_MAX], line[SID_TEXT_MAX + 16];
	struct sbuf b;

	json_array(&js, "sids");
	for (size_t i = 0; i < id->nsids; i++) {
		NEED(sid_text(id->sids[i].bytes, id->sids[i].len, sid) == 0);
		sbuf_init(&b, line, sizeof(line));
		sbuf_str(&b, sid_source_name(id->sids[i].source));
		sbuf_char(&b, ' ');
		sbuf_str(&b, sid);
		json_str(&js, NULL, line);
	}
	json_array_end(&js);
}

static void
put_identity(struct slice packed)
{
	struct identity *id;
	struct unpack u;

	unpack_init(&u, packed.p, packed.len);
	id = identity_unpack(&u);
	NEED(id != NULL && unpack_done(&u));
	json_str(&js, "mech", mech_name(id->mech));
	json_str(&js, "principal", id->principal);
	json_str(&js, "spn", id->spn);
	json_u64(&js, "kvno", id->kvno);
	json_i64(&js, "enctype", id->enctype);
	json_bool(&js, "bound", id->bound);
	json_bool(&js, "bound_before", id->bound_before);
	json_bool(&js, "bound_before", id->bound_before);
	json_u64(&js, "expires", id->expires);
	json_u64(&js, "nsids", id->nsids);
	json_u64(&js, "lack", id->lack);
	put_sids(id);
	identity_free(&id);
}

static void
on_relay(void *arg, struct ipc *c, struct ipc_msg *m)
{
	static const char *const outcome[] = {"ok", "continue", "failed",
					      "busy"};
	struct msg_auth_reply a;
	struct msg_sign_reply s;

	(void)arg;
	begin(m->type == IPC_SIGN_REPLY ? "sign" : "auth");
	json_u64(&js, "slot", ipc_peer_slot(c));
	json_u64(&js, "id", m->id);
	if (m->type == IPC_SIGN_REPLY) {
		NEED(msg_sign_reply_unpack(&s, m->body, m->len) == 0);
		json_bool(&js, "ok", s.ok);
		put_hex("data", s.data);
	} else {
		NEED(msg_auth_reply_unpack(&a, m->body, m->len) == 0);
		json_str(&js, "outcome", outcome[a.outcome]);
		json_str(&js, "cause", auth_cause_name(a.cause));
		json_slice(&js, "detail", a.detail);
		json_str(&js, "mech_claimed",
			 mech_name((enum auth_mech)a.mech));
		json_slice(&js, "claimed", a.claimed);
		json_u64(&js, "took_ns", a.took_ns);
		put_hex("token", a.token);
		if (a.outcome == AUTH_OK)
			put_identity(a.identity);
	}
	finish();
}

static void
part(unsigned slot)
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
	begin("cut");
	json_u64(&js, "slot", ipc_peer_slot(c));
	json_str(&js, "why", why);
	finish();
	part(ipc_peer_slot(c));
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

/* A channel to the keeper for a process; its other end, which is the
 * caller's. */
static int
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

/* --- NTLM processes ----------------------------------------------------------
 */

static void
on_ntlm(void *arg, struct ipc *c, struct ipc_msg *m)
{
	(void)arg;
	begin("ntlm");
	json_u64(&js, "slot", ipc_peer_slot(c));
	json_str(&js, "type", ipc_type_name(m->type));
	finish();
}

static void
on_ntlm_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	unsigned slot = ipc_peer_slot(c);
	int status = 0;

	(void)arg;
	(void)end;
	(void)why;
	ipc_free(&d.ntlm[slot].master);
	waitpid(d.ntlm[slot].pid, &status, 0);
	d.ntlm[slot].pid = 0;
	begin("ntlm-end");
	json_u64(&js, "slot", slot);
	json_i64(&js, "status",
		 WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	finish();
}

static const struct ipc_ops ntlm_ops = {on_ntlm, on_ntlm_end};

static void
ntlm_send(unsigned slot, enum ipc_type type, const void *body, size_t len,
	  int fd)
{
	NEED(ipc_send(d.ntlm[slot].master, type, 0, body, len, fd) == 0);
}

static void
ntlm_set(unsigned slot, int peer)
{
	static uint8_t body[65536];
	struct msg_segment seg = {SEGMENT_STATS};
	struct msg_peer p = {ROLE_KEEPER, 0, 1};
	struct msg_set set = {1};
	FILE *f;

	ntlm_send(slot, IPC_CONF_VIEW, body,
		  conf_view_pack(&d.conf, ROLE_NTLM, body, sizeof(body)), -1);
	ntlm_send(slot, IPC_SEGMENT, body,
		  msg_segment_pack(&seg, body, sizeof(body)),
		  stats_row_fd(d.stats, stats_row_index(ROLE_NTLM, slot)));
	if (d.users[0] != '\0') {
		f = fopen(d.users, "re");
		NEED(f != NULL);
		ntlm_send(slot, IPC_NTLM_USERS, NULL, 0, fileno(f));
		fclose(f);
	}
	ntlm_send(slot, IPC_PEER, body, msg_peer_pack(&p, body, sizeof(body)),
		  peer);
	ntlm_send(slot, IPC_CONF_DONE, body,
		  msg_set_pack(&set, body, sizeof(body)), -1);
}

static void
cmd_ntlm(unsigned slot)
{
	char name[8];
	int fd[2], peer;

	NEED(slot < NTLM_MAX && d.ntlm[slot].pid == 0 && ipc_pair(fd) == 0);
	snprintf(name, sizeof(name), "%u", slot);
	d.ntlm[slot].pid = fork();
	NEED(d.ntlm[slot].pid >= 0);
	if (d.ntlm[slot].pid == 0) {
		NEED(dup2(fd[1], 9) == 9 && dup2(9, 3) == 3);
		execl(d.ntlm_binary, "rms-ntlm", name, NULL);
		_exit(127);
	}
	close(fd[1]);
	d.ntlm[slot].master = ipc_new(d.loop, fd[0], ROLE_MASTER, ROLE_NTLM,
				      slot, 1024, &ntlm_ops, NULL);
	NEED(d.ntlm[slot].master != NULL);
	peer = peer_pair(ROLE_NTLM, slot, ++d.lives);
	ntlm_set(slot, peer);
	close(peer);
	begin("ntlm-start");
	json_u64(&js, "slot", slot);
	json_u64(&js, "pid", (uint64_t)d.ntlm[slot].pid);
	finish();
}

static void
on_fake(void *arg, struct ipc *c, struct ipc_msg *m)
{
	unsigned slot = *(unsigned *)arg;

	(void)c;
	begin(m->type == IPC_NTLM_STEP ? "fake-step" : "fake-abort");
	json_u64(&js, "slot", slot);
	json_u64(&js, "number", m->id);
	finish();
}

static void
on_fake_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	unsigned slot = *(unsigned *)arg;

	(void)c;
	(void)end;
	ipc_free(&d.ntlm[slot].keeper);
	begin("fake-end");
	json_u64(&js, "slot", slot);
	json_str(&js, "why", why);
	finish();
}

static const struct ipc_ops fake_ops = {on_fake, on_fake_end};

static void
cmd_fake(unsigned slot)
{
	static unsigned slots[NTLM_MAX];

	NEED(slot < NTLM_MAX);
	slots[slot] = slot;
	ipc_free(&d.ntlm[slot].keeper);
	d.ntlm[slot].keeper =
	    ipc_new(d.loop, peer_pair(ROLE_NTLM, slot, ++d.lives), ROLE_NTLM,
		    ROLE_KEEPER, 0, 8192, &fake_ops, &slots[slot]);
	NEED(d.ntlm[slot].keeper != NULL);
}

/* MECH is the number of an identity's mechanism; 0: another leg is needed. */
static void
cmd_answer(const char *rest)
{
	static uint8_t packed[4096], body[8192];
	struct msg_auth_reply m = {.outcome = AUTH_CONTINUE};
	struct identity id = {0};
	unsigned slot, mech;
	unsigned long long number;
	struct pack k;

	NEED(sscanf(rest, "%u %llu %u %511s", &slot, &number, &mech,
		    id.principal) == 4);
	id.mech = (enum auth_mech)mech;
	pack_init(&k, packed, sizeof(packed));
	identity_pack(&k, &id);
	if (mech == 0) {
		m.token = slice_of("token");
	} else {
		m.outcome = AUTH_OK;
		m.identity = (struct slice){(const char *)packed, k.len};
	}
	NEED(ipc_send(d.ntlm[slot].keeper, IPC_NTLM_REPLY, number, body,
		      msg_auth_reply_pack(&m, body, sizeof(body)), -1) == 0);
}

static void
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

static void
send_file(enum ipc_type type, const void *body, size_t len, const char *path)
{
	FILE *f = fopen(path, "re");

	NEED(f != NULL);
	send_body(type, body, len, fileno(f));
	fclose(f);
}

static void
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

static void
cmd_set(const char *name, const char *value)
{
	char err[512] = "";
	size_t n;
	const struct conf_row *row = conf_rows(&n);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(row[i].name, name) != 0)
			continue;
		if (conf_row_set(&row[i], &d.conf, value, err, sizeof(err)))
			die(1, "%s", err);
		return;
	}
	die(1, "no directive %s", name);
}

static void
cmd_peer(unsigned slot)
{
	int fd;

	NEED(slot < SLOTS);
	fd = peer_pair(ROLE_RELAY, slot, ++d.lives);
	part(slot);
	d.raw[slot] = dup(fd);
	d.relay[slot] = ipc_new(d.loop, fd, ROLE_RELAY, ROLE_KEEPER, slot, 8192,
				&relay_ops, NULL);
	NEED(d.relay[slot] != NULL);
}

static void
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

static void
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

static void
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

static void
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

static void
cmd_body(char *rest)
{
	unsigned slot, type;
	struct slice s;
	int at = 0;

	NEED(sscanf(rest, "%u %u %n", &slot, &type, &at) == 2 && at > 0);
	s = get_hex(rest + at);
	relay_send(slot, (enum ipc_type)type, 7, s.p, s.len);
}

static void
cmd_raw(char *rest)
{
	struct slice s;
	unsigned slot;
	int at = 0;

	NEED(sscanf(rest, "%u %n", &slot, &at) == 1 && slot < SLOTS);
	s = get_hex(rest + at);
	NEED(send(d.raw[slot], s.p, s.len, 0) == (ssize_t)s.len);
}

static void
cmd_stats(void)
{
	struct stats_row *row =
	    stats_row(d.stats, stats_row_index(ROLE_KEEPER, 0));

	begin("stats");
	json_u64(&js, "accepts", stat_get(row, STAT_keeper_accepts));
	json_u64(&js, "queue", stat_get(row, STAT_keeper_queue));
	json_u64(&js, "signs", stat_get(row, STAT_keeper_signs));
	json_u64(&js, "pid", (uint64_t)d.pid);
	json_u64(&js, "ntlm_queue", stat_get(row, STAT_ntlm_queue));
	json_u64(&js, "ntlm_open", stat_get(row, STAT_ntlm_open));
	json_u64(&js, "ntlm_late", stat_get(row, STAT_ntlm_late));
	json_u64(&js, "AUTH_STEP", IPC_AUTH_STEP);
	json_u64(&js, "CONF_DONE", IPC_CONF_DONE);
	finish();
}

static void
cmd_file(char *mem, size_t size, const char *path)
{
	NEED(str_copy(mem, size, slice_of(path[0] == '-' ? "" : path)) == 0);
}

static void
cmd_drain(unsigned ms)
{
	struct msg_drain m = {ms};
	uint8_t body[8];
	size_t len = msg_drain_pack(&m, body, sizeof(body));

	send_body(IPC_DRAIN, body, len, -1);
}

static void
command(char *line)
{
	char word[16] = "", name[64];
	unsigned a = 0;
	unsigned long long id;
	char *rest = line + strcspn(line, " ");
	int at = 0;

	if (sscanf(line, "%15s", word) != 1)
		return;
	if (*rest != '\0')
		rest++;
	if (strcmp(word, "set") == 0) {
		NEED(sscanf(rest, "%63s %n", name, &at) == 1);
		cmd_set(name, rest + at);
	} else if (strcmp(word, "keytab") == 0) {
		cmd_file(d.keytab, sizeof(d.keytab), rest);
	} else if (strcmp(word, "news") == 0) {
		send_file(IPC_KEYTAB_NEWS, NULL, 0, rest);
	} else if (strcmp(word, "key") == 0) {
		NEED(sscanf(rest, "%u %n", &a, &at) == 1 &&
		     a < CONF_LISTENERS_MAX);
		cmd_file(d.key[a], sizeof(d.key[a]), rest + at);
	} else if (strcmp(word, "start") == 0) {
		cmd_start();
	} else if (strcmp(word, "apply") == 0) {
		cmd_apply();
	} else if (strcmp(word, "peer") == 0) {
		NEED(sscanf(rest, "%u", &a) == 1);
		cmd_peer(a);
	} else if (strcmp(word, "step") == 0) {
		cmd_step(rest);
	} else if (strcmp(word, "flood") == 0) {
		cmd_flood(rest);
	} else if (strcmp(word, "abort") == 0) {
		NEED(sscanf(rest, "%u %llu", &a, &id) == 2);
		relay_send(a, IPC_AUTH_ABORT, id, NULL, 0);
	} else if (strcmp(word, "sign") == 0) {
		cmd_sign(rest);
	} else if (strcmp(word, "body") == 0) {
		cmd_body(rest);
	} else if (strcmp(word, "part") == 0) {
		NEED(sscanf(rest, "%u", &a) == 1);
		part(a);
	} else if (strcmp(word, "raw") == 0) {
		cmd_raw(rest);
	} else if (strcmp(word, "via") == 0) {
		d.via = rest[0] == '1';
	} else if (strcmp(word, "users") == 0) {
		cmd_file(d.users, sizeof(d.users), rest);
	} else if (strcmp(word, "ntlm") == 0) {
		NEED(sscanf(rest, "%u", &a) == 1);
		cmd_ntlm(a);
	} else if (strcmp(word, "fake") == 0) {
		NEED(sscanf(rest, "%u", &a) == 1);
		cmd_fake(a);
	} else if (strcmp(word, "answer") == 0) {
		cmd_answer(rest);
	} else if (strcmp(word, "stats") == 0) {
		cmd_stats();
	} else if (strcmp(word, "drain") == 0) {
		NEED(sscanf(rest, "%u", &a) == 1);
		cmd_drain(a);
	} else if (strcmp(word, "quit") == 0) {
		loop_stop(d.loop, 0);
	} else {
		die(1, "unknown command %s", word);
	}
}

static void
on_input(evutil_socket_t fd, short what, void *arg)
{
	ssize_t n = read(fd, d.line + d.len, sizeof(d.line) - d.len - 1);
	char *end;

	(void)what;
	(void)arg;
	if (n <= 0) {
		loop_stop(d.loop, 0);
		return;
	}
	d.len += (size_t)n;
	while ((end = memchr(d.line, '\n', d.len)) != NULL) {
		size_t used = (size_t)(end - d.line) + 1;

		*end = '\0';
		command(d.line);
		d.len -= used;
		memmove(d.line, d.line + used, d.len);
	}
	NEED(d.len < sizeof(d.line) - 1);
}

int
main(int argc, char **argv)
{
	const char *why = "";
	int status;

	log_init("driver", -1);
	NEED(argc == 3);
	signal(SIGPIPE, SIG_IGN);
	d.binary = argv[1];
	d.ntlm_binary = argv[2];
	memset(d.raw, -1, sizeof(d.raw));
	conf_defaults(&d.conf);
	d.stats = stats_new(&why);
	d.loop = loop_new();
	NEED(d.stats != NULL && d.loop != NULL);
	d.input = event_new(loop_base(d.loop), 0, EV_READ | EV_PERSIST,
			    on_input, NULL);
	NEED(d.input != NULL && event_add(d.input, NULL) == 0);
	status = loop_run(d.loop);
	for (unsigned s = 0; s < NTLM_MAX; s++) {
		if (d.ntlm[s].pid <= 0)
			continue;
		kill(d.ntlm[s].pid, SIGKILL);
		waitpid(d.ntlm[s].pid, NULL, 0);
	}
	if (d.keeper != NULL) {
		kill(d.pid, SIGKILL);
		waitpid(d.pid, NULL, 0);
	}
	return status;
}
