/*
 * Purpose: takes in a secret without leaving copies.
 *
 * Runs in: rmsctl.
 * Trusts:  the terminal and the file's owner.
 * Touches: the file, standard input, the terminal's echo.
 * Failure: a line that says what would do; nothing is kept.
 */
#include "tools/ctl/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/str.h"

#include "shm/base/log.h"

void
secret_wipe(struct secret *s)
{
	str_wipe(s, sizeof(*s));
}

PRINTF(4, 5)
static int
fail(struct secret *s, char *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, SECRET_ERR, fmt, ap);
	va_end(ap);
	secret_wipe(s);
	return code;
}

/* What may stand in a secret: one line of text.  Drops the line's end. */
static int
check(struct secret *s, const char *from, char *err)
{
	if (s->len > 0 && s->s[s->len - 1] == '\n') {
		s->len--;
		if (s->len > 0 && s->s[s->len - 1] == '\r')
			s->len--;
	}
	if (s->len == 0)
		return fail(s, err, -EINVAL, "%s holds no secret: it is empty",
			    from);
	for (size_t i = 0; i < s->len; i++)
		if ((unsigned char)s->s[i] < 0x20 || s->s[i] == 0x7f)
			return fail(
			    s, err, -EINVAL,
			    "%s holds more than one line, or bytes that are "
			    "not text: give it the secret alone",
			    from);
	s->s[s->len] = '\0';
	return 0;
}

/* Up to the end of fd. */
static int
read_all(struct secret *s, int fd, const char *from, char *err)
{
	/* Room for the secret with a CR LF behind it, and one to see more. */
	char more[2];
	ssize_t n;

	while (s->len < SECRET_MAX + 1) {
		n = read(fd, s->s + s->len, SECRET_MAX + 1 - s->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(s, err, -errno, "cannot read %s: %s", from,
				    strerror(errno));
		if (n == 0)
			return check(s, from, err);
		s->len += (size_t)n;
	}
	n = read(fd, more, sizeof(more));
	str_wipe(more, sizeof(more));
	if (n == 0 && s->s[SECRET_MAX] == '\n')
		return check(s, from, err);
	return fail(s, err, -EFBIG,
		    "%s is longer than a secret can be (%d bytes)", from,
		    SECRET_MAX);
}

static int
file_open(struct secret *s, const char *path, int *fd_r, char *err)
{
	struct stat st;

	/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
	*fd_r = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (*fd_r < 0)
		return fail(s, err, -errno,
			    "cannot open the secret file %s: %s", path,
			    strerror(errno));
	if (fstat(*fd_r, &st) < 0 || !S_ISREG(st.st_mode))
		return fail(s, err, -EINVAL,
			    "%s is not a regular file; a pipe can be given on "
			    "standard input",
			    path);
	if ((st.st_mode & 077) != 0)
		return fail(
		    s, err, -EACCES,
		    "%s may be read or changed by others (mode %04o): consider "
		    "the secret known if others use this host; chmod 600 %s",
		    path, (unsigned)(st.st_mode & 07777), path);
	return 0;
}

int
secret_from_file(struct secret *s_r, const char *path, char err[SECRET_ERR])
{
	int fd = -1, r;

	memset(s_r, 0, sizeof(*s_r));
	r = file_open(s_r, path, &fd, err);
	if (r == 0)
		r = read_all(s_r, fd, path, err);
	fd_close(&fd);
	return r;
}

/*
 * One key at the terminal.  The terminal makes no signals meanwhile, so that
 * Ctrl-C cannot leave it without echo: its own special keys are read as such.
 * 1: go on, 0: done, -ECANCELED, -EFBIG.
 */
static int
key(struct secret *s, char c, const struct termios *t)
{
	if (c == '\n' || c == '\r' || c == (char)t->c_cc[VEOF])
		return 0;
	if (c == (char)t->c_cc[VINTR] || c == (char)t->c_cc[VQUIT])
		return -ECANCELED;
	if (c == (char)t->c_cc[VERASE] || c == '\b' || c == 0x7f) {
		if (s->len > 0)
			s->s[--s->len] = '\0';
		return 1;
	}
	if (c == (char)t->c_cc[VKILL]) {
		secret_wipe(s);
		return 1;
	}
	if (s->len == SECRET_MAX)
		return -EFBIG;
	s->s[s->len++] = c;
	return 1;
}

static int
read_keys(struct secret *s, int fd, const struct termios *t)
{
	char c;
	int r = 1;

	while (r == 1) {
		ssize_t n = read(fd, &c, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = n == 0 ? 0 : key(s, c, t);
	}
	str_wipe(&c, 1);
	return r;
}

static int
read_tty(struct secret *s, int fd, const char *prompt, char *err)
{
	struct termios old, quiet;
	int r;

	if (tcgetattr(fd, &old) < 0)
		return fail(s, err, -errno, "cannot use the terminal: %s",
			    strerror(errno));
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG);
	quiet.c_cc[VMIN] = 1;
	quiet.c_cc[VTIME] = 0;
	fputs(prompt, stderr);
	fflush(stderr);
	if (tcsetattr(fd, TCSAFLUSH, &quiet) < 0)
		return fail(s, err, -errno, "cannot turn off the echo: %s",
			    strerror(errno));
	r = read_keys(s, fd, &old);
	(void)tcsetattr(fd, TCSAFLUSH, &old);
	fputc('\n', stderr);
	if (r == -ECANCELED)
		return fail(s, err, r, "cancelled; nothing was changed");
	if (r < 0)
		return fail(s, err, r, "cannot read the secret: %s",
			    strerror(-r));
	return check(s, "the line", err);
}

int
secret_from_fd(struct secret *s_r, int fd, const char *prompt,
	       char err[SECRET_ERR])
{
	memset(s_r, 0, sizeof(*s_r));
	if (isatty(fd))
		return read_tty(s_r, fd, prompt, err);
	return read_all(s_r, fd, "standard input", err);
}
