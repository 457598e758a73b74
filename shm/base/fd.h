/*
 * fd: descriptors and the memory behind them.
 */
#ifndef RMS_FD_H
#define RMS_FD_H

#include <stdbool.h>

#include "shm/base/bug.h"

/* Closes *fd when it is open and sets it to -1.  EINTR is not retried. */
void fd_close(int *fd);

/* O_NONBLOCK on.  0 or -errno. */
MUST_USE int fd_nonblock(int fd);
/* FD_CLOEXEC on or off.  0 or -errno. */
MUST_USE int fd_cloexec(int fd, bool on);

/*
 * Writes all of data at the current offset, restarting after EINTR.
 * 0 or -errno.  For blocking descriptors (files) only.
 */
MUST_USE int fd_write_all(int fd, const void *data, size_t len);

/*
 * Reads a whole regular file of at most max bytes into fresh memory with a
 * NUL behind it.  Caller frees (and wipes) *data_r.  -EFBIG above max.
 */
MUST_USE int fd_read_all(int fd, size_t max, char **data_r, size_t *len_r);

/*
 * An anonymous file holding a copy of data, sealed against every change
 * (F_SEAL_WRITE|GROW|SHRINK|SEAL), close-on-exec, offset 0.  Descriptor or
 * -errno.  The caller owns it.
 */
MUST_USE int fd_memfd_sealed(const char *name, const void *data, size_t len);

/* Like it, of size zero bytes of `size`, sealed against resizing only. */
MUST_USE int fd_memfd_shared(const char *name, size_t size);

/*
 * Reopens fd (a memfd) read-only, so that a holder cannot map it writable.
 * Descriptor or -errno.
 */
MUST_USE int fd_reopen_ro(int fd);

#endif
