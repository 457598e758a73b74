/*
 * guard: makes the text of a configuration file safe for libconfuse.
 *
 * libconfuse 3.3 expands ${VARIABLE} from the environment, drops characters
 * that it has no use for, counts a line with a comment twice, and takes a
 * comment or section that never ends.  So the text is looked at first:
 * comments become blanks, and what is not plain is refused with the line it
 * is on.
 *
 * What is left consists of words, quoted texts within one line, and = { }.
 */
#ifndef RMS_CONF_GUARD_H
#define RMS_CONF_GUARD_H

#include "shm/base/bug.h"

/* line is the one at fault; text is "what, why, what would do". */
typedef void guard_error(void *arg, unsigned line, const char *text);

/*
 * Blanks the comments of text in place and reports all that is refused.
 * The number of reports.
 */
MUST_USE size_t guard_clean(char *text, guard_error *report, void *arg);

#endif
