/*
 * sandbox: what a process gives up before it looks at its first byte.
 *
 * Two steps, in this order, both irrevocable:
 *	sandbox_drop()	 no core dump, not traceable, user and group changed
 *			 (as root only), no_new_privs
 *	sandbox_enter()	 the seccomp allow-list of the role; anything else
 *			 kills the process (SIGSYS), and Landlock where the
 *			 kernel has it
 *
 * The allow-lists are in sandbox.def, one line per system call.
 */
#ifndef RMS_SANDBOX_H
#define RMS_SANDBOX_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/role.h"

/*
 * user == NULL or "": stay who we are.  Without root the identity stays and
 * *note_r (static text, or NULL) says what could not be dropped; capabilities
 * go in any case, root's too.  group, NULL or "" for none, is the one
 * supplementary group that is kept when root becomes user; one that does not
 * exist is a note.  0, or -errno: the caller must not go on
 * (-ENOENT: no such user, -EINVAL: the user is root).
 */
MUST_USE int sandbox_drop(const char *user, const char *group,
			  const char **note_r);

/*
 * readable: paths that the role may still open for reading (keeper:
 * krb5.conf; cloud: CA files, resolv.conf; NTLM: none), NULL-terminated, may be
 * NULL; for a relay there is none.  A directory stands for what is below it.  A
 * file that others replace by renaming a new one into place (resolv.conf) needs
 * its directory here: Landlock goes by what the path names now.  The keeper
 * may name directories to write to as "+/path" (a replay cache).
 *
 * Whatever loads code, looks up users or starts with files must have done so
 * before: executable memory is over.
 *
 * 0, or -errno: the caller must not go on.  For the master it does nothing
 * and says so.  With RMS_SANDBOX=off in the environment (sanitizer and
 * valgrind runs, never in production) it does nothing, *note_r says so, and
 * sandbox_drop() leaves the process traceable.  *note_r also tells of a
 * kernel without Landlock.
 */
MUST_USE int sandbox_enter(enum role role, const char *const *readable,
			   const char **note_r);

#endif
