/*
 * Purpose: play the master and the relays for one rms-keeper, on command.
 *
 * Runs in: tests.  Usage: keeper_driver RMS_KEEPER RMS_NTLM; reads commands on
 *	    standard input, a line each, and prints what the keeper does as
 *	    JSON, a line each.
 * Trusts:  whoever runs the test.
 * Touches: a child process, its segment and channels.
 * Failure: a command that cannot be carried out ends the driver.
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

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/loop.h"
#include "shm/stats.h"
#include "tests/fault/keeper_driver.h"

struct driver d;

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
cmd_stats(void)
{
	struct stats_row *row =
	    stats_row(d.stats, stats_row_index(ROLE_KEEPER, 0));

	say_begin("stats");
	json_u64(&js, "accepts", stat_get(row, STAT_keeper_accepts));
	json_u64(&js, "queue", stat_get(row, STAT_keeper_queue));
	json_u64(&js, "signs", stat_get(row, STAT_keeper_signs));
	json_u64(&js, "pid", (uint64_t)d.pid);
	json_u64(&js, "ntlm_queue", stat_get(row, STAT_ntlm_queue));
	json_u64(&js, "ntlm_open", stat_get(row, STAT_ntlm_open));
	json_u64(&js, "ntlm_late", stat_get(row, STAT_ntlm_late));
	json_u64(&js, "AUTH_STEP", IPC_AUTH_STEP);
	json_u64(&js, "CONF_DONE", IPC_CONF_DONE);
	say_end();
}

static void
cmd_file(char *mem, size_t size, const char *path)
{
	NEED(str_copy(mem, size, slice_of(path[0] == '-' ? "" : path)) == 0);
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
		relay_part(a);
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
