/*
 * Purpose: decide when a token is fetched, refreshed and given up.
 *
 * Runs in: cloud agent.
 * Trusts:  nobody: lives and delays come from the token service.
 * Touches: memory of its callers.
 * Failure: none; numbers are bounded.
 */
#include "worker/cloud/token_policy.h"

#include <errno.h>
#include <time.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"

/* Time for a request on its way: Microsoft's services allow 5 min of skew. */
#define MARGIN_MAX_NS (30 * NS_PER_S)
/* MSAL renews this long before the end. */
#define EARLY_NS       (300 * NS_PER_S)
#define BACKOFF_MIN_NS (1 * NS_PER_S)
/* MSAL's pauses: identical requests after a refusal, and after 429. */
#define DENIED_NS    (60 * NS_PER_S)
#define THROTTLED_NS (5 * NS_PER_S)
/* A service that hands out its cached token is not asked in a circle. */
#define SAME_NS (30 * NS_PER_S)

/* ns * (from + 0..span) / 1000, the share chosen by rnd. */
static uint64_t
share(uint64_t ns, unsigned from, unsigned span, uint32_t rnd)
{
	return ns / 1000 * (from + rnd % (span + 1));
}

void
token_policy_init(struct token_policy *p, uint64_t now)
{
	*p = (struct token_policy){.next = now};
}

void
token_policy_got(struct token_policy *p, uint64_t started, uint64_t now,
		 uint64_t expires_in_s, uint64_t refresh_in_s, bool same,
		 uint32_t rnd)
{
	uint64_t life, at;

	BUG_ON(started > now || expires_in_s == 0);
	life = MIN(expires_in_s, TOKEN_EXPIRES_MAX_S) * NS_PER_S;
	p->until = started + life - MIN(MARGIN_MAX_NS, life / 10);
	if (refresh_in_s > 0 && refresh_in_s < expires_in_s) {
		/* The service's own wish is the earliest moment. */
		at = MIN(refresh_in_s * NS_PER_S, life);
		at += share(life - at, 0, 100, rnd);
	} else {
		at = MAX(life / 2, life > EARLY_NS ? life - EARLY_NS : 0);
		at -= share(at, 100, 100, rnd);
	}
	p->next = MAX(started + at, now + BACKOFF_MIN_NS);
	p->not_before = 0;
	p->denied = 0;
	p->last_ok = now;
	p->failures = 0;
	p->same = same;
}

void
token_policy_failed(struct token_policy *p, uint64_t now,
		    enum token_outcome why, uint64_t retry_after_s,
		    uint64_t retry_max_ms, uint32_t rnd)
{
	uint64_t max = MAX(retry_max_ms, 1) * NS_PER_MS, pause;

	BUG_ON(why == TOKEN_GOT);
	pause = BACKOFF_MIN_NS << MIN(p->failures, 16);
	if (why == TOKEN_THROTTLED)
		pause = MAX(pause, THROTTLED_NS);
	if (why == TOKEN_DENIED) {
		pause = MIN(MAX(pause, DENIED_NS), max);
		p->denied = now + pause;
	} else {
		pause = share(MIN(pause, max), 900, 100, rnd);
	}
	if (retry_after_s > 0) {
		/* Never earlier than asked for, a little later each. */
		pause = MIN(retry_after_s, TOKEN_RETRY_AFTER_MAX_S) * NS_PER_S;
		p->not_before = now + pause;
		pause += share(pause, 0, 100, rnd);
	}
	p->next = now + pause;
	if (p->failures < 1000)
		p->failures++;
}

bool
token_policy_stale(struct token_policy *p, uint64_t now, uint64_t serial,
		   uint64_t current)
{
	if (serial != current || serial == 0 || p->forced == serial)
		return false;
	if (p->same && now - p->last_ok < SAME_NS)
		return false;
	p->forced = serial;
	p->next = MIN(p->next, MAX(MAX(now, p->denied), p->not_before));
	return true;
}

void
token_policy_hurry(struct token_policy *p, uint64_t now)
{
	p->next = MIN(p->next, MAX(now, p->not_before));
}

void
token_policy_adopt(struct token_policy *p, uint64_t now, uint64_t expires)
{
	if (expires > now)
		p->until = MIN(expires, now + TOKEN_EXPIRES_MAX_S * NS_PER_S);
}

static uint64_t
retry_bound(uint64_t s)
{
	return MAX(1, MIN(s, TOKEN_RETRY_AFTER_MAX_S));
}

uint64_t
token_retry_after(struct slice text, uint64_t now_s)
{
	static const char *const format[] = {
	    "%a, %d %b %Y %H:%M:%S GMT", /* IMF-fixdate */
	    "%a, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
	    "%a %b %d %H:%M:%S %Y",	 /* asctime */
	};
	char t[64];
	uint64_t s;
	int rc;

	while (text.len > 0 && (text.p[0] == ' ' || text.p[0] == '\t')) {
		text.p++;
		text.len--;
	}
	while (text.len > 0 && (unsigned char)text.p[text.len - 1] <= ' ')
		text.len--;
	rc = str_u64(text, UINT64_MAX, &s);
	if (rc == 0 || rc == -ERANGE)
		return rc == 0 ? retry_bound(s) : TOKEN_RETRY_AFTER_MAX_S;
	if (str_copy(t, sizeof(t), text) != 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(format); i++) {
		struct tm tm = {0};
		const char *end = strptime(t, format[i], &tm);
		time_t at;

		if (end == NULL || *end != '\0')
			continue;
		at = timegm(&tm);
		if (at < 0 || (uint64_t)at <= now_s)
			return 1;
		return retry_bound((uint64_t)at - now_s);
	}
	return 0;
}
