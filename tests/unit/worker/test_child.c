/*
 * What a child does with the master's messages: a set is whole or nothing,
 * and the master hears which.  The test is the master; the child is a fork.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "worker/child.h"
#include "shm/base/log.h"

/* What the handlers do and count; in memory that both processes have. */
static struct seen {
	int msg_fails;	/* errno of the next TLS_KEY with index 7 */
	int conf_fails; /* errno of on_conf */
	unsigned keys, confs, aborts;
	uint64_t queue_max; /* that was in force at the last on_conf */
} * seen;

static struct stats *stats;
static int channel;
static pid_t pid;
static uint8_t buf[IPC_BODY_MAX + sizeof(struct ipc_head)];
static struct ipc_msg got;

/* --- the child -------------------------------------------------------------
 */

static int
on_msg(struct child *c, struct ipc_msg *m)
{
	struct msg_listener l;

	(void)c;
	if (m->type != IPC_TLS_KEY)
		return 0;
	if (msg_listener_unpack(&l, m->body, m->len) != 0)
		return -EPROTO;
	seen->keys++;
	return l.index == 7 ? -seen->msg_fails : 0;
}

static void
on_abort(struct child *c)
{
	(void)c;
	seen->aborts++;
}

static int
on_conf(struct child *c, bool first)
{
	(void)first;
	seen->confs++;
	seen->queue_max = (uint64_t)c->conf.keeper_queue_max;
	return -seen->conf_fails;
}

static void
on_drain(struct child *c, uint64_t ms)
{
	(void)ms;
	/* what is in force, for the test to see */
	seen->queue_max = (uint64_t)c->conf.keeper_queue_max;
	loop_stop(c->loop, 0);
}

static void
be_child(int fd)
{
	static const struct child_ops ops = {.on_msg = on_msg,
					     .on_abort = on_abort,
					     .on_conf = on_conf,
					     .on_drain = on_drain};
	char name[] = "rms-keeper", slot[] = "0";
	char *argv[] = {name, slot, NULL};

	if (dup2(fd, CHILD_CHANNEL_FD) < 0)
		_exit(99);
	log_set_level(LOG_LVL_ERR - 1);
	_exit(child_main(ROLE_KEEPER, 2, argv, &ops));
}

/* --- the master ------------------------------------------------------------
 */

static void
send_msg(enum ipc_type type, const void *body, size_t len, int fd)
{
	assert_int_equal(ipc_send_wait(channel, ROLE_MASTER, ROLE_KEEPER, type,
				       0, body, len, fd),
			 0);
}

static void
send_view(int64_t queue_max)
{
	static struct conf conf;
	size_t len;

	conf_defaults(&conf);
	conf.keeper_queue_max = queue_max;
	len = conf_view_pack(&conf, ROLE_KEEPER, buf, sizeof(buf));
	assert_true(len > 0);
	send_msg(IPC_CONF_VIEW, buf, len, -1);
}

static void
send_key(uint32_t index)
{
	struct msg_listener m = {index};
	uint8_t body[8];
	size_t len = msg_listener_pack(&m, body, sizeof(body));
	int fd = fd_memfd_sealed("key", "k", 1);

	send_msg(IPC_TLS_KEY, body, len, fd);
	close(fd);
}

static void
send_done(uint64_t number)
{
	struct msg_set m = {number};
	uint8_t body[8];
	size_t len = msg_set_pack(&m, body, sizeof(body));

	send_msg(IPC_CONF_DONE, body, len, -1);
}

static void
receive(enum ipc_type type)
{
	assert_int_equal(
	    ipc_recv_wait(channel, ROLE_MASTER, ROLE_KEEPER, buf, 20000, &got),
	    0);
	assert_string_equal(ipc_type_name(got.type), ipc_type_name(type));
}

static void
ready(uint64_t number)
{
	struct msg_set m;

	receive(IPC_READY);
	assert_int_equal(msg_set_unpack(&m, got.body, got.len), 0);
	assert_true(m.number == number);
}

static void
refused(uint64_t number, const char *says)
{
	struct msg_refused m;
	char why[256] = "";

	receive(IPC_REFUSED);
	assert_int_equal(msg_refused_unpack(&m, got.body, got.len), 0);
	assert_true(m.number == number);
	assert_true(m.why.len < sizeof(why));
	memcpy(why, m.why.p, m.why.len);
	if (strstr(why, says) == NULL)
		fail_msg("\"%s\" does not say %s", why, says);
}

static int
set_up(void **state)
{
	struct msg_segment seg = {SEGMENT_STATS};
	uint8_t body[8];
	const char *why;
	int fd[2];

	(void)state;
	log_set_level(LOG_LVL_ERR - 1);
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stats = stats_new(&why);
	if (seen == MAP_FAILED || stats == NULL || ipc_pair(fd) != 0)
		return -1;
	pid = fork();
	if (pid == 0)
		be_child(fd[1]);
	close(fd[1]);
	channel = fd[0];
	send_view(11);
	send_msg(IPC_SEGMENT, body, msg_segment_pack(&seg, body, sizeof(body)),
		 stats_row_fd(stats, stats_row_index(ROLE_KEEPER, 0)));
	send_key(0);
	send_done(1);
	ready(1);
	return 0;
}

/* Ends the child when it still runs; its exit status. */
static int
ended(void)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int
tear_down(void **state)
{
	(void)state;
	close(channel);
	if (pid > 0 && ended() != 0)
		return -1;
	stats_free(&stats);
	return munmap(seen, sizeof(*seen));
}

/* What is in force: the child says it at its end. */
static uint64_t
in_force(void)
{
	uint8_t body[8] = {1};

	send_msg(IPC_DRAIN, body, sizeof(body), -1);
	assert_int_equal(ended(), 0);
	return seen->queue_max;
}

static void
a_set_is_taken_and_told(void **state)
{
	(void)state;
	send_view(22);
	send_key(0);
	send_key(1);
	send_done(2);
	ready(2);
	assert_int_equal(seen->confs, 2);
	assert_int_equal(seen->keys, 3);
	assert_int_equal(seen->aborts, 0);
	assert_true(in_force() == 22);
}

static void
half_a_set_is_not_applied(void **state)
{
	(void)state;
	seen->msg_fails = ENOMEM;
	send_view(22);
	send_key(7);
	send_key(1);
	send_done(2);
	refused(2, "TLS_KEY: Cannot allocate memory");
	assert_int_equal(seen->confs, 1);
	assert_int_equal(seen->keys, 2); /* the rest was not read */
	assert_int_equal(seen->aborts, 1);
	assert_true(in_force() == 11);
}

static void
the_next_set_is_taken_again(void **state)
{
	(void)state;
	seen->msg_fails = ENOMEM;
	send_view(22);
	send_key(7);
	send_done(2);
	refused(2, "TLS_KEY");
	seen->msg_fails = 0;
	send_view(33);
	send_key(7);
	send_done(3);
	ready(3);
	assert_true(in_force() == 33);
}

static void
a_view_that_is_none_refuses_its_set(void **state)
{
	(void)state;
	send_msg(IPC_CONF_VIEW, "nonsense", 8, -1);
	send_key(0);
	send_done(2);
	refused(2, "CONF_VIEW");
	assert_int_equal(seen->confs, 1);
	assert_true(in_force() == 11);
}

static void
what_cannot_be_applied_is_told(void **state)
{
	(void)state;
	seen->conf_fails = EINVAL;
	send_view(22);
	send_done(2);
	refused(2, "Invalid argument");
	assert_int_equal(seen->confs, 2);
	assert_true(in_force() == 11);
}

/* Alone it is no part of a set that could be refused. */
static void
a_message_by_itself_that_fails_ends_the_child(void **state)
{
	(void)state;
	seen->msg_fails = ENOMEM;
	send_key(7);
	assert_int_not_equal(ended(), 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(a_set_is_taken_and_told),
	    T(half_a_set_is_not_applied),
	    T(the_next_set_is_taken_again),
	    T(a_view_that_is_none_refuses_its_set),
	    T(what_cannot_be_applied_is_told),
	    T(a_message_by_itself_that_fails_ends_the_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
