/*
 * Purpose: the verbs `servers seen` and `servers conflicts`: who comes, how,
 *          by which entry, and which entries nobody comes by.
 *
 * Runs in: the master.
 * Trusts:  the store; what is known of accounts comes from the relays and is
 *          only shown.
 * Touches: nothing.
 * Failure: -errno with a line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/control_explain.h"
#include "master/date.h"
#include "master/publish.h"
#include "master/supervise.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

/* Entries that one reply lists; who has more asks for those never used. */
#define ENTRIES_SHOWN_MAX 20000

struct seen_view {
	struct control_call *c;
	struct json *j;
	enum way way;	/* WAY_MAX: any */
	bool refused;	/* those that were refused, most often first */
	bool entries;	/* the entries too */
	bool never;	/* of the entries those that were not used */
	uint64_t since; /* CLOCK_REALTIME ns */

	const struct seen_account **account;
	size_t naccounts;
	uint32_t *by; /* the entry that last let each account in, sorted */
	size_t nby;
	size_t total, unused, shown; /* entries */
};

/* --- arguments --------------------------------------------------------- */

static int
read_way(struct seen_view *v)
{
	const char *text = control_request_arg(v->c->req, "way");

	v->way = WAY_MAX;
	if (text == NULL || text[0] == '\0')
		return 0;
	for (unsigned w = 0; w < WAY_MAX; w++) {
		if (strcmp(text, way_name((enum way)w)) == 0) {
			v->way = (enum way)w;
			return 0;
		}
	}
	snprintf(v->c->err, sizeof(v->c->err),
		 "way \"%.40s\" is not one: http, https, unbound, bound, "
		 "kerberos, ntlm, certificate or rc4",
		 text);
	return -EINVAL;
}

static int
read_since(struct seen_view *v)
{
	const char *text = control_request_arg(v->c->req, "since");
	uint64_t s;

	if (text == NULL || text[0] == '\0')
		return 0;
	if (date_parse(slice_of(text), &s) != 0 || s > UINT64_MAX / NS_PER_S) {
		snprintf(v->c->err, sizeof(v->c->err),
			 "since \"%.40s\" is not a time: write it as "
			 "2027-01-31 or 2027-01-31T18:00:00Z",
			 text);
		return -EINVAL;
	}
	v->since = s * NS_PER_S;
	return 0;
}

/* --- accounts ---------------------------------------------------------- */

/* When it last did what is asked for; 0 never. */
static uint64_t
when(const struct seen_view *v, const struct seen_account *a)
{
	if (v->way != WAY_MAX)
		return a->way[v->way];
	return v->refused ? a->last_refused : a->last;
}

static void
collect(void *arg, const struct seen_account *a)
{
	struct seen_view *v = arg;
	uint64_t t = when(v, a);

	if (a->verdict == VERDICT_ALLOW)
		v->by[v->nby++] = a->entry;
	if (t != 0 && t >= v->since)
		v->account[v->naccounts++] = a;
}

static int
newest_first(const void *pa, const void *pb)
{
	const struct seen_account *const *a = pa, *const *b = pb;

	return (*a)->last > (*b)->last ? -1 : (*a)->last < (*b)->last;
}

static int
most_refused_first(const void *pa, const void *pb)
{
	const struct seen_account *const *a = pa, *const *b = pb;

	if ((*a)->refused != (*b)->refused)
		return (*a)->refused > (*b)->refused ? -1 : 1;
	return newest_first(pa, pb);
}

static int
by_number(const void *pa, const void *pb)
{
	const uint32_t *a = pa, *b = pb;

	return *a < *b ? -1 : *a > *b;
}

static int
gather(struct seen_view *v)
{
	const struct seen *s = v->c->m->seen;
	size_t n = seen_count(s) + 1;

	v->account = calloc(n, sizeof(const struct seen_account *));
	v->by = calloc(n, sizeof(v->by[0]));
	if (v->account == NULL || v->by == NULL) {
		snprintf(v->c->err, sizeof(v->c->err), "out of memory");
		return -ENOMEM;
	}
	seen_each(s, collect, v);
	qsort(v->account, v->naccounts, sizeof(const struct seen_account *),
	      v->refused ? most_refused_first : newest_first);
	qsort(v->by, v->nby, sizeof(v->by[0]), by_number);
	return 0;
}

static void
count_way(void *arg, const struct seen_account *a)
{
	struct seen_view *v = arg;

	v->total += a->way[v->way] != 0 && a->way[v->way] >= v->since;
}

/* How many accounts came in each way. */
static void
show_counts(struct seen_view *v)
{
	enum way asked = v->way;

	json_object(v->j, "counts");
	for (unsigned w = 0; w < WAY_MAX; w++) {
		v->way = (enum way)w;
		v->total = 0;
		seen_each(v->c->m->seen, count_way, v);
		json_u64(v->j, way_name(v->way), v->total);
	}
	json_object_end(v->j);
	v->way = asked;
	v->total = 0;
}

static void
show_accounts(struct seen_view *v)
{
	json_array(v->j, "accounts");
	for (size_t i = 0; i < v->naccounts && !v->j->out->cut; i++) {
		json_object(v->j, NULL);
		explain_show_account(v->j, v->account[i]);
		control_json_time(v->j, "asked", when(v, v->account[i]));
		json_object_end(v->j);
	}
	json_array_end(v->j);
}

/* --- entries ----------------------------------------------------------- */

/* Accounts that it last let in. */
static size_t
accounts_of(const struct seen_view *v, uint32_t id)
{
	size_t lo = 0, hi = v->nby, n = 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->by[mid] < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo + n < v->nby && v->by[lo + n] == id)
		n++;
	return n;
}

static void
show_entry(struct seen_view *v, const struct store_server *s,
	   const struct seen_entry *e)
{
	uint64_t now_s = clock_real_ns() / NS_PER_S;
	struct json *j = v->j;

	json_object(j, NULL);
	json_u64(j, "entry", s->id);
	json_str(j, "subject", s->subject);
	json_str(j, "kind", control_kind_name(s->kind));
	json_str(j, "role", server_role_name(s->role));
	json_str(j, "name", s->name);
	control_json_time(j, "added", s->added);
	control_json_time(j, "expires", s->expires * NS_PER_S);
	json_bool(j, "expired", s->expires != 0 && s->expires <= now_s);
	control_json_time(j, "first", e == NULL ? 0 : e->first);
	control_json_time(j, "last", e == NULL ? 0 : e->last);
	json_u64(j, "reports", e == NULL ? 0 : e->reports);
	json_u64(j, "accounts", accounts_of(v, s->id));
	json_object_end(j);
}

static int
one_entry(void *arg, const struct store_server *s)
{
	struct seen_view *v = arg;
	const struct seen_entry *e = seen_entry(v->c->m->seen, s->id);
	bool unused = e == NULL || e->last < v->since;

	if (v->j->out->cut)
		return 1; /* there will be another run with more room */
	v->total++;
	v->unused += unused;
	if (!v->entries || (v->never && !unused))
		return 0;
	if (v->shown < ENTRIES_SHOWN_MAX)
		show_entry(v, s, e);
	v->shown++;
	return 0;
}

static int
show_entries(struct seen_view *v)
{
	int r;

	json_array(v->j, "entries");
	r = store_servers_each(v->c->m->store, one_entry, v);
	json_array_end(v->j);
	json_u64(v->j, "entries_total", v->total);
	json_u64(v->j, "entries_unused", v->unused);
	json_u64(v->j, "entries_left_off",
		 v->shown - MIN(v->shown, (size_t)ENTRIES_SHOWN_MAX));
	return r < 0 ? control_store_failed(v->c, r) : 0;
}

int
control_do_servers_seen(struct control_call *c)
{
	struct seen_view v = {.c = c, .j = &c->json};
	int r = read_way(&v);

	v.never = control_request_flag(c->req, "never");
	v.entries = v.never || control_request_flag(c->req, "entries");
	v.refused = control_request_flag(c->req, "refused");
	if (r == 0)
		r = read_since(&v);
	if (r == 0)
		r = gather(&v);
	if (r == 0) {
		control_json_time(v.j, "since", seen_since(c->m->seen));
		json_u64(v.j, "accounts_total", seen_count(c->m->seen));
		show_counts(&v);
		show_accounts(&v);
		r = show_entries(&v);
	}
	free(v.account);
	free(v.by);
	return r;
}

/* --- conflicts --------------------------------------------------------- */

struct conflicts {
	struct explain x;
	size_t conflicts, overlaps, unknown;
};

/* Those that several entries let in, with the SIDs that it had last. */
static void
one_account(void *arg, const struct seen_account *a)
{
	struct conflicts *k = arg;
	struct explain *x = &k->x;
	struct json *j = &x->c->json;

	k->unknown += !explain_groups_known(a);
	explain_of(x, a);
	if (x->c->json.out->cut || explain_decide(x) != 0)
		return;
	if (x->hit.matches > 1) {
		k->conflicts += x->hit.conflict;
		k->overlaps += !x->hit.conflict;
		json_object(j, NULL);
		json_str(j, "account", a->account);
		control_json_text(j, "sid", a->sid);
		control_json_time(j, "last", a->last);
		control_json_text(j, "role", server_role_name(x->hit.role));
		json_u64(j, "entry", x->hit.entry);
		explain_show_matches(x);
		json_object_end(j);
	}
	identity_free(&x->id);
}

int
control_do_servers_conflicts(struct control_call *c)
{
	struct conflicts *k = calloc(1, sizeof(*k));
	uint64_t sum[STAT_MAX];

	if (k == NULL) {
		snprintf(c->err, sizeof(c->err), "out of memory");
		return -ENOMEM;
	}
	k->x.c = c;
	control_json_table(c);
	json_array(&c->json, "accounts");
	seen_each(c->m->seen, one_account, k);
	json_array_end(&c->json);
	json_u64(&c->json, "conflicts", k->conflicts);
	json_u64(&c->json, "overlaps", k->overlaps);
	json_u64(&c->json, "accounts_total", seen_count(c->m->seen));
	json_u64(&c->json, "groups_unknown", k->unknown);
	stats_sum(publish_stats(c->m->publish),
		  supervise_totals(c->m->supervise), sum);
	json_u64(&c->json, "requests", sum[STAT_authz_conflicts]);
	free(k);
	return 0;
}
