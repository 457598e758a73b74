/*
 * krb5conf: the krb5.conf of this process, as a copy in memory.
 *
 * krb5 reads its configuration anew for every accept.  It is given a copy, so
 * that an accept needs no file, and an editor that renames a new krb5.conf
 * into place cannot take it away: the sandbox (Landlock) goes by what the
 * path named when it closed.  What krb5.conf includes is read by krb5 from
 * where it is.
 */
#ifndef RMS_KRB5CONF_H
#define RMS_KRB5CONF_H

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define KRB5CONF_INCLUDES_MAX 8
#define KRB5CONF_SKEW_S	      300  /* krb5's own, when clockskew is not set */
#define KRB5CONF_SKEW_MAX_S   3600 /* more is cut to it, with a warning */

/* Before krb5 is first called: what it must not do in this process. */
void krb5conf_environment(void);

/*
 * Makes the file at path ("" for the system's) the one in force.  0; or -errno
 * with one line in why and the old one in force.
 */
MUST_USE int krb5conf_use(const char *path, char *why, size_t why_size);

/*
 * How far clocks may be apart: clockskew of the one in force, 0 to
 * KRB5CONF_SKEW_MAX_S seconds.  It stays until the next use, whatever becomes
 * of the files that are included.
 */
int krb5conf_skew_s(void);

/* Paths that it includes, NULL-terminated; valid until the next use. */
const char *const *krb5conf_includes(void);

/* The absolute path of a line "include PATH" or "includedir PATH"; empty when
 * it is another. */
struct slice krb5conf_include(struct slice line);

#endif
