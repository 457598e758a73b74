/*
 * What the connector relies on when a child misbehaves: it is told, replaced,
 * its counters survive, and a stop always ends.  The children are small shell
 * scripts with the channel as descriptor 3.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/supervise.h"
#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/stats.h"
#include "shm/base/log.h"

struct world {
	char dir[32];
	struct loop *loop;
	struct event *chld;
	struct stats *stats;
	struct supervise *s;
	unsigned spawned, ends[4], gone, messages;
	char why[256];
	unsigned stop_spawned;
	unsigned stop_after; /* ends of `stop_kind` */
	enum proc_end stop_kind;
	bool beat; /* write heartbeats for the children */
	struct loop_timer *beat_timer;
};

static void
on_spawn(void *arg, struct proc *p)
{
	struct world *w = arg;

	assert_true(proc_is_up(p));
	w->spawned++;
	if (w->spawned == w->stop_spawned)
		loop_stop(w->loop, 0);
}

static void
on_msg(void *arg, struct proc *p, struct ipc_msg *m)
{
	struct world *w = arg;

	(void)p;
	(void)m;
	w->messages++;
}

static void
on_end(void *arg, struct proc *p, enum proc_end end, const char *why)
{
	struct world *w = arg;

	(void)p;
	w->ends[end]++;
	snprintf(w->why, sizeof(w->why), "%s", why);
	if (end == w->stop_kind && w->ends[end] == w->stop_after)
		loop_stop(w->loop, 0);
}

static void
on_all_gone(void *arg)
{
	struct world *w = arg;

	w->gone++;
	loop_stop(w->loop, 0);
}

static const struct supervise_ops ops = {on_spawn, on_msg, on_end, on_all_gone};

static void
on_chld(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;

	(void)fd;
	(void)what;
	supervise_reap(w->s);
}

static void
on_beat(void *arg)
{
	struct world *w = arg;

	for (size_t i = 0; w->beat && i < supervise_count(w->s); i++) {
		struct proc *p = supervise_proc(w->s, i);

		atomic_store(
		    &stats_row(w->stats, stats_row_index(p->role, p->slot))
			 ->heartbeat,
		    clock_mono_ns());
	}
	loop_timer_set(w->beat_timer, 20);
}

static void
script(struct world *w, const char *name, const char *body)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	unlink(path); /* it may lead to this program */
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", body);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0755), 0);
}

/* A child that behaves is this program under its name: see main(). */
static void
good(struct world *w, const char *name)
{
	char path[64], self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	assert_int_equal(symlink(self, path), 0);
}

/* Ends with the first message, a DRAIN, or with its channel. */
static int
be_good(void)
{
	struct pollfd p = {.fd = 3, .events = POLLIN};

	return poll(&p, 1, -1) == 1 ? 0 : 1;
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const char *why = NULL;

	assert_non_null(w);
	log_set_level(LOG_LVL_ERR - 1);
	snprintf(w->dir, sizeof(w->dir), "/tmp/test_sup.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	good(w, "rms-keeper");
	good(w, "rms-cloud");
	good(w, "rms-ntlm");
	good(w, "rms-relay");
	w->loop = loop_new();
	w->stats = stats_new(&why);
	assert_non_null(w->stats);
	w->chld = evsignal_new(loop_base(w->loop), SIGCHLD, on_chld, w);
	evsignal_add(w->chld, NULL);
	w->beat_timer = loop_timer_new(w->loop, on_beat, w);
	w->beat = true;
	*state = w;
	return 0;
}

static void
start(struct world *w, unsigned relays, uint64_t watchdog_ms)
{
	struct supervise_conf c = {.relays = relays,
				   .watchdog_ms = watchdog_ms,
				   .respawn_max_ms = 200};

	snprintf(c.bin_dir, sizeof(c.bin_dir), "%s", w->dir);
	w->s = supervise_new(w->loop, &c, w->stats, &ops, w);
	assert_non_null(w->s);
	supervise_start(w->s);
	on_beat(w);
}

static void
on_turn(void *arg)
{
	struct world *w = arg;

	loop_stop(w->loop, 0);
}

/* A little of the loop. */
static void
turn(struct world *w)
{
	struct loop_timer *t = loop_timer_new(w->loop, on_turn, w);

	assert_non_null(t);
	loop_timer_set(t, 10);
	loop_run(w->loop);
	loop_timer_free(&t);
}

static int
tear_down(void **state)
{
	struct world *w = *state;
	char cmd[64];

	supervise_free(&w->s);
	stats_free(&w->stats);
	loop_timer_free(&w->beat_timer);
	event_free(w->chld);
	loop_free(&w->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", w->dir);
	assert_int_equal(system(cmd), 0);
	free(w);
	return 0;
}

static void
back_off_doubles_up_to_its_bound(void **state)
{
	(void)state;
	assert_int_equal(supervise_backoff_ms(0, 30000), 0);
	assert_int_equal(supervise_backoff_ms(1, 30000), 0);
	assert_int_equal(supervise_backoff_ms(2, 30000), 100);
	assert_int_equal(supervise_backoff_ms(3, 30000), 200);
	assert_int_equal(supervise_backoff_ms(9, 30000), 12800);
	assert_int_equal(supervise_backoff_ms(12, 30000), 30000);
	assert_int_equal(supervise_backoff_ms(4000000000U, 30000), 30000);
	assert_int_equal(supervise_backoff_ms(2, 50), 50);
}

static void
missing_programs_are_named(void **state)
{
	struct world *w = *state;
	char err[700];

	assert_int_equal(supervise_check_programs(w->dir, err, sizeof(err)), 0);
	assert_true(supervise_check_programs("/nowhere", err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "/nowhere/rms-keeper"));
}

static void
a_crash_is_told_and_the_child_replaced(void **state)
{
	struct world *w = *state;

	script(w, "rms-relay", "exit 3");
	w->stop_kind = PROC_END_CRASHED;
	w->stop_after = 3;
	start(w, 1, 60000);
	loop_run(w->loop);
	assert_string_equal(w->why, "exited with status 3");
	assert_int_equal(w->spawned, 2 + 3);
	assert_int_equal(supervise_find(w->s, ROLE_RELAY, 0)->restarts, 3);
	assert_int_equal(supervise_find(w->s, ROLE_KEEPER, 0)->restarts, 0);
	assert_null(supervise_find(w->s, ROLE_RELAY, 1));
}

static void
counters_of_the_dead_are_kept(void **state)
{
	struct world *w = *state;
	struct stats_row *row;

	script(w, "rms-relay", "exit 0");
	w->stop_kind = PROC_END_CRASHED; /* leaving unasked is one */
	w->stop_after = 1;
	row = stats_row(w->stats, stats_row_index(ROLE_RELAY, 0));
	stat_add(row, STAT_requests, 41);
	stat_add(row, STAT_conns_open, 5);
	start(w, 1, 60000);
	loop_run(w->loop);
	assert_int_equal(supervise_totals(w->s)[STAT_requests], 41);
	assert_int_equal(supervise_totals(w->s)[STAT_conns_open], 0);
	assert_int_equal(stat_get(row, STAT_requests), 0);
}

static void
a_liar_is_killed_and_replaced(void **state)
{
	struct world *w = *state;

	script(w, "rms-relay", "printf x >&3; exec sleep 1000");
	w->stop_kind = PROC_END_LIED;
	w->stop_after = 2;
	start(w, 1, 60000);
	loop_run(w->loop);
	assert_non_null(strstr(w->why, "broke the rules"));
	assert_int_equal(w->messages, 0);
	/* its death is not told a second time as a crash */
	assert_int_equal(w->ends[PROC_END_CRASHED], 0);
	assert_int_equal(w->spawned, 2 + 2);
}

static void
a_child_that_stands_still_is_killed(void **state)
{
	struct world *w = *state;

	script(w, "rms-keeper", "exec sleep 1000");
	w->stop_kind = PROC_END_STUCK;
	w->stop_after = 3; /* all three, none beats */
	start(w, 1, 300);
	on_beat(w);
	w->beat = false; /* from here on nobody does */
	loop_run(w->loop);
	assert_non_null(strstr(w->why, "no sign of life"));
}

static void
a_stop_takes_relays_first_and_ends(void **state)
{
	struct world *w = *state;

	start(w, 3, 60000);
	assert_int_equal(w->spawned, 5);
	supervise_drain(w->s, 5000);
	assert_true(supervise_is_draining(w->s));
	/* keeper and cloud agent are not asked while relays finish */
	assert_false(supervise_find(w->s, ROLE_KEEPER, 0)->draining);
	assert_true(supervise_find(w->s, ROLE_RELAY, 2)->draining);
	loop_run(w->loop);
	assert_int_equal(w->gone, 1);
	assert_int_equal(w->ends[PROC_END_STOPPED], 5);
	for (size_t i = 0; i < supervise_count(w->s); i++)
		assert_int_equal(supervise_proc(w->s, i)->state, PROC_STOPPED);
}

static void
what_does_not_end_is_killed(void **state)
{
	struct world *w = *state;

	script(w, "rms-relay", "exec sleep 1000");
	start(w, 1, 60000);
	supervise_drain(w->s, 50);
	loop_run(w->loop);
	assert_int_equal(w->gone, 1);
}

/* NTLM is switched on and off while the others go on. */
static void
ntlm_starts_when_it_is_wanted_and_ends_when_not(void **state)
{
	struct world *w = *state;
	struct supervise_conf c = {.relays = 1,
				   .watchdog_ms = 60000,
				   .respawn_max_ms = 200,
				   .ntlm_slots = 2};
	struct proc *p;

	/* one that would not end when asked: it may be in a call */
	script(w, "rms-ntlm", "exec sleep 1000");
	snprintf(c.bin_dir, sizeof(c.bin_dir), "%s", w->dir);
	w->s = supervise_new(w->loop, &c, w->stats, &ops, w);
	assert_non_null(w->s);
	supervise_start(w->s);
	on_beat(w);
	p = supervise_find(w->s, ROLE_NTLM, 1);
	assert_non_null(p);
	assert_null(supervise_find(w->s, ROLE_NTLM, 2));
	assert_false(p->wanted);
	assert_int_equal(w->spawned, 3);
	c.ntlm = true;
	supervise_tune(w->s, &c);
	w->stop_spawned = 5;
	loop_run(w->loop);
	assert_true(p->pid > 0);
	c.ntlm = false;
	supervise_tune(w->s, &c);
	while (p->state != PROC_STOPPED)
		turn(w);
	/* nobody is told of it, and nobody starts it again */
	assert_int_equal(w->ends[PROC_END_CRASHED], 0);
	assert_int_equal(w->ends[PROC_END_STUCK], 0);
	assert_int_equal(p->pid, 0);
	assert_int_equal(w->spawned, 5);
	supervise_drain(w->s, 5000);
	loop_run(w->loop);
	assert_int_equal(w->gone, 1);
}

static void
kill_ends_all_at_once(void **state)
{
	struct world *w = *state;

	script(w, "rms-relay", "exec sleep 1000");
	script(w, "rms-keeper", "exec sleep 1000");
	start(w, 2, 60000);
	supervise_drain(w->s, 0);
	supervise_kill(w->s);
	loop_run(w->loop);
	assert_int_equal(w->gone, 1);
	assert_int_equal(w->ends[PROC_END_CRASHED], 0);
}

static void
a_child_gets_nothing_but_its_descriptors(void **state)
{
	struct world *w = *state;
	char path[64], text[4096];
	int leak = open("/etc/passwd", O_RDONLY); /* no O_CLOEXEC */
	FILE *f;
	size_t n;

	assert_true(leak >= 0);
	setenv("RMS_TEST_SECRET", "sesame", 1);
	script(w, "rms-relay",
	       "d=$(dirname $0)\n"
	       "for i in 0 1 2 3 4 5 6 7 8 9; do\n"
	       " [ -e /proc/$$/fd/$i ] && echo \"$i\" >>$d/out\n"
	       "done\n"
	       "readlink /proc/$$/fd/0 >>$d/out\n"
	       "echo slot=$1 >>$d/out; env >>$d/out; exit 0");
	w->stop_kind = PROC_END_CRASHED;
	w->stop_after = 1;
	start(w, 1, 60000);
	loop_run(w->loop);
	close(leak);
	snprintf(path, sizeof(path), "%s/out", w->dir);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	assert_memory_equal(text, "0\n1\n2\n3\n/dev/null\nslot=0\n", 25);
	assert_null(strstr(text, "sesame"));
}

int
main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(back_off_doubles_up_to_its_bound),
	    T(missing_programs_are_named),
	    T(a_crash_is_told_and_the_child_replaced),
	    T(counters_of_the_dead_are_kept),
	    T(a_liar_is_killed_and_replaced),
	    T(a_child_that_stands_still_is_killed),
	    T(a_stop_takes_relays_first_and_ends),
	    T(what_does_not_end_is_killed),
	    T(ntlm_starts_when_it_is_wanted_and_ends_when_not),
	    T(kill_ends_all_at_once),
	    T(a_child_gets_nothing_but_its_descriptors),
	};

	(void)argc;
	if (strstr(argv[0], "/rms-") != NULL)
		return be_good();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
