/*
 * Purpose: one directive: text to value, value to text, within its bounds.
 *
 * Runs in: every process (children only check and hold values).
 * Trusts:  the tables; no text and no value.
 * Touches: the struct conf of its caller.
 * Failure: -EINVAL or -ERANGE with a line for the person who wrote the text.
 */
#include <errno.h>

#include "conf/conf.h"
#include "shm/base/log.h"

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first, so that the first that divides a value writes it best. */
static const struct unit size_unit[] = {
    {"G", 1 << 30}, {"M", 1 << 20}, {"k", 1 << 10}, {"", 1}};
static const struct unit time_unit[] = {{"d", 86400000}, {"h", 3600000},
					{"m", 60000},	 {"s", 1000},
					{"ms", 1},	 {"", 1}};

static void *
member(const struct conf_row *row, void *base)
{
	return (char *)base + row->offset;
}

static const void *
member_ro(const struct conf_row *row, const void *base)
{
	return (const char *)base + row->offset;
}

static const struct unit *
units(enum conf_type type, size_t *n_r)
{
	static const struct unit plain[] = {{"", 1}};

	if (type == CONF_T_SIZE) {
		*n_r = ARRAY_LEN(size_unit);
		return size_unit;
	}
	if (type == CONF_T_TIME) {
		*n_r = ARRAY_LEN(time_unit);
		return time_unit;
	}
	*n_r = 1;
	return plain;
}

static void
put_number(struct sbuf *b, enum conf_type type, int64_t v)
{
	size_t n;
	const struct unit *u = units(type, &n);

	while (v == 0 && n > 1) { /* "0", not "0d" */
		u++;
		n--;
	}
	while (v % u->factor != 0)
		u++;
	sbuf_fmt(b, "%lld%s", (long long)(v / u->factor), u->name);
}

/* Starts the error line with what was written, made harmless to print. */
static void
err_begin(struct sbuf *b, const struct conf_row *row, const char *text,
	  char *err, size_t size)
{
	sbuf_init(b, err, size);
	sbuf_fmt(b, "%s = ", row->name);
	for (size_t i = 0; text[i] != '\0'; i++) {
		unsigned char c = (unsigned char)text[i];

		if (i == 60) {
			sbuf_str(b, "...");
			break;
		}
		sbuf_char(b, c < 0x20 || c == 0x7f ? '?' : (char)c);
	}
	if (text[0] == '\0')
		sbuf_str(b, "\"\"");
	sbuf_str(b, ": ");
}

static int
err_bounds(const struct conf_row *row, struct sbuf *b, const char *what)
{
	sbuf_fmt(b, "%s, choose ", what);
	put_number(b, row->type, row->min);
	sbuf_str(b, " to ");
	put_number(b, row->type, row->max);
	return -ERANGE;
}

static int
set_number(const struct conf_row *row, int64_t *v_r, const char *text,
	   struct sbuf *b)
{
	size_t digits = strspn(text, "0123456789"), n, i;
	const struct unit *u = units(row->type, &n);
	uint64_t v = 0;
	int r;

	r = str_u64((struct slice){text, digits}, INT64_MAX, &v);
	for (i = 0; i < n && strcmp(text + digits, u[i].name) != 0; i++)
		;
	if (r == -EINVAL || i == n) {
		sbuf_str(
		    b,
		    row->type == CONF_T_INT
			? "not a whole number, write digits only"
		    : row->type == CONF_T_SIZE
			? "not a size, write a number with k, M or G or none, "
			  "e.g. 64k"
			: "not a time, write a number with ms, s, m, h or d, "
			  "e.g. 30s");
		return -EINVAL;
	}
	if (r == -ERANGE || v > (uint64_t)(INT64_MAX / u[i].factor) ||
	    (int64_t)v * u[i].factor > row->max)
		return err_bounds(row, b, "too large");
	if ((int64_t)v * u[i].factor < row->min)
		return err_bounds(row, b, "too small");
	*v_r = (int64_t)v * u[i].factor;
	return 0;
}

static int
set_bool(bool *v_r, const char *text, struct sbuf *b)
{
	static const char *const word[2][3] = {{"false", "no", "off"},
					       {"true", "yes", "on"}};

	for (int v = 0; v < 2; v++)
		for (int i = 0; i < 3; i++)
			if (strcmp(text, word[v][i]) == 0) {
				*v_r = v == 1;
				return 0;
			}
	sbuf_str(b, "neither true nor false, write true or false");
	return -EINVAL;
}

/* Is text one of the choices "a|b|c"? */
static bool
is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);

	if (len == 0)
		return false;
	for (const char *p = choices;;) {
		size_t n = strcspn(p, "|");

		if (n == len && memcmp(p, text, n) == 0)
			return true;
		if (p[n] == '\0')
			return false;
		p += n + 1;
	}
}

static void
put_choices(struct sbuf *b, const char *choices)
{
	for (const char *p = choices; *p != '\0'; p++) {
		if (*p != '|')
			sbuf_char(b, *p);
		else
			sbuf_str(b, strchr(p + 1, '|') ? ", " : " or ");
	}
}

static int
err_choices(const char *choices, struct sbuf *b)
{
	sbuf_str(b, "not one of the choices, write ");
	put_choices(b, choices);
	return -EINVAL;
}

static bool
is_printable(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static int
check_text(const struct conf_row *row, const char *text, struct sbuf *b)
{
	size_t len = strlen(text);
	const char *why;

	if (len == 0 && row->min > 0) {
		sbuf_str(b, "it is empty, give it a value or leave the line "
			    "out");
		return -ERANGE;
	}
	if (len == 0)
		return 0;
	if (len < (size_t)row->min || len > (size_t)row->max) {
		sbuf_fmt(b, "it has %zu characters, use %lld to %lld", len,
			 (long long)row->min, (long long)row->max);
		return -ERANGE;
	}
	if (!is_printable(text)) {
		sbuf_str(b, "it has a control character in it, remove that");
		return -EINVAL;
	}
	if (row->type == CONF_T_PATH && text[0] != '/') {
		sbuf_str(b, "not an absolute path, begin it with /");
		return -EINVAL;
	}
	why = row->check == NULL ? NULL : row->check(text);
	if (why != NULL) {
		sbuf_str(b, why);
		return -EINVAL;
	}
	return 0;
}

static int
set_text(const struct conf_row *row, struct conf_text *t, const char *text,
	 struct sbuf *b)
{
	int r = check_text(row, text, b);

	if (r != 0)
		return r;
	/* All bytes, so that structs compare equal when values do. */
	memset(t, 0, sizeof(*t));
	memcpy(t->s, text, strlen(text));
	return 0;
}

static int
set_enum(const struct conf_row *row, struct conf_text *t, const char *text,
	 struct sbuf *b)
{
	if (!is_choice(row->def, text))
		return err_choices(row->def, b);
	memset(t, 0, sizeof(*t));
	memcpy(t->s, text, strlen(text));
	return 0;
}

int
conf_row_set(const struct conf_row *row, void *base, const char *text,
	     char *err, size_t err_size)
{
	void *m = member(row, base);
	struct sbuf b;
	int r = -EINVAL;

	err_begin(&b, row, text, err, err_size);
	switch (row->type) {
	case CONF_T_INT:
	case CONF_T_SIZE:
	case CONF_T_TIME:
		r = set_number(row, m, text, &b);
		break;
	case CONF_T_BOOL:
		r = set_bool(m, text, &b);
		break;
	case CONF_T_STR:
	case CONF_T_PATH:
		r = set_text(row, m, text, &b);
		break;
	case CONF_T_ENUM:
		r = set_enum(row, m, text, &b);
		break;
	}
	if (r == 0)
		err[0] = '\0';
	return r;
}

bool
conf_row_ok(const struct conf_row *row, const void *base)
{
	const void *m = member_ro(row, base);
	const struct conf_text *t = m;
	const int64_t *v = m;
	char scrap[CONF_TEXT_MAX];
	struct sbuf b;

	sbuf_init(&b, scrap, sizeof(scrap));
	switch (row->type) {
	case CONF_T_INT:
	case CONF_T_SIZE:
	case CONF_T_TIME:
		return *v >= row->min && *v <= row->max;
	case CONF_T_BOOL:
		return true;
	case CONF_T_STR:
	case CONF_T_PATH:
		return check_text(row, t->s, &b) == 0;
	case CONF_T_ENUM:
		return is_choice(row->def, t->s);
	}
	return false;
}

void
conf_row_get(const struct conf_row *row, const void *base,
	     char out_r[CONF_TEXT_MAX])
{
	const void *m = member_ro(row, base);
	struct sbuf b;

	sbuf_init(&b, out_r, CONF_TEXT_MAX);
	switch (row->type) {
	case CONF_T_INT:
	case CONF_T_SIZE:
	case CONF_T_TIME:
		put_number(&b, row->type, *(const int64_t *)m);
		break;
	case CONF_T_BOOL:
		sbuf_str(&b, *(const bool *)m ? "true" : "false");
		break;
	case CONF_T_STR:
	case CONF_T_PATH:
	case CONF_T_ENUM:
		sbuf_str(&b, ((const struct conf_text *)m)->s);
		break;
	}
}

void
conf_row_default(const struct conf_row *row, char out_r[CONF_TEXT_MAX])
{
	struct sbuf b;
	uint64_t v;

	sbuf_init(&b, out_r, CONF_TEXT_MAX);
	if (row->type == CONF_T_ENUM)
		sbuf_put(&b, row->def, strcspn(row->def, "|"));
	else if ((row->type == CONF_T_SIZE || row->type == CONF_T_TIME) &&
		 str_u64(slice_of(row->def), INT64_MAX, &v) == 0)
		put_number(&b, row->type, (int64_t)v);
	else
		sbuf_str(&b, row->def);
}

void
conf_row_bounds(const struct conf_row *row, char out_r[CONF_TEXT_MAX])
{
	struct sbuf b;

	sbuf_init(&b, out_r, CONF_TEXT_MAX);
	switch (row->type) {
	case CONF_T_INT:
	case CONF_T_SIZE:
	case CONF_T_TIME:
		put_number(&b, row->type, row->min);
		sbuf_str(&b, " to ");
		put_number(&b, row->type, row->max);
		break;
	case CONF_T_BOOL:
		sbuf_str(&b, "true or false");
		break;
	case CONF_T_STR:
		sbuf_fmt(&b, "%lld to %lld characters", (long long)row->min,
			 (long long)row->max);
		break;
	case CONF_T_PATH:
		sbuf_str(&b, "a path");
		break;
	case CONF_T_ENUM:
		put_choices(&b, row->def);
		break;
	}
}
