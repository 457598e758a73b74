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
#include "worker/relay/http.h"

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
	const char *semi = memchr(item.p, ';', item.len);
	struct slice name = item, weight;
	enum coding_said *said;

	if (semi != NULL)
		name.len = (size_t)(semi - item.p);
	name = http_trim(name);
	if (slice_iis(name, "gzip") || slice_iis(name, "x-gzip"))
		said = &w->gzip;
	else if (slice_is(name, "*"))
		said = &w->any;
	else
		return;
	if (semi != NULL) {
		weight.p = semi + 1;
		weight.len = (size_t)(item.p + item.len - weight.p);
		if (!coding_is_weighty(http_trim(weight))) {
			*said = CODING_NO;
			return;
		}
	}
	if (*said == CODING_UNSAID)
		*said = CODING_YES;
}

void
coding_line(struct coding_wish *w, struct slice value)
{
	struct slice item;

	while (http_list_next(&value, &item))
		coding_item(w, item);
}

bool
coding_takes_gzip(const struct coding_wish *w)
{
	return (w->gzip != CODING_UNSAID ? w->gzip : w->any) == CODING_YES;
}
