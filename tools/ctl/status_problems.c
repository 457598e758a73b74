/*
 * Purpose: reads what is wrong out of the connector's status, in the words of
 *          somebody who has to mend it.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: nothing.
 * Failure: a member that is missing counts as what it says when it is empty.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "tools/ctl/jget.h"
#include "tools/ctl/render.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

/* A loop that has not turned for so long is stuck, not busy: the master's
 * watchdog ends it after twice that time by default. */
#define STUCK_MS 10000

struct problems {
	void (*say)(void *arg, const char *line);
	void *arg;
	size_t n;
};

PRINTF(2, 3)
static void
add(struct problems *p, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	p->n++;
	if (p->say == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	p->say(p->arg, line);
}

static void
check_process(struct problems *p, const json_t *o)
{
	const char *role = jget_str(o, "role"), *state = jget_str(o, "state");
	const char *end = jget_str(o, "last_end");
	char wait[TEXT_MAX];

	if (strcmp(state, "waiting") == 0) {
		text_duration(wait, (jget_u64(o, "retry_in_ms") + 999) / 1000);
		add(p,
		    "%s %" PRIu64 " does not run (%s); it is started again "
		    "in %s. If it goes on: the log says why",
		    role, jget_u64(o, "slot"),
		    end[0] != '\0' ? end : "never started", wait);
	} else if (strcmp(state, "starting") == 0) {
		add(p, "%s %" PRIu64 " is starting; look again in a moment",
		    role, jget_u64(o, "slot"));
	} else if (jget_u64(o, "heartbeat_age_ms") > STUCK_MS) {
		add(p,
		    "%s %" PRIu64 " has not reacted for %" PRIu64
		    " s; the connector replaces it after watchdog_ms",
		    role, jget_u64(o, "slot"),
		    jget_u64(o, "heartbeat_age_ms") / 1000);
	} else if (!jget_bool(o, "ready") && strcmp(state, "ready") == 0) {
		add(p,
		    "%s %" PRIu64 " has not yet taken over the newest "
		    "configuration; look again in a moment, then at its log",
		    role, jget_u64(o, "slot"));
	}
}

static void
check_processes(struct problems *p, const json_t *list)
{
	bool relay = false;
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		check_process(p, o);
		relay |= strcmp(jget_str(o, "role"), "relay") == 0 &&
			 strcmp(jget_str(o, "state"), "ready") == 0;
	}
	if (!relay)
		add(p, "no relay serves: requests wait until one does");
}

/* Lengths of the principal and of the type in "PRINCIPAL KVNO TYPE"; false
 * when it is not one ("...": there were too many). */
static bool
split_key(const char *line, size_t *name_r, const char **type_r)
{
	*name_r = strcspn(line, " ");
	*type_r = strrchr(line, ' ');
	return *type_r != NULL && *type_r > line + *name_r;
}

/* Has this principal an AES key, or was it looked at before entry `at`? */
static bool
is_settled(const json_t *list, size_t at, const char *line, size_t len)
{
	const char *other, *type;
	const json_t *o;
	size_t i, n;

	json_array_foreach(list, i, o)
	{
		other = json_is_string(o) ? json_string_value(o) : "";
		if (!split_key(other, &n, &type) || n != len ||
		    memcmp(other, line, len) != 0)
			continue;
		if (i < at || strncmp(type + 1, "aes", 3) == 0)
			return true;
	}
	return false;
}

/* The keytab's weak side; all of it is `rmsctl keytab`. */
static void
check_keys(struct problems *p, const json_t *list)
{
	const char *line, *type;
	const json_t *o;
	size_t i, len;

	json_array_foreach(list, i, o)
	{
		line = json_is_string(o) ? json_string_value(o) : "";
		if (split_key(line, &len, &type) &&
		    !is_settled(list, i, line, len))
			add(p,
			    "%.*s has RC4 or DES keys only: see rmsctl keytab",
			    (int)len, line);
	}
}

static void
check_organisation(struct problems *p, const json_t *r)
{
	const json_t *table = json_object_get(r, "table");

	if (jget_str(json_object_get(r, "tenant"), "url")[0] == '\0')
		add(p, "no tenant is set: rmsctl set tenant_url "
		       "https://GUID.rms.REGION.aadrm.com");
	if (!json_is_object(table))
		add(p, "the list of authorized servers could not be brought "
		       "into force (event 3001): see rmsctl events");
	else if (jget_u64(table, "entries") == 0)
		add(p, "no server is authorized (event 2003): rmsctl servers "
		       "add --role ROLE SUBJECT");
	if (jget_u64(json_object_get(r, "keeper"), "entries") == 0)
		add(p,
		    "no key is loaded from the keytab, so nobody can be "
		    "identified: see `keytab` in the configuration and rmsctl "
		    "events");
	check_keys(p,
		   json_object_get(json_object_get(r, "keeper"), "principals"));
}

static void
check_token(struct problems *p, const json_t *t)
{
	const char *error = jget_str(t, "error");
	char left[TEXT_MAX], retry[TEXT_MAX];

	text_duration(left, jget_u64(t, "expires_in_s"));
	text_duration(retry, jget_u64(t, "retry_in_s"));
	if (!jget_bool(t, "valid"))
		add(p,
		    "there is no valid token for credential %s, its requests "
		    "are answered 503 (next try in %s): %s",
		    jget_str(t, "name"), retry,
		    error[0] != '\0' ? error : "none was fetched yet");
	else if (strcmp(jget_str(t, "state"), "failed") == 0)
		add(p,
		    "the token of credential %s could not be renewed and "
		    "ends in %s (next try in %s): %s",
		    jget_str(t, "name"), left, retry, error);
}

static void
check_cloud(struct problems *p, const json_t *r)
{
	const json_t *cloud = json_object_get(r, "cloud");
	const json_t *tokens = json_object_get(r, "tokens"), *t;
	bool known = json_array_size(json_object_get(cloud, "addresses")) > 0;
	size_t i;

	json_array_foreach(tokens, i, t) check_token(p, t);
	if (json_array_size(tokens) == 0)
		add(p, "no token is held: rmsctl credentials add NAME "
		       "--client-id ID --secret-file FILE");
	if (jget_bool(cloud, "dns_failed"))
		add(p,
		    "the cloud's name cannot be resolved (%s)%s: check the "
		    "DNS of this host",
		    jget_str(cloud, "dns_error"),
		    known ? "; the last addresses are still used" : "");
	else if (!known)
		add(p, "no address of the cloud is known yet");
}

/* "relay 0, relay 1" */
static void
names(const json_t *list, char *out, size_t size)
{
	const json_t *o;
	struct sbuf b;
	size_t i;

	sbuf_init(&b, out, size);
	json_array_foreach(list, i, o)
	    sbuf_fmt(&b, "%s%s", i > 0 ? ", " : "",
		     json_is_string(o) ? json_string_value(o) : "?");
}

/* What the connector remembers of its events. */
static void
check_memory(struct problems *p, const json_t *list)
{
	char who[256] = "";
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		uint64_t count = jget_u64(o, "count");
		const char *reason = jget_str(o, "reason");

		names(json_object_get(o, "processes"), who, sizeof(who));
		add(p,
		    "%s Event %" PRIu64 " of %s, %" PRIu64 " time%s since %s, "
		    "last %s%s%s. %s",
		    jget_str(o, "text"), jget_u64(o, "event"), who, count,
		    count == 1 ? "" : "s", jget_str(o, "first"),
		    jget_str(o, "last"), reason[0] != '\0' ? ": " : "", reason,
		    jget_str(o, "remedy"));
	}
}

size_t
status_problems(const json_t *reply, void (*say)(void *arg, const char *line),
		void *arg)
{
	struct problems p = {.say = say, .arg = arg};

	if (strcmp(jget_str(reply, "state"), "running") != 0)
		add(&p,
		    "the connector is ending (%s): it takes no new "
		    "requests",
		    jget_str(reply, "state"));
	check_processes(&p, json_object_get(reply, "processes"));
	check_organisation(&p, reply);
	check_cloud(&p, reply);
	check_memory(&p, json_object_get(reply, "problems"));
	return p.n;
}
