/*
 * Purpose: merge the relays' reports on the cloud's health.
 *
 * Runs in: cloud agent.
 * Trusts:  no relay: see health_keep.h.
 * Touches: the value that is published next.
 * Failure: a report too many, or out of bounds, is forgotten.
 */
#include "worker/cloud/health_keep.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"

static bool
keep_later(uint64_t *until, uint64_t now, uint64_t ms, uint64_t max_ms)
{
	uint64_t at = now + MIN(ms, max_ms) * NS_PER_MS;

	if (at <= *until)
		return false;
	*until = at;
	return true;
}

static bool
keep_wait(struct token_health *h, const struct msg_cloud_health *m,
	  uint64_t now)
{
	size_t free_at = TOKEN_CREDS_MAX;

	if (m->credential == 0)
		return keep_later(&h->wait_all, now, m->ms, HEALTH_WAIT_MAX_MS);
	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++) {
		if (h->wait_cred[i] == m->credential)
			return keep_later(&h->wait[i], now, m->ms,
					  HEALTH_WAIT_MAX_MS);
		if (h->wait_cred[i] == 0 || h->wait[i] <= now)
			free_at = i;
	}
	if (free_at == TOKEN_CREDS_MAX)
		return false;
	h->wait_cred[free_at] = m->credential;
	h->wait[free_at] = 0;
	return keep_later(&h->wait[free_at], now, m->ms, HEALTH_WAIT_MAX_MS);
}

static bool
keep_bad(struct token_value *v, const struct msg_cloud_health *m, uint64_t now)
{
	for (uint32_t i = 0; i < MIN(v->naddr, TOKEN_ADDRS_MAX); i++)
		if (v->addr[i].family == m->family &&
		    memcmp(v->addr[i].bytes, m->addr.p, m->addr.len) == 0)
			return keep_later(&v->health.bad[i], now, m->ms,
					  HEALTH_DOWN_MAX_MS);
	return false;
}

static bool
keep_may(struct health_keep *k, unsigned slot, uint64_t now)
{
	if (k->relay[slot].second != now / NS_PER_S) {
		k->relay[slot].second = now / NS_PER_S;
		k->relay[slot].n = 0;
	}
	return ++k->relay[slot].n <= HEALTH_REPORTS_MAX;
}

bool
health_keep_take(struct health_keep *k, struct token_value *v, unsigned slot,
		 const struct msg_cloud_health *m, uint64_t now)
{
	struct token_health *h = &v->health;

	BUG_ON(slot >= RELAY_MAX);
	if (!keep_may(k, slot, now))
		return false;
	switch ((enum cloud_health)m->what) {
	case CLOUD_WAIT:
		return keep_wait(h, m, now);
	case CLOUD_BAD:
		return keep_bad(v, m, now);
	case CLOUD_DOWN:
		h->down_since = now;
		return keep_later(&h->down_until, now, m->ms,
				  HEALTH_DOWN_MAX_MS);
	case CLOUD_UP:
		if (h->down_until <= now)
			return false;
		h->down_until = now;
		return true;
	case CLOUD_HEALTH_MAX:
		break;
	}
	return false;
}
