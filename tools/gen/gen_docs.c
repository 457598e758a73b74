/*
 * Purpose: print the parts of the documents that the .def files say.
 *
 * Runs in: the build (tools/gen-docs), never in an installation.
 * Trusts:  the .def files.
 * Touches: standard output.
 * Failure: exit status 2, without output, for a part that it does not know.
 */
#include <ctype.h>
#include <stdio.h>

#include "conf/conf_file.h"
#include "shm/base/log.h"

/* The first #include of each table makes its rows; a table that does not
 * exist yet leaves its part empty. */
struct row {
	const char *cell[5];
};

static const struct row events[] = {
#if __has_include("master/events.def")
#define EVENT(id, level, from, text, what) {{#id, #level, #from, text, what}},
#include "master/events.def"
#undef EVENT
#endif
    {{NULL}}};

static const struct row reasons[] = {
#if __has_include("worker/relay/reasons.def")
#define REASON(name, status, text, fault, retry) \
	{{#name, #status, text, #fault, #retry}},
#include "worker/relay/reasons.def"
#undef REASON
#endif
    {{NULL}}};

static const struct row auth_causes[] = {
#define AUTH_CAUSE(name, text, what) {{#name, text, what, NULL, NULL}},
#include "shm/auth_causes.def"
#undef AUTH_CAUSE
    {{NULL}}};

static const struct row stricter[] = {
#define STRICTER(way, kind, example, why) {{way, #kind, "`" #example "`", why}},
#define OTHER(way, kind, example, why)
#include "tests/differ/differ.def"
#undef STRICTER
#undef OTHER
    {{NULL}}};

static const struct row other[] = {
#define STRICTER(way, kind, example, why)
#define OTHER(way, kind, example, why) {{way, #kind, "`" #example "`", why}},
#include "tests/differ/differ.def"
#undef STRICTER
#undef OTHER
    {{NULL}}};

static const struct row statuses[] = {
#if __has_include("worker/relay/statuses.def")
#define STATUS(code, phrase, what) {{#code, phrase, what}},
#include "worker/relay/statuses.def"
#undef STATUS
#endif
    {{NULL}}};

/* --- Markdown --------------------------------------------------------- */

static void
md_cell(const char *s)
{
	for (; *s != '\0'; s++)
		printf(*s == '|' ? "\\%c" : "%c", *s);
}

static void
md_table(const char *head, const struct row *rows)
{
	size_t columns = 0;

	for (const char *p = head; *p != '\0'; p++)
		columns += *p == '|';
	printf("%s\n", head);
	for (size_t i = 0; i + 1 < columns; i++)
		fputs("|---", stdout);
	puts("|");
	for (; rows->cell[0] != NULL; rows++) {
		for (size_t i = 0; i < 5 && rows->cell[i] != NULL; i++) {
			fputs("| ", stdout);
			md_cell(rows->cell[i]);
			putchar(' ');
		}
		puts("|");
	}
}

/* A line for each status, with the reasons that have it. */
static void
md_statuses(void)
{
	puts("| status | reasons | what the client should do |");
	puts("|---|---|---|");
	for (const struct row *s = statuses; s->cell[0] != NULL; s++) {
		const char *sep = "";

		printf("| %s %s | ", s->cell[0], s->cell[1]);
		for (const struct row *r = reasons; r->cell[0] != NULL; r++) {
			if (strcmp(r->cell[1], s->cell[0]) != 0)
				continue;
			printf("%s%s", sep, r->cell[0]);
			sep = ", ";
		}
		fputs(" | ", stdout);
		md_cell(s->cell[2]);
		puts(" |");
	}
}

/* --- mdoc ------------------------------------------------------------- */

/* Text as lines of at most 72 characters, a sentence beginning a new one. */
static void
mdoc_text(const char *s)
{
	size_t column = 0;
	bool end = false;

	while (*s != '\0') {
		size_t len = strcspn(s, " ");

		if (column > 0 && (column + 1 + len > 72 || end)) {
			putchar('\n');
			column = 0;
		}
		if (column > 0)
			putchar(' ');
		else if (*s == '.' || *s == '\'')
			fputs("\\&", stdout);
		for (size_t i = 0; i < len; i++)
			printf(s[i] == '\\' ? "\\e" : "%c", s[i]);
		column += len + 1;
		end = s[len - 1] == '.' && s[len] == ' ';
		s += len;
		s += strspn(s, " ");
	}
	putchar('\n');
}

/* "relay processes; 0 is ..." as a sentence; a name keeps its letters. */
static void
sentence(struct sbuf *b, const char *text)
{
	size_t word = strcspn(text, " ,;:");
	bool plain = word > 1;

	for (size_t i = 0; i < word; i++)
		plain &= islower((unsigned char)text[i]) != 0;
	sbuf_char(b, plain ? (char)toupper((unsigned char)*text) : *text);
	sbuf_str(b, text + 1);
	sbuf_char(b, '.');
}

static void
mdoc_row(const struct conf_row *row)
{
	char def[CONF_TEXT_MAX], bounds[CONF_TEXT_MAX], text[2048];
	bool quote = row->type == CONF_T_STR || row->type == CONF_T_PATH;
	struct sbuf b;

	conf_row_default(row, def);
	conf_row_bounds(row, bounds);
	sbuf_init(&b, text, sizeof(text));
	sentence(&b, row->text);
	sbuf_fmt(&b, " Default: %s%s%s; %s.", quote ? "\"" : "", def,
		 quote ? "\"" : "", bounds);
	if (row->reload == CONF_RESTART)
		sbuf_str(&b, " Needs a restart.");
	BUG_ON(b.cut);
	printf(".It Cm %s\n", row->name);
	mdoc_text(text);
}

static void
mdoc_rows(const struct conf_row *rows, size_t n)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < n; i++)
		mdoc_row(&rows[i]);
	puts(".El");
}

static void
directives(void)
{
	static const struct {
		const char *title, *name;
	} lines[] = {
#define CONF_GROUP(title) {title, NULL},
#define CONF(name, ...)	  {NULL, #name},
#include "conf/conf.def"
	};
	size_t n;
	const struct conf_row *rows = conf_rows(&n);

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (lines[i].title != NULL)
			printf("%s.Ss %s\n.Bl -tag -width Ds\n",
			       i > 0 ? ".El\n" : "", lines[i].title);
		else
			mdoc_row(conf_row_find(rows, n, lines[i].name));
	}
	puts(".El");
}

/* --- rmsctl ----------------------------------------------------------- */

enum ctl_kind { FLAG, VALUE, NEEDED, REFUSED };

struct ctl_row {
	const char *verb, *name;
	char letter;
	const char *value;
	enum ctl_kind kind;
	const char *text;
};

static const struct ctl_row ctl_globals[] = {
#define CTL_GLOBAL(ident, name, letter, value, text) \
	{"", name, letter, value, VALUE, text},
#include "tools/ctl/verbs.def"
};

static const struct ctl_row ctl_options[] = {
#define CTL_OPT(verb, ident, name, letter, value, kind, text) \
	{#verb, name, letter, value, kind, text},
#include "tools/ctl/verbs.def"
};

static const struct {
	const char *ident, *verb, *args, *text, *more;
} ctl_verbs[] = {
#define CTL_VERB(ident, verb, min, max, args, text, more) \
	{#ident, verb, args, text, more},
#include "tools/ctl/verbs.def"
};

static void
mdoc_sentence(const char *text)
{
	char line[2048];
	struct sbuf b;

	sbuf_init(&b, line, sizeof(line));
	sentence(&b, text);
	BUG_ON(b.cut);
	mdoc_text(line);
}

static void
ctl_option(const struct ctl_row *o)
{
	fputs(".It", stdout);
	if (o->letter != 0)
		printf(" Fl %c ,", o->letter);
	printf(" Fl \\-%s", o->name);
	if (o->value[0] != '\0')
		printf(" Ar %s", o->value);
	putchar('\n');
	mdoc_sentence(o->text);
	if (o->kind == NEEDED)
		puts("Needed.");
}

static void
ctl_global_options(void)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < ARRAY_LEN(ctl_globals); i++)
		ctl_option(&ctl_globals[i]);
	puts(".El");
}

static void
ctl_verb_options(const char *verb)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(ctl_options); i++) {
		const struct ctl_row *o = &ctl_options[i];

		if (strcmp(o->verb, verb) != 0 || o->kind == REFUSED)
			continue;
		if (n++ == 0)
			puts(".Bl -tag -width Ds");
		ctl_option(o);
	}
	if (n > 0)
		puts(".El");
}

static void
ctl_verbs_list(void)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < ARRAY_LEN(ctl_verbs); i++) {
		printf(".It Ic %s", ctl_verbs[i].verb);
		if (ctl_verbs[i].args[0] != '\0')
			printf(" Ar %s", ctl_verbs[i].args);
		putchar('\n');
		mdoc_sentence(ctl_verbs[i].text);
		if (ctl_verbs[i].more[0] != '\0')
			mdoc_text(ctl_verbs[i].more);
		ctl_verb_options(ctl_verbs[i].ident);
	}
	puts(".El");
}

static void
ctl_exits(void)
{
	puts(".Bl -tag -width Ds");
#define CTL_EXIT(name, number, text) \
	puts(".It " #number);        \
	mdoc_sentence(text);
#include "tools/ctl/verbs.def"
	puts(".El");
}

int
main(int argc, char **argv)
{
	const char *part = argc == 2 ? argv[1] : "";
	const struct conf_row *rows;
	size_t n;

	if (strcmp(part, "sample") == 0) {
		conf_print_sample(stdout);
	} else if (strcmp(part, "directives") == 0) {
		directives();
	} else if (strcmp(part, "listeners") == 0) {
		rows = conf_listener_rows(&n);
		mdoc_rows(rows, n);
	} else if (strcmp(part, "settings") == 0) {
		rows = conf_settings(&n);
		mdoc_rows(rows, n);
	} else if (strcmp(part, "events") == 0) {
		md_table("| event | level | from | text | what to do |",
			 events);
	} else if (strcmp(part, "reasons") == 0) {
		md_table("| reason | status | what happened | at fault | "
			 "try again |",
			 reasons);
	} else if (strcmp(part, "statuses") == 0) {
		md_statuses();
	} else if (strcmp(part, "stricter") == 0) {
		md_table("| we say | of a | example | why |", stricter);
	} else if (strcmp(part, "other") == 0) {
		md_table("| difference | of a | example | why |", other);
	} else if (strcmp(part, "auth_causes") == 0) {
		md_table("| cause | what happened | what would do |",
			 auth_causes);
	} else if (strcmp(part, "ctl_globals") == 0) {
		ctl_global_options();
	} else if (strcmp(part, "ctl_verbs") == 0) {
		ctl_verbs_list();
	} else if (strcmp(part, "ctl_exits") == 0) {
		ctl_exits();
	} else {
		fprintf(stderr, "gen_docs: no part \"%s\"\n", part);
		return 2;
	}
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
