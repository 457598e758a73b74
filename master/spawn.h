/*
 * spawn: fork and exec of one child, with nothing but what it is given.
 */
#ifndef RMS_SPAWN_H
#define RMS_SPAWN_H

#include <sys/types.h>

#include "shm/base/bug.h"

/*
 * Runs `path SLOT` with descriptors 0 and 1 on /dev/null, 2 ours, 3 a copy of
 * channel and nothing else; default signals, none blocked; a short list of
 * environment variables.  It dies with the master.  Its pid, or -errno when
 * there was no fork; when the exec fails it exits with status 127.
 */
MUST_USE pid_t spawn_child(const char *path, unsigned slot, int channel);

#endif
