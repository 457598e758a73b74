/*
 * Purpose: wait for a token.
 *
 * Runs in: relay.
 * Trusts:  the cloud agent.
 * Touches: the channel to the cloud agent.
 * Failure: a refusal that says what did not come.
 */
#include "worker/relay/await.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/answer.h"
#include "worker/relay/client.h"
#include "worker/relay/upstream.h"

/* ---- is there one ---------------------------------------------------- */

static bool
await_is_for_first(const struct client *c)
{
	return c->x->token_serial == 0;
}

static const struct token_slot *
await_slot(const struct relay *w, uint32_t credential)
{
	for (size_t i = 0; i < TOKEN_CREDS_MAX; i++)
		if (w->tv->slot[i].credential == credential)
			return &w->tv->slot[i];
	return NULL;
}

bool
await_is_due(const struct client *c)
{
	const struct relay *w = c->w;
	const struct token_slot *s;

	if (w->cloud == NULL || w->c->conf.token_wait_ms == 0)
		return false;
	if (strcmp(w->tv->tenant, w->tenant_base) != 0)
		return true;
	s = await_slot(w, c->x->credential);
	return s != NULL && s->len == 0 && s->state == TOKEN_NONE;
}

/* One that may be sent, and is not what the cloud has refused. */
static const struct relay_cred *
await_found(const struct client *c)
{
	const struct relay_cred *cred = relay_cred_find(c->w, c->x->credential);

	if (cred == NULL || cred->serial == c->x->token_serial ||
	    cred->expires <= clock_boot_ns())
		return NULL;
	return cred;
}

/* Of another tenant the address may come after the token. */
static bool
await_has_hope(const struct client *c)
{
	struct relay *w = c->w;
	const struct relay_cred *cred;

	if (await_is_due(c))
		return true;
	if (await_is_for_first(c))
		return await_found(c) != NULL && w->tv->naddr == 0 &&
		       !w->tv->dns_failed;
	cred = relay_cred_find(w, c->x->credential);
	return cred != NULL && !cred->failed;
}

/* ---- the wait -------------------------------------------------------- */

static void
await_try(struct client *c)
{
	if (await_found(c) == NULL)
		return;
	if (!await_is_for_first(c)) {
		stat_add(c->w->row, STAT_token_replays, 1);
		forward_connect(c, false);
	} else if (c->x->probe) {
		forward_connect(c, false); /* it was admitted as such */
	} else if (c->w->tv->naddr > 0) {
		forward_go(c);
	}
}

void
await_token(struct client *c)
{
	client_enter(c, CLIENT_TOKEN);
	await_try(c);
}

static void
await_refuse(struct client *c, const char *detail)
{
	if (!await_is_for_first(c))
		client_refuse(c, REASON_CLOUD_UNAUTHORIZED, detail);
	else
		forward_refuse(c, await_found(c) != NULL ? REASON_NO_ADDRESS
							 : REASON_NO_TOKEN);
}

void
await_on_timeout(struct client *c)
{
	await_refuse(c, NULL);
}

void
await_on_news(struct relay *w)
{
	struct client *c, *next;

	relay_token_refresh(w);
	for (c = w->clients; c != NULL; c = next) {
		next = c->next;
		if (c->state != CLIENT_TOKEN)
			continue;
		await_try(c);
		if (c->state != CLIENT_TOKEN || await_has_hope(c))
			continue;
		await_refuse(c, "and a fresh one cannot be fetched");
		if (c->state != CLIENT_CLOSED)
			client_run(c);
	}
}

/* ---- 401 from the cloud ---------------------------------------------- */

void
await_unauthorized(struct client *c)
{
	struct exchange *x = c->x;
	struct relay *w = c->w;
	struct msg_token_stale m = {.credential = x->credential,
				    .serial = x->token_serial};
	uint8_t body[32];
	size_t len = msg_token_stale_pack(&m, body, sizeof(body));

	upstream_drop(&x->up);
	if (w->cloud != NULL && x->credential != 0 &&
	    ipc_send(w->cloud, IPC_TOKEN_STALE, 0, body, len, -1) != 0)
		log_warn("the cloud agent was not told of a stale token");
	if (x->replays > 0 || !x->held || x->credential == 0 ||
	    w->cloud == NULL || w->c->conf.token_wait_ms == 0) {
		client_refuse(c, REASON_CLOUD_UNAUTHORIZED, NULL);
		return;
	}
	x->replays++;
	forward_again(c);
	await_token(c);
}
