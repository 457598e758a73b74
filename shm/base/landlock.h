/*
 * landlock: which files a process may still open (Linux 5.13 and later).
 * Part of sandbox.c; nobody else includes this.
 */
#ifndef RMS_LANDLOCK_H
#define RMS_LANDLOCK_H

#include "shm/base/bug.h"

/*
 * From now on only these paths (NULL-terminated, may be NULL: none at all)
 * and what is below them may be opened, for reading; a directory given as
 * "+/path" also for making, writing and removing files.  Paths that do not
 * exist are left out.  Needs no_new_privs.  0; -EOPNOTSUPP when the kernel
 * has no Landlock; -errno.
 */
MUST_USE int landlock_enter(const char *const *paths);

#endif
