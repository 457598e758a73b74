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
#include "shm/base/enctype.h"
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

/* A long name was cut. */
static bool
is_front(struct slice who, struct slice account)
{
	return who.len > 0 && who.len <= account.len &&
	       slice_ieq(who, (struct slice){account.p, who.len});
}

static bool
picked(const struct explain_pick *p, const struct trail_note *n)
{
	if (p->address != NULL)
		return slice_is(trail_text(n->address, sizeof(n->address)),
				p->address);
	if (p->account == NULL)
		return n->boot == p->boot && n->number == p->number;
	return (n->flags & TRAIL_ACCOUNT) != 0 && n->whole == p->whole &&
	       is_front(trail_text(n->who, sizeof(n->who)),
			slice_of(p->account));
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
	if (p->account != NULL)
		p->whole = trail_hash(slice_of(p->account));
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

static bool
is_cut(const struct trail_note *n)
{
	struct slice who = trail_text(n->who, sizeof(n->who));

	return (n->flags & TRAIL_ACCOUNT) != 0 && who.len == sizeof(n->who) &&
	       trail_hash(who) != n->whole;
}

/* The account, with "..." where it is cut. */
static void
show_who(struct json *j, const struct trail_note *n)
{
	bool account = (n->flags & TRAIL_ACCOUNT) != 0;
	char text[sizeof(n->who) + 4];

	snprintf(text, sizeof(text), "%.*s%s", (int)sizeof(n->who), n->who,
		 is_cut(n) ? "..." : "");
	control_json_text(j, "account", account ? text : "");
	json_bool(j, "account_cut", is_cut(n));
	control_json_text(j, "detail", account ? "" : text);
}

static const char *
role_of(const struct trail_note *n)
{
	return n->role < SERVER_ROLE_MAX
		   ? server_role_name((enum server_role)n->role)
		   : "";
}

static bool
is_decided(const struct trail_note *n)
{
	return n->decided > 0 && n->decided <= 1 + VERDICT_NO_TABLE;
}

static enum verdict
verdict_of(const struct trail_note *n)
{
	return (enum verdict)(n->decided - 1);
}

bool
explain_then_allowed(const struct trail_note *n)
{
	return is_decided(n) && verdict_of(n) == VERDICT_ALLOW;
}

static void
say_decision(struct sbuf *b, enum verdict v, uint32_t entry, const char *role,
	     uint64_t generation)
{
	if (v == VERDICT_ALLOW)
		sbuf_fmt(b, "let in by entry %u of generation %llu, role %s",
			 entry, (unsigned long long)generation, role);
	else if (entry != 0)
		sbuf_fmt(b, "REFUSED: %s (entry %u of generation %llu)",
			 verdict_text(v), entry,
			 (unsigned long long)generation);
	else
		sbuf_fmt(b, "REFUSED: %s (generation %llu)", verdict_text(v),
			 (unsigned long long)generation);
}

void
explain_say_then(struct sbuf *b, const struct trail_note *n)
{
	const char *enctype = enctype_name(n->enctype);

	if (is_decided(n))
		say_decision(b, verdict_of(n), n->entry, role_of(n),
			     n->generation);
	else
		sbuf_str(b, "not decided: it ended before");
	sbuf_fmt(b, "; %s, channel %s", mech_name((enum auth_mech)n->mech),
		 (n->flags & TRAIL_BOUND) != 0 ? "bound" : "not bound");
	if (n->kvno != 0)
		sbuf_fmt(b, "; kvno %u", n->kvno);
	if (n->enctype != 0)
		sbuf_fmt(b, "%s%s", n->kvno != 0 ? ", " : "; ",
			 enctype != NULL && enctype[0] != '\0'
			     ? enctype
			     : "another encryption type");
}

void
explain_say_now(struct sbuf *b, const struct explain *x)
{
	const struct table *t = publish_table_now(x->c->m->publish);
	uint64_t generation = t == NULL ? 0 : table_generation(t);
	const struct trail_note *n = x->of;

	if (!is_decided(n) || verdict_of(n) != x->hit.verdict ||
	    n->entry != x->hit.entry || n->role != x->hit.role) {
		say_decision(b, x->hit.verdict, x->hit.entry,
			     server_role_name(x->hit.role), generation);
		sbuf_str(b, ", going by its last connection");
	} else if (n->generation != generation) {
		sbuf_fmt(b, "the same, by generation %llu",
			 (unsigned long long)generation);
	}
}

/* The decision, as it was. */
static void
show_decision(struct json *j, const struct trail_note *n)
{
	bool decided = is_decided(n);
	char text[512];
	struct sbuf b;

	json_str(j, "verdict",
		 decided ? explain_verdict_word(verdict_of(n)) : NULL);
	sbuf_init(&b, text, sizeof(text));
	if ((n->flags & TRAIL_ACCOUNT) != 0)
		explain_say_then(&b, n);
	control_json_text(j, "decided", text);
	control_json_text(j, "role", role_of(n));
	if (n->entry != 0)
		json_u64(j, "entry", n->entry);
	else
		json_str(j, "entry", NULL);
	json_u64(j, "generation", n->generation);
	json_i64(j, "enctype", n->enctype);
	json_str(j, "enctype_name", enctype_name(n->enctype));
	json_u64(j, "kvno", n->kvno);
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
	show_who(j, n);
	json_str(j, "mech", mech_name((enum auth_mech)n->mech));
	json_bool(j, "bound", (n->flags & TRAIL_BOUND) != 0);
	show_decision(j, n);
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
		const struct trail_note *n = &p->hit[i].note;
		enum auth_cause cause = (enum auth_cause)n->cause;

		if (p->address == NULL && (n->flags & TRAIL_ACCOUNT) != 0) {
			sbuf_str(b, "Then: ");
			explain_say_then(b, n);
			sbuf_str(b, ". What the list says of its account now "
				    "cannot be told: the account is not "
				    "remembered any more.");
			return;
		}
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
