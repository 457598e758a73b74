/*
 * warm: everything that OpenSSL finds at its first use, found at the start.
 *
 * OpenSSL 3.0 looks up an algorithm when it is first asked for, and when
 * memory is short at that moment remembers that there is none: a relay that
 * was once out of memory would refuse every handshake until its end.  So it
 * shakes hands with itself before it serves anybody.
 */
#ifndef RMS_WARM_H
#define RMS_WARM_H

#include "shm/base/bug.h"

/* Once per process, before its first connection.  0, or -ENOMEM when it did
 * not go through: the process must not serve. */
MUST_USE int warm_up(void);

#endif
