/*
 * Purpose: comma-separated values in and out.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody: the file may be anything.
 * Touches: the file.
 * Failure: -errno and a line without the line's number, which is in c->line.
 */
#include "tools/ctl/csv.h"

#include <errno.h>

#include "shm/base/log.h"

/* A record is read by a machine of these states. */
enum at {
	FIELD_START, /* nothing of the field yet */
	BARE,	     /* in a field without quotes */
	QUOTED,	     /* behind the opening quote */
	QUOTE_SEEN,  /* a quote inside: doubled, or the closing one */
	BROKEN,	     /* it is no record: skipped to the end of its line */
};

void
csv_init(struct csv *c, FILE *in)
{
	*c = (struct csv){.in = in, .next_line = 1};
}

static int
fail(char *err, const char *why)
{
	if (err[0] == '\0') /* the first fault of a record is its cause */
		snprintf(err, CSV_ERR_MAX, "%s", why);
	return BROKEN;
}

static int
put_char(struct csv *c, int ch, int at, char *err)
{
	if (c->len == sizeof(c->mem))
		return fail(err, "the record is longer than 8192 bytes");
	c->mem[c->len++] = (char)ch;
	return at;
}

/* The field ends here; the next one starts. */
static int
field_end(struct csv *c, char *err)
{
	const char *p =
	    c->n == 0 ? c->mem : c->field[c->n - 1].p + c->field[c->n - 1].len;

	if (c->n == CSV_FIELDS_MAX)
		return fail(err, "the record has more than 16 fields");
	c->field[c->n++] = (struct slice){p, (size_t)(c->mem + c->len - p)};
	return FIELD_START;
}

/* One byte that is no line's end outside of quotes. */
static int
take(struct csv *c, int at, int ch, char *err)
{
	switch (at) {
	case FIELD_START:
		if (ch == '"')
			return QUOTED;
		__attribute__((fallthrough));
	case BARE:
		if (ch == ',')
			return field_end(c, err);
		if (ch == '"')
			return fail(err,
				    "there is a quote inside a field: put the "
				    "field in quotes and double the inner "
				    "ones");
		return put_char(c, ch, BARE, err);
	case QUOTED:
		return ch == '"' ? QUOTE_SEEN : put_char(c, ch, QUOTED, err);
	case QUOTE_SEEN:
		if (ch == '"')
			return put_char(c, ch, QUOTED, err);
		if (ch == ',')
			return field_end(c, err);
		return fail(err,
			    "something follows the closing quote of a field: "
			    "double the quotes inside it");
	default:
		return BROKEN;
	}
}

/* The next byte, with CR LF as LF; EOF. */
static int
next_char(struct csv *c)
{
	int ch = getc(c->in), after;

	if (ch != '\r')
		return ch;
	after = getc(c->in);
	if (after == '\n')
		return '\n';
	if (after != EOF)
		(void)ungetc(after, c->in);
	return '\r';
}

static int
skip_bom(struct csv *c)
{
	static const unsigned char bom[] = {0xef, 0xbb, 0xbf};
	int ch = getc(c->in);

	c->started = true;
	if (ch != bom[0]) {
		if (ch != EOF)
			(void)ungetc(ch, c->in);
		return 0;
	}
	/* Nothing else that is UTF-8 text starts so but is none of ours. */
	if (getc(c->in) != bom[1] || getc(c->in) != bom[2])
		return -EINVAL;
	return 0;
}

/* To the end of the record.  1; 0 for an empty line; EOF. */
static int
read_record(struct csv *c, char *err)
{
	int at = FIELD_START, ch;
	bool any = false;

	for (ch = next_char(c); ch != EOF; ch = next_char(c)) {
		if (ch == '\n')
			c->next_line++;
		if (ch == '\n' && at != QUOTED)
			break;
		any = true;
		if (ch == '\0')
			at = fail(err, "there is a NUL in it");
		else
			at = take(c, at, ch, err);
	}
	if (at == QUOTED)
		at = fail(err, "the quote of a field is never closed");
	if (ch == EOF && !any && at != BROKEN)
		return EOF;
	if (!any)
		return 0;
	if (at != BROKEN)
		(void)field_end(c, err);
	return 1;
}

int
csv_next(struct csv *c, char err[CSV_ERR_MAX])
{
	int r;

	err[0] = '\0';
	c->line = c->next_line;
	if (!c->started && skip_bom(c) != 0) {
		fail(err, "it is not UTF-8 text");
		return -EINVAL;
	}
	do {
		c->line = c->next_line;
		c->n = c->len = 0;
		r = read_record(c, err);
	} while (r == 0);
	if (ferror(c->in)) {
		snprintf(err, CSV_ERR_MAX, "it cannot be read");
		return -EIO;
	}
	if (err[0] != '\0')
		return -EINVAL;
	return r == EOF ? 0 : 1;
}

void
csv_put(FILE *out, struct slice f)
{
	bool quotes = f.len > 0 && (f.p[0] == ' ' || f.p[f.len - 1] == ' ');

	for (size_t i = 0; i < f.len && !quotes; i++)
		quotes = strchr(",\"\r\n", f.p[i]) != NULL;
	if (!quotes) {
		fwrite(f.p, 1, f.len, out);
		return;
	}
	putc('"', out);
	for (size_t i = 0; i < f.len; i++) {
		if (f.p[i] == '"')
			putc('"', out);
		putc(f.p[i], out);
	}
	putc('"', out);
}
