/*
 * Log lines: one write each, bounded, and never forged by what is logged.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/log.h"

static int pipe_fd[2], keep_err;
static char got[8192];

/* Standard error goes into a pipe, in packets, one per write(). */
static int
set_up(void **state)
{
	(void)state;
	if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0)
		return -1;
	keep_err = dup(STDERR_FILENO);
	if (dup2(pipe_fd[1], STDERR_FILENO) < 0)
		return -1;
	log_init("relay", 3);
	log_set_level(LOG_LVL_INFO);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	dup2(keep_err, STDERR_FILENO);
	close(keep_err);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return 0;
}

/* The next write() to standard error, "" when there was none. */
static const char *
line(void)
{
	ssize_t n = read(pipe_fd[0], got, sizeof(got) - 1);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

static void
a_line_names_level_role_and_slot(void **state)
{
	(void)state;
	log_info("hello %d", 5);
	assert_string_equal(line(), "<6>relay[3]: hello 5\n");
	log_init("master", -1);
	log_err("%s", "bad");
	assert_string_equal(line(), "<3>master: bad\n");
	log_warn("w");
	assert_string_equal(line(), "<4>master: w\n");
}

/* People read words and a program's name, not the journal's numbers. */
static void
a_terminal_gets_lines_for_people(void **state)
{
	char want[256];
	const char *name = program_invocation_short_name;
	int master, slave;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_true(dup2(slave, STDERR_FILENO) >= 0);
	log_init("relay", 3);
	log_set_level(LOG_LVL_DEBUG);
	log_err("bad");
	log_warn("odd");
	log_info("fine");
	log_debug("small");
	log_init("master", -1);
	log_err("f:1: x");
	dup2(pipe_fd[1], STDERR_FILENO);
	close(slave);
	(void)snprintf(want, sizeof(want),
		       "%s[3]: error: bad\r\n%s[3]: warning: odd\r\n"
		       "%s[3]: fine\r\n%s[3]: debug: small\r\n"
		       "%s: error: f:1: x\r\n",
		       name, name, name, name, name);
	got[0] = '\0';
	for (size_t n = 0; n < strlen(want);) {
		ssize_t r = read(master, got + n, sizeof(got) - 1 - n);

		assert_true(r > 0);
		n += (size_t)r;
		got[n] = '\0';
	}
	close(master);
	assert_string_equal(got, want);
}

static void
a_plain_line_is_the_text_alone(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERR);
	log_plain("f:%d: bad\x1b", 3);
	assert_string_equal(line(), "f:3: bad\\x1b\n");
}

static void
the_level_decides_what_is_written(void **state)
{
	enum log_level l = LOG_LVL_ERR;

	(void)state;
	log_debug("no");
	assert_string_equal(line(), "");
	log_set_level(LOG_LVL_DEBUG);
	log_debug("yes");
	assert_string_equal(line(), "<7>relay[3]: yes\n");
	log_set_level(LOG_LVL_ERR);
	log_warn("no");
	assert_string_equal(line(), "");
	assert_int_equal(log_level_parse("debug", &l), 0);
	assert_int_equal(l, LOG_LVL_DEBUG);
	assert_int_equal(log_level_parse("warn", &l), 0);
	assert_int_equal(l, LOG_LVL_WARN);
	assert_int_equal(log_level_parse("loud", &l), -EINVAL);
	assert_int_equal(l, LOG_LVL_WARN);
}

static void
a_name_from_the_network_cannot_forge_a_line(void **state)
{
	(void)state;
	log_info("user %s", "x\n<0>master: all is well\r\x1b[2J\x7f");
	assert_string_equal(line(),
			    "<6>relay[3]: user x\\x0a<0>master: all is well"
			    "\\x0d\\x1b[2J\\x7f\n");
	assert_string_equal(line(), "");
}

static void
long_lines_are_cut_and_still_one_line(void **state)
{
	static char big[3 * LOG_LINE_MAX];

	(void)state;
	memset(big, '\n', sizeof(big) - 1); /* each grows to four */
	log_info("%s", big);
	line();
	assert_true(strlen(got) <= LOG_LINE_MAX);
	assert_true(strlen(got) > LOG_LINE_MAX - 64);
	assert_int_equal(got[strlen(got) - 1], '\n');
	assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
	assert_string_equal(line(), "");
}

static void
logging_keeps_errno(void **state)
{
	(void)state;
	errno = EPROTO;
	log_info("x");
	assert_int_equal(errno, EPROTO);
	line();
	close(STDERR_FILENO); /* a line that cannot be written is lost */
	errno = EPROTO;
	log_info("x");
	assert_int_equal(errno, EPROTO);
}

static void
a_bug_names_its_place_and_aborts(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		BUG_ON(1 + 1 == 2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(line(), "BUG at "));
	assert_non_null(strstr(got, "test_log.c:"));
	assert_non_null(strstr(got, "1 + 1 == 2"));
}

static void
die_logs_and_exits_with_its_status(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Not the test's own buffered output a second time. */
		close(STDOUT_FILENO);
		die(78, "file:%d: no", 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 78);
	assert_string_equal(line(), "<3>relay[3]: file:3: no\n");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(a_line_names_level_role_and_slot),
	    T(a_terminal_gets_lines_for_people),
	    T(a_plain_line_is_the_text_alone),
	    T(the_level_decides_what_is_written),
	    T(a_name_from_the_network_cannot_forge_a_line),
	    T(long_lines_are_cut_and_still_one_line),
	    T(logging_keeps_errno),
	    T(a_bug_names_its_place_and_aborts),
	    T(die_logs_and_exits_with_its_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
