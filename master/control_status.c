/*
 * Purpose: the verb `status`, and what several verbs show alike.
 *
 * Runs in: the master.
 * Trusts:  its own modules; the children's counters and reports are shown as
 *          they are.
 * Touches: nothing.
 * Failure: none but a reply that does not fit.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/control_call.h"
#include "master/event.h"
#include "master/publish.h"
#include "master/seen.h"
#include "master/supervise.h"
#include "master/trouble.h"
#include "master/version.h"
#include "shm/base/clock.h"
#include "shm/stats.h"
#include "shm/token.h"
#include "shm/base/log.h"

void
control_json_time(struct json *j, const char *key, uint64_t ns)
{
	char text[CLOCK_TEXT_LEN];

	if (ns != 0)
		clock_text(ns, text);
	json_str(j, key, ns != 0 ? text : NULL);
}

void
control_json_text(struct json *j, const char *key, const char *s)
{
	json_str(j, key, s[0] != '\0' ? s : NULL);
}

const char *
control_kind_name(enum subject_kind k)
{
	switch (k) {
	case SUBJECT_SID:
		return "sid";
	case SUBJECT_PRINCIPAL:
		return "principal";
	case SUBJECT_CERT:
		return "cert";
	}
	return "?";
}

const struct msg_cloud_cred *
control_token(struct master *m, uint32_t id)
{
	for (uint32_t i = 0; i < MIN(m->cloud.n, (uint32_t)MSG_CREDS_MAX);
	     i++) {
		if (m->cloud.cred[i].id == id)
			return &m->cloud.cred[i];
	}
	return NULL;
}

uint64_t
control_left_s(struct master *m, uint64_t s)
{
	uint64_t past = (clock_mono_ns() - m->cloud_mono_ns) / NS_PER_S;

	return s > past ? s - past : 0;
}

int
control_store_failed(struct control_call *c, int r)
{
	switch (-r) {
	case EINVAL:
	case ERANGE:
	case ENOENT:
	case EEXIST:
	case E2BIG:
		break; /* the caller's fault */
	default:
		event_tellf(c->m->events, 3104, "%s",
			    c->err[0] != '\0' ? c->err : strerror(-r));
		master_trouble(c->m, NULL, 3104, "%s",
			       c->err[0] != '\0' ? c->err : strerror(-r));
	}
	if (c->err[0] == '\0')
		snprintf(c->err, sizeof(c->err), "the store refused: %s",
			 strerror(-r));
	return r;
}

void
control_json_table(struct control_call *c)
{
	const struct table *t = publish_table_now(c->m->publish);
	uint64_t now = clock_real_ns(), built;

	if (t == NULL) {
		json_str(&c->json, "table", NULL);
		return;
	}
	built = table_built_ns(t);
	json_object(&c->json, "table");
	json_u64(&c->json, "generation", table_generation(t));
	json_u64(&c->json, "entries", table_len(t));
	control_json_time(&c->json, "built", built);
	json_u64(&c->json, "age_s", now > built ? (now - built) / NS_PER_S : 0);
	json_object_end(&c->json);
}

/* --- parts of `status` -------------------------------------------------- */

/* "a, b,c" as members of an array. */
static void
json_list(struct json *j, const char *key, const char *text, const char *sep)
{
	const char *p = text;

	json_array(j, key);
	while (*p != '\0') {
		size_t n;

		p += strspn(p, sep);
		n = strcspn(p, sep);
		if (n > 0)
			json_slice(j, NULL, (struct slice){p, n});
		p += n;
	}
	json_array_end(j);
}

static void
status_configuration(struct control_call *c)
{
	json_object(&c->json, "configuration");
	json_str(&c->json, "file", c->m->conf_path);
	json_u64(&c->json, "set", publish_set_number(c->m->publish));
	control_json_time(&c->json, "loaded", c->m->loaded_ns);
	json_list(&c->json, "restart_needed", c->m->restart_needed, ", ");
	json_object_end(&c->json);
}

static void
status_listeners(struct control_call *c)
{
	const struct conf *conf = &c->m->conf;

	json_array(&c->json, "listeners");
	for (size_t i = 0; i < conf->nlisteners; i++) {
		const struct conf_listener *l = &conf->listener[i];

		json_object(&c->json, NULL);
		json_str(&c->json, "name", l->name);
		json_str(&c->json, "address", l->address.s);
		json_i64(&c->json, "port", l->port);
		json_bool(&c->json, "tls", l->tls);
		json_object_end(&c->json);
	}
	json_array_end(&c->json);
}

static const char *
proc_word(const struct proc *p)
{
	if (p->draining && proc_is_up(p))
		return "draining";
	/* A slot between two lives; for the reader that is waiting. */
	if (p->state == PROC_ENDING)
		return "waiting";
	return proc_state_name(p->state);
}

static void
status_process_times(struct control_call *c, const struct proc *p,
		     const struct stats_row *row, uint64_t now)
{
	uint64_t beat =
	    atomic_load_explicit(&row->heartbeat, memory_order_relaxed);
	bool waits = p->state == PROC_WAITING && p->retry_mono_ns > now;

	control_json_time(&c->json, "started", p->started_ns);
	json_u64(&c->json, "uptime_s",
		 p->pid > 0 ? (now - p->started_mono_ns) / NS_PER_S : 0);
	json_u64(&c->json, "restarts", p->restarts);
	if (beat == 0 || p->pid == 0)
		json_str(&c->json, "heartbeat_age_ms", NULL);
	else
		json_u64(&c->json, "heartbeat_age_ms",
			 now > beat ? (now - beat) / NS_PER_MS : 0);
	json_u64(&c->json, "retry_in_ms",
		 waits ? (p->retry_mono_ns - now) / NS_PER_MS : 0);
	control_json_text(&c->json, "last_end", p->last_end);
}

static void
status_process(struct control_call *c, const struct proc *p)
{
	struct stats_row *row = stats_row(publish_stats(c->m->publish),
					  stats_row_index(p->role, p->slot));
	uint64_t set = publish_set_number(c->m->publish);

	json_object(&c->json, NULL);
	json_str(&c->json, "role", role_name(p->role));
	json_u64(&c->json, "slot", p->slot);
	if (p->pid > 0)
		json_u64(&c->json, "pid", (uint64_t)p->pid);
	else
		json_str(&c->json, "pid", NULL);
	json_str(&c->json, "state", proc_word(p));
	json_bool(&c->json, "ready", p->state == PROC_READY && p->set == set);
	json_u64(&c->json, "set", p->set);
	status_process_times(c, p, row, clock_mono_ns());
	json_object(&c->json, "counters");
	for (unsigned s = 0; s < STAT_MAX; s++) {
		uint64_t v = stat_get(row, (enum stat_id)s);

		if (v != 0)
			json_u64(&c->json, stat_name((enum stat_id)s), v);
	}
	json_object_end(&c->json);
	json_object_end(&c->json);
}

static void
status_processes(struct control_call *c)
{
	json_array(&c->json, "processes");
	for (size_t i = 0; i < supervise_count(c->m->supervise); i++) {
		const struct proc *p = supervise_proc(c->m->supervise, i);

		if (p->wanted)
			status_process(c, p);
	}
	json_array_end(&c->json);
}

static void
status_tenant(struct control_call *c)
{
	char url[CONF_TEXT_MAX];
	bool known = conf_token_url(&c->m->conf, url, sizeof(url));

	json_object(&c->json, "tenant");
	control_json_text(&c->json, "url", c->m->conf.tenant_url.s);
	json_str(&c->json, "cloud", c->m->conf.cloud.s);
	json_str(&c->json, "token_url", known ? url : NULL);
	json_object_end(&c->json);
}

static const char *
token_state_name(uint32_t state)
{
	switch (state) {
	case TOKEN_OK:
		return "ok";
	case TOKEN_FAILED:
		return "failed";
	default:
		return "none";
	}
}

static void
json_token(struct control_call *c, const struct msg_cloud_cred *t)
{
	uint64_t left = t == NULL ? 0 : control_left_s(c->m, t->expires_in_s);

	if (t == NULL) {
		json_str(&c->json, "state", NULL);
		json_str(&c->json, "expires_in_s", NULL);
		json_str(&c->json, "error", NULL);
		return;
	}
	json_str(&c->json, "state", token_state_name(t->state));
	json_bool(&c->json, "valid", left > 0);
	json_u64(&c->json, "expires_in_s", left);
	json_u64(&c->json, "retry_in_s", control_left_s(c->m, t->retry_in_s));
	control_json_text(&c->json, "error", t->error);
}

static void
status_tokens(struct control_call *c)
{
	struct store_cred cred[MSG_CREDS_MAX];
	int n = store_creds_list(c->m->store, cred);

	json_array(&c->json, "tokens");
	for (int i = 0; i < n; i++) {
		const struct msg_cloud_cred *t =
		    control_token(c->m, cred[i].id);

		if (t == NULL)
			continue;
		json_object(&c->json, NULL);
		json_u64(&c->json, "credential", cred[i].id);
		json_str(&c->json, "name", cred[i].name);
		json_token(c, t);
		json_object_end(&c->json);
	}
	json_array_end(&c->json);
}

static void
status_cloud(struct control_call *c)
{
	json_object(&c->json, "cloud");
	json_list(&c->json, "addresses", c->m->cloud.addrs, ", ");
	json_bool(&c->json, "dns_failed", c->m->cloud.dns_failed);
	control_json_text(&c->json, "dns_error", c->m->cloud.dns_error);
	json_object_end(&c->json);
}

static void
status_keeper(struct control_call *c)
{
	json_object(&c->json, "keeper");
	json_u64(&c->json, "entries", c->m->keeper_entries);
	json_list(&c->json, "principals", c->m->keeper_text, "\n");
	json_object_end(&c->json);
}

static void
status_counters(struct control_call *c)
{
	uint64_t sum[STAT_MAX];

	stats_sum(publish_stats(c->m->publish),
		  supervise_totals(c->m->supervise), sum);
	json_object(&c->json, "counters");
	for (unsigned s = 0; s < STAT_MAX; s++)
		if (stat_has_sum((enum stat_id)s))
			json_u64(&c->json, stat_name((enum stat_id)s), sum[s]);
	json_object_end(&c->json);
}

static void
status_store(struct control_call *c)
{
	uint64_t used, size;

	store_space(c->m->store, &used, &size);
	json_object(&c->json, "store");
	json_u64(&c->json, "generation", store_generation(c->m->store));
	json_u64(&c->json, "used_bytes", used);
	json_u64(&c->json, "size_bytes", size);
	json_object_end(&c->json);
}

/* --- what is wrong ------------------------------------------------------- */

static void
problem_head(struct control_call *c, uint32_t id)
{
	const struct event_def *d = event_def(id);

	json_object(&c->json, NULL);
	json_u64(&c->json, "event", id);
	json_str(&c->json, "text", d->text);
	json_str(&c->json, "remedy", d->remedy);
}

static void
problem_tail(struct control_call *c, uint64_t first, uint64_t last,
	     uint64_t count, const char *reason)
{
	control_json_time(&c->json, "first", first);
	control_json_time(&c->json, "last", last);
	json_u64(&c->json, "count", count);
	control_json_text(&c->json, "reason", reason);
	json_object_end(&c->json);
}

static void
status_problem(void *arg, const struct trouble_view *v)
{
	struct control_call *c = arg;
	struct supervise *s = c->m->supervise;
	char name[32];

	problem_head(c, v->id);
	json_array(&c->json, "processes");
	for (size_t i = 0; i < supervise_count(s); i++) {
		const struct proc *p = supervise_proc(s, i);

		if (!v->row[stats_row_index(p->role, p->slot)])
			continue;
		snprintf(name, sizeof(name), "%s %u", role_name(p->role),
			 p->slot);
		json_str(&c->json, NULL, name);
	}
	if (v->row[TROUBLE_MASTER])
		json_str(&c->json, NULL, "master");
	json_array_end(&c->json);
	problem_tail(c, v->first, v->last, v->count, v->reason);
}

/* Relays tell of a log that takes no lines once; they count on. */
static void
problems_count_lost_lines(struct master *m)
{
	for (size_t i = 0; i < supervise_count(m->supervise); i++) {
		const struct proc *p = supervise_proc(m->supervise, i);
		unsigned row = stats_row_index(p->role, p->slot);
		uint64_t lost =
		    stat_get(stats_row(publish_stats(m->publish), row),
			     STAT_log_dropped);

		trouble_counter(m->trouble, row, 3108, lost, clock_real_ns(),
				clock_mono_ns());
	}
}

static void
status_problems(struct control_call *c)
{
	struct master *m = c->m;
	uint64_t since;
	const char *why = event_log_failing(m->events, &since);

	problems_count_lost_lines(m);
	json_array(&c->json, "problems");
	trouble_each(m->trouble, clock_mono_ns(), status_problem, c);
	if (why != NULL) {
		problem_head(c, 3108);
		json_array(&c->json, "processes");
		json_str(&c->json, NULL, "master");
		json_array_end(&c->json);
		problem_tail(c, since, clock_real_ns(), 1, why);
	}
	json_array_end(&c->json);
}

int
control_do_status(struct control_call *c)
{
	struct master *m = c->m;

	json_str(&c->json, "node", m->node);
	json_str(&c->json, "version", RMS_VERSION);
	json_u64(&c->json, "pid", (uint64_t)getpid());
	json_str(&c->json, "user", m->user);
	json_str(&c->json, "state",
		 supervise_is_draining(m->supervise) ? "draining" : "running");
	control_json_time(&c->json, "started", m->started_ns);
	json_u64(&c->json, "uptime_s",
		 (clock_mono_ns() - m->started_mono_ns) / NS_PER_S);
	status_configuration(c);
	status_listeners(c);
	status_processes(c);
	control_json_table(c);
	status_tenant(c);
	status_tokens(c);
	status_cloud(c);
	status_keeper(c);
	status_counters(c);
	status_store(c);
	json_u64(&c->json, "accounts_seen", seen_count(m->seen));
	json_u64(&c->json, "accounts_unsaved", seen_unsaved(m->seen));
	status_problems(c);
	return 0;
}

/* --- credentials list: it shows tokens too ------------------------------- */

int
control_do_credentials_list(struct control_call *c)
{
	struct store_cred cred[MSG_CREDS_MAX];
	int n = store_creds_list(c->m->store, cred);

	if (n < 0)
		return control_store_failed(c, n);
	json_array(&c->json, "credentials");
	for (int i = 0; i < n; i++) {
		json_object(&c->json, NULL);
		json_u64(&c->json, "credential", cred[i].id);
		json_str(&c->json, "name", cred[i].name);
		json_str(&c->json, "kind",
			 cred[i].kind == CRED_PROXY ? "proxy" : "cloud");
		json_str(&c->json, "client_id", cred[i].client_id);
		control_json_time(&c->json, "changed", cred[i].changed);
		json_array(&c->json, "roles");
		for (unsigned r = 1; r < SERVER_ROLE_MAX; r++) {
			enum server_role role = (enum server_role)r;

			if (cred[i].kind == CRED_CLOUD &&
			    strcmp(master_credential_name(&c->m->conf, role),
				   cred[i].name) == 0)
				json_str(&c->json, NULL,
					 server_role_name(role));
		}
		json_array_end(&c->json);
		json_token(c, control_token(c->m, cred[i].id));
		json_object_end(&c->json);
	}
	json_array_end(&c->json);
	return 0;
}
