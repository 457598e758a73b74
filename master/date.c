/*
 * Purpose: read a date as people write it for a machine (RFC 3339, UTC).
 *
 * Runs in: the master.
 * Trusts:  nobody.
 * Touches: nothing.
 * Failure: -EINVAL.
 */
#include "master/date.h"

#include <errno.h>
#include <time.h>

#include "shm/base/log.h"

/* The n digits at *p, then the character after, unless it is '\0'. */
static bool
take(struct slice *s, size_t n, char after, int *v_r)
{
	*v_r = 0;
	if (s->len < n + (after != '\0' ? 1 : 0))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		*v_r = *v_r * 10 + (s->p[i] - '0');
	}
	if (after != '\0' && s->p[n++] != after)
		return false;
	s->p += n;
	s->len -= n;
	return true;
}

int
date_parse(struct slice text, uint64_t *s_r)
{
	struct tm t = {0}, back;
	struct slice s = text;
	time_t when;

	if (!take(&s, 4, '-', &t.tm_year) || !take(&s, 2, '-', &t.tm_mon) ||
	    !take(&s, 2, s.len > 2 ? 'T' : '\0', &t.tm_mday))
		return -EINVAL;
	if (text.len > 10 &&
	    (!take(&s, 2, ':', &t.tm_hour) || !take(&s, 2, ':', &t.tm_min) ||
	     !take(&s, 2, 'Z', &t.tm_sec)))
		return -EINVAL;
	if (s.len != 0 || t.tm_year < 1970)
		return -EINVAL;
	t.tm_year -= 1900;
	t.tm_mon -= 1;
	back = t;
	/* timegm() makes the 31st of February a day in March. */
	when = timegm(&t);
	if (t.tm_year != back.tm_year || t.tm_mon != back.tm_mon ||
	    t.tm_mday != back.tm_mday || t.tm_hour != back.tm_hour ||
	    t.tm_min != back.tm_min || t.tm_sec != back.tm_sec)
		return -EINVAL;
	*s_r = (uint64_t)when;
	return 0;
}
