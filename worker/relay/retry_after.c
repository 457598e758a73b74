/*
 * Purpose: the value of Retry-After (RFC 9110 10.2.3): seconds, or a date in
 *          any of the three forms of 5.6.7.  The name of the day has to be
 *          one, not the right one.
 *
 * Runs in: relay.
 * Trusts:  nobody: any bytes.
 * Touches: nothing; no time zone, no locale.
 * Failure: 0.
 */
#include "shm/base/log.h"
#include "shm/base/str.h"
#include "worker/relay/health.h"

/* More than a year is as good as a year. */
#define RETRY_MAX_S UINT64_C(31536000)
/* Of a year with two digits (RFC 9110 5.6.7), in mean Gregorian years. */
#define RETRY_AHEAD_S  (50 * UINT64_C(31556952))
#define RETRY_YEAR_MAX 9999

struct retry_time {
	uint64_t year; /* rfc850-date: 0 to 99, until its century is known */
	uint64_t month, day; /* from 1 */
	uint64_t h, m, s;    /* s: up to 60, a leap second */
};

static const char *const retry_weekday[] = {"Monday",	"Tuesday", "Wednesday",
					    "Thursday", "Friday",  "Saturday",
					    "Sunday"};

static bool
retry_digits(const char *p, size_t n, uint64_t max, uint64_t *v_r)
{
	return str_u64((struct slice){p, n}, max, v_r) == 0;
}

/* A name at the start of s, of which no more than max bytes are written: its
 * length, or 0. */
static size_t
retry_day_name(struct slice s, size_t max)
{
	for (size_t i = 0; i < ARRAY_LEN(retry_weekday); i++) {
		size_t n = MIN(strlen(retry_weekday[i]), max);

		if (s.len >= n && memcmp(s.p, retry_weekday[i], n) == 0)
			return n;
	}
	return 0;
}

static bool
retry_month(const char *p, uint64_t *month_r)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (uint64_t i = 0; i < 12; i++) {
		if (memcmp(p, names + 3 * i, 3) != 0)
			continue;
		*month_r = i + 1;
		return true;
	}
	return false;
}

/* "08:49:37" */
static bool
retry_clock(const char *p, struct retry_time *t)
{
	return p[2] == ':' && p[5] == ':' && retry_digits(p, 2, 23, &t->h) &&
	       retry_digits(p + 3, 2, 59, &t->m) &&
	       retry_digits(p + 6, 2, 60, &t->s);
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar; year >= 1970. */
static uint64_t
retry_days(uint64_t year, uint64_t month, uint64_t day)
{
	uint64_t y = month <= 2 ? year - 1 : year;
	uint64_t m = month <= 2 ? month + 9 : month - 3;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day -
	       1 - 719468;
}

/* Seconds since 1970; false: before that, or no day of its month. */
static bool
retry_seconds(const struct retry_time *t, uint64_t *when_r)
{
	uint64_t first, next;

	if (t->year < 1970 || t->day == 0)
		return false;
	first = retry_days(t->year, t->month, 1);
	next =
	    t->month == 12 ? first + 31 : retry_days(t->year, t->month + 1, 1);
	if (t->day > next - first)
		return false;
	*when_r = (first + t->day - 1) * 86400 + t->h * 3600 + t->m * 60 + t->s;
	return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool
retry_imf(struct slice s, uint64_t *when_r)
{
	struct retry_time t = {0};
	const char *p = s.p;

	return s.len == 29 && retry_day_name(s, 3) == 3 &&
	       memcmp(p + 3, ", ", 2) == 0 &&
	       retry_digits(p + 5, 2, 31, &t.day) && p[7] == ' ' &&
	       retry_month(p + 8, &t.month) && p[11] == ' ' &&
	       retry_digits(p + 12, 4, RETRY_YEAR_MAX, &t.year) &&
	       p[16] == ' ' && retry_clock(p + 17, &t) &&
	       memcmp(p + 25, " GMT", 4) == 0 && retry_seconds(&t, when_r);
}

/* "Sun Nov  6 08:49:37 1994" */
static bool
retry_asctime(struct slice s, uint64_t *when_r)
{
	struct retry_time t = {0};
	const char *p = s.p;
	size_t blank;

	if (s.len != 24)
		return false;
	blank = p[8] == ' ' ? 1 : 0;
	return retry_day_name(s, 3) == 3 && p[3] == ' ' &&
	       retry_month(p + 4, &t.month) && p[7] == ' ' &&
	       retry_digits(p + 8 + blank, 2 - blank, 31, &t.day) &&
	       p[10] == ' ' && retry_clock(p + 11, &t) && p[19] == ' ' &&
	       retry_digits(p + 20, 4, RETRY_YEAR_MAX, &t.year) &&
	       retry_seconds(&t, when_r);
}

/* The last year with these two digits in which it is no more than 50 years
 * ahead; what that makes one before 1970 is past anyway. */
static bool
retry_century(struct retry_time *t, uint64_t now_s)
{
	struct retry_time next = *t;
	uint64_t when;

	t->year = 0;
	for (next.year += 1900; next.year <= RETRY_YEAR_MAX; next.year += 100) {
		if (next.year < 1970)
			continue;
		when = (retry_days(next.year, next.month, next.day) * 24 +
			next.h) *
			   3600 +
		       next.m * 60 + next.s;
		if (when > now_s + RETRY_AHEAD_S)
			break;
		t->year = next.year;
	}
	return t->year != 0;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static bool
retry_rfc850(struct slice s, uint64_t now_s, uint64_t *when_r)
{
	struct retry_time t = {0};
	size_t n = retry_day_name(s, SIZE_MAX);
	const char *p = s.p + n;

	return n > 0 && s.len - n == 24 && memcmp(p, ", ", 2) == 0 &&
	       retry_digits(p + 2, 2, 31, &t.day) && p[4] == '-' &&
	       retry_month(p + 5, &t.month) && p[8] == '-' &&
	       retry_digits(p + 9, 2, 99, &t.year) && p[11] == ' ' &&
	       retry_clock(p + 12, &t) && memcmp(p + 20, " GMT", 4) == 0 &&
	       retry_century(&t, now_s) && retry_seconds(&t, when_r);
}

uint64_t
health_retry_after(struct slice value, uint64_t now_s)
{
	uint64_t v;

	if (retry_digits(value.p, value.len, UINT64_MAX / 2, &v))
		return MIN(v, RETRY_MAX_S);
	if ((retry_imf(value, &v) || retry_rfc850(value, now_s, &v) ||
	     retry_asctime(value, &v)) &&
	    v > now_s)
		return MIN(v - now_s, RETRY_MAX_S);
	return 0;
}
