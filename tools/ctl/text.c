/*
 * Purpose: text for people.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody; every cell may hold what a stranger on the network chose.
 * Touches: the stream that it is given.
 * Failure: a table without memory says that it is not complete.
 */
#include "tools/ctl/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/base/log.h"

/* Bytes of the character at s that must be escaped; 0: print it as it is. */
static size_t
unprintable(const unsigned char *s)
{
	if (s[0] < 0x20 || s[0] == 0x7f)
		return 1;
	if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f) /* C1 controls */
		return 2;
	/* U+200E/F, U+2028..202E, U+2066..2069: lines and directions. */
	if (s[0] == 0xe2 && s[1] == 0x80 &&
	    (s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae)))
		return 3;
	if (s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9)
		return 3;
	return 0;
}

void
text_put(FILE *f, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	while (*p != '\0') {
		size_t n = unprintable(p);

		if (n == 0)
			fputc(*p++, f);
		while (n-- > 0)
			fprintf(f, "\\x%02x", *p++);
	}
}

/* Columns that text_put() fills: one for each character. */
static size_t
width(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t w = 0;

	while (*p != '\0') {
		size_t n = unprintable(p);

		if (n > 0)
			w += 4 * n, p += n;
		else
			w += (*p++ & 0xc0) != 0x80;
	}
	return w;
}

#define COLS_MAX 12

struct cols {
	char *heads; /* copy, cut at the bars */
	size_t n;
	const char *head[COLS_MAX];
	bool right[COLS_MAX];
	char **cell;
	size_t ncells, size;
	bool nomem;
};

struct cols *
cols_new(const char *heads)
{
	struct cols *c = calloc(1, sizeof(*c));
	char *p, *bar;

	if (c == NULL || (c->heads = strdup(heads)) == NULL) {
		free(c);
		return NULL;
	}
	for (p = c->heads; p != NULL; p = bar) {
		BUG_ON(c->n == COLS_MAX);
		bar = strchr(p, '|');
		if (bar != NULL)
			*bar++ = '\0';
		c->right[c->n] = *p == '>';
		c->head[c->n] = p + c->right[c->n];
		c->n++;
	}
	return c;
}

void
cols_free(struct cols **c)
{
	if (*c == NULL)
		return;
	for (size_t i = 0; i < (*c)->ncells; i++)
		free((*c)->cell[i]);
	free((*c)->cell);
	free((*c)->heads);
	free(*c);
	*c = NULL;
}

void
cols_put(struct cols *c, const char *cell)
{
	char **more;

	if (c->nomem)
		return;
	if (c->ncells == c->size) {
		c->size = c->size == 0 ? 64 : c->size * 2;
		more = reallocarray(c->cell, c->size, sizeof(*more));
		if (more == NULL) {
			c->nomem = true;
			return;
		}
		c->cell = more;
	}
	c->cell[c->ncells] =
	    strdup(cell == NULL || cell[0] == '\0' ? "-" : cell);
	if (c->cell[c->ncells] == NULL)
		c->nomem = true;
	else
		c->ncells++;
}

void
cols_fmt(struct cols *c, const char *fmt, ...)
{
	char cell[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cell, sizeof(cell), fmt, ap);
	va_end(ap);
	cols_put(c, cell);
}

static void
print_row(const struct cols *c, FILE *f, const char *const *cell,
	  const size_t w[COLS_MAX])
{
	for (size_t i = 0; i < c->n; i++) {
		size_t blanks = w[i] - width(cell[i]);
		bool last = i + 1 == c->n;

		if (c->right[i])
			fprintf(f, "%*s", (int)blanks, "");
		text_put(f, cell[i]);
		if (!last)
			fprintf(f, "%*s", (int)(c->right[i] ? 0 : blanks) + 2,
				"");
	}
	fputc('\n', f);
}

void
cols_print(const struct cols *c, FILE *f)
{
	size_t w[COLS_MAX] = {0};

	for (size_t i = 0; i < c->n; i++)
		w[i] = width(c->head[i]);
	for (size_t i = 0; i < c->ncells; i++)
		w[i % c->n] = MAX(w[i % c->n], width(c->cell[i]));
	print_row(c, f, c->head, w);
	for (size_t i = 0; i + c->n <= c->ncells; i += c->n)
		print_row(c, f, (const char *const *)&c->cell[i], w);
	if (c->nomem)
		fputs("(out of memory: not all are shown)\n", f);
}

void
text_duration(char out_r[TEXT_MAX], uint64_t s)
{
	static const struct {
		uint64_t s;
		const char *big, *small;
		uint64_t part;
	} step[] = {{86400, "d", "h", 3600},
		    {3600, "h", "min", 60},
		    {60, "min", "s", 1}};

	for (size_t i = 0; i < ARRAY_LEN(step); i++) {
		if (s < step[i].s)
			continue;
		snprintf(out_r, TEXT_MAX, "%" PRIu64 " %s %" PRIu64 " %s",
			 s / step[i].s, step[i].big,
			 s % step[i].s / step[i].part, step[i].small);
		return;
	}
	snprintf(out_r, TEXT_MAX, "%" PRIu64 " s", s);
}

void
text_bytes(char out_r[TEXT_MAX], uint64_t bytes)
{
	static const char *const unit[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	uint64_t one = 1000;
	size_t i = 0;

	if (bytes < 1000) {
		snprintf(out_r, TEXT_MAX, "%" PRIu64 " B", bytes);
		return;
	}
	while (bytes / one >= 1000 && i + 1 < ARRAY_LEN(unit))
		one *= 1000, i++;
	snprintf(out_r, TEXT_MAX, "%" PRIu64 ".%" PRIu64 " %s", bytes / one,
		 bytes % one / (one / 10), unit[i]);
}

void
text_time(char out_r[TEXT_MAX], uint64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (seconds == 0 || gmtime_r(&t, &tm) == NULL ||
	    strftime(out_r, TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(out_r, TEXT_MAX, "-");
}
