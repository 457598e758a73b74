/*
 * Purpose: print what conf.def says, as --help and as a sample file.
 *
 * Runs in: rms-connectord --help, the documentation generator.
 * Trusts:  the tables.
 * Touches: the stream of its caller.
 * Failure: none that it could tell; the caller checks the stream.
 */
#include "conf/conf_file.h"
#include "shm/base/log.h"

/* The lines of conf.def in their order: a title, or the name of a row. */
static const struct line {
	const char *title;
	const char *name;
} lines[] = {
#define CONF_GROUP(title) {title, NULL},
#define CONF(name, ...)	  {NULL, #name},
#include "conf/conf.def"
};

static const char sample_head[] =
    "# rms-connector.conf: what this node is.  See rms-connector.conf(5).\n"
    "#\n"
    "# A line is name = value; texts may stand in quotes.  Sizes take k, M\n"
    "# and G, times ms, s, m, h and d.  What is commented out shows the\n"
    "# default.  Check with rms-connectord -t, bring into force with SIGHUP.\n";

/* Words of text, each line begun by lead and at most 78 columns wide. */
static void
wrap(FILE *f, const char *lead, size_t lead_width, const char *text)
{
	size_t column = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (column > 0 && column + 1 + len > 78) {
			fputc('\n', f);
			column = 0;
		}
		if (column == 0) {
			fputs(lead, f);
			column = lead_width;
		} else {
			fputc(' ', f);
			column++;
		}
		fwrite(text, 1, len, f);
		column += len;
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}

static bool
is_text(const struct conf_row *row)
{
	return row->type == CONF_T_STR || row->type == CONF_T_PATH;
}

static void
print_value(FILE *f, const char *lead, const struct conf_row *row)
{
	char def[CONF_TEXT_MAX];
	const char *quote = is_text(row) ? "\"" : "";

	conf_row_default(row, def);
	fprintf(f, "%s%s = %s%s%s\n", lead, row->name, quote, def, quote);
}

static void
print_help_row(FILE *f, const struct conf_row *row)
{
	char bounds[CONF_TEXT_MAX], text[2 * CONF_TEXT_MAX];

	print_value(f, "  ", row);
	conf_row_bounds(row, bounds);
	snprintf(text, sizeof(text), "%s (%s%s)", row->text, bounds,
		 row->reload == CONF_RESTART ? "; needs a restart" : "");
	wrap(f, "        ", 8, text);
}

static void
print_sample_row(FILE *f, const struct conf_row *row)
{
	fputc('\n', f);
	wrap(f, "# ", 2, row->text);
	print_value(f, "#", row);
}

static const struct conf_row *
row_of(const struct line *l)
{
	size_t n;
	const struct conf_row *rows = conf_rows(&n);

	return conf_row_find(rows, n, l->name);
}

void
conf_print_help(FILE *f)
{
	size_t n;
	const struct conf_row *lis = conf_listener_rows(&n);

	fputs("Directives of rms-connector.conf and their defaults:\n", f);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (lines[i].title != NULL)
			fprintf(f, "\n%s\n", lines[i].title);
		else
			print_help_row(f, row_of(&lines[i]));
	}
	fputs("\nIn a section listener NAME { }\n", f);
	for (size_t i = 0; i < n; i++)
		print_help_row(f, &lis[i]);
}

void
conf_print_sample(FILE *f)
{
	size_t n;
	const struct conf_row *lis = conf_listener_rows(&n);

	fputs(sample_head, f);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (lines[i].title != NULL)
			fprintf(f, "\n# ---- %s ----\n", lines[i].title);
		else
			print_sample_row(f, row_of(&lines[i]));
	}
	fputs("\n# ---- Listeners ----\n"
	      "#\n"
	      "# One section for each address and port.\n\n"
	      "listener http {\n"
	      "\tport = 80\n"
	      "}\n\n"
	      "#listener https {\n"
	      "#\tport = 443\n"
	      "#\ttls = true\n"
	      "#\tcertificate = \"/etc/rms-connector/tls.crt\"\n"
	      "#\tkey = \"/etc/rms-connector/tls.key\"\n"
	      "#}\n\n"
	      "# What a section may hold:\n",
	      f);
	for (size_t i = 0; i < n; i++)
		print_sample_row(f, &lis[i]);
}
