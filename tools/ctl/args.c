/*
 * Purpose: parses rmsctl's command line by the table of verbs and prints it.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody; argv is checked in full before anything is done.
 * Touches: memory of its callers.
 * Failure: one line that names the word at fault and what would do.
 */
#include "tools/ctl/args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/str.h"

#include "shm/base/log.h"

enum opt_kind { FLAG, VALUE, NEEDED, REFUSED };

struct option_row {
	enum ctl_verb verb; /* CTL_V_MAX: global */
	const char *name;
	char letter;
	const char *value;
	enum opt_kind kind;
	const char *text;
};

struct verb_row {
	const char *name;
	size_t min, max;
	const char *args, *text, *more;
};

static const struct option_row globals[] = {
#define CTL_GLOBAL(ident, name, letter, value, text)                       \
	{CTL_V_MAX, name, letter, value, sizeof(value) > 1 ? VALUE : FLAG, \
	 text},
#include "tools/ctl/verbs.def"
};

static const struct option_row options[] = {
#define CTL_OPT(verb, ident, name, letter, value, kind, text) \
	{CTL_V_##verb, name, letter, value, kind, text},
#include "tools/ctl/verbs.def"
};

static const struct verb_row verbs[] = {
#define CTL_VERB(ident, verb, min, max, args, text, more) \
	{verb, min, max, args, text, more},
#include "tools/ctl/verbs.def"
};

_Static_assert(ARRAY_LEN(verbs) == CTL_V_MAX, "a row per verb");
_Static_assert(ARRAY_LEN(options) == CTL_O_MAX, "a row per option");

/* State of one parse. */
struct parse {
	struct ctl_args *a;
	char **argv;
	int argc, i;
	bool only_words; /* after "--" */
	const char *words[CTL_POS_MAX + 2];
	size_t nwords;
	char *err;
};

PRINTF(2, 3)
static int
fail(struct parse *p, const char *fmt, ...)
{
	va_list ap;
	struct sbuf b;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->err, CTL_ERR_MAX, fmt, ap);
	va_end(ap);
	if (n >=
	    CTL_ERR_MAX) { /* an argument of megabytes: its start will do */
		sbuf_init(&b, p->err + CTL_ERR_MAX - 4, 4);
		sbuf_str(&b, "...");
	}
	return -EINVAL;
}

const char *
args_verb_name(enum ctl_verb v)
{
	BUG_ON(v >= CTL_V_MAX);
	return verbs[v].name;
}

/* True when the verb is `word` or begins with it and a blank. */
static bool
verb_begins(const struct verb_row *v, const char *word)
{
	size_t n = strlen(word);

	return strncmp(v->name, word, n) == 0 &&
	       (v->name[n] == '\0' || v->name[n] == ' ');
}

/*
 * Which verb the words name so far.  *used_r is how many words it took.
 * CTL_V_MAX: none.
 */
static enum ctl_verb
verb_find(const char *const *words, size_t n, size_t *used_r)
{
	for (size_t v = 0; v < CTL_V_MAX; v++) {
		const char *blank = strchr(verbs[v].name, ' ');

		*used_r = blank == NULL ? 1 : 2;
		if (n < *used_r || !verb_begins(&verbs[v], words[0]))
			continue;
		if (blank == NULL || strcmp(blank + 1, words[1]) == 0)
			return (enum ctl_verb)v;
	}
	*used_r = 0;
	return CTL_V_MAX;
}

/* Where the value of this option goes, when `row` fits name or letter. */
static const struct option_row *
option_find(struct slice name, char letter, enum ctl_verb verb,
	    const char ***slot_r, struct ctl_args *a)
{
	for (size_t i = 0; i < ARRAY_LEN(globals); i++)
		if ((letter != 0 && globals[i].letter == letter) ||
		    slice_is(name, globals[i].name)) {
			*slot_r = &a->global[i];
			return &globals[i];
		}
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].verb == verb &&
		    ((letter != 0 && options[i].letter == letter) ||
		     slice_is(name, options[i].name))) {
			*slot_r = &a->opt[i];
			return &options[i];
		}
	return NULL;
}

static int
option_unknown(struct parse *p, const char *arg, struct slice name)
{
	size_t used;
	enum ctl_verb v = verb_find(p->words, p->nwords, &used);

	if (v == CTL_V_MAX)
		return fail(
		    p, "the verb has to come before %.*s; see rmsctl --help",
		    (int)MIN(name.len + 2, 40U), arg);
	return fail(p, "`%s` has no option %.*s; see rmsctl %s --help",
		    verbs[v].name, (int)MIN(name.len + 2, 40U), arg,
		    verbs[v].name);
}

/* One argument that begins with "-".  p->i is at it; moves over a value. */
static int
option_take(struct parse *p)
{
	const char *arg = p->argv[p->i];
	bool is_long = arg[1] == '-';
	const char *eq = is_long ? strchr(arg, '=') : NULL;
	struct slice name = {"", 0};
	const struct option_row *row;
	const char **slot, *inside = NULL;
	size_t used;

	if (is_long)
		name =
		    (struct slice){arg + 2, eq != NULL ? (size_t)(eq - arg - 2)
						       : strlen(arg + 2)};
	row = option_find(name, is_long ? 0 : arg[1],
			  verb_find(p->words, p->nwords, &used), &slot, p->a);
	if (row == NULL)
		return option_unknown(p, arg,
				      is_long ? name : (struct slice){arg, 0});
	if (row->kind == REFUSED)
		return fail(p, "--%s is refused: %s", row->name, row->text);
	if (is_long && eq != NULL)
		inside = eq + 1;
	else if (!is_long && arg[2] != '\0')
		inside = arg + 2;
	if (row->kind == FLAG) {
		if (inside != NULL)
			return fail(p, "--%s takes no value", row->name);
		*slot = "";
		return 0;
	}
	/* The last -s counts, so that an alias can hold another. */
	if (*slot != NULL && row->verb != CTL_V_MAX)
		return fail(p, "--%s is given twice", row->name);
	if (inside == NULL && ++p->i >= p->argc)
		return fail(p, "--%s needs a value: --%s %s", row->name,
			    row->name, row->value);
	*slot = inside != NULL ? inside : p->argv[p->i];
	return 0;
}

static int
word_take(struct parse *p)
{
	if (p->nwords == ARRAY_LEN(p->words))
		return fail(p, "too many arguments; see rmsctl --help");
	p->words[p->nwords++] = p->argv[p->i];
	return 0;
}

static int
verb_missing(struct parse *p)
{
	if (p->nwords == 0)
		return fail(p, "which verb? see rmsctl --help");
	for (size_t v = 0; v < CTL_V_MAX; v++)
		if (verb_begins(&verbs[v], p->words[0]))
			return fail(
			    p,
			    "`%.40s` needs one of its verbs after it; see "
			    "rmsctl %.40s --help",
			    p->words[0], p->words[0]);
	return fail(p, "there is no verb `%.40s`; see rmsctl --help",
		    p->words[0]);
}

/* Numbers of arguments, and needed options. */
static int
verb_check(struct parse *p)
{
	const struct verb_row *v = &verbs[p->a->verb];

	if (p->a->npos < v->min || p->a->npos > v->max)
		return fail(p, "usage: rmsctl %s%s%s", v->name,
			    v->args[0] != '\0' ? " [options] " : "", v->args);
	for (size_t i = 0; i < CTL_O_MAX; i++)
		if (options[i].verb == p->a->verb &&
		    options[i].kind == NEEDED && p->a->opt[i] == NULL)
			return fail(p, "`%s` needs --%s %s (%s)", v->name,
				    options[i].name, options[i].value,
				    options[i].text);
	return 0;
}

int
args_parse(struct ctl_args *a_r, int argc, char **argv, char err[CTL_ERR_MAX])
{
	struct parse p = {.a = a_r, .argv = argv, .argc = argc, .err = err};
	size_t used;
	int r;

	memset(a_r, 0, sizeof(*a_r));
	a_r->verb = CTL_V_MAX;
	for (p.i = 1; p.i < argc; p.i++) {
		if (p.only_words || argv[p.i][0] != '-' || argv[p.i][1] == '\0')
			r = word_take(&p);
		else if (strcmp(argv[p.i], "--") == 0)
			r = 0, p.only_words = true;
		else
			r = option_take(&p);
		if (r < 0)
			return r;
	}
	a_r->verb = verb_find(p.words, p.nwords, &used);
	a_r->word = p.nwords > 0 ? p.words[0] : NULL;
	for (size_t i = used; a_r->verb != CTL_V_MAX && i < p.nwords; i++) {
		if (a_r->npos == CTL_POS_MAX)
			return fail(&p, "too many arguments");
		a_r->pos[a_r->npos++] = p.words[i];
	}
	if (a_r->global[CTL_G_help] != NULL ||
	    a_r->global[CTL_G_version] != NULL)
		return 0;
	return a_r->verb == CTL_V_MAX ? verb_missing(&p) : verb_check(&p);
}

static void
help_option(FILE *f, const struct option_row *o)
{
	char left[64];
	struct sbuf b;

	sbuf_init(&b, left, sizeof(left));
	if (o->letter != 0)
		sbuf_fmt(&b, "-%c, ", o->letter);
	sbuf_fmt(&b, "--%s%s%s", o->name, o->value[0] != '\0' ? " " : "",
		 o->value);
	fprintf(f, "  %-22s %s%s\n", left, o->text,
		o->kind == NEEDED ? " (needed)" : "");
}

void
args_help_verb(FILE *f, enum ctl_verb v)
{
	const struct verb_row *row = &verbs[v];

	fprintf(f, "rmsctl %s%s%s\n  %s\n", row->name,
		row->args[0] != '\0' ? " " : "", row->args, row->text);
	for (size_t i = 0; i < CTL_O_MAX; i++)
		if (options[i].verb == v && options[i].kind != REFUSED)
			help_option(f, &options[i]);
	if (row->more[0] != '\0')
		fprintf(f, "\n%s\n", row->more);
}

static void
help_verbs(FILE *f, const char *word)
{
	char left[64];
	struct sbuf b;

	for (size_t v = 0; v < CTL_V_MAX; v++) {
		if (word != NULL && !verb_begins(&verbs[v], word))
			continue;
		sbuf_init(&b, left, sizeof(left));
		sbuf_fmt(&b, "%s%s%s", verbs[v].name,
			 verbs[v].args[0] != '\0' ? " " : "", verbs[v].args);
		fprintf(f, "  %-30s %s\n", left, verbs[v].text);
	}
}

void
args_help(FILE *f, const char *word)
{
	fprintf(f, "usage: rmsctl [-s SOCKET] [--json] VERB ...\n\nVerbs:\n");
	help_verbs(f, word);
	fprintf(f, "\nrmsctl VERB --help tells more about one.\n\nOptions:\n");
	for (size_t i = 0; i < ARRAY_LEN(globals); i++)
		help_option(f, &globals[i]);
	fprintf(f, "\nExit status:\n");
#define CTL_EXIT(name, number, text) fprintf(f, "  %d  %s\n", number, text);
#include "tools/ctl/verbs.def"
}
