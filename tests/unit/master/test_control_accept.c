/*
 * control: what becomes of those who connect while the master has no
 * descriptor left.  accept4() is ours here.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "master/control.h"
#include "master/event.h"
#include "master/master.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

static struct master m;
static char dir[] = "/tmp/test_control.XXXXXX";
static int fails; /* errno of every accept4(), 0: it works */
static unsigned calls;

int
accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	calls++;
	if (fails != 0) {
		errno = fails;
		return -1;
	}
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

static void
on_time(void *arg)
{
	(void)arg;
	loop_stop(m.loop, 0);
}

static void
run(uint64_t ms)
{
	struct loop_timer *t = loop_timer_new(m.loop, on_time, NULL);

	assert_non_null(t);
	loop_timer_set(t, ms);
	loop_run(m.loop);
	loop_timer_free(&t);
}

static int
set_up(void **state)
{
	char err[MASTER_ERR];

	(void)state;
	log_set_level(LOG_LVL_ERR - 1);
	if (mkdtemp(dir) == NULL)
		return -1;
	m = (struct master){.event_fd = -1};
	snprintf(m.conf.control_socket.s, sizeof(m.conf.control_socket.s),
		 "%s/s", dir);
	m.loop = loop_new();
	m.events = event_log_new();
	return control_open(&m.control, &m, err, sizeof(err));
}

static int
tear_down(void **state)
{
	(void)state;
	control_free(&m.control);
	event_log_free(&m.events);
	loop_free(&m.loop);
	return rmdir(dir);
}

/* A connection that has asked for the events. */
static int
ask(void)
{
	static const char request[] = "events\0count=1";
	uint8_t head[4] = {sizeof(request), 0, 0, 0};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", dir);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(write(fd, head, 4), 4);
	assert_int_equal(write(fd, request, sizeof(request)), sizeof(request));
	return fd;
}

static void
without_descriptors_it_waits_and_goes_on(void **state)
{
	static const int cause[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS};
	char reply[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cause); i++) {
		int fd = ask();

		calls = 0;
		fails = cause[i];
		run(300);
		assert_in_range(calls, 1, 2); /* not once for every turn */
		fails = 0;
		run(1500);
		assert_true(recv(fd, reply, sizeof(reply), MSG_DONTWAIT) > 4);
		close(fd);
	}
}

/* The peer was gone before it was accepted: nothing to wait for. */
static void
one_that_left_holds_up_nobody(void **state)
{
	char reply[512];
	int fd = ask();

	(void)state;
	fails = ECONNABORTED;
	loop_stop(m.loop, 0);
	loop_run(m.loop);
	fails = 0;
	run(100);
	assert_true(recv(fd, reply, sizeof(reply), MSG_DONTWAIT) > 4);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_descriptors_it_waits_and_goes_on),
	    cmocka_unit_test(one_that_left_holds_up_nobody),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
