/*
 * logfile: a log that the master opens, for itself or for the relays.
 *
 * Opened for appending, made with mode 0640.  The master reopens it on
 * SIGUSR1 (logrotate); a relay gets a descriptor and can append, not open.
 */
#ifndef RMS_LOGFILE_H
#define RMS_LOGFILE_H

#include <stddef.h>

#include "shm/base/bug.h"

/*
 * Opens path, a regular file, made when missing; anything else is refused: a
 * device keeps no lines, a FIFO loses them when nobody reads.
 * Half a line at its end is given an end.
 * "" gives -1 and is no error.  0 with *fd_r (the caller's), or -errno with a
 * line in err and *fd_r -1.
 */
MUST_USE int logfile_open(const char *path, int *fd_r, char *err,
			  size_t err_size);

#endif
