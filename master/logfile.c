/*
 * Purpose: open a log for appending.
 *
 * Runs in: the master.
 * Trusts:  the configuration file's path.
 * Touches: the file.
 * Failure: -errno with a line that says what would do.
 */
#include "master/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"

/* Who was killed within a write may have left the start of a line: what comes
 * next shall not be lost with it. */
static void
logfile_end_line(const char *path, int fd, const struct stat *st)
{
	struct stat seen;
	char last = '\n';
	int in;

	if (st->st_size == 0)
		return;
	in = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (in >= 0 && fstat(in, &seen) == 0 && seen.st_dev == st->st_dev &&
	    seen.st_ino == st->st_ino &&
	    pread(in, &last, 1, st->st_size - 1) == 1 && last != '\n')
		(void)!write(fd, "\n", 1);
	fd_close(&in);
}

int
logfile_open(const char *path, int *fd_r, char *err, size_t err_size)
{
	struct stat st;
	int fd, e = 0;

	*fd_r = -1;
	if (path[0] == '\0')
		return 0;
	/* O_NONBLOCK: a FIFO without a reader must not stop the master. */
	fd = open(path,
		  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY |
		      O_NONBLOCK,
		  0640);
	if (fd < 0 || fstat(fd, &st) != 0) {
		e = errno;
		snprintf(
		    err, err_size,
		    "%s: cannot be opened for writing: %s; correct the path "
		    "or the rights on its directory",
		    path, strerror(e));
	} else if (!S_ISREG(st.st_mode)) {
		e = EINVAL;
	}
	/* EISDIR, ENXIO: open() found out before fstat() could. */
	if (e == EINVAL || e == EISDIR || e == ENXIO)
		snprintf(err, err_size,
			 "%s: a log cannot be a device, directory or FIFO; "
			 "name a regular file",
			 path);
	if (e != 0) {
		fd_close(&fd);
		return -e;
	}
	logfile_end_line(path, fd, &st);
	*fd_r = fd;
	return 0;
}
