/*
 * A log is a regular file that is appended to, or the start and the reload
 * say what is wrong with it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/logfile.h"
#include "shm/base/log.h"

static char dir[] = "/tmp/test_logfile.XXXXXX";
static char path[64], err[512];

static int
set_up(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static const char *
named(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void
lines_are_appended(void **state)
{
	char text[32] = "";
	struct stat st;
	int fd;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    logfile_open(named("log"), &fd, err, sizeof(err)), 0);
		assert_int_equal(write(fd, "line\n", 5), 5);
		assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(fd);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, sizeof(text) - 1), 10);
	assert_string_equal(text, "line\nline\n");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0037, 0);
	close(fd);
	unlink(path);
}

/* What is in the log after it was opened and "more\n" was written. */
static void
opened_after(const char *before, const char *after)
{
	char text[64] = "";
	int fd =
	    open(named("log"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	assert_int_equal(write(fd, before, strlen(before)), strlen(before));
	close(fd);
	assert_int_equal(logfile_open(path, &fd, err, sizeof(err)), 0);
	assert_int_equal(write(fd, "more\n", 5), 5);
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) >= 0);
	assert_string_equal(text, after);
	close(fd);
	unlink(path);
}

static void
half_a_line_takes_no_other_with_it(void **state)
{
	(void)state;
	opened_after("whole\n{\"ti", "whole\n{\"ti\nmore\n");
	opened_after("whole\n", "whole\nmore\n");
	opened_after("", "more\n");
}

static void
none_is_no_error(void **state)
{
	int fd = 7;

	(void)state;
	assert_int_equal(logfile_open("", &fd, err, sizeof(err)), 0);
	assert_int_equal(fd, -1);
}

static void
refused(const char *what, const char *says)
{
	int fd = 7;

	err[0] = '\0';
	assert_true(logfile_open(what, &fd, err, sizeof(err)) < 0);
	assert_int_equal(fd, -1);
	if (strstr(err, what) == NULL || strstr(err, says) == NULL)
		fail_msg("\"%s\" does not say %s and %s", err, what, says);
}

static void
what_is_no_regular_file_is_refused(void **state)
{
	int reader;

	(void)state;
	refused("/dev/full", "name a regular file");
	refused("/dev/null", "name a regular file");
	refused(dir, "name a regular file");
	refused("/nonexistent/log", "correct the path");
	assert_int_equal(mkfifo(named("fifo"), 0600), 0);
	refused(path, "name a regular file");
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(reader >= 0);
	refused(path, "name a regular file");
	close(reader);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_are_appended),
	    cmocka_unit_test(half_a_line_takes_no_other_with_it),
	    cmocka_unit_test(none_is_no_error),
	    cmocka_unit_test(what_is_no_regular_file_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
