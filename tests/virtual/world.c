/*
 * Purpose: play everybody around a relay, from its start on, in time.
 *
 * Runs in: tests, the script's thread.
 * Trusts:  the test.
 * Touches: the other ends of the relay's channels and sockets.
 * Failure: the scenario ends with a line.
 */
#include "tests/virtual/world.h"

#include <stdio.h>
#include <unistd.h>

#include "tests/virtual/world_priv.h"
#include "worker/child.h"

int relay_main(int argc, char **argv); /* main() of rms-relay.c, renamed */

struct world world;
struct world_own world_own;

/* --- its start --------------------------------------------------------------
 */

void
world_memory(unsigned total, unsigned available)
{
	char text[128];

	snprintf(text, sizeof(text),
		 "MemTotal: %12lu kB\nMemFree: %12lu kB\n"
		 "MemAvailable: %12lu kB\n",
		 total * 1024UL, available * 512UL, available * 1024UL);
	virt_file("/proc/meminfo", text);
}

void
world_init(void)
{
	struct conf_listener *l = world.conf.listener;
	char err[256];

	conf_defaults(&world.conf);
	world.conf.nlisteners = 2;
	conf_listener_defaults(&l[0]);
	conf_listener_defaults(&l[1]);
	snprintf(l[0].name, sizeof(l[0].name), "plain");
	snprintf(l[1].name, sizeof(l[1].name), "tls");
	l[1].tls = true;
	VIRT_NEED(conf_setting_set(&world.conf, "tenant_url",
				   "https://" CLOUD_NAME, err,
				   sizeof(err)) == 0);
	snprintf(world.conf.log_level.s, sizeof(world.conf.log_level.s), "err");
	world.conf.role_credential[SERVER_EXCHANGE] = 1;
	world.conf.role_credential[SERVER_SHAREPOINT] = 1;
	snprintf(world.principal, sizeof(world.principal), "EXCH01$@LAB.TEST");
	world.listed = true;
	world_memory(16384, 8192);
	/* pages: 80 MB, of which 20 are there (proc(5)) */
	virt_file("/proc/self/statm", "20000 5000 3000 500 0 10000 0\n");
	master_token_init(&world.token);
}

void
world_up(void)
{
	static char *argv[] = {(char *)(uintptr_t) "rms-relay",
			       (char *)(uintptr_t) "0", NULL};
	int fd[2];

	certs_make();
	VIRT_NEED(ipc_pair(fd) == 0);
	VIRT_NEED(fd[0] != CHILD_CHANNEL_FD || (fd[0] = dup(fd[0])) >= 0);
	if (fd[1] != CHILD_CHANNEL_FD)
		VIRT_NEED(dup2(fd[1], CHILD_CHANNEL_FD) == CHILD_CHANNEL_FD);
	world_own.master = fd[0];
	world_own.cloud = virt_listen("cloud");
	virt_set_cloud("cloud");
	master_tell_start();
	virt_start(relay_main, 2, argv);
	world_run();
	VIRT_NEED(world.ready == 1 && !virt_ended(), "it did not get ready");
}

void
world_reload(enum world_ca cloud, enum world_ca proxy)
{
	master_tell_set(false, cloud, proxy);
	world_run();
}

/* --- time ------------------------------------------------------------------
 */

void
world_run(void)
{
	for (int n = 0; n < ROUNDS_MAX; n++) {
		virt_run();
		if (virt_ended())
			return;
		bool more = master_hear();

		more |= keeper_hear();
		more |= agent_hear();
		if (!more)
			return;
	}
	VIRT_NEED(false, "it does not come to rest");
}

void
world_advance(uint64_t ms)
{
	/* in steps, so that the keeper is heard meanwhile */
	for (uint64_t step; ms > 0 && !virt_ended(); ms -= step) {
		step = MIN(ms, UINT64_C(50));
		world_run();
		virt_advance(step);
	}
	world_run();
}

uint64_t
world_stat(enum stat_id id)
{
	return stat_get(world.row, id);
}

bool
world_had_event(unsigned id)
{
	for (size_t i = 0; i < ARRAY_LEN(world.events); i++)
		if (world.events[i] == id)
			return true;
	return false;
}

void
world_expect_at(uint64_t ms, bool (*done)(void *arg), void *arg)
{
	world_run();
	VIRT_NEED(!done(arg), "before its time");
	world_advance(ms - 10);
	VIRT_NEED(!done(arg), "before its time");
	world_advance(30);
	VIRT_NEED(done(arg), "not when its time was over");
}
