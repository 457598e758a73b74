/*
 * Purpose: refuse or blank what libconfuse would take in a surprising way.
 *
 * Runs in: master, rmsctl.
 * Trusts:  nobody: the file is whatever is on the disk.
 * Touches: the text of its caller.
 * Failure: reports, one for each fault.
 */
#include "conf/guard.h"

#include "shm/base/log.h"
#include "shm/base/str.h"

struct guard {
	char *p;
	unsigned line;
	size_t depth;	 /* sections that are open */
	unsigned opened; /* line of the outermost of them */
	size_t nerrors;
	guard_error *report;
	void *arg;
};

static void
refuse(struct guard *g, unsigned line, const char *text)
{
	g->nerrors++;
	g->report(g->arg, line, text);
}

static void
skip_to_eol(struct guard *g)
{
	while (*g->p != '\0' && *g->p != '\n')
		g->p++;
}

static void
blank_to_eol(struct guard *g)
{
	while (*g->p != '\0' && *g->p != '\n')
		*g->p++ = ' ';
}

static void
blank_block(struct guard *g)
{
	unsigned start = g->line;
	char *end = strstr(g->p + 2, "*/");

	if (end == NULL) {
		refuse(g, start,
		       "comment without an end, no */ follows, close it");
		g->p += strlen(g->p);
		return;
	}
	for (; g->p < end + 2; g->p++) {
		if (*g->p == '\n')
			g->line++;
		else
			*g->p = ' ';
	}
}

static bool
is_control(char c)
{
	return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

/* After an error the rest of the line is skipped: it would only repeat it. */
static void
quoted(struct guard *g)
{
	char quote = *g->p++;

	for (; *g->p != quote; g->p++) {
		if (*g->p == '\0' || *g->p == '\n') {
			refuse(g, g->line,
			       "text without an end, the closing quote is "
			       "missing on this line, add it");
			return;
		}
		if (*g->p == '\\') {
			refuse(g, g->line,
			       "backslash, it has no meaning in this file, "
			       "write the character itself");
			skip_to_eol(g);
			return;
		}
		if (g->p[0] == '$' && g->p[1] == '{') {
			refuse(g, g->line,
			       "${...}, variables of the environment are not "
			       "used, write the value itself");
			skip_to_eol(g);
			return;
		}
		if (is_control(*g->p)) {
			refuse(g, g->line,
			       "control character in a text, it cannot be "
			       "meant, remove it");
			skip_to_eol(g);
			return;
		}
	}
	g->p++;
}

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c != '\0' && strchr("_.:/-@%~", c));
}

static void
word(struct guard *g)
{
	while (is_word(*g->p)) {
		if (g->p[0] == '/' && (g->p[1] == '/' || g->p[1] == '*'))
			break;
		g->p++;
	}
	/* libconfuse would cut the word here without a sound. */
	if (*g->p == '#' || *g->p == '/' || *g->p == '"' || *g->p == '\'') {
		refuse(g, g->line,
		       "comment or quote within a word, it would cut the value "
		       "short, put the value in quotes or a space before it");
		skip_to_eol(g);
	}
}

static void
other(struct guard *g)
{
	if (*g->p == '$' || *g->p == '\\' || *g->p == '+' || *g->p == ',' ||
	    *g->p == '(' || *g->p == ')' || *g->p == '|' ||
	    (unsigned char)*g->p >= 0x80)
		refuse(g, g->line,
		       "character that only a quoted text may hold, put the "
		       "value in quotes");
	else
		refuse(g, g->line,
		       "character that has no place here, it is not part of "
		       "name = value, remove it");
	skip_to_eol(g);
}

/* libconfuse takes a section that the file does not end.  A brace too many
 * it refuses itself. */
static void
brace(struct guard *g)
{
	if (*g->p == '{' && g->depth++ == 0)
		g->opened = g->line;
	else if (*g->p == '}' && g->depth > 0)
		g->depth--;
	g->p++;
}

size_t
guard_clean(char *text, guard_error *report, void *arg)
{
	struct guard g = {.p = text, .line = 1, .report = report, .arg = arg};

	while (*g.p != '\0') {
		if (*g.p == '\n') {
			g.line++;
			g.p++;
		} else if (*g.p == ' ' || *g.p == '\t' || *g.p == '=') {
			g.p++;
		} else if (*g.p == '{' || *g.p == '}') {
			brace(&g);
		} else if (g.p[0] == '\r' && g.p[1] == '\n') {
			*g.p++ = ' '; /* a file from a Windows editor */
		} else if (*g.p == '#' || (g.p[0] == '/' && g.p[1] == '/')) {
			blank_to_eol(&g);
		} else if (g.p[0] == '/' && g.p[1] == '*') {
			blank_block(&g);
		} else if (*g.p == '"' || *g.p == '\'') {
			quoted(&g);
		} else if (is_word(*g.p)) {
			word(&g);
		} else {
			other(&g);
		}
	}
	if (g.depth > 0)
		refuse(&g, g.opened,
		       "section without an end, its } is missing, add it");
	return g.nerrors;
}
