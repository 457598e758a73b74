/*
 * Purpose: play the master and the relays for one rms-cloud, on command.
 *
 * Runs in: tests.  Usage: cloud_driver RMS_CLOUD; reads commands on standard
 *	    input, a line each, and prints what the agent does, a line each.
 * Trusts:  whoever runs the test.
 * Touches: a child process, its segments and channels.
 * Failure: a command that cannot be carried out ends the driver.
 *
 *	set NAME VALUE		a directive or a setting
 *	cred ID NAME CLIENT SECRET	add or replace; nocred ID removes;
 *				proxycred: the same for a web proxy
 *	ca FILE			trusted issuers, at the next apply
 *	start | kill		the agent; segments survive
 *	apply			send everything, then CONF_DONE
 *	peer SLOT		be a relay
 *	stale SLOT ID SERIAL	as that relay
 *	show			print the token segment as JSON
 *	drain | quit
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#include "shm/token.h"

#define SLOTS 4

struct driver {
	const char *binary;
	struct loop *loop;
	struct event *input;
	char line[8192];
	size_t len;
	struct conf conf;
	struct msg_creds creds;
	char ca[512];
	struct stats *stats;
	uint64_t lives; /* of relays */
	int token_fd;
	struct pub *pub;
	struct ipc *agent;
	struct ipc *relay[SLOTS];
	pid_t pid;
	uint64_t set;
};

static struct driver d;

#define NEED(what)                                                        \
	do {                                                              \
		if (!(what))                                              \
			die(1, "driver line %d: %s (errno %d)", __LINE__, \
			    #what, errno);                                \
	} while (0)

PRINTF(1, 2)
static void
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* --- from the agent ------------------------------------------------------ */

static void
say_status(const struct msg_cloud_status *s)
{
	static char text[65536];
	struct sbuf b;
	struct json j;

	sbuf_init(&b, text, sizeof(text));
	json_init(&j, &b);
	json_object(&j, NULL);
	json_array(&j, "cred");
	for (uint32_t i = 0; i < s->n; i++) {
		json_object(&j, NULL);
		json_u64(&j, "id", s->cred[i].id);
		json_u64(&j, "state", s->cred[i].state);
		json_u64(&j, "expires_in_s", s->cred[i].expires_in_s);
		json_u64(&j, "retry_in_s", s->cred[i].retry_in_s);
		json_str(&j, "error", s->cred[i].error);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_u64(&j, "naddr", s->naddr);
	json_bool(&j, "dns_failed", s->dns_failed);
	json_str(&j, "addrs", s->addrs);
	json_str(&j, "dns_error", s->dns_error);
	json_object_end(&j);
	NEED(!b.cut);
	say("status %s", text);
}

static void
on_agent(void *arg, struct ipc *c, struct ipc_msg *m)
{
	static struct msg_cloud_status status;
	struct msg_refused refused;
	struct msg_accuse accuse;
	struct msg_event event;
	struct msg_set set;

	(void)arg;
	(void)c;
	if (m->type == IPC_READY) {
		NEED(msg_set_unpack(&set, m->body, m->len) == 0);
		say("ready %llu", (unsigned long long)set.number);
	} else if (m->type == IPC_EVENT) {
		NEED(msg_event_unpack(&event, m->body, m->len) == 0);
		say("event %u %.*s", event.id, (int)event.detail.len,
		    event.detail.p);
	} else if (m->type == IPC_CLOUD_STATUS) {
		NEED(msg_cloud_status_unpack(&status, m->body, m->len) == 0);
		say_status(&status);
	} else if (m->type == IPC_REFUSED) {
		NEED(msg_refused_unpack(&refused, m->body, m->len) == 0);
		say("refused %llu %.*s", (unsigned long long)refused.number,
		    (int)refused.why.len, refused.why.p);
	} else if (m->type == IPC_ACCUSE) {
		NEED(msg_accuse_unpack(&accuse, m->body, m->len) == 0);
		say("accuse %s %u %llu %.*s", role_name(accuse.role),
		    accuse.slot, (unsigned long long)accuse.life,
		    (int)accuse.why.len, accuse.why.p);
	} else {
		say("unexpected %s", ipc_type_name(m->type));
	}
}

static void
on_agent_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	int status = 0;

	(void)arg;
	(void)c;
	ipc_free(&d.agent);
	waitpid(d.pid, &status, 0);
	say("end %d %s status %d", (int)end, why, status);
}

static void
on_relay(void *arg, struct ipc *c, struct ipc_msg *m)
{
	(void)arg;
	say("news %u %s", ipc_peer_slot(c), ipc_type_name(m->type));
}

static void
on_relay_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	(void)arg;
	(void)end;
	(void)why;
	for (size_t i = 0; i < SLOTS; i++)
		if (d.relay[i] == c)
			ipc_free(&d.relay[i]);
}

static const struct ipc_ops agent_ops = {on_agent, on_agent_end};
static const struct ipc_ops relay_ops = {on_relay, on_relay_end};

/* --- to the agent -------------------------------------------------------- */

static void
send_body(enum ipc_type type, const void *body, size_t len, int fd)
{
	NEED(d.agent != NULL);
	NEED(ipc_send(d.agent, type, 0, body, len, fd) == 0);
}

static void
send_segment(enum segment_kind kind, int fd)
{
	struct msg_segment m = {kind};
	uint8_t body[16];
	size_t len = msg_segment_pack(&m, body, sizeof(body));

	NEED(len > 0);
	send_body(IPC_SEGMENT, body, len, fd);
}

static void
cmd_start(void)
{
	int fd[2];

	NEED(d.agent == NULL && ipc_pair(fd) == 0);
	d.pid = fork();
	NEED(d.pid >= 0);
	if (d.pid == 0) {
		NEED(dup2(fd[1], 9) == 9 && dup2(9, 3) == 3);
		execl(d.binary, "rms-cloud", "0", NULL);
		_exit(127);
	}
	close(fd[1]);
	d.agent = ipc_new(d.loop, fd[0], ROLE_MASTER, ROLE_CLOUD, 0, 1024,
			  &agent_ops, NULL);
	NEED(d.agent != NULL);
	send_segment(SEGMENT_STATS,
		     stats_row_fd(d.stats, stats_row_index(ROLE_CLOUD, 0)));
	send_segment(SEGMENT_TOKEN, d.token_fd);
}

static void
send_ca(void)
{
	FILE *f = fopen(d.ca, "re");
	int mem;
	char *pem;
	size_t len;

	NEED(f != NULL);
	NEED(fd_read_all(fileno(f), 1 << 20, &pem, &len) == 0);
	mem = fd_memfd_sealed("ca", pem, len);
	NEED(mem >= 0);
	send_body(IPC_CLOUD_CA, NULL, 0, mem);
	send_body(IPC_PROXY_CA, NULL, 0, mem);
	fclose(f);
	close(mem);
	free(pem);
}

static void
cmd_apply(void)
{
	static uint8_t body[65536];
	struct msg_set set = {++d.set};
	size_t len = conf_view_pack(&d.conf, ROLE_CLOUD, body, sizeof(body));

	NEED(len > 0);
	send_body(IPC_CONF_VIEW, body, len, -1);
	if (d.ca[0] != '\0')
		send_ca();
	len = msg_creds_pack(&d.creds, body, sizeof(body));
	NEED(len > 0);
	send_body(IPC_CREDENTIALS, body, len, -1);
	len = msg_set_pack(&set, body, sizeof(body));
	NEED(len > 0);
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
	if (conf_setting_set(&d.conf, name, value, err, sizeof(err)) != 0)
		die(1, "%s", err);
}

static void
cmd_nocred(uint32_t id)
{
	for (uint32_t i = 0; i < d.creds.n; i++)
		if (d.creds.cred[i].id == id)
			d.creds.cred[i--] = d.creds.cred[--d.creds.n];
}

static void
cmd_cred(uint32_t id, enum cred_kind kind, const char *rest)
{
	struct msg_cred *c;

	cmd_nocred(id);
	NEED(d.creds.n < MSG_CREDS_MAX);
	c = &d.creds.cred[d.creds.n++];
	c->id = id;
	c->kind = kind;
	NEED(sscanf(rest, "%63s %255s %1023s", c->name, c->client_id,
		    c->secret) == 3);
}

static void
cmd_peer(unsigned slot)
{
	struct msg_peer m = {ROLE_RELAY, slot, ++d.lives};
	uint8_t body[16];
	size_t len = msg_peer_pack(&m, body, sizeof(body));
	int fd[2];

	NEED(slot < SLOTS && len > 0 && ipc_pair(fd) == 0);
	send_body(IPC_PEER, body, len, fd[1]);
	close(fd[1]);
	ipc_free(&d.relay[slot]);
	d.relay[slot] = ipc_new(d.loop, fd[0], ROLE_RELAY, ROLE_CLOUD, slot, 64,
				&relay_ops, NULL);
	NEED(d.relay[slot] != NULL);
}

static void
cmd_stale(unsigned slot, uint32_t id, uint64_t serial)
{
	struct msg_token_stale m = {id, serial};
	uint8_t body[32];
	size_t len = msg_token_stale_pack(&m, body, sizeof(body));

	NEED(slot < SLOTS && d.relay[slot] != NULL && len > 0);
	NEED(ipc_send(d.relay[slot], IPC_TOKEN_STALE, 0, body, len, -1) == 0);
}

static void
show_slot(struct json *j, const struct token_slot *s, uint64_t now)
{
	json_object(j, NULL);
	json_u64(j, "credential", s->credential);
	json_u64(j, "state", s->state);
	json_u64(j, "serial", s->serial);
	json_i64(j, "expires_ms",
		 s->expires == 0 ? 0 : (int64_t)(s->expires - now) / 1000000);
	json_i64(j, "retry_ms", (int64_t)(s->retry - now) / 1000000);
	json_slice(j, "token", (struct slice){s->bytes, s->len});
	json_object_end(j);
}

static void
cmd_show(void)
{
	static char text[131072];
	static struct token_value v;
	uint64_t now = clock_boot_ns();
	struct sbuf b;
	struct json j;

	(void)!pub_read(d.pub, &v);
	sbuf_init(&b, text, sizeof(text));
	json_init(&j, &b);
	json_object(&j, NULL);
	json_array(&j, "slot");
	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++)
		if (v.slot[i].credential != 0)
			show_slot(&j, &v.slot[i], now);
	json_array_end(&j);
	json_str(&j, "tenant", v.tenant);
	json_u64(&j, "naddr", v.naddr);
	json_u64(&j, "dns_failed", v.dns_failed);
	json_u64(&j, "addr_serial", v.addr_serial);
	json_str(&j, "host", v.host);
	json_u64(&j, "proxy_port", v.proxy_port);
	json_u64(&j, "proxy_tls", v.proxy_tls);
	json_str(&j, "proxy_basic", v.proxy_basic);
	json_object_end(&j);
	NEED(!b.cut);
	say("show %s", text);
}

static void
command(char *line)
{
	unsigned slot = 0, id = 0;
	unsigned long long serial = 0;
	char word[32] = "", name[64] = "";
	int at = 0;

	if (sscanf(line, "%31s", word) != 1)
		return;
	if (strcmp(word, "set") == 0) {
		NEED(sscanf(line, "set %63s %n", name, &at) == 1 && at > 0);
		cmd_set(name, line + at);
	} else if (strcmp(word, "cred") == 0) {
		NEED(sscanf(line, "cred %u %n", &id, &at) == 1 && at > 0);
		cmd_cred(id, CRED_CLOUD, line + at);
	} else if (strcmp(word, "proxycred") == 0) {
		NEED(sscanf(line, "proxycred %u %n", &id, &at) == 1 && at > 0);
		cmd_cred(id, CRED_PROXY, line + at);
	} else if (strcmp(word, "nocred") == 0) {
		NEED(sscanf(line, "nocred %u", &id) == 1);
		cmd_nocred(id);
	} else if (strcmp(word, "ca") == 0) {
		NEED(sscanf(line, "ca %511s", d.ca) == 1);
	} else if (strcmp(word, "start") == 0) {
		cmd_start();
	} else if (strcmp(word, "kill") == 0) {
		kill(d.pid, SIGKILL);
	} else if (strcmp(word, "apply") == 0) {
		cmd_apply();
	} else if (strcmp(word, "peer") == 0) {
		NEED(sscanf(line, "peer %u", &slot) == 1);
		cmd_peer(slot);
	} else if (strcmp(word, "stale") == 0) {
		NEED(sscanf(line, "stale %u %u %llu", &slot, &id, &serial) ==
		     3);
		cmd_stale(slot, id, serial);
	} else if (strcmp(word, "show") == 0) {
		cmd_show();
	} else if (strcmp(word, "drain") == 0) {
		send_body(IPC_DRAIN, (const uint8_t[8]){0}, 8, -1);
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
		memmove(d.line, end + 1, d.len);
	}
	NEED(d.len < sizeof(d.line) - 1);
}

int
main(int argc, char **argv)
{
	const char *why;

	NEED(argc == 2);
	log_init("driver", -1);
	signal(SIGPIPE, SIG_IGN);
	d.binary = argv[1];
	d.loop = loop_new();
	NEED(d.loop != NULL);
	conf_defaults(&d.conf);
	d.stats = stats_new(&why);
	d.token_fd =
	    pub_create("token", sizeof(struct token_value), TOKEN_LAYOUT);
	NEED(d.stats != NULL && d.token_fd >= 0);
	d.pub = pub_map(d.token_fd, sizeof(struct token_value), TOKEN_LAYOUT,
			false, &why);
	NEED(d.pub != NULL);
	d.input = event_new(loop_base(d.loop), 0, EV_READ | EV_PERSIST,
			    on_input, NULL);
	NEED(d.input != NULL && event_add(d.input, NULL) == 0);
	return loop_run(d.loop);
}
