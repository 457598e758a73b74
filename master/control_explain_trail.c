/*
 * Purpose: single requests, from the relays' trails, for the verb `explain`.
 *
 * Runs in: the master.
 * Trusts:  nobody: a note is as its relay left it; texts have a bound, and
 *          numbers that are none of ours are not shown.
 * Touches: the relays' trails, to read.
 * Failure: what cannot be read is not found.
 */
#include "master/control_explain.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/publish.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

/* --- what is asked about ----------------------------------------------- */

/* n hexadecimal digits at most; how many there were. */
static size_t
hex(const char *s, size_t n, uint64_t *v_r)
{
	size_t i = 0;

	*v_r = 0;
	for (; i < n; i++) {
		char c = ascii_lower(s[i]);

		if (c >= '0' && c <= '9')
			*v_r = *v_r << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*v_r = *v_r << 4 | (uint64_t)(c - 'a' + 10);
		else
			break;
	}
	return i;
}

bool
explain_is_request(const char *text, struct explain_pick *p)
{
	size_t n;

	if (hex(text, 16, &p->boot) != 16 || text[16] != '-')
		return false;
	n = hex(text + 17, 16, &p->number);
	return n > 0 && text[17 + n] == '\0';
}

bool
explain_is_address(const char *text)
{
	struct in6_addr a;

	return inet_pton(AF_INET, text, &a) == 1 ||
	       inet_pton(AF_INET6, text, &a) == 1;
}

/* --- looking ----------------------------------------------------------- */

static bool
picked(const struct explain_pick *p, const struct trail_note *n)
{
	struct slice who = trail_text(n->who, sizeof(n->who));
	struct slice account;

	if (p->address != NULL)
		return slice_is(trail_text(n->address, sizeof(n->address)),
				p->address);
	if (p->account == NULL)
		return n->boot == p->boot && n->number == p->number;
	/* a long one was cut */
	account = slice_of(p->account);
	account.len = MIN(account.len, sizeof(n->who));
	return (n->flags & TRAIL_ACCOUNT) != 0 && account.len > 0 &&
	       slice_ieq(who, account);
}

static bool
look(void *arg, const struct trail_note *n)
{
	struct explain_pick *p = arg;
	size_t at = p->n;

	if (!picked(p, n))
		return false;
	while (at > 0 && p->hit[at - 1].note.when < n->when)
		at--;
	if (at == EXPLAIN_REQUESTS_MAX)
		return false;
	if (p->n < EXPLAIN_REQUESTS_MAX)
		p->n++;
	memmove(&p->hit[at + 1], &p->hit[at],
		(p->n - 1 - at) * sizeof(p->hit[0]));
	p->hit[at].note = *n;
	p->hit[at].slot = p->slot;
	return false;
}

void
explain_pick(struct master *m, struct explain_pick *p)
{
	for (p->slot = 0; p->slot < m->relays; p->slot++) {
		int fd = publish_trail(m->publish, p->slot);
		int torn = fd < 0 ? 0 : trail_each(fd, look, p);

		if (torn < 0)
			log_warn("the requests of relay %u cannot be read: %s",
				 p->slot, strerror(-torn));
		else
			p->torn += (size_t)torn;
	}
}

/* --- the reply --------------------------------------------------------- */

static void
show_text(struct json *j, const char *key, const char *text, size_t size)
{
	struct slice s = trail_text(text, size);

	if (s.len > 0)
		json_slice(j, key, s);
	else
		json_str(j, key, NULL);
}

static void
show_cause(struct json *j, const struct trail_note *n)
{
	enum auth_cause cause = (enum auth_cause)n->cause;
	bool failed = cause > CAUSE_NONE && cause < CAUSE_MAX;

	json_str(j, "cause", failed ? auth_cause_name(cause) : NULL);
	json_str(j, "cause_text", failed ? auth_cause_text(cause) : NULL);
	json_str(j, "cause_remedy", failed ? auth_cause_remedy(cause) : NULL);
}

static void
show_request(struct json *j, const struct trail_note *n, unsigned slot)
{
	uint64_t now = clock_mono_ns();
	bool account = (n->flags & TRAIL_ACCOUNT) != 0;
	char id[48];

	snprintf(id, sizeof(id), "%016llx-%llx", (unsigned long long)n->boot,
		 (unsigned long long)n->number);
	json_object(j, NULL);
	json_str(j, "request_id", id);
	control_json_time(
	    j, "time", n->when <= now ? clock_real_ns() - (now - n->when) : 0);
	json_u64(j, "relay", slot);
	show_text(j, "address", n->address, sizeof(n->address));
	json_bool(j, "tls", (n->flags & TRAIL_TLS) != 0);
	show_text(j, "account", account ? n->who : "",
		  account ? sizeof(n->who) : 0);
	show_text(j, "detail", account ? "" : n->who,
		  account ? 0 : sizeof(n->who));
	json_str(j, "mech", mech_name((enum auth_mech)n->mech));
	json_bool(j, "bound", (n->flags & TRAIL_BOUND) != 0);
	control_json_text(j, "role",
			  n->role < SERVER_ROLE_MAX
			      ? server_role_name((enum server_role)n->role)
			      : "");
	if (n->entry != 0)
		json_u64(j, "entry", n->entry);
	else
		json_str(j, "entry", NULL);
	json_u64(j, "generation", n->generation);
	json_u64(j, "status", n->status);
	show_text(j, "end", n->end, sizeof(n->end));
	show_cause(j, n);
	show_text(j, "op", n->op, sizeof(n->op));
	json_u64(j, "took_ms", n->took_us / 1000);
	json_object_end(j);
}

void
explain_show_requests(struct json *j, const struct explain_pick *p)
{
	json_array(j, "requests");
	for (size_t i = 0; i < p->n; i++)
		show_request(j, &p->hit[i].note, p->hit[i].slot);
	json_array_end(j);
	json_u64(j, "requests_torn", p->torn);
}

void
explain_advise_requests(struct sbuf *b, const struct explain_pick *p)
{
	for (size_t i = 0; i < p->n; i++) {
		enum auth_cause cause = (enum auth_cause)p->hit[i].note.cause;

		if (cause <= CAUSE_NONE || cause >= CAUSE_MAX)
			continue;
		sbuf_fmt(b, "The last that failed to authenticate: %s; %s.",
			 auth_cause_text(cause), auth_cause_remedy(cause));
		return;
	}
	if (p->n == 0)
		sbuf_fmt(b,
			 "No request from there is remembered (each relay "
			 "keeps its last %d): if there should be one, look at "
			 "the client's URL, the name service, the balancer and "
			 "firewalls; behind a balancer requests come from its "
			 "address.",
			 TRAIL_RECORDS);
}
