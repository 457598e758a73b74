/*
 * Purpose: reads Accept-Encoding (RFC 9110 12.5.3) for what it says of gzip.
 *
 * Runs in: relay.
 * Trusts:  nobody: any bytes.
 * Touches: nothing.
 * Failure: what cannot be read asks for nothing.
 */
#include "worker/relay/coding.h"

#include "shm/base/log.h"

static bool
coding_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice
coding_trim(struct slice s)
{
	while (s.len > 0 && coding_is_blank(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && coding_is_blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

/* What is in front of the next `at`, or all; *rest goes on behind it. */
static struct slice
coding_take(struct slice *rest, char at)
{
	const char *p = rest->len == 0 ? NULL : memchr(rest->p, at, rest->len);
	struct slice s = {rest->p,
			  p == NULL ? rest->len : (size_t)(p - rest->p)};
	size_t used = MIN(s.len + 1, rest->len);

	rest->p += used;
	rest->len -= used;
	return coding_trim(s);
}

/* "q=" and a weight (12.4.2) above 0: 0 or 1, up to three decimals, of 1 only
 * zeros. */
static bool
coding_is_weighty(struct slice s)
{
	bool more = false;

	if (s.len < 3 || s.len > 7 || ascii_lower(s.p[0]) != 'q' ||
	    s.p[1] != '=' || (s.p[2] != '0' && s.p[2] != '1') ||
	    (s.len > 3 && s.p[3] != '.'))
		return false;
	for (size_t i = 4; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		more |= s.p[i] != '0';
	}
	return (s.p[2] == '1') != more;
}

static void
coding_item(struct coding_wish *w, struct slice item)
{
	bool weighed = item.len > 0 && memchr(item.p, ';', item.len) != NULL;
	struct slice name = coding_take(&item, ';');
	enum coding_said *said;

	if (slice_iis(name, "gzip") || slice_iis(name, "x-gzip"))
		said = &w->gzip;
	else if (slice_is(name, "*"))
		said = &w->any;
	else
		return;
	if (weighed && !coding_is_weighty(coding_trim(item)))
		*said = CODING_NO;
	else if (*said == CODING_UNSAID)
		*said = CODING_YES;
}

void
coding_line(struct coding_wish *w, struct slice value)
{
	while (value.len > 0)
		coding_item(w, coding_take(&value, ','));
}

bool
coding_takes_gzip(const struct coding_wish *w)
{
	return (w->gzip != CODING_UNSAID ? w->gzip : w->any) == CODING_YES;
}
