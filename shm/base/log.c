/*
 * Purpose: write one diagnostic line at a time, safely.
 *
 * Runs in: every process.
 * Trusts:  nobody: every argument may carry bytes from the network.
 * Touches: standard error, opened by whoever started us.
 * Failure: a line that cannot be written is lost.
 */
#include "shm/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char log_name[48]; /* "" until log_init() */
static enum log_level log_max = LOG_LVL_INFO;
static bool log_people; /* standard error is a terminal */

/*
 * Looked at once, as later a sandbox may forbid it.  JOURNAL_STREAM is not
 * asked: the journal's stream is a socket, and a shell that a session's
 * service started has the variable while it writes to a terminal.
 */
void
log_init(const char *role, int slot)
{
	const char *name = role;

	log_people = isatty(STDERR_FILENO) == 1;
	if (log_people)
		name = program_invocation_short_name;
	if (slot < 0)
		snprintf(log_name, sizeof(log_name), "%.30s", name);
	else
		snprintf(log_name, sizeof(log_name), "%.30s[%d]", name, slot);
}

void
log_set_level(enum log_level level)
{
	log_max = level;
}

enum log_level
log_level(void)
{
	return log_max;
}

int
log_level_parse(const char *name, enum log_level *level_r)
{
	static const struct {
		const char *name;
		enum log_level level;
	} map[] = {
	    {"err", LOG_LVL_ERR},
	    {"warn", LOG_LVL_WARN},
	    {"info", LOG_LVL_INFO},
	    {"debug", LOG_LVL_DEBUG},
	};

	for (size_t i = 0; i < ARRAY_LEN(map); i++) {
		if (strcmp(name, map[i].name) == 0) {
			*level_r = map[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

/* Copies text to out with control characters made visible; returns length. */
static size_t
log_escape(char *out, size_t size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (const char *p = text; *p != '\0' && n + 5 < size; p++) {
		unsigned char c = (unsigned char)*p;

		if (c >= 0x20 && c != 0x7f) {
			out[n++] = *p;
			continue;
		}
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	return n;
}

/* Below every level, so it is always written; nothing in front. */
#define LOG_LVL_PLAIN ((enum log_level)0)

/* What a line opens with; its length. */
static size_t
log_head(char *out, size_t size, enum log_level level)
{
	const char *word = level <= LOG_LVL_ERR	   ? "error: "
			   : level == LOG_LVL_WARN ? "warning: "
			   : level == LOG_LVL_INFO ? ""
						   : "debug: ";
	int n;

	if (level == LOG_LVL_PLAIN)
		return 0;
	n = log_people ? snprintf(out, size, "%s: %s", log_name, word)
		       : snprintf(out, size, "<%d>%s: ", (int)level, log_name);

	return (size_t)n;
}

PRINTF(2, 0)
static void
log_vat(enum log_level level, const char *fmt, va_list ap)
{
	char text[LOG_LINE_MAX], line[LOG_LINE_MAX];
	int keep = errno;
	size_t n;
	ssize_t done;

	if (level > log_max)
		return;
	if (log_name[0] == '\0')
		log_init(program_invocation_short_name, -1);
	vsnprintf(text, sizeof(text), fmt, ap);
	n = log_head(line, sizeof(line), level);
	n += log_escape(line + n, sizeof(line) - n - 1, text);
	line[n++] = '\n';
	done = write(STDERR_FILENO, line, n);
	(void)done;
	errno = keep;
}

void
log_at(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vat(level, fmt, ap);
	va_end(ap);
}

void
log_plain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vat(LOG_LVL_PLAIN, fmt, ap);
	va_end(ap);
}

void
die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vat(LOG_LVL_ERR, fmt, ap);
	va_end(ap);
	exit(status);
}

void
bug_die(const char *file, int line, const char *what)
{
	log_err("BUG at %s:%d: %s", file, line, what);
	abort();
}
