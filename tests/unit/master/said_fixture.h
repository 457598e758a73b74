/*
 * said_fixture: a master with children that say what the test makes them say.
 * The children are the test itself under another name: see its main().
 */
#ifndef RMS_TEST_SAID_FIXTURE_H
#define RMS_TEST_SAID_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
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
#include "master/keyuse.h"
#include "master/master.h"
#include "master/rollout.h"
#include "master/seen.h"
#include "master/supervise.h"
#include "master/trouble.h"
#include "shm/base/loop.h"
#include "shm/stats.h"
#include "shm/base/log.h"

static struct master m;
static struct stats *stats;
static char dir[] = "/tmp/test_said.XXXXXX";
static char last[EVENT_JSON_MAX + 1], why_lied[256];
static size_t told;
static struct proc *liar;

static inline void
on_event(void *arg, struct slice json)
{
	(void)arg;
	memcpy(last, json.p, json.len);
	last[json.len] = '\0';
	told++;
}

static inline void
on_spawn(void *arg, struct proc *p)
{
	(void)arg;
	(void)p;
}

static inline void
on_end(void *arg, struct proc *p, enum proc_end end, const char *why)
{
	(void)arg;
	if (end != PROC_END_LIED)
		return;
	assert_null(liar);
	liar = p;
	snprintf(why_lied, sizeof(why_lied), "%s", why);
}

static struct conf_errors wrong;
static unsigned rolled_out;

static inline void
on_rollout(void *arg, uint64_t set, const struct conf_errors *w)
{
	(void)arg;
	assert_true(set == 2);
	wrong = *w;
	rolled_out++;
	loop_stop(m.loop, 0);
}

static inline void
on_all_gone(void *arg)
{
	(void)arg;
}

static const struct supervise_ops ops = {on_spawn, master_on_msg, on_end,
					 on_all_gone};

/* Children are this program under another name: see main(). */
static inline int
set_up(void **state)
{
	struct supervise_conf c = {.relays = 3,
				   .watchdog_ms = 60000,
				   .respawn_max_ms = 200,
				   .ntlm_slots = 1,
				   .ntlm = true};
	static const char *const name[] = {"rms-keeper", "rms-cloud",
					   "rms-relay", "rms-ntlm"};
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
	m.trouble = trouble_new();
	m.keyuse = keyuse_new(1);
	stats = stats_new(&why);
	m.supervise = supervise_new(m.loop, &c, stats, &ops, &m);
	assert_non_null(m.supervise);
	m.rollout = rollout_new(m.loop, m.supervise, 50, on_rollout, NULL);
	assert_non_null(m.rollout);
	event_log_follow(m.events, on_event, NULL);
	supervise_start(m.supervise);
	told = rolled_out = 0;
	liar = NULL;
	return 0;
}

static inline int
tear_down(void **state)
{
	char cmd[64];

	(void)state;
	rollout_free(&m.rollout);
	supervise_free(&m.supervise);
	stats_free(&stats);
	seen_free(&m.seen);
	trouble_free(&m.trouble);
	keyuse_free(&m.keyuse);
	event_log_free(&m.events);
	loop_free(&m.loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static inline struct proc *
child(enum role role, unsigned slot)
{
	struct proc *p = supervise_find(m.supervise, role, slot);

	assert_non_null(p);
	return p;
}

static inline void
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

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
