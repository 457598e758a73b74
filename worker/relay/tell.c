/*
 * Purpose: events about requests that could not be carried out.
 *
 * Runs in: relay.
 * Trusts:  nobody: a detail is passed on cut, and as text.
 * Touches: the channel to the master.
 * Failure: the event is lost, and child.c says so in the log.
 */
#include "worker/relay/tell.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/client.h"

#define TELL_DETAIL_MAX 600
#define TELL_LIMIT_S	60

static const char *
tell_remedy(struct slice fault)
{
	if (slice_is(fault, "network"))
		return "check routes, firewall, name service and certificates "
		       "between this host and the cloud";
	if (slice_is(fault, "cloud"))
		return "see `rmsctl status` and the state of the service; if "
		       "it lasts, its support can find the request id";
	return "see `rmsctl status` and the log";
}

static bool
tell_is_ours(enum reason why)
{
	const struct reason_row *row = reason_row(why);

	/* tell_limit() tells of these */
	if (why == REASON_QUEUE_FULL || why == REASON_QUEUE_TIMEOUT ||
	    why == REASON_MEMORY_SHORT)
		return false;
	return row->status >= 500 &&
	       !slice_is(slice_of(row->fault), "client") &&
	       !slice_is(slice_of(row->fault), "none");
}

bool
tell_may(struct tell_limit *l)
{
	uint64_t now = clock_turn_ns() / NS_PER_S;

	if (now != l->second)
		*l = (struct tell_limit){.second = now};
	return ++l->told <= TELL_EVENTS_MAX;
}

bool
tell_may_of(struct tell_peers *l, uint64_t peer)
{
	uint64_t now = clock_turn_ns() / NS_PER_S;

	if (now != l->second)
		*l = (struct tell_peers){.second = now};
	if (l->told >= TELL_PEERS_ALL_MAX ||
	    l->of[peer % TELL_PEERS] >= TELL_PEER_MAX)
		return false;
	l->told++;
	l->of[peer % TELL_PEERS]++;
	return true;
}

static uint32_t
tell_event(enum reason why)
{
	if (why == REASON_AUTH_BUSY || why == REASON_AUTH_TIMEOUT)
		return 2104;
	return why == REASON_NTLM_BUSY || why == REASON_NTLM_TIMEOUT ? 2109
								     : 3000;
}

void
tell_failure(struct client *c, enum reason why, const char *detail)
{
	static struct tell_limit limit;
	const struct reason_row *row = reason_row(why);
	const struct exchange *x = c->x;
	char mem[TELL_DETAIL_MAX + 512];
	struct sbuf b;
	struct msg_event e = {
	    .id = tell_event(why),
	    .address = slice_of(c->address),
	    .request = slice_of(x->id),
	};

	if (!tell_is_ours(why) || !tell_may(&limit))
		return;
	if (x->ident != NULL)
		e.account = slice_of(x->ident->principal);
	sbuf_init(&b, mem, sizeof(mem));
	/* the name first: the master tells repeats by the start */
	sbuf_fmt(&b, "%s, fault of the %s: %s", row->name, row->fault,
		 row->text);
	if (detail != NULL)
		sbuf_fmt(&b, ": %.*s", TELL_DETAIL_MAX, detail);
	if (e.id == 2109)
		sbuf_fmt(&b, "; %s", auth_cause_remedy(CAUSE_NTLM_TIMEOUT));
	else
		sbuf_fmt(&b, "; %s", tell_remedy(slice_of(row->fault)));
	e.detail = (struct slice){b.p, b.len};
	child_event(c->w->c, &e);
}

void
tell_limit(struct relay *w, enum reason why, const char *address,
	   const char *account)
{
	tell_limited(w, 2110, why, address, account);
}

void
tell_limited(struct relay *w, uint32_t event, enum reason why,
	     const char *address, const char *account)
{
	static struct {
		uint64_t told; /* CLOCK_MONOTONIC ns; 0 never */
		uint64_t since;
	} limits[REASON_MAX];
	const struct reason_row *row = reason_row(why);
	uint64_t now = clock_turn_ns();
	char text[512];
	struct msg_event e = {.id = event, .address = slice_of(address)};
	int n;

	limits[why].since++;
	if (limits[why].told != 0 &&
	    now - limits[why].told < TELL_LIMIT_S * NS_PER_S)
		return;
	n = snprintf(text, sizeof(text), "%s: %s", row->name, row->text);
	if (limits[why].since > 1 && n > 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n,
			 "; %llu times since this was last told",
			 (unsigned long long)limits[why].since);
	limits[why].told = now;
	limits[why].since = 0;
	e.detail = slice_of(text);
	if (account != NULL)
		e.account = slice_of(account);
	child_event(w->c, &e);
}
