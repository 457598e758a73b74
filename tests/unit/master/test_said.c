/*
 * What children say to the master: it believes no more of it than it must, a
 * liar dies, and nobody else does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/event.h"
#include "master/master.h"
#include "master/seen.h"
#include "master/supervise.h"
#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/stats.h"
#include "shm/base/log.h"

static struct master m;
static struct stats *stats;
static char dir[] = "/tmp/test_said.XXXXXX";
static char last[EVENT_JSON_MAX + 1], why_lied[256];
static size_t told;
static struct proc *liar;

static void
on_event(void *arg, struct slice json)
{
	(void)arg;
	memcpy(last, json.p, json.len);
	last[json.len] = '\0';
	told++;
}

static void
on_spawn(void *arg, struct proc *p)
{
	(void)arg;
	(void)p;
}

static void
on_end(void *arg, struct proc *p, enum proc_end end, const char *why)
{
	(void)arg;
	if (end != PROC_END_LIED)
		return;
	assert_null(liar);
	liar = p;
	snprintf(why_lied, sizeof(why_lied), "%s", why);
}

static void
on_all_gone(void *arg)
{
	(void)arg;
}

static const struct supervise_ops ops = {on_spawn, master_on_msg, on_end,
					 on_all_gone};

/* Children are this program under another name: see main(). */
static int
set_up(void **state)
{
	struct supervise_conf c = {
	    .relays = 3, .watchdog_ms = 60000, .respawn_max_ms = 200};
	static const char *const name[] = {"rms-keeper", "rms-cloud",
					   "rms-relay"};
	char path[64], self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *why;

	(void)state;
	log_set_level(LOG_LVL_ERR - 1);
	snprintf(dir, sizeof(dir), "/tmp/test_said.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_true(n > 0);
	self[n] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, name[i]);
		assert_int_equal(symlink(self, path), 0);
	}
	snprintf(c.bin_dir, sizeof(c.bin_dir), "%s", dir);
	m = (struct master){.event_fd = -1};
	m.loop = loop_new();
	m.events = event_log_new();
	m.seen = seen_new(100);
	stats = stats_new(&why);
	m.supervise = supervise_new(m.loop, &c, stats, &ops, &m);
	assert_non_null(m.supervise);
	event_log_follow(m.events, on_event, NULL);
	supervise_start(m.supervise);
	told = 0;
	liar = NULL;
	return 0;
}

static int
tear_down(void **state)
{
	char cmd[64];

	(void)state;
	supervise_free(&m.supervise);
	stats_free(&stats);
	seen_free(&m.seen);
	event_log_free(&m.events);
	loop_free(&m.loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static struct proc *
child(enum role role, unsigned slot)
{
	struct proc *p = supervise_find(m.supervise, role, slot);

	assert_non_null(p);
	return p;
}

static void
say(struct proc *p, enum ipc_type type, const void *body, size_t len)
{
	struct ipc_msg msg = {.type = type, .body = body, .len = len, .fd = -1};

	assert_null(ipc_check(p->role, ROLE_MASTER,
			      &(struct ipc_head){.type = type}, 16, 0));
	master_on_msg(&m, p, &msg);
}

#define SAY(p, TYPE, X, ...)                                             \
	do {                                                             \
		uint8_t body_[4096];                                     \
		struct msg_##X m_ = __VA_ARGS__;                         \
		size_t len_ = msg_##X##_pack(&m_, body_, sizeof(body_)); \
                                                                         \
		assert_true(len_ > 0);                                   \
		say(p, TYPE, body_, len_);                               \
	} while (0)

#define S(text) SLICE_LIT(text)

/* --- accusations --------------------------------------------------------- */

static void
the_accused_is_replaced(void **state)
{
	struct proc *relay = child(ROLE_RELAY, 1);

	(void)state;
	SAY(child(ROLE_KEEPER, 0), IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, relay->life, S("message too large")});
	assert_ptr_equal(liar, relay);
	assert_non_null(strstr(why_lied, "message too large"));
	assert_non_null(strstr(why_lied, "keeper"));
}

static void
a_healthy_successor_lives(void **state)
{
	struct proc *relay = child(ROLE_RELAY, 1);
	uint64_t before = relay->life++; /* it was replaced meanwhile */

	(void)state;
	SAY(child(ROLE_KEEPER, 0), IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, before, S("x")});
	SAY(child(ROLE_CLOUD, 0), IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, before, S("x")});
	assert_null(liar);
	assert_int_equal(told, 0);
}

static void
an_accuser_without_that_neighbour_lies(void **state)
{
	struct proc *keeper = child(ROLE_KEEPER, 0),
		    *cloud = child(ROLE_CLOUD, 0);

	(void)state;
	SAY(keeper, IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, child(ROLE_RELAY, 1)->life + 1, S("x")});
	assert_ptr_equal(liar, keeper);
	liar = NULL;
	SAY(cloud, IPC_ACCUSE, accuse, {ROLE_KEEPER, 0, keeper->life, S("x")});
	assert_ptr_equal(liar, cloud);
	liar = NULL;
	SAY(child(ROLE_RELAY, 2), IPC_ACCUSE, accuse,
	    {ROLE_RELAY, 1, child(ROLE_RELAY, 1)->life, S("x")});
	assert_ptr_equal(liar, child(ROLE_RELAY, 2));
}

static void
a_slot_that_is_not_there_is_a_lie(void **state)
{
	struct proc *keeper = child(ROLE_KEEPER, 0);

	(void)state;
	SAY(keeper, IPC_ACCUSE, accuse, {ROLE_RELAY, 40, 1, S("x")});
	assert_ptr_equal(liar, keeper);
}

static void
a_relay_that_accuses_goes_itself(void **state)
{
	(void)state;
	SAY(child(ROLE_RELAY, 0), IPC_ACCUSE, accuse,
	    {ROLE_KEEPER, 0, child(ROLE_KEEPER, 0)->life, S("wrong length")});
	assert_ptr_equal(liar, child(ROLE_RELAY, 0));
	assert_non_null(strstr(why_lied, "wrong length"));
}

int
main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(the_accused_is_replaced),
	    T(a_healthy_successor_lives),
	    T(an_accuser_without_that_neighbour_lies),
	    T(a_slot_that_is_not_there_is_a_lie),
	    T(a_relay_that_accuses_goes_itself),
	};

	(void)argc;
	if (strstr(argv[0], "/rms-") != NULL)
		return poll(&(struct pollfd){.fd = 3}, 1, -1) == 1 ? 0 : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
