/*
 * Purpose: play NTLM processes for the keeper, or start real ones.
 *
 * Runs in: keeper_driver.
 * Trusts:  whoever runs the test.
 * Touches: NTLM processes, their channels.
 * Failure: what cannot be done ends the driver.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/msg.h"
#include "shm/stats.h"
#include "tests/fault/keeper_driver.h"

/* --- real ones ---------------------------------------------------------------
 */

static void
on_ntlm(void *arg, struct ipc *c, struct ipc_msg *m)
{
	(void)arg;
	say_begin("ntlm");
	json_u64(&js, "slot", ipc_peer_slot(c));
	json_str(&js, "type", ipc_type_name(m->type));
	say_end();
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
	say_begin("ntlm-end");
	json_u64(&js, "slot", slot);
	json_i64(&js, "status",
		 WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	say_end();
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

void
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
	say_begin("ntlm-start");
	json_u64(&js, "slot", slot);
	json_u64(&js, "pid", (uint64_t)d.ntlm[slot].pid);
	say_end();
}

/* --- played ones -------------------------------------------------------------
 */

static void
on_fake(void *arg, struct ipc *c, struct ipc_msg *m)
{
	unsigned slot = *(unsigned *)arg;

	(void)c;
	say_begin(m->type == IPC_NTLM_STEP ? "fake-step" : "fake-abort");
	json_u64(&js, "slot", slot);
	json_u64(&js, "number", m->id);
	say_end();
}

static void
on_fake_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	unsigned slot = *(unsigned *)arg;

	(void)c;
	(void)end;
	ipc_free(&d.ntlm[slot].keeper);
	say_begin("fake-end");
	json_u64(&js, "slot", slot);
	json_str(&js, "why", why);
	say_end();
}

static const struct ipc_ops fake_ops = {on_fake, on_fake_end};

void
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

void
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
