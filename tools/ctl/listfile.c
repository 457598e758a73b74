/*
 * Purpose: reads a file of servers, CSV or JSON, one at a time.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody: the file may be anything and of any length.
 * Touches: the file.
 * Failure: each fault is told with its line; the rest is read as ever where
 *          that can be (JSON that is none has no rest).
 */
#include "tools/ctl/listfile.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "shm/base/str.h"
#include "tools/ctl/csv.h"
#include "tools/ctl/date.h"

#include "shm/base/log.h"

#define WHY_MAX 256
/* Of one element of the array. */
#define JSON_BYTES_MAX 65536

enum column { SUBJECT, ROLE, NAME, NOTE, EXPIRES, COLUMNS };
static const char *const column_name[COLUMNS] = {"subject", "role", "name",
						 "note", "expires"};

/* --- a row ----------------------------------------------------------------
 */

static int
column_of(struct slice name)
{
	for (int i = 0; i < COLUMNS; i++)
		if (slice_iis(name, column_name[i]))
			return i;
	return COLUMNS;
}

/* Line breaks, with the blanks around them, as one blank. */
static int
copy_folded(char *dst, size_t size, struct slice s)
{
	struct sbuf b;

	sbuf_init(&b, dst, size);
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] != '\n' && s.p[i] != '\r')
			sbuf_char(&b, s.p[i]);
		else if (b.len > 0 && b.p[b.len - 1] != ' ')
			sbuf_char(&b, ' ');
	}
	return b.cut ? -ENAMETOOLONG : 0;
}

static int
set_expires(struct bulk_row *row, struct slice v, char *why)
{
	char text[64];

	if (v.len == 0 || slice_iis(v, "never"))
		return 0;
	if (str_copy(text, sizeof(text), v) == 0 &&
	    memchr(v.p, '\0', v.len) == NULL &&
	    date_parse(text, &row->expires) == 0)
		return 0;
	snprintf(why, WHY_MAX,
		 "expires \"%.*s\" is not a date: write YYYY-MM-DD, or a time "
		 "like 2027-01-31T18:00:00Z",
		 (int)MIN(v.len, 40U), v.p);
	return -EINVAL;
}

static int
set_role(struct bulk_row *row, struct slice v, char *why)
{
	static const char *const roles[] = {"exchange", "sharepoint", "fci"};

	for (size_t i = 0; i < ARRAY_LEN(roles); i++)
		if (slice_iis(v, roles[i])) {
			snprintf(row->role, sizeof(row->role), "%s", roles[i]);
			return 0;
		}
	snprintf(why, WHY_MAX,
		 "there is no role \"%.*s\": exchange, sharepoint or fci",
		 (int)MIN(v.len, 40U), v.p);
	return -EINVAL;
}

static int
set_column(struct bulk_row *row, int column, struct slice v, char *why)
{
	int r;

	switch (column) {
	case ROLE:
		return set_role(row, v, why);
	case EXPIRES:
		return set_expires(row, v, why);
	case SUBJECT:
		r = str_copy(row->subject, sizeof(row->subject), v);
		break;
	case NAME:
		r = copy_folded(row->name, sizeof(row->name), v);
		break;
	default:
		r = copy_folded(row->note, sizeof(row->note), v);
		break;
	}
	if (r == 0 && memchr(v.p, '\0', v.len) == NULL)
		return 0;
	snprintf(why, WHY_MAX,
		 r != 0 ? "the %s has too many bytes (%zu)"
			: "there is a NUL in the %s (%zu bytes)",
		 column_name[column], v.len);
	return -EINVAL;
}

static int
row_check(const struct bulk_row *row, char *why)
{
	if (row->subject[0] != '\0' && row->role[0] != '\0')
		return 0;
	snprintf(why, WHY_MAX, "the %s is missing",
		 row->subject[0] == '\0' ? "subject" : "role");
	return -EINVAL;
}

/* --- CSV --------------------------------------------------------------------
 */

struct head {
	size_t n;
	int column[CSV_FIELDS_MAX];
};

static int
head_fail(char *why, struct slice name, const char *what)
{
	snprintf(why, WHY_MAX,
		 "the first line has to name the columns, subject,role,name,"
		 "note,expires: \"%.*s\" %s",
		 (int)MIN(name.len, 40U), name.p, what);
	return -EINVAL;
}

static int
head_read(struct head *h, const struct csv *c, char *why)
{
	bool have[COLUMNS + 1] = {false};

	h->n = c->n;
	for (size_t i = 0; i < c->n; i++) {
		h->column[i] = column_of(c->field[i]);
		if (h->column[i] == COLUMNS)
			return head_fail(
			    why, c->field[i],
			    memchr(c->field[i].p, ';', c->field[i].len) != NULL
				? "is separated by semicolons, not by commas"
				: "is none of them");
		if (have[h->column[i]])
			return head_fail(why, c->field[i], "is there twice");
		have[h->column[i]] = true;
	}
	for (int i = SUBJECT; i <= ROLE; i++)
		if (!have[i])
			return head_fail(why, slice_of(column_name[i]),
					 "is missing");
	return 0;
}

static int
csv_row(const struct csv *c, const struct head *h, struct bulk_row *row,
	char *why)
{
	int r = 0;

	*row = (struct bulk_row){.line = c->line};
	if (c->n != h->n) {
		snprintf(why, WHY_MAX, "it has %zu fields, the head has %zu",
			 c->n, h->n);
		return -EINVAL;
	}
	for (size_t i = 0; r == 0 && i < c->n; i++)
		r = set_column(row, h->column[i], c->field[i], why);
	return r != 0 ? r : row_check(row, why);
}

static int
csv_read(struct listfile *l)
{
	struct csv c;
	struct head h = {.n = 0};
	struct bulk_row row;
	char why[WHY_MAX];
	int r;

	_Static_assert(WHY_MAX >= CSV_ERR_MAX, "a fault fits");
	csv_init(&c, l->in);
	r = csv_next(&c, why);
	if (r == 0)
		snprintf(why, sizeof(why), "the file is empty");
	if (r == 1 && head_read(&h, &c, why) == 0)
		r = 2;
	if (r != 2) {
		l->bad(l->arg, c.line, why);
		return 0;
	}
	while ((r = csv_next(&c, why)) != 0) {
		if (r == 1 && csv_row(&c, &h, &row, why) == 0) {
			r = l->row(l->arg, &row);
			if (r != 0)
				return r;
			continue;
		}
		l->bad(l->arg, c.line, why);
		if (r == -EIO)
			break;
	}
	return 0;
}

/* --- JSON -------------------------------------------------------------------
 */

struct source {
	FILE *in;
	uint32_t line;
	size_t bytes; /* of this element */
};

static int
source_char(struct source *s)
{
	int ch = getc(s->in);

	if (ch == '\n')
		s->line++;
	return ch;
}

static int
source_skip(struct source *s)
{
	int ch;

	do
		ch = source_char(s);
	while (ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n');
	return ch;
}

/* A byte at a time, so that nothing of the next element is taken. */
static size_t
source_read(void *buffer, size_t len, void *arg)
{
	struct source *s = arg;
	int ch;

	if (len == 0 || ++s->bytes > JSON_BYTES_MAX)
		return (size_t)-1;
	ch = source_char(s);
	if (ch == EOF)
		return ferror(s->in) ? (size_t)-1 : 0;
	*(char *)buffer = (char)ch;
	return 1;
}

static int
json_member(struct bulk_row *row, const char *key, const json_t *v, char *why)
{
	int column = column_of(slice_of(key));

	if (column == COLUMNS) {
		snprintf(why, WHY_MAX,
			 "\"%.40s\" is none of subject, role, name, note, "
			 "expires",
			 key);
		return -EINVAL;
	}
	if (json_is_null(v) && column != SUBJECT && column != ROLE)
		return 0;
	if (!json_is_string(v)) {
		snprintf(why, WHY_MAX, "the %s is no string",
			 column_name[column]);
		return -EINVAL;
	}
	return set_column(
	    row, column,
	    (struct slice){json_string_value(v), json_string_length(v)}, why);
}

static int
json_row(json_t *o, uint32_t line, struct bulk_row *row, char *why)
{
	const char *key;
	json_t *v;

	*row = (struct bulk_row){.line = line};
	if (!json_is_object(o)) {
		snprintf(why, WHY_MAX, "it is no object {...}");
		return -EINVAL;
	}
	json_object_foreach(o, key, v)
	{
		int r = json_member(row, key, v, why);

		if (r != 0)
			return r;
	}
	return row_check(row, why);
}

/* An element, whose first byte was put back.  -EBADMSG: no JSON. */
static int
json_element(struct listfile *l, struct source *s)
{
	struct bulk_row row;
	char why[WHY_MAX];
	uint32_t line = s->line;
	json_error_t e;
	json_t *o;
	int r;

	s->bytes = 0;
	o = json_load_callback(source_read, s,
			       JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES,
			       &e);
	if (o == NULL) {
		snprintf(why, sizeof(why), "it is not JSON: %.160s",
			 s->bytes > JSON_BYTES_MAX
			     ? "an element is longer than 64 kB"
			     : e.text);
		l->bad(l->arg, s->line, why);
		return -EBADMSG;
	}
	r = json_row(o, line, &row, why);
	json_decref(o);
	if (r == 0)
		return l->row(l->arg, &row);
	l->bad(l->arg, line, why);
	return 0;
}

/* The elements, up to the closing bracket.  -EBADMSG: told already. */
static int
json_elements(struct listfile *l, struct source *s)
{
	int r, ch = source_skip(s);

	while (ch != ']') {
		(void)ungetc(ch, s->in); /* no line break */
		r = json_element(l, s);
		if (r != 0)
			return r;
		ch = source_skip(s);
		if (ch == ']')
			break;
		if (ch != ',') {
			l->bad(l->arg, s->line,
			       "it is not JSON: , or ] is needed here");
			return -EBADMSG;
		}
		ch = source_skip(s);
	}
	return 0;
}

static int
json_read(struct listfile *l)
{
	struct source s = {.in = l->in, .line = 1};
	int r;

	if (source_skip(&s) != '[') {
		l->bad(l->arg, s.line, "an array is needed: [{...}, ...]");
		return 0;
	}
	r = json_elements(l, &s);
	if (r == 0 && source_skip(&s) != EOF)
		l->bad(l->arg, s.line, "something follows the array");
	return r == -EBADMSG ? 0 : r;
}

/* --- either
 * -------------------------------------------------------------------
 */

/* The first byte that is no blank tells. */
static enum listfile_format
guess(FILE *in)
{
	int ch = getc(in);

	while (ch == ' ' || ch == '\t')
		ch = getc(in);
	if (ch != EOF)
		(void)ungetc(ch, in);
	return ch == '[' ? LISTFILE_JSON : LISTFILE_CSV;
}

int
listfile_read(struct listfile *l)
{
	enum listfile_format f = l->format;

	if (f == LISTFILE_AUTO)
		f = guess(l->in);
	return f == LISTFILE_JSON ? json_read(l) : csv_read(l);
}
