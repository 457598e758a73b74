/*
 * log: diagnostics of a process, a line each, to standard error.
 *
 * A line is "<P>role[slot]: text" where <P> is the syslog priority that
 * journald and syslog understand; on a terminal, where people read, it is
 * "program[slot]: error: text" (warning:, nothing for info, debug:).  One
 * write() per line, at most LOG_LINE_MAX bytes; control characters are
 * written as \xNN, so a name that came from the network cannot forge a line.
 * Never logs a secret: callers do not pass one.
 *
 * Events for the operator (numbered 1000, 2001 ...) are not logged here but
 * sent to the master: see master/event.h.
 */
#ifndef RMS_LOG_H
#define RMS_LOG_H

#include "shm/base/bug.h"

#define LOG_LINE_MAX 2048

enum log_level { /* the numbers of syslog(3) */
		 LOG_LVL_ERR = 3,
		 LOG_LVL_WARN = 4,
		 LOG_LVL_INFO = 6,
		 LOG_LVL_DEBUG = 7,
};

/* Names this process in every line from now on; slot < 0 leaves it out.
 * Before the sandbox, and again when standard error was changed. */
void log_init(const char *role, int slot);
void log_set_level(enum log_level level);
enum log_level log_level(void);
/* err, warn, info or debug; 0 or -EINVAL. */
MUST_USE int log_level_parse(const char *name, enum log_level *level_r);

PRINTF(2, 3) void log_at(enum log_level level, const char *fmt, ...);

#define log_err(...)  log_at(LOG_LVL_ERR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...)                                      \
	do {                                                \
		if (log_level() >= LOG_LVL_DEBUG)           \
			log_at(LOG_LVL_DEBUG, __VA_ARGS__); \
	} while (0)

/* The text alone, whatever the level: what a check finds, for a person, an
 * editor or a script. */
PRINTF(1, 2) void log_plain(const char *fmt, ...);

/* Logs at err and exits with status (sysexits.h).  Start-up only. */
NORETURN PRINTF(2, 3) void die(int status, const char *fmt, ...);

#include "shm/base/banned.h" /* IWYU pragma: keep */

#endif
