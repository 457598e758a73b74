/*
 * Purpose: the value of Retry-After (RFC 9110 10.2.3).
 *
 * Runs in: relay.
 * Trusts:  nobody: any bytes.
 * Touches: nothing; no time zone, no locale.
 * Failure: 0.
 */
#include "shm/base/log.h"
#include "shm/base/str.h"
#include "worker/relay/health.h"

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7) */
#define IMF_LEN 29

static bool
retry_digits(const char *p, size_t n, uint64_t max, uint64_t *v_r)
{
	return str_u64((struct slice){p, n}, max, v_r) == 0;
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

/* Days since 1970-01-01 of the proleptic Gregorian calendar; year >= 1970. */
static uint64_t
retry_days(uint64_t year, uint64_t month, uint64_t day)
{
	uint64_t y = month <= 2 ? year - 1 : year;
	uint64_t m = month <= 2 ? month + 9 : month - 3;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day -
	       1 - 719468;
}

static bool
retry_date(struct slice s, uint64_t *when_r)
{
	uint64_t day, month, year, h, m, sec;
	const char *p = s.p;

	if (s.len != IMF_LEN || p[3] != ',' || p[4] != ' ' || p[7] != ' ' ||
	    p[11] != ' ' || p[16] != ' ' || p[19] != ':' || p[22] != ':' ||
	    memcmp(p + 25, " GMT", 4) != 0)
		return false;
	if (!retry_digits(p + 5, 2, 31, &day) || day == 0 ||
	    !retry_month(p + 8, &month) ||
	    !retry_digits(p + 12, 4, 9999, &year) || year < 1970 ||
	    !retry_digits(p + 17, 2, 23, &h) ||
	    !retry_digits(p + 20, 2, 59, &m) ||
	    !retry_digits(p + 23, 2, 60, &sec))
		return false;
	*when_r =
	    retry_days(year, month, day) * 86400 + h * 3600 + m * 60 + sec;
	return true;
}

uint64_t
health_retry_after(struct slice value, uint64_t now_s)
{
	uint64_t v;

	/* more than a year is as good as a year */
	if (retry_digits(value.p, value.len, UINT64_MAX / 2, &v))
		return MIN(v, (uint64_t)31536000);
	if (retry_date(value, &v) && v > now_s)
		return MIN(v - now_s, (uint64_t)31536000);
	return 0;
}
