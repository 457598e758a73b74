/*
 * Purpose: keep a valid token for every credential.
 *
 * Runs in: cloud agent.
 * Trusts:  the master for credentials; the token service only for tokens.
 * Touches: secrets and tokens in memory, wiped when they go.
 * Failure: each is reported once per cause; the policy says when to retry.
 */
#include "worker/cloud/token_keep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/base/loop.h"
#include "worker/cloud/token_fetch.h"
#include "worker/cloud/token_policy.h"

#define NEVER UINT64_MAX
/* A suspended machine stops timers; look at the clock this often. */
#define LOOK_MS 60000

struct keep_cred {
	struct token_keep *keep;
	struct msg_cred cred; /* id 0: unused */
	struct token_policy policy;
	struct token_fetch *fetch; /* NULL: none under way */
	uint64_t started;	   /* when it was */
	uint64_t serial;	   /* of the token; 0: none was ever fetched */
	uint32_t len;
	bool failing;  /* the last fetch failed */
	bool waits;    /* due, but the endpoint's name is not resolved yet */
	bool by_name;  /* the last failure was the name's */
	uint32_t told; /* event that was sent for `cause`; 0: none */
	char cause[96];
	char error[TOKEN_TEXT_MAX]; /* "" when the last fetch did well */
	char token[TOKEN_BYTES_MAX];
};

struct token_keep {
	struct loop *loop;
	struct loop_timer *timer;
	struct token_fetcher *fetcher;
	const struct token_keep_ops *ops;
	void *arg;
	struct token_endpoint endpoint;
	const struct resolve_name *name; /* of the endpoint; may be NULL */
	uint64_t serial;		 /* last one given out */
	struct keep_cred cred[MSG_CREDS_MAX];
};

_Static_assert(MSG_CREDS_MAX == TOKEN_CREDS_MAX, "one slot per credential");

static uint32_t
random_u32(void)
{
	uint32_t v = 0;

	/* Only jitter: without entropy there is none. */
	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) < 0)
		return 0;
	return v;
}

static void
cred_drop_token(struct keep_cred *c)
{
	str_wipe(c->token, sizeof(c->token));
	c->len = 0;
	c->policy.until = 0;
}

/* Forgets everything: secret, token, history. */
static void
cred_clear(struct keep_cred *c)
{
	struct token_keep *k = c->keep;

	token_fetch_cancel(&c->fetch);
	str_wipe(c, sizeof(*c));
	c->keep = k;
}

/* --- telling ----------------------------------------------------------- */

static void
cred_tell(struct keep_cred *c, uint32_t id, const char *why)
{
	char detail[TOKEN_TEXT_MAX + 96];

	snprintf(detail, sizeof(detail), "credential %s%s%s", c->cred.name,
		 why[0] != '\0' ? ": " : "", why);
	c->told = id;
	c->keep->ops->event(c->keep->arg, id, detail);
}

/* 2101 while a valid token remains, 3100 when none does; once per cause. */
static void
cred_tell_failure(struct keep_cred *c, const char *cause, uint64_t now)
{
	uint32_t id = token_policy_valid(&c->policy, now) ? 2101 : 3100;

	if (c->told == id && strcmp(c->cause, cause) == 0)
		return;
	if (cause != c->cause)
		snprintf(c->cause, sizeof(c->cause), "%s", cause);
	cred_tell(c, id, c->error);
}

/* --- one fetch --------------------------------------------------------- */

static void
cred_failed(struct keep_cred *c, const struct token_result *r)
{
	struct token_keep *k = c->keep;
	uint64_t now = clock_boot_ns();

	token_policy_failed(&c->policy, now, r->outcome, r->retry_after_s,
			    k->endpoint.retry_max_ms, random_u32());
	c->failing = true;
	snprintf(c->error, sizeof(c->error), "%s", r->text);
	log_warn("credential %s: %s; next try in %llu s", c->cred.name, r->text,
		 (unsigned long long)((c->policy.next - now) / NS_PER_S));
	cred_tell_failure(c, r->cause, now);
	k->ops->fetched(k->arg, false);
}

static void
cred_got(struct keep_cred *c, const struct token_result *r)
{
	struct token_keep *k = c->keep;
	bool same = c->len == r->len && memcmp(c->token, r->token, r->len) == 0;

	token_policy_got(&c->policy, c->started, clock_boot_ns(),
			 r->expires_in_s, r->refresh_in_s, same, random_u32());
	str_wipe(c->token, sizeof(c->token));
	memcpy(c->token, r->token, r->len);
	c->len = r->len;
	c->serial = ++k->serial;
	c->failing = false;
	c->error[0] = c->cause[0] = '\0';
	log_info("credential %s: token %llu, %u bytes, valid for %llu s",
		 c->cred.name, (unsigned long long)c->serial, c->len,
		 (unsigned long long)r->expires_in_s);
	if (c->told != 0)
		cred_tell(c, 1102, "");
	c->told = 0;
	k->ops->fetched(k->arg, true);
}

static void keep_arm(struct token_keep *k);

static void
cred_on_result(void *arg, const struct token_result *r)
{
	struct keep_cred *c = arg;

	c->fetch = NULL;
	c->by_name = false;
	if (r->outcome == TOKEN_GOT)
		cred_got(c, r);
	else
		cred_failed(c, r);
	c->keep->ops->changed(c->keep->arg);
	keep_arm(c->keep);
}

/* Fails without a request. */
static void
cred_fail_here(struct keep_cred *c, const char *cause, const char *text)
{
	struct token_result *r = calloc(1, sizeof(*r));

	BUG_ON(r == NULL);
	token_result_fail(r, TOKEN_TROUBLE, cause, text);
	cred_failed(c, r);
	free(r);
}

static void
cred_fail_name(struct keep_cred *c)
{
	const struct resolve_name *n = c->keep->name;
	const char *why = resolve_status_text(resolve_name_status(n));
	char text[TOKEN_TEXT_MAX];

	snprintf(text, sizeof(text),
		 "token service: the name %.160s cannot "
		 "be resolved: %s",
		 resolve_name_host(n), why);
	cred_fail_here(c, why, text);
	c->by_name = true;
}

static void
cred_request(struct keep_cred *c)
{
	struct token_keep *k = c->keep;
	struct token_request req = {
	    .url = k->endpoint.url,
	    .addrs = resolve_name_addrs(k->name),
	    .client_id = c->cred.client_id,
	    .secret = c->cred.secret,
	    .scope = k->endpoint.scope,
	    .timeout_ms = k->endpoint.timeout_ms,
	};
	int rc;

	c->started = clock_boot_ns();
	rc = token_fetch_start(k->fetcher, &req, cred_on_result, c, &c->fetch);
	if (rc != 0)
		cred_fail_here(c, "request not made",
			       rc == -EINVAL ? "token_url is not an https URL"
					     : "out of memory");
}

/* Due: a request, or a reason why there can be none.  False: it waits. */
static bool
cred_start(struct keep_cred *c)
{
	struct token_keep *k = c->keep;

	c->waits = false;
	if (k->endpoint.url[0] == '\0') {
		cred_fail_here(
		    c, "no token endpoint",
		    "neither tenant_id nor token_url is set: rmsctl set "
		    "tenant_id");
	} else if (k->name == NULL) {
		cred_fail_here(c, "bad token endpoint",
			       "token_url is not an https URL");
	} else if (resolve_name_addrs(k->name)->n > 0) {
		cred_request(c);
	} else if (resolve_name_status(k->name) == RESOLVE_PENDING) {
		c->waits = true;
		return false;
	} else {
		cred_fail_name(c);
	}
	return true;
}

/* True when something is others now. */
static bool
cred_look(struct keep_cred *c, uint64_t now)
{
	bool changed = false;

	if (c->cred.id == 0)
		return false;
	if (c->policy.until != 0 && !token_policy_valid(&c->policy, now)) {
		cred_drop_token(c);
		c->failing = true;
		if (c->error[0] == '\0')
			snprintf(
			    c->error, sizeof(c->error),
			    "the token has expired and no other has come yet");
		log_warn("credential %s: the token has expired", c->cred.name);
		cred_tell_failure(c, c->cause, now);
		changed = true;
	}
	if (c->fetch == NULL && c->policy.next <= now)
		changed |= cred_start(c);
	return changed;
}

/* --- all of them ------------------------------------------------------- */

static void
keep_arm(struct token_keep *k)
{
	uint64_t now = clock_boot_ns(), at = NEVER;

	for (size_t i = 0; i < MSG_CREDS_MAX; i++) {
		const struct keep_cred *c = &k->cred[i];

		if (c->cred.id == 0)
			continue;
		if (c->policy.until != 0)
			at = MIN(at, c->policy.until);
		if (c->fetch == NULL && !c->waits)
			at = MIN(at, c->policy.next);
	}
	at = at <= now ? 1 : (at - now) / NS_PER_MS + 1;
	loop_timer_set(k->timer, MIN(at, LOOK_MS));
}

static void
keep_look(struct token_keep *k)
{
	uint64_t now = clock_boot_ns();
	bool changed = false;

	for (size_t i = 0; i < MSG_CREDS_MAX; i++)
		changed |= cred_look(&k->cred[i], now);
	if (changed)
		k->ops->changed(k->arg);
	keep_arm(k);
}

static void
keep_on_timer(void *arg)
{
	keep_look(arg);
}

void
token_keep_name(struct token_keep *k, const struct resolve_name *n)
{
	uint64_t now = clock_boot_ns();
	bool there;

	k->name = n;
	if (n == NULL)
		return;
	there = resolve_name_addrs(n)->n > 0;
	/* Whoever failed for want of the name need not wait for its turn. */
	for (size_t i = 0; i < MSG_CREDS_MAX; i++) {
		struct keep_cred *c = &k->cred[i];

		if (c->by_name && there) {
			token_policy_hurry(&c->policy, now);
			c->by_name = false;
		}
	}
	keep_look(k);
}

void
token_keep_stale(struct token_keep *k, uint32_t credential, uint64_t serial)
{
	uint64_t now = clock_boot_ns();

	for (size_t i = 0; i < MSG_CREDS_MAX; i++) {
		struct keep_cred *c = &k->cred[i];

		if (c->cred.id == 0 || c->cred.id != credential)
			continue;
		if (c->fetch != NULL || c->serial == 0)
			return; /* another is on its way */
		if (!token_policy_stale(&c->policy, now, serial, c->serial))
			return;
		log_info("credential %s: the service refused token %llu",
			 c->cred.name, (unsigned long long)serial);
		keep_look(k);
		return;
	}
}

/* --- configuration ----------------------------------------------------- */

static struct keep_cred *
keep_find(struct token_keep *k, uint32_t id)
{
	for (size_t i = 0; i < MSG_CREDS_MAX; i++)
		if (k->cred[i].cred.id == id)
			return &k->cred[i];
	return NULL;
}

static bool
creds_have(const struct msg_creds *creds, uint32_t id)
{
	for (uint32_t i = 0; i < creds->n; i++)
		if (creds->cred[i].id == id)
			return true;
	return false;
}

/* moved: tenant, endpoint or scope is another. */
static void
cred_apply(struct token_keep *k, const struct msg_cred *in, bool moved)
{
	struct keep_cred *c = keep_find(k, in->id);
	uint64_t now = clock_boot_ns();
	bool other, secret;

	if (c == NULL) {
		c = keep_find(k, 0);
		BUG_ON(c == NULL); /* what is gone was cleared before */
		token_policy_init(&c->policy, now);
		c->cred = *in;
		return;
	}
	/* An adopted token has no client id to compare with: it stays. */
	other = moved || (c->cred.client_id[0] != '\0' &&
			  strcmp(c->cred.client_id, in->client_id) != 0);
	secret = strcmp(c->cred.secret, in->secret) != 0;
	c->cred = *in;
	if (other) {
		cred_drop_token(c);
		c->failing = false; /* that was another's request */
		c->error[0] = '\0';
	}
	if (other || secret) {
		token_fetch_cancel(&c->fetch);
		/* Another request than the one that was throttled. */
		c->policy.not_before = c->policy.denied = 0;
		c->policy.failures = 0;
		c->policy.next = now;
		c->cause[0] = '\0'; /* should it fail again, that is news */
	} else if (c->failing) {
		token_policy_hurry(&c->policy, now);
	}
	c->waits = false;
}

static bool
keep_moves(const struct token_keep *k, const struct token_endpoint *e)
{
	const struct token_endpoint *old = &k->endpoint;

	if (strcmp(old->tenant, e->tenant) != 0)
		return true;
	/* A first endpoint after the start is no move: what was adopted says
	 * only for which tenant it is. */
	return old->timeout_ms != 0 && (strcmp(old->url, e->url) != 0 ||
					strcmp(old->scope, e->scope) != 0);
}

void
token_keep_apply(struct token_keep *k, const struct msg_creds *creds,
		 const struct token_endpoint *e)
{
	bool moved = keep_moves(k, e);

	BUG_ON(creds->n > MSG_CREDS_MAX);
	k->endpoint = *e;
	for (size_t i = 0; i < MSG_CREDS_MAX; i++)
		if (k->cred[i].cred.id != 0 &&
		    !creds_have(creds, k->cred[i].cred.id))
			cred_clear(&k->cred[i]);
	for (uint32_t i = 0; i < creds->n; i++)
		cred_apply(k, &creds->cred[i], moved);
	k->ops->changed(k->arg);
	/* From the loop: token_keep_name() may come first. */
	loop_timer_set(k->timer, 1);
}

void
token_keep_adopt(struct token_keep *k, const struct token_value *v)
{
	uint64_t now = clock_boot_ns();

	memcpy(k->endpoint.tenant, v->tenant, sizeof(v->tenant));
	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++) {
		const struct token_slot *s = &v->slot[i];
		struct keep_cred *c = &k->cred[i];

		k->serial = MAX(k->serial, s->serial);
		if (s->credential == 0 || s->len > TOKEN_BYTES_MAX ||
		    keep_find(k, s->credential) != NULL)
			continue;
		token_policy_init(&c->policy, now);
		c->cred.id = s->credential;
		c->serial = s->serial;
		if (s->len == 0 || s->expires <= now)
			continue;
		token_policy_adopt(&c->policy, now, s->expires);
		memcpy(c->token, s->bytes, s->len);
		c->len = s->len;
	}
}

/* --- what others see --------------------------------------------------- */

static uint32_t
cred_state(const struct keep_cred *c)
{
	if (c->failing)
		return TOKEN_FAILED;
	return c->len > 0 ? TOKEN_OK : TOKEN_NONE;
}

void
token_keep_fill(const struct token_keep *k, struct token_value *v)
{
	str_wipe(v->slot, sizeof(v->slot));
	memcpy(v->tenant, k->endpoint.tenant, sizeof(v->tenant));
	for (size_t i = 0; i < MSG_CREDS_MAX; i++) {
		const struct keep_cred *c = &k->cred[i];
		struct token_slot *s = &v->slot[i];

		if (c->cred.id == 0)
			continue;
		s->credential = c->cred.id;
		s->state = cred_state(c);
		s->serial = c->serial;
		s->expires = c->policy.until;
		s->retry = c->policy.next;
		s->len = c->len;
		memcpy(s->bytes, c->token, c->len);
	}
}

void
token_keep_status(const struct token_keep *k, struct msg_cloud_status *s)
{
	uint64_t now = clock_boot_ns();

	s->n = 0;
	for (size_t i = 0; i < MSG_CREDS_MAX; i++) {
		const struct keep_cred *c = &k->cred[i];
		const struct token_policy *p = &c->policy;
		struct msg_cloud_cred *o;

		if (c->cred.id == 0)
			continue;
		o = &s->cred[s->n++];
		o->id = c->cred.id;
		o->state = cred_state(c);
		if (p->until > now)
			o->expires_in_s = (p->until - now) / NS_PER_S;
		if (p->next > now)
			o->retry_in_s = (p->next - now) / NS_PER_S;
		snprintf(o->error, sizeof(o->error), "%s", c->error);
	}
}

struct token_keep *
token_keep_new(struct loop *l, struct token_fetcher *f,
	       const struct token_keep_ops *ops, void *arg)
{
	struct token_keep *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	*k = (struct token_keep){
	    .loop = l, .fetcher = f, .ops = ops, .arg = arg};
	for (size_t i = 0; i < MSG_CREDS_MAX; i++)
		k->cred[i].keep = k;
	k->timer = loop_timer_new(l, keep_on_timer, k);
	if (k->timer == NULL) {
		free(k);
		return NULL;
	}
	return k;
}

void
token_keep_free(struct token_keep **kp)
{
	struct token_keep *k = *kp;

	if (k == NULL)
		return;
	for (size_t i = 0; i < MSG_CREDS_MAX; i++)
		cred_clear(&k->cred[i]);
	loop_timer_free(&k->timer);
	free(k);
	*kp = NULL;
}
