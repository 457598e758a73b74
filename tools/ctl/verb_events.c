/*
 * Purpose: events: the past ones, and those to come.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket, standard output.
 * Failure: exit status and a line.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/render.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

static const struct {
	uint64_t id;
	const char *remedy;
} events[] = {
#define EVENT(id, level, from, text, remedy) {id, remedy},
#include "master/events.def"
#undef EVENT
};

/* NULL: an event of a newer connector. */
static const char *
event_remedy(uint64_t id)
{
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i].id == id)
			return events[i].remedy;
	return NULL;
}

/* Members that say who and where, as name=value. */
static void
put_members(struct ctl *c, const json_t *e)
{
	static const char *const name[] = {"account",	"sid",	"address",
					   "mech",	"role", "author",
					   "request_id"};
	uint64_t n;

	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		if (jget_str(e, name[i])[0] == '\0')
			continue;
		fprintf(c->out, " %s=", name[i]);
		text_put(c->out, jget_str(e, name[i]));
	}
	if ((n = jget_u64(e, "entry")) != 0)
		fprintf(c->out, " entry=%" PRIu64, n);
	if ((n = jget_u64(e, "accounts_total")) != 0)
		fprintf(c->out, " accounts=%" PRIu64, n);
	if ((n = jget_u64(e, "count")) != 0)
		fprintf(c->out, " (and %" PRIu64 " more like it)", n);
}

/* A sentence, without its full stop: more follows on the line. */
static void
put_text(struct ctl *c, const char *text)
{
	char line[256];
	size_t n = strlen(text);

	if (n > 0 && text[n - 1] == '.' &&
	    str_copy(line, sizeof(line), (struct slice){text, n - 1}) == 0)
		text = line;
	text_put(c->out, text);
}

void
render_event(struct ctl *c, const json_t *e, bool remedy)
{
	const char *what = event_remedy(jget_u64(e, "id"));

	text_put(c->out, jget_str(e, "time"));
	fprintf(c->out, " %-7s %" PRIu64 " ", jget_str(e, "level"),
		jget_u64(e, "id"));
	put_text(c, jget_str(e, "text"));
	put_members(c, e);
	if (jget_str(e, "reason")[0] != '\0') {
		fputs(": ", c->out);
		text_put(c->out, jget_str(e, "reason"));
	}
	fputc('\n', c->out);
	if (remedy && what != NULL && strcmp(jget_str(e, "level"), "info") != 0)
		fprintf(c->out, "    -> %s\n", what);
}

/* What would do is said at the last event of each number. */
static bool
comes_again(const json_t *list, size_t from, uint64_t id)
{
	for (size_t i = from; i < json_array_size(list); i++)
		if (jget_u64(json_array_get(list, i), "id") == id)
			return true;
	return false;
}

static void
put_line(struct ctl *c, const json_t *e)
{
	if (json_dumpf(e, c->out, JSON_COMPACT) != 0)
		fputs("null", c->out);
	fputc('\n', c->out);
}

static void
put_past(struct ctl *c, const json_t *reply, bool follow)
{
	const json_t *list = json_object_get(reply, "events"), *e;
	size_t i;

	if (c->json && !follow) {
		ctl_print_json(c, reply);
		return;
	}
	json_array_foreach(list, i, e)
	{
		if (c->json)
			put_line(c, e);
		else
			render_event(
			    c, e, !comes_again(list, i + 1, jget_u64(e, "id")));
	}
	if (!c->json && !follow && json_array_size(list) == 0)
		fputs("There is no event yet.\n", c->out);
}

/* Until the connector ends or nobody reads our output. */
static int
follow_on(struct ctl *c, struct conn *k)
{
	char err[CONN_ERR_MAX];
	json_t *reply;
	int r;

	while ((r = conn_reply(k, -1, &reply, err)) == 1) {
		const json_t *e = json_object_get(reply, "event");

		if (c->json)
			put_line(c, e);
		else
			render_event(c, e, true);
		json_decref(reply);
		if (fflush(c->out) != 0)
			return CTL_OK; /* `rmsctl events -f | head` */
	}
	return ctl_fail(
	    c, CTL_UNREACHABLE, "%s",
	    r < 0 ? err
		  : "the connector has closed: it has ended, or we did "
		    "not read fast enough");
}

static int
past_and_future(struct ctl *c, struct conn *k, bool follow)
{
	char err[CONN_ERR_MAX];
	json_t *reply;
	int r = conn_send(k, c->socket, err);

	if (r == 0)
		r = conn_reply(k, CONN_REPLY_MS, &reply, err);
	if (r <= 0)
		return ctl_fail(
		    c, CTL_UNREACHABLE, "%s",
		    r < 0 ? err
			  : "the connector closed without an answer: see "
			    "its log");
	if (jget_bool(reply, "ok")) {
		put_past(c, reply, follow);
		fflush(c->out);
		r = CTL_OK;
	} else {
		r = ctl_refused(c, reply);
	}
	json_decref(reply);
	return r == CTL_OK && follow ? follow_on(c, k) : r;
}

int
verb_events(struct ctl *c)
{
	const char *count = c->args->opt[CTL_O_events_count];
	bool follow = c->args->opt[CTL_O_events_follow] != NULL;
	struct conn *k;
	uint64_t n;
	int r;

	if (count != NULL && str_u64(slice_of(count), 1000000, &n) < 0)
		return ctl_fail(c, CTL_USAGE,
				"-n %.40s is not a number of "
				"events",
				count);
	k = conn_new("events");
	if (k == NULL)
		return ctl_fail(c, CTL_REFUSED, "out of memory");
	conn_arg(k, "count", count);
	conn_arg(k, "follow", follow ? "1" : NULL);
	r = past_and_future(c, k, follow);
	conn_free(&k);
	return r;
}
