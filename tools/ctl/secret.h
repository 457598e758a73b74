/*
 * secret: a client secret on its way from a file or a person to the
 * connector.
 *
 * It lives in one place, which its holder wipes with secret_wipe().
 */
#ifndef RMS_CTL_SECRET_H
#define RMS_CTL_SECRET_H

#include "shm/base/bug.h"

#define SECRET_MAX 1023 /* as msg_cred.secret, without its NUL */
#define SECRET_ERR 512

struct secret {
	char s[SECRET_MAX + 1]; /* NUL-terminated */
	size_t len;
};

/*
 * Reads it from a regular file that group and others cannot touch.  One
 * newline at the end is dropped.  0 or -errno with a line in err and *s_r
 * wiped: -EACCES (also: open to others), -EINVAL (empty, not one line of
 * text), -EFBIG, -ENOENT ...
 */
MUST_USE int secret_from_file(struct secret *s_r, const char *path,
			      char err[SECRET_ERR]);

/*
 * The same from descriptor fd: at a terminal with `prompt` on it and without
 * echo, else up to its end.  -ECANCELED: the person pressed Ctrl-C.
 */
MUST_USE int secret_from_fd(struct secret *s_r, int fd, const char *prompt,
			    char err[SECRET_ERR]);

void secret_wipe(struct secret *s);

#endif
