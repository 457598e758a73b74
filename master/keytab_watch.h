/*
 * keytab_watch: sees that the keytab's file has become another.
 *
 * The file is looked at by name, once in a while: that sees an in-place write,
 * a rename over it, a symbolic link that was turned, a directory that came or
 * went, and a file system that tells no news (inotify does not see the last
 * and needs a watch on each link and directory of the way).  A look that finds
 * nothing new is one stat().
 *
 * Who writes a keytab writes more than once (kadmin appends entry by entry).
 * So a fault counts when two looks in a row find it, and a file that was
 * written within KEYTAB_SETTLE_NS is looked at again although its times have
 * not changed since: their grain is that of the file system.
 */
#ifndef RMS_KEYTAB_WATCH_H
#define RMS_KEYTAB_WATCH_H

#include <stdbool.h>

#include "shm/base/bug.h"

#define KEYTAB_WATCH_MS	 1000
#define KEYTAB_SETTLE_NS UINT64_C(2000000000)

struct keytab_watch;

enum keytab_look {
	KEYTAB_SAME, /* nothing to tell */
	KEYTAB_NEW,  /* good, and not what is in force */
	KEYTAB_GOOD, /* what is in force, after a fault */
	KEYTAB_BAD,  /* a fault, told once for each state of the file */
};

/* NULL when out of memory. */
MUST_USE struct keytab_watch *keytab_watch_new(void);
void keytab_watch_free(struct keytab_watch **w);

/*
 * Looks at path; in_force is a descriptor of the bytes in force, -1 none.
 * now_ns is CLOCK_REALTIME, the clock of file times.  KEYTAB_NEW: *fd_r is a
 * sealed memfd, the caller's.  KEYTAB_BAD: a line in why.
 */
MUST_USE enum keytab_look keytab_watch_look(struct keytab_watch *w,
					    const char *path, int in_force,
					    uint64_t now_ns, int *fd_r,
					    char *why, size_t why_size);

/* There is no file to look at any more; what was found is forgotten. */
void keytab_watch_forget(struct keytab_watch *w);

/* The file as it was at the last look is not to be used; why, or "". */
const char *keytab_watch_fault(const struct keytab_watch *w);

#endif
