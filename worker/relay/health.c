/*
 * Purpose: Retry-After, the circuit breaker, addresses that do not answer.
 *
 * Runs in: relay.
 * Trusts:  the cloud for how long to wait, up to a bound; other relays, by
 *          way of the cloud agent, for half a minute in ten.
 * Touches: the channel to the cloud agent; events.
 * Failure: none: what cannot be told to others stays with this relay.
 */
#include "worker/relay/health.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/client.h"

#define HEALTH_OPEN_MAX_MS UINT64_C(60000)
#define HEALTH_BAD_MS	   UINT64_C(30000)
/* For how long, and how often, others are heeded without a look of our own. */
#define HEALTH_HEED_NS	    (30 * NS_PER_S)
#define HEALTH_HEED_EACH_NS (600 * NS_PER_S)

/* ---- telling --------------------------------------------------------- */

static void
health_tell(struct relay *w, enum cloud_health what, uint32_t credential,
	    uint64_t ms, const struct token_addr *a)
{
	struct msg_cloud_health m = {.what = (uint8_t)what,
				     .credential = credential,
				     .ms = (uint32_t)ms};
	uint8_t body[64];
	size_t len;

	if (a != NULL) {
		m.family = a->family;
		m.addr = (struct slice){(const char *)a->bytes,
					a->family == 6 ? 16 : 4};
	}
	len = msg_cloud_health_pack(&m, body, sizeof(body));
	if (w->cloud != NULL &&
	    ipc_send(w->cloud, IPC_CLOUD_HEALTH, 0, body, len, -1) != 0)
		log_debug("the cloud agent takes no report");
}

static void
health_event(struct relay *w, uint32_t id, const char *detail)
{
	struct msg_event e = {.id = id, .detail = slice_of(detail)};

	child_event(w->c, &e);
}

/* ---- what others say ------------------------------------------------- */

/* Is a relay that says "wait" heeded now?  Only asked when it would make a
 * difference: the first time begins the half minute. */
static bool
health_heeds(struct health *h, uint64_t now)
{
	if (now >= h->heed_again) {
		h->heed_until = now + HEALTH_HEED_NS;
		h->heed_again = now + HEALTH_HEED_EACH_NS;
	}
	return now < h->heed_until;
}

/* We saw the same as they: what they say next counts again. */
static void
health_heed_right(struct health *h)
{
	h->heed_again = 0;
}

/* We saw otherwise. */
static void
health_heed_wrong(struct health *h, uint64_t now)
{
	h->heed_until = now;
	h->heed_again = now + HEALTH_HEED_EACH_NS;
}

/* ---- Retry-After ----------------------------------------------------- */

static uint64_t *
health_wait_of(struct health *h, uint32_t credential)
{
	size_t free_at = 0;

	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++) {
		if (h->wait_cred[i] == credential)
			return &h->wait[i];
		if (h->wait_cred[i] == 0)
			free_at = i;
	}
	h->wait_cred[free_at] = credential;
	h->wait[free_at] = 0;
	return &h->wait[free_at];
}

static void
health_wait(struct client *c, int status, uint64_t s)
{
	struct relay *w = c->w;
	uint64_t max = (uint64_t)w->c->conf.cloud_retry_after_max_ms;
	uint64_t ms = MIN(s * 1000, max), until;
	uint32_t credential = status == 429 ? c->x->credential : 0;
	uint64_t *wait = credential == 0
			     ? &w->health.wait_all
			     : health_wait_of(&w->health, credential);
	char text[96];

	if (ms == 0)
		return;
	if (credential == 0)
		/* one that is throttled bears out nothing of all */
		health_heed_right(&w->health);
	until = clock_boot_ns() + ms * NS_PER_MS;
	if (until <= *wait)
		return;
	if (*wait < clock_boot_ns()) {
		snprintf(text, sizeof(text), "HTTP %d, Retry-After %llu s%s",
			 status, (unsigned long long)s,
			 credential != 0 ? ", for one credential" : "");
		health_event(w, 2131, text);
	}
	*wait = until;
	health_tell(w, CLOUD_WAIT, credential, ms, NULL);
}

/* The later of the wait for all and of that for the credential. */
static uint64_t
health_later(uint64_t all, const uint64_t *wait, const uint32_t *whose,
	     uint32_t credential)
{
	for (size_t i = 0; i < TOKEN_CREDS_MAX && credential != 0; i++)
		if (whose[i] == credential)
			all = MAX(all, wait[i]);
	return all;
}

/* Until when the credential's requests wait; past: not at all. */
static uint64_t
health_wait_until(struct relay *w, uint32_t credential, uint64_t now)
{
	const struct token_health *t = &w->tv->health;
	struct health *h = &w->health;
	uint64_t until =
	    health_later(h->wait_all, h->wait, h->wait_cred, credential);
	uint64_t others =
	    health_later(t->wait_all, t->wait, t->wait_cred, credential);

	if (until <= now && others > now && health_heeds(h, now))
		until = MIN(others, h->heed_until);
	return MIN(until, now + (uint64_t)w->c->conf.cloud_retry_after_max_ms *
				    NS_PER_MS);
}

/* ---- the circuit ----------------------------------------------------- */

static void
health_open(struct relay *w, uint64_t until)
{
	stat_add(w->row, STAT_circuit_opened, 1);
	if (w->health.state == HEALTH_CLOSED)
		stat_add(w->row, STAT_circuit_open, 1);
	w->health.state = HEALTH_OPEN;
	w->health.probing = false;
	w->health.until = until;
}

static void
health_close(struct relay *w)
{
	if (w->health.state != HEALTH_CLOSED)
		stat_sub(w->row, STAT_circuit_open, 1);
	w->health.state = HEALTH_CLOSED;
	w->health.probing = w->health.adopted = false;
	w->health.opens = 0;
}

static void
health_open_own(struct relay *w)
{
	struct health *h = &w->health;
	uint64_t ms = (uint64_t)w->c->conf.cloud_breaker_ms
		      << MIN(h->opens, 10U);
	char text[400];

	ms = MIN(ms, HEALTH_OPEN_MAX_MS);
	h->opens++;
	h->adopted = false;
	health_heed_right(h);
	health_open(w, clock_boot_ns() + ms * NS_PER_MS);
	snprintf(text, sizeof(text),
		 "%u requests in a row failed, the last with %s; none is "
		 "tried for %llu ms",
		 h->failures, h->why, (unsigned long long)ms);
	health_event(w, 2130, text);
	health_tell(w, CLOUD_DOWN, 0, ms, NULL);
}

/* Another relay's circuit is open, and nothing here says otherwise. */
static void
health_adopt(struct relay *w, uint64_t now)
{
	const struct token_health *others = &w->tv->health;
	struct health *h = &w->health;

	if (h->state != HEALTH_CLOSED || others->down_until <= now ||
	    others->down_since <= h->last_ok || !health_heeds(h, now))
		return;
	h->adopted = true;
	snprintf(h->why, sizeof(h->why), "what another relay saw");
	health_open(w, MIN(others->down_until, h->heed_until));
	log_warn("the circuit is open: another relay's requests fail");
}

static bool
health_circuit_admits(struct client *c, uint64_t now)
{
	struct relay *w = c->w;
	struct health *h = &w->health;

	if (w->tv->health.down_until != 0)
		health_adopt(w, now);
	if (h->state == HEALTH_CLOSED)
		return true;
	if (h->state == HEALTH_OPEN && now < h->until)
		return false;
	if (h->state == HEALTH_OPEN) {
		h->state = HEALTH_HALF;
		health_event(w, 1130, h->why);
	}
	if (h->probing)
		return false;
	h->probing = true;
	c->x->probe = true;
	return true;
}

static uint32_t
health_left_s(uint64_t until, uint64_t now)
{
	return until <= now ? 1 : (uint32_t)((until - now) / NS_PER_S + 1);
}

enum reason
health_admit(struct client *c)
{
	struct relay *w = c->w;
	struct health *h = &w->health;
	uint64_t now = clock_boot_ns();
	uint64_t until = health_wait_until(w, c->x->credential, now);

	if (until > now) {
		c->x->retry_after_s = health_left_s(until, now);
		stat_add(w->row, STAT_wait_refused, 1);
		return REASON_CLOUD_WAIT;
	}
	if (health_circuit_admits(c, now))
		return REASON_OK;
	c->x->retry_after_s = health_left_s(h->until, now);
	stat_add(w->row, STAT_circuit_refused, 1);
	return REASON_CLOUD_DOWN;
}

/* ---- outcomes -------------------------------------------------------- */

void
health_reply(struct client *c, const struct http_reply *r)
{
	struct relay *w = c->w;
	struct health *h = &w->health;

	h->failures = 0;
	h->last_ok = clock_boot_ns();
	c->x->probe = false;
	if (h->state != HEALTH_CLOSED) {
		if (h->adopted)
			health_heed_wrong(h, h->last_ok);
		health_close(w);
		health_event(w, 1131, c->x->upstream_addr);
		health_tell(w, CLOUD_UP, 0, 0, NULL);
	}
	if (r->status != 429 && r->status != 503)
		return;
	for (size_t i = 0; i < r->nfields; i++)
		if (r->field[i].id == FIELD_RETRY_AFTER)
			health_wait(
			    c, r->status,
			    health_retry_after(r->field[i].value,
					       clock_real_ns() / NS_PER_S));
}

void
health_failed(struct client *c, enum reason why, const char *detail)
{
	struct relay *w = c->w;
	struct health *h = &w->health;
	unsigned max = (unsigned)w->c->conf.cloud_breaker_failures;
	/* a reply to an older request may have closed the circuit meanwhile */
	bool probe = c->x->probe && h->state == HEALTH_HALF;

	if (why == REASON_NOMEM || why == REASON_NO_ADDRESS)
		return; /* says nothing of the cloud */
	c->x->probe = false;
	h->failures++;
	snprintf(h->why, sizeof(h->why), "%s%s%.200s", reason_row(why)->name,
		 detail != NULL ? ": " : "", detail != NULL ? detail : "");
	if (max == 0)
		health_close(w);
	else if (probe || (h->state == HEALTH_CLOSED && h->failures >= max))
		health_open_own(w);
}

void
health_over(struct client *c)
{
	/* the probe's client went away before there was an outcome */
	if (c->x->probe)
		c->w->health.probing = false;
	c->x->probe = false;
}

void
health_reset(struct relay *w)
{
	health_close(w);
	w->health.failures = 0;
	w->health.last_ok = clock_boot_ns();
	w->health.heed_again = 0;
}

/* ---- addresses ------------------------------------------------------- */

/* Its place; one without is given that of what is over, or soonest will be. */
static struct health_bad *
health_bad_of(struct health *h, const struct token_addr *a)
{
	struct health_bad *soonest = &h->bad[0];

	for (size_t i = 0; i < HEALTH_BAD_MAX; i++) {
		if (memcmp(&h->bad[i].addr, a, sizeof(*a)) == 0)
			return &h->bad[i];
		if (h->bad[i].until < soonest->until)
			soonest = &h->bad[i];
	}
	*soonest = (struct health_bad){.addr = *a};
	return soonest;
}

static uint64_t
health_bad_until(const struct health *h, const struct token_addr *a)
{
	for (size_t i = 0; i < HEALTH_BAD_MAX; i++)
		if (memcmp(&h->bad[i].addr, a, sizeof(*a)) == 0)
			return h->bad[i].until;
	return 0;
}

void
health_address(struct relay *w, const struct token_addr *a, bool ok)
{
	uint64_t now = clock_boot_ns();
	bool known = health_bad_until(&w->health, a) > now;

	if (ok && !known)
		return;
	if (!ok && !known) {
		stat_add(w->row, STAT_up_ejected, 1);
		health_tell(w, CLOUD_BAD, 0, HEALTH_BAD_MS, a);
	}
	health_bad_of(&w->health, a)->until =
	    ok ? 0 : now + HEALTH_BAD_MS * NS_PER_MS;
}

void
health_forget_addresses(struct relay *w)
{
	memset(w->health.bad, 0, sizeof(w->health.bad));
}

bool
health_is_bad(struct relay *w, uint32_t index)
{
	uint64_t now = clock_boot_ns();

	return health_bad_until(&w->health, &w->tv->addr[index]) > now ||
	       w->tv->health.bad[index] > now;
}
