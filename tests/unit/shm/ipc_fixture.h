/*
 * ipc_fixture: two ends of a channel and what each has seen.
 */
#ifndef RMS_TEST_IPC_FIXTURE_H
#define RMS_TEST_IPC_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/ipc.h"
#include "shm/base/log.h"

#define GOT_MAX 4096

/* What one end has seen. */
struct seen {
	size_t n;
	uint64_t id[GOT_MAX];
	size_t len[GOT_MAX];
	uint64_t sum; /* of all bytes */
	int fd;	      /* kept from the last message that had one */
	bool keep_fd;
	size_t stop_at; /* messages; 0: never */
	bool free_in_msg;
	bool lie_in_msg;
	bool send_at_end;

	int ends;
	enum ipc_end end;
	char why[64];
};

static struct loop *l;
static struct ipc *a, *b; /* master and relay, mostly */
static struct seen at_a, at_b;
static uint8_t body[IPC_BODY_MAX];
static int fds_at_start;

static inline int
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static inline void
on_msg(void *arg, struct ipc *c, struct ipc_msg *m)
{
	struct seen *s = arg;

	assert_true(s->n < GOT_MAX);
	s->id[s->n] = m->id;
	s->len[s->n++] = m->len;
	for (size_t i = 0; i < m->len; i++)
		s->sum += m->body[i];
	if (s->keep_fd && m->fd >= 0) {
		s->fd = m->fd;
		m->fd = -1;
	}
	if (s->stop_at != 0 && s->n == s->stop_at)
		loop_stop(l, 0);
	if (s->lie_in_msg)
		ipc_lied(c, "bad body");
	if (s->free_in_msg) {
		assert_ptr_equal(c, s == &at_a ? a : b);
		ipc_free(s == &at_a ? &a : &b);
		loop_stop(l, 0);
	}
}

static inline void
on_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	struct seen *s = arg;

	s->ends++;
	s->end = end;
	snprintf(s->why, sizeof(s->why), "%s", why);
	assert_ptr_equal(c, s == &at_a ? a : b);
	if (s->send_at_end)
		assert_int_equal(ipc_send(c, IPC_DRAIN, 0, NULL, 0, -1),
				 -EPIPE);
	ipc_free(s == &at_a ? &a : &b);
	loop_stop(l, 0);
}

static const struct ipc_ops ops = {on_msg, on_end};

static inline void
on_tick(void *arg)
{
	(void)arg;
	loop_stop(l, 1);
}

/* Turns the loop for a while, or until something stops it. */
static inline void
turn(uint64_t ms)
{
	struct loop_timer *t = loop_timer_new(l, on_tick, NULL);

	assert_non_null(t);
	loop_timer_set(t, ms);
	loop_run(l);
	loop_timer_free(&t);
}

/* a: the master with `peer` at the other end, raw. */
static inline int
raw_peer(enum role self, enum role peer)
{
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	a = ipc_new(l, fd[0], self, peer, 5, 8, &ops, &at_a);
	assert_non_null(a);
	return fd[1];
}

static inline void
both(size_t queue_max)
{
	int fd = raw_peer(ROLE_MASTER, ROLE_RELAY);

	b = ipc_new(l, fd, ROLE_RELAY, ROLE_MASTER, 0, queue_max, &ops, &at_b);
	assert_non_null(b);
}

static inline int
set_up(void **state)
{
	(void)state;
	fds_at_start = count_fds();
	memset(&at_a, 0, sizeof(at_a));
	memset(&at_b, 0, sizeof(at_b));
	at_a.fd = at_b.fd = -1;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7 + 1);
	l = loop_new();
	return l == NULL ? -1 : 0;
}

static inline int
tear_down(void **state)
{
	(void)state;
	ipc_free(&a);
	ipc_free(&b);
	fd_close(&at_a.fd);
	fd_close(&at_b.fd);
	loop_free(&l);
	/* Every test is a test for leaks. */
	return count_fds() == fds_at_start ? 0 : -1;
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
