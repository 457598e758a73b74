/*
 * Purpose: reads dates.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: nothing.
 * Failure: -EINVAL for anything that is not exactly a date.
 */
#include "tools/ctl/date.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "shm/base/str.h"
#include "shm/base/log.h"

/* Takes exactly n digits.  False when they are not there. */
static bool
digits(const char **p, size_t n, int *v_r)
{
	*v_r = 0;
	for (; n > 0; n--, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return false;
		*v_r = *v_r * 10 + (**p - '0');
	}
	return true;
}

static bool
one_of(const char **p, const char *set)
{
	if (**p == '\0' || strchr(set, **p) == NULL)
		return false;
	(*p)++;
	return true;
}

static int
days_in(int y, int m)
{
	static const int days[] = {31, 28, 31, 30, 31, 30,
				   31, 31, 30, 31, 30, 31};
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

	return m == 2 && leap ? 29 : days[m - 1];
}

/* Days since 1970-01-01, proleptic Gregorian; y >= 1970. */
static int64_t
days_since(int y, int m, int d)
{
	int64_t before = y - 1;
	int64_t days = (int64_t)(y - 1970) * 365;

	days += (before / 4 - before / 100 + before / 400) -
		(1969 / 4 - 1969 / 100 + 1969 / 400);
	for (int i = 1; i < m; i++)
		days += days_in(y, i);
	return days + d - 1;
}

static bool
parse_day(const char **p, int64_t *seconds_r)
{
	int y, m, d;

	if (!digits(p, 4, &y) || !one_of(p, "-") || !digits(p, 2, &m) ||
	    !one_of(p, "-") || !digits(p, 2, &d))
		return false;
	if (y < 1970 || m < 1 || m > 12 || d < 1 || d > days_in(y, m))
		return false;
	*seconds_r = days_since(y, m, d) * 86400;
	return true;
}

/* "Z", "+HH:MM" or "-HH:MM" (RFC 3339 5.6). */
static bool
parse_offset(const char **p, int64_t *seconds_r)
{
	int h, m, sign;

	*seconds_r = 0;
	if (one_of(p, "Zz"))
		return true;
	sign = **p == '-' ? -1 : 1;
	if (!one_of(p, "+-") || !digits(p, 2, &h) || !one_of(p, ":") ||
	    !digits(p, 2, &m) || h > 23 || m > 59)
		return false;
	*seconds_r = sign * (h * 3600 + m * 60);
	return true;
}

static bool
parse_clock(const char **p, int64_t *seconds_r)
{
	int h, m, s;
	int64_t offset;

	if (!digits(p, 2, &h) || !one_of(p, ":") || !digits(p, 2, &m) ||
	    !one_of(p, ":") || !digits(p, 2, &s) || h > 23 || m > 59 ||
	    s > 60) /* 60: a leap second */
		return false;
	if (one_of(p, ".")) {
		if (!isdigit((unsigned char)**p))
			return false;
		while (isdigit((unsigned char)**p))
			(*p)++; /* parts of a second do not matter here */
	}
	if (!parse_offset(p, &offset))
		return false;
	*seconds_r = h * 3600 + m * 60 + s - offset;
	return true;
}

int
date_parse(const char *text, uint64_t *seconds_r)
{
	int64_t day, clock = 0;

	if (!parse_day(&text, &day))
		return -EINVAL;
	if (*text != '\0' &&
	    (!one_of(&text, "Tt ") || !parse_clock(&text, &clock)))
		return -EINVAL;
	if (*text != '\0' || day + clock < 0)
		return -EINVAL;
	*seconds_r = (uint64_t)(day + clock);
	return 0;
}

int
date_ago(const char *text, uint64_t now, uint64_t *seconds_r)
{
	size_t n = strspn(text, "0123456789");
	uint64_t count, unit;

	if (str_u64((struct slice){text, n}, UINT32_MAX, &count) != 0)
		return -EINVAL;
	if (strcmp(text + n, "d") == 0)
		unit = 86400;
	else if (strcmp(text + n, "h") == 0)
		unit = 3600;
	else if (strcmp(text + n, "m") == 0)
		unit = 60;
	else
		return -EINVAL;
	if (count * unit > now)
		return -EINVAL;
	*seconds_r = now - count * unit;
	return 0;
}
