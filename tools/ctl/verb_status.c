/*
 * Purpose: status: what runs, and what is wrong.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket, standard output.
 * Failure: exit status and a line.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/render.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

static void
put_head(struct ctl *c, const json_t *r)
{
	const json_t *conf = json_object_get(r, "configuration"), *l;
	const json_t *listeners = json_object_get(r, "listeners");
	char up[TEXT_MAX];
	size_t i;

	text_duration(up, jget_u64(r, "uptime_s"));
	fputs("Node ", c->out);
	text_put(c->out, jget_str(r, "node"));
	fprintf(c->out, ": %s for %s, version %s, pid %" PRIu64 " as %s\n",
		jget_str(r, "state"), up, jget_str(r, "version"),
		jget_u64(r, "pid"), jget_str(r, "user"));
	fputs("Configuration: ", c->out);
	text_put(c->out, jget_str(conf, "file"));
	fprintf(c->out, ", read %s\n", jget_str(conf, "loaded"));
	fputs("Listens on:", c->out);
	json_array_foreach(listeners, i, l)
	{
		fputs(i == 0 ? " " : ", ", c->out);
		text_put(c->out, jget_str(l, "address"));
		fprintf(c->out, ":%" PRIu64 " (%s)", jget_u64(l, "port"),
			jget_bool(l, "tls") ? "HTTPS" : "HTTP");
	}
	fputs("\n\n", c->out);
}

static void
put_processes(struct ctl *c, const json_t *list)
{
	struct cols *t = cols_new("PROCESS|>PID|STATE|UP|>RESTARTS|LAST END");
	const json_t *p;
	char up[TEXT_MAX];
	size_t i;

	if (t == NULL)
		return;
	json_array_foreach(list, i, p)
	{
		if (strcmp(jget_str(p, "role"), "relay") == 0)
			cols_fmt(t, "relay %" PRIu64, jget_u64(p, "slot"));
		else
			cols_put(t, jget_str(p, "role"));
		if (jget_u64(p, "pid") != 0)
			cols_fmt(t, "%" PRIu64, jget_u64(p, "pid"));
		else
			cols_put(t, NULL);
		cols_put(t, jget_str(p, "state"));
		text_duration(up, jget_u64(p, "uptime_s"));
		cols_put(t, jget_u64(p, "pid") != 0 ? up : NULL);
		cols_fmt(t, "%" PRIu64, jget_u64(p, "restarts"));
		cols_put(t, jget_str(p, "last_end"));
	}
	cols_print(t, c->out);
	cols_free(&t);
	fputc('\n', c->out);
}

static void
put_list(struct ctl *c, const json_t *table, const json_t *store)
{
	char age[TEXT_MAX], used[TEXT_MAX], size[TEXT_MAX];

	text_duration(age, jget_u64(table, "age_s"));
	text_bytes(used, jget_u64(store, "used_bytes"));
	text_bytes(size, jget_u64(store, "size_bytes"));
	if (json_is_object(table))
		fprintf(c->out,
			"Authorized:  %" PRIu64 " entr%s (list %" PRIu64
			", in force for %s)\n",
			jget_u64(table, "entries"),
			jget_u64(table, "entries") == 1 ? "y" : "ies",
			jget_u64(table, "generation"), age);
	fprintf(c->out, "Store:       generation %" PRIu64 ", %s of %s\n",
		jget_u64(store, "generation"), used, size);
}

static void
put_strings(struct ctl *c, const json_t *list, const char *between)
{
	const json_t *s;
	size_t i;

	json_array_foreach(list, i, s)
	{
		fputs(i == 0 ? "" : between, c->out);
		text_put(c->out,
			 json_is_string(s) ? json_string_value(s) : "?");
	}
	fputc('\n', c->out);
}

static void
put_cloud(struct ctl *c, const json_t *r)
{
	const json_t *tenant = json_object_get(r, "tenant");
	const json_t *tokens = json_object_get(r, "tokens"), *k;
	char left[TEXT_MAX];
	size_t i;

	fputs("Cloud:       ", c->out);
	text_put(c->out, jget_str(tenant, "url"));
	fputs("\n  addresses  ", c->out);
	put_strings(
	    c, json_object_get(json_object_get(r, "cloud"), "addresses"), ", ");
	if (jget_u64(json_object_get(r, "counters"), "circuit_open") > 0)
		fprintf(
		    c->out,
		    "  circuit    open in %" PRIu64
		    " of the relays: requests are refused at once, one at "
		    "a time tries\n",
		    jget_u64(json_object_get(r, "counters"), "circuit_open"));
	json_array_foreach(tokens, i, k)
	{
		fputs("  token      ", c->out);
		text_put(c->out, jget_str(k, "name"));
		text_duration(left, jget_u64(k, "expires_in_s"));
		if (jget_bool(k, "valid"))
			fprintf(c->out, ": valid for %s\n", left);
		else
			fputs(": none\n", c->out);
	}
	fputs("Keytab:      ", c->out);
	put_strings(c,
		    json_object_get(json_object_get(r, "keeper"), "principals"),
		    "\n             ");
}

/* The counters that tell how it goes; --json has them all. */
static void
put_counters(struct ctl *c, const json_t *n)
{
	char in[TEXT_MAX], out[TEXT_MAX];

	text_bytes(in, jget_u64(n, "bytes_in"));
	text_bytes(out, jget_u64(n, "bytes_out"));
	fprintf(c->out,
		"Requests:    %" PRIu64 " (%" PRIu64 " relayed, %" PRIu64
		" answered here, %" PRIu64 " under way), %s in, %s out\n",
		jget_u64(n, "requests"), jget_u64(n, "requests_relayed"),
		jget_u64(n, "requests_local"), jget_u64(n, "requests_open"), in,
		out);
	fprintf(c->out,
		"Replies:     %" PRIu64 " done (2xx), %" PRIu64
		" refused (4xx), %" PRIu64 " failed (5xx)\n",
		jget_u64(n, "status_2xx"), jget_u64(n, "status_4xx"),
		jget_u64(n, "status_5xx"));
	fprintf(c->out,
		"Items:       %" PRIu64 " asked for, %" PRIu64
		" failed; %" PRIu64 " batches, %" PRIu64
		" of them with items that failed\n",
		jget_u64(n, "items"), jget_u64(n, "items_failed"),
		jget_u64(n, "batches"), jget_u64(n, "batches_failed"));
	fprintf(c->out,
		"Identity:    %" PRIu64 " accepted, %" PRIu64
		" refused (%" PRIu64 " of them replays), %" PRIu64
		" too busy; by the list %" PRIu64 " allowed, %" PRIu64
		" refused\n",
		jget_u64(n, "auth_ok"), jget_u64(n, "auth_failed"),
		jget_u64(n, "auth_replays"), jget_u64(n, "auth_busy"),
		jget_u64(n, "authz_allowed"), jget_u64(n, "authz_refused"));
	fprintf(c->out,
		"Connections: %" PRIu64
		" of clients open; to the cloud %" PRIu64 " opened, %" PRIu64
		" idle, %" PRIu64 " requests failed there\n",
		jget_u64(n, "conns_open"), jget_u64(n, "up_connects"),
		jget_u64(n, "up_idle"), jget_u64(n, "up_failed"));
}

static void
put_problem(void *arg, const char *line)
{
	struct ctl *c = arg;

	fputs("  * ", c->out);
	text_put(c->out, line);
	fputc('\n', c->out);
}

static void
put_restart(struct ctl *c, const json_t *names)
{
	if (json_array_size(names) == 0)
		return;
	fputs("\nChanged in the file, but in force only after a restart: ",
	      c->out);
	put_strings(c, names, ", ");
}

void
render_status(struct ctl *c, const json_t *r)
{
	put_head(c, r);
	put_processes(c, json_object_get(r, "processes"));
	put_list(c, json_object_get(r, "table"), json_object_get(r, "store"));
	put_cloud(c, r);
	put_counters(c, json_object_get(r, "counters"));
	put_restart(c, json_object_get(json_object_get(r, "configuration"),
				       "restart_needed"));
	if (status_problems(r, NULL, NULL) == 0) {
		fputs("\nNothing is wrong.\n", c->out);
		return;
	}
	fputs("\nWhat is wrong:\n", c->out);
	status_problems(r, put_problem, c);
}

int
verb_status(struct ctl *c)
{
	struct conn *k = conn_new("status");
	json_t *reply;
	int status = ask(c, &k, &reply);

	if (status != CTL_OK)
		return status;
	if (c->json)
		ctl_print_json(c, reply);
	else
		render_status(c, reply);
	if (status_problems(reply, NULL, NULL) > 0)
		status = CTL_WRONG;
	json_decref(reply);
	return status;
}
