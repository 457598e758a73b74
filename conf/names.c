/*
 * Purpose: find a row by name, and the name that a misspelt one was meant for.
 *
 * Runs in: every process.
 * Trusts:  the tables; not the name.
 * Touches: nothing.
 * Failure: NULL.
 */
#include "conf/conf.h"
#include "shm/base/log.h"

#define NAME_LEN_MAX 64

const struct conf_row *
conf_row_find(const struct conf_row *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

/* Edit distance (insert, delete, replace, swap of neighbours); huge when a
 * name is longer than any of ours. */
static size_t
distance(const char *a, const char *b)
{
	size_t d[3][NAME_LEN_MAX + 1], la = strlen(a), lb = strlen(b);

	if (la > NAME_LEN_MAX || lb > NAME_LEN_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *now = d[i % 3], *one = d[(i - 1) % 3],
		       *two = d[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			char ca = ascii_lower(a[i - 1]),
			     cb = ascii_lower(b[j - 1]);
			size_t v = MIN(one[j], now[j - 1]) + 1;

			v = MIN(v, one[j - 1] + (ca == cb ? 0U : 1U));
			if (i > 1 && j > 1 && ca == ascii_lower(b[j - 2]) &&
			    cb == ascii_lower(a[i - 2]))
				v = MIN(v, two[j - 2] + 1);
			now[j] = v;
		}
	}
	return d[la % 3][lb];
}

/* A unit or a part left out is the usual slip: "idle_timeout". */
static bool
is_part(const char *name, const char *whole)
{
	return strlen(name) >= 4 && strstr(whole, name) != NULL;
}

const char *
conf_row_nearest(const struct conf_row *table, size_t n, const char *name)
{
	/* A third of the letters may be wrong; more is another word. */
	size_t best = strlen(name) / 3 + 1;
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(name, table[i].name);

		if (d < best) {
			best = d;
			found = table[i].name;
		}
	}
	for (size_t i = 0; i < n && found == NULL; i++)
		if (is_part(name, table[i].name))
			found = table[i].name;
	return found;
}
