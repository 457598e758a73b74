/*
 * Purpose: rms-connector.conf to struct conf, with every error by its line.
 *
 * Runs in: master, rmsctl.
 * Trusts:  nobody: the file is whatever is on the disk.  guard.c looks at it
 *          before libconfuse does.
 * Touches: the file, which is only read; `now` (see there).
 * Failure: -errno and the errors; the file is then refused whole.
 *
 * libconfuse knows every directive as a text: numbers, units and choices are
 * the business of conf_row_set(), so that a value means the same here, in
 * rmsctl and in a default.  It stops at the first name that it does not know;
 * that name is then added to what it knows, with a callback that reports it,
 * and the text is parsed again.  So one run reports all wrong names.
 */
#include "conf/conf_file.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "conf/check.h"
#include "conf/conf_file_parts.h"
#include "conf/guard.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

#define FILE_BYTES_MAX 262144 /* some hundred times what a real one has */
#define UNKNOWN_MAX    16
#define NAME_MAX_LEN   63

struct parse {
	const char *path;
	struct conf *c;
	struct conf_errors *e;
	struct conf_lines *lines;
	/* The listener that is being read, and the lines of its rows. */
	struct conf_listener listener;
	unsigned row_line[CONF_ROWS_MAX];
	/* Names that libconfuse was taught so that it reads on. */
	char unknown[UNKNOWN_MAX][NAME_MAX_LEN + 1];
	size_t nunknown;
	bool again; /* it met another one: parse once more */
};

/* libconfuse gives its callbacks no argument.  Set only while it parses; a
 * process reads one configuration at a time. */
static struct parse *now;

void
conf_errors_add(struct conf_errors *e, const char *path, unsigned line,
		const char *fmt, ...)
{
	char text[512];
	struct sbuf b;
	va_list ap;

	if (e->n++ >= ARRAY_LEN(e->text))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sbuf_init(&b, e->text[e->n - 1], sizeof(e->text[0]));
	sbuf_fmt(&b, "%.200s:", path);
	if (line > 0)
		sbuf_fmt(&b, "%u:", line);
	sbuf_fmt(&b, " %s", text);
}

/* --- names that are not ours ------------------------------------------ */

static void
report_unknown(struct parse *p, unsigned line, const char *name, bool inside)
{
	size_t n, nl, ns;
	const struct conf_row *node = conf_rows(&n),
			      *lis = conf_listener_rows(&nl),
			      *set = conf_settings(&ns);
	const char *near = inside ? conf_row_nearest(lis, nl, name)
				  : conf_row_nearest(node, n, name);

	if (!inside && conf_row_find(lis, nl, name) != NULL)
		conf_errors_add(
		    p->e, p->path, line,
		    "%s: not known here, it belongs to a listener, move it "
		    "into listener NAME { }",
		    name);
	else if (inside && conf_row_find(node, n, name) != NULL)
		conf_errors_add(
		    p->e, p->path, line,
		    "%s: not known in a listener, it belongs to the node, "
		    "move it out of the section",
		    name);
	else if (conf_row_find(set, ns, name) != NULL)
		conf_errors_add(
		    p->e, p->path, line,
		    "%s: not known here, all nodes share it, use rmsctl set "
		    "%s VALUE",
		    name, name);
	else if (strcmp(name, "include") == 0)
		conf_errors_add(
		    p->e, p->path, line,
		    "include: not known, one file holds all, copy the lines "
		    "in");
	else if (near != NULL)
		conf_errors_add(
		    p->e, p->path, line,
		    "%s: not known, no directive has this name, did you mean "
		    "%s?",
		    name, near);
	else
		conf_errors_add(
		    p->e, p->path, line,
		    "%s: not known, no directive has this name, remove it or "
		    "see rms-connector.conf(5)",
		    name);
}

static bool
is_taught(const struct parse *p, const char *name)
{
	for (size_t i = 0; i < p->nunknown; i++)
		if (strcmp(p->unknown[i], name) == 0)
			return true;
	return false;
}

/* --- libconfuse's callbacks ------------------------------------------- */

static unsigned
line_of(const cfg_t *cfg)
{
	return cfg->line > 0 ? (unsigned)cfg->line : 0;
}

static bool
is_inside(cfg_t *cfg)
{
	return strcmp(cfg_name(cfg), "listener") == 0;
}

static int
on_unknown(cfg_t *cfg, cfg_opt_t *opt)
{
	report_unknown(now, line_of(cfg), opt->name, is_inside(cfg));
	return 0;
}

/* A value was read.  Always 0, so that libconfuse goes on. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	bool inside = is_inside(cfg);
	size_t n;
	const struct conf_row *table =
	    inside ? conf_listener_rows(&n) : conf_rows(&n);
	const struct conf_row *row = conf_row_find(table, n, opt->name);
	unsigned *line = inside ? now->row_line : now->lines->node;
	const char *text = cfg_opt_getnstr(opt, 0);
	char err[400];

	if (row == NULL || text == NULL) { /* a path of libconfuse's own */
		report_unknown(now, line_of(cfg), opt->name, inside);
		return 0;
	}
	line += row - table;
	if (*line != 0)
		conf_errors_add(
		    now->e, now->path, line_of(cfg),
		    "%s: set twice, line %u sets it already, remove one",
		    row->name, *line);
	*line = line_of(cfg);
	if (conf_row_set(row, inside ? (void *)&now->listener : now->c, text,
			 err, sizeof(err)) != 0)
		conf_errors_add(now->e, now->path, line_of(cfg), "%s", err);
	return 0;
}

/* A section has ended: now->listener is complete. */
static int
on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	const char *name = sec == NULL ? "" : cfg_title(sec);
	struct conf *c = now->c;
	struct conf_listener *l = &now->listener;

	if (str_copy(l->name, sizeof(l->name), slice_of(name)) != 0 ||
	    name[0] == '\0' || check_node_name(name) != NULL) {
		conf_errors_add(
		    now->e, now->path, line_of(cfg),
		    "listener %.64s: not a name, use up to %d letters, "
		    "digits, dot, - and _",
		    name, NAME_MAX_LEN);
	} else if (c->nlisteners == CONF_LISTENERS_MAX) {
		conf_errors_add(
		    now->e, now->path, line_of(cfg),
		    "listener %s: one too many, there can be %d, remove some",
		    name, CONF_LISTENERS_MAX);
	} else {
		now->lines->listener[c->nlisteners].start = line_of(cfg);
		memcpy(now->lines->listener[c->nlisteners].row, now->row_line,
		       sizeof(now->row_line));
		c->listener[c->nlisteners++] = *l;
	}
	conf_listener_defaults(l);
	memset(now->row_line, 0, sizeof(now->row_line));
	return 0;
}

/* What libconfuse says, in our words; it stops after it. */
PRINTF(3, 0)
static void
report_syntax(struct parse *p, unsigned line, const char *fmt, va_list ap)
{
	static const struct {
		const char *theirs, *ours;
		bool names; /* it has a name or token as its argument */
	} words[] = {
	    {"missing equal sign",
	     "no = follows it, a directive is "
	     "name = value, add the =",
	     true},
	    {"unexpected token",
	     "not expected here, a directive is "
	     "name = value, correct the line",
	     true},
	    {"missing opening brace",
	     "no { follows its name, a section is "
	     "listener NAME { }, add it",
	     true},
	    {"missing title",
	     "it has no name, a section is "
	     "listener NAME { }, add one",
	     true},
	    {"found duplicate title",
	     "a listener of this name exists "
	     "already, names must differ, rename or remove one",
	     true},
	    {"unexpected closing brace",
	     "} closes nothing, no section is "
	     "open, remove it",
	     false},
	    {"premature end of file",
	     "the file ends within a section or "
	     "directive, add what is missing, e.g. }",
	     false},
	};
	char text[200];

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		const char *w = words[i].theirs;

		if (strncmp(fmt, w, strlen(w)) != 0)
			continue;
		if (words[i].names)
			conf_errors_add(p->e, p->path, line, "%.64s: %s",
					va_arg(ap, const char *),
					words[i].ours);
		else
			conf_errors_add(p->e, p->path, line, "%s",
					words[i].ours);
		return;
	}
	vsnprintf(text, sizeof(text), fmt, ap);
	conf_errors_add(p->e, p->path, line,
			"%s, the parser cannot read on, correct the line",
			text);
}

PRINTF(2, 0)
static void
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	struct parse *p = now;
	va_list again;
	const char *name;

	va_copy(again, ap);
	name = strchr(fmt, '%') == NULL ? "" : va_arg(again, const char *);
	va_end(again);
	if (strncmp(fmt, "no such option", 14) != 0) {
		/* A section of a wrong name: "server a { }". */
		if (strncmp(fmt, "missing equal sign", 18) == 0 &&
		    is_taught(p, name))
			report_unknown(p, line_of(cfg), name, is_inside(cfg));
		else
			report_syntax(p, line_of(cfg), fmt, ap);
		return;
	}
	if (p->nunknown < UNKNOWN_MAX && !is_taught(p, name) &&
	    str_copy(p->unknown[p->nunknown], sizeof(p->unknown[0]),
		     slice_of(name)) == 0) {
		p->nunknown++;
		p->again = true;
		return;
	}
	conf_errors_add(
	    p->e, p->path, line_of(cfg),
	    "%.64s: not known, the file has too many such names, correct "
	    "those first",
	    name);
}

/* --- one pass --------------------------------------------------------- */

#define OPTS_MAX (CONF_ROWS_MAX + UNKNOWN_MAX + 2)

static size_t
teach(cfg_opt_t *opts, const struct conf_row *table, size_t n, bool inside,
      const struct parse *p)
{
	size_t k = 0;

	BUG_ON(n > CONF_ROWS_MAX);
	for (size_t i = 0; i < n; i++) {
		opts[k] = (cfg_opt_t)CFG_STR(table[i].name, "", CFGF_NONE);
		opts[k++].validcb = on_value;
	}
	for (size_t i = 0; i < p->nunknown; i++) {
		if (conf_row_find(table, n, p->unknown[i]) != NULL ||
		    (!inside && strcmp(p->unknown[i], "listener") == 0))
			continue;
		opts[k] = (cfg_opt_t)CFG_STR(p->unknown[i], "", CFGF_NONE);
		opts[k++].validcb = on_unknown;
	}
	return k;
}

static int
pass(struct parse *p, const char *text)
{
	cfg_opt_t node[OPTS_MAX], lis[OPTS_MAX];
	size_t n, nl, k;
	const struct conf_row *table = conf_rows(&n),
			      *ltable = conf_listener_rows(&nl);
	cfg_t *cfg;
	int r;

	k = teach(lis, ltable, nl, true, p);
	lis[k] = (cfg_opt_t)CFG_END();
	k = teach(node, table, n, false, p);
	node[k] = (cfg_opt_t)CFG_SEC(
	    "listener", lis, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
	node[k++].validcb = on_section;
	node[k] = (cfg_opt_t)CFG_END();

	memset(p->lines, 0, sizeof(*p->lines));
	memset(p->row_line, 0, sizeof(p->row_line));
	memset(p->e, 0, sizeof(*p->e));
	conf_defaults(p->c);
	conf_listener_defaults(&p->listener);
	p->again = false;

	cfg = cfg_init(node, CFGF_NONE);
	if (cfg == NULL)
		return -ENOMEM;
	cfg_set_error_function(cfg, on_error);
	now = p;
	r = cfg_parse_buf(cfg, text);
	now = NULL;
	/* It refuses an empty name without a word. */
	if (r != CFG_SUCCESS && p->e->n == 0 && !p->again)
		conf_errors_add(p->e, p->path, line_of(cfg),
				"the parser cannot read on, usually a name is "
				"missing or \"\", correct the line");
	cfg_free(cfg);
	return 0;
}

static void
on_guard(void *arg, unsigned line, const char *text)
{
	struct parse *p = arg;

	conf_errors_add(p->e, p->path, line, "%s", text);
}

static int
parse(const char *path, const char *text, struct conf *c_r,
      struct conf_errors *e_r, struct conf_lines *lines_r)
{
	struct parse *p = calloc(1, sizeof(*p));
	char *copy = strdup(text);
	int r = 0;

	memset(e_r, 0, sizeof(*e_r));
	conf_defaults(c_r);
	if (p == NULL || copy == NULL) {
		r = -ENOMEM;
		goto out;
	}
	*p = (struct parse){.path = path, .c = c_r, .e = e_r, .lines = lines_r};
	if (guard_clean(copy, on_guard, p) == 0)
		do
			r = pass(p, copy);
		while (r == 0 && p->again);
	if (r == 0 && e_r->n > 0)
		r = -EINVAL;
out:
	if (r == -ENOMEM && e_r->n == 0)
		conf_errors_add(e_r, path, 0,
				"cannot be read, out of memory, free some");
	free(copy);
	free(p);
	return r;
}

/* --- files ------------------------------------------------------------ */

static int
read_text(const char *path, char **text_r, struct conf_errors *e)
{
	/* O_NONBLOCK: a FIFO by that name must not hold us up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t len;
	int r = fd < 0 ? -errno : fd_read_all(fd, FILE_BYTES_MAX, text_r, &len);

	fd_close(&fd);
	if (r == -EINVAL)
		conf_errors_add(
		    e, path, 0,
		    "cannot be read, not a regular file, name the file");
	else if (r == -EFBIG)
		conf_errors_add(
		    e, path, 0,
		    "cannot be read, it has more than %d bytes, name the "
		    "right file",
		    FILE_BYTES_MAX);
	else if (r != 0)
		conf_errors_add(
		    e, path, 0,
		    "cannot be read, %s, correct the path or its mode",
		    strerror(-r));
	if (r != 0)
		return r;
	if (memchr(*text_r, '\0', len) != NULL) {
		conf_errors_add(
		    e, path, 0,
		    "cannot be read, it has a NUL byte in it, name a text "
		    "file");
		free(*text_r);
		return -EINVAL;
	}
	return 0;
}

int
conf_file_lines(const char *path, struct conf *c_r, struct conf_errors *e_r,
		struct conf_lines *lines_r)
{
	char *text = NULL;
	int r;

	memset(e_r, 0, sizeof(*e_r));
	memset(lines_r, 0, sizeof(*lines_r));
	r = read_text(path, &text, e_r);
	if (r != 0)
		return r;
	r = parse(path, text, c_r, e_r, lines_r);
	free(text);
	return r;
}

int
conf_file_load(const char *path, struct conf *c_r, struct conf_errors *e_r)
{
	struct conf_lines lines;

	return conf_file_lines(path, c_r, e_r, &lines);
}

int
conf_file_parse(const char *path, const char *text, struct conf *c_r,
		struct conf_errors *e_r)
{
	struct conf_lines lines;

	return parse(path, text, c_r, e_r, &lines);
}
