/*
 * Purpose: tell the operator, once, in a form that people and SIEMs read.
 *
 * Runs in: the master.
 * Trusts:  nobody for the texts: names and reasons come from children.
 * Touches: standard error (log.h) and the descriptor of the event log.
 * Failure: a line that cannot be written is counted and said at the next one
 *          that can; nothing stops for it.
 */
#include "master/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/budget.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/json.h"
#include "shm/base/log.h"

/* Causes remembered by the limiter, and how many are looked at for one. */
#define LIMIT_SLOTS 1024
#define LIMIT_PROBE 8

struct event_limit {
	uint64_t key; /* 0: free */
	uint64_t told_ns;
	uint64_t held; /* not written since */
	uint32_t id;
};

struct event_log {
	char node[64];
	int fd;
	uint64_t lost; /* lines that did not reach fd */
	bool failing;
	bool tell_failing; /* event 3108 is due */
	char why[128];
	uint64_t failing_since; /* CLOCK_REALTIME ns */
	struct hash_key hash;
	struct event_limit limit[LIMIT_SLOTS];
	char *ring[EVENT_RING];
	size_t next, kept;
	void (*follow)(void *arg, struct slice json);
	void *follow_arg;
	char line[EVENT_JSON_MAX];
};

static const struct event_def defs[] = {
#define EVENT(id, level, from, text, remedy) \
	{id, EVENT_##level, ROLE_##from, text, remedy},
#include "master/events.def"
#undef EVENT
};

const struct event_def *
event_def(uint32_t id)
{
	for (size_t i = 0; i < ARRAY_LEN(defs); i++) {
		if (defs[i].id == id)
			return &defs[i];
	}
	return NULL;
}

bool
event_from_child(uint32_t id, enum role role)
{
	const struct event_def *d = event_def(id);

	return d != NULL && role != ROLE_MASTER && d->from == role;
}

struct event_log *
event_log_new(void)
{
	struct event_log *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->fd = -1;
	hash_key_new(&l->hash);
	return l;
}

void
event_log_free(struct event_log **lp)
{
	struct event_log *l = *lp;

	if (l == NULL)
		return;
	for (size_t i = 0; i < EVENT_RING; i++)
		free(l->ring[i]);
	free(l);
	*lp = NULL;
}

void
event_log_set_node(struct event_log *l, const char *node)
{
	snprintf(l->node, sizeof(l->node), "%s", node);
}

void
event_log_set_fd(struct event_log *l, int fd)
{
	l->fd = fd;
	l->failing = false;
}

const char *
event_log_failing(const struct event_log *l, uint64_t *since_r)
{
	*since_r = l->failing_since;
	return l->failing ? l->why : NULL;
}

void
event_log_follow(struct event_log *l, void (*fn)(void *arg, struct slice json),
		 void *arg)
{
	l->follow = fn;
	l->follow_arg = arg;
}

void
event_log_last(struct event_log *l, size_t n,
	       void (*fn)(void *arg, struct slice json), void *arg)
{
	n = MIN(n, l->kept);
	for (size_t i = 0; i < n; i++) {
		size_t at = (l->next + EVENT_RING - n + i) % EVENT_RING;

		fn(arg, slice_of(l->ring[at]));
	}
}

/* --- one event out ----------------------------------------------------- */

static const char *
event_level_name(enum event_level level)
{
	static const char *const name[] = {"info", "warning", "error"};

	return name[level];
}

static void
event_opt(struct json *j, const char *key, struct slice s)
{
	if (s.len > 0)
		json_slice(j, key, s);
}

/* With the members of `more` unless they do not fit. */
static void
event_render(struct event_log *l, const struct event_def *d,
	     const struct event_args *e, bool more, struct sbuf *b)
{
	char when[CLOCK_TEXT_LEN];
	struct json j;

	sbuf_init(b, l->line, sizeof(l->line));
	json_init(&j, b);
	clock_text(clock_real_ns(), when);
	json_object(&j, NULL);
	json_str(&j, "time", when);
	json_u64(&j, "id", d->id);
	json_str(&j, "level", event_level_name(d->level));
	json_str(&j, "text", d->text);
	json_str(&j, "node", l->node);
	event_opt(&j, "account", e->account);
	event_opt(&j, "sid", e->sid);
	event_opt(&j, "address", e->address);
	event_opt(&j, "mech", e->mech);
	event_opt(&j, "request_id", e->request);
	event_opt(&j, "process", slice_of(e->process));
	event_opt(&j, "role", slice_of(e->role));
	if (e->entry != 0)
		json_u64(&j, "entry", e->entry);
	event_opt(&j, "reason", e->reason);
	event_opt(&j, "author", e->author);
	if (e->count > 0)
		json_u64(&j, "count", e->count);
	if (more && e->more.len > 0) {
		sbuf_char(b, ',');
		sbuf_slice(b, e->more);
	}
	json_object_end(&j);
}

static void
event_to_stderr(const struct event_def *d, const struct event_args *e)
{
	static const enum log_level level[] = {
	    [EVENT_INFO] = LOG_LVL_INFO,
	    [EVENT_WARNING] = LOG_LVL_WARN,
	    [EVENT_ERROR] = LOG_LVL_ERR,
	};
	const struct {
		const char *name;
		struct slice s;
	} opt[] = {
	    {"account", e->account},
	    {"sid", e->sid},
	    {"address", e->address},
	    {"mech", e->mech},
	    {"role", slice_of(e->role)},
	    {"request", e->request},
	    {"process", slice_of(e->process)},
	    {"author", e->author},
	    {"reason", e->reason},
	};
	char text[LOG_LINE_MAX];
	struct sbuf b;

	sbuf_init(&b, text, sizeof(text));
	for (size_t i = 0; i < ARRAY_LEN(opt); i++) {
		if (opt[i].s.len == 0)
			continue;
		sbuf_fmt(&b, " %s=\"", opt[i].name);
		json_escape(&b, (struct slice){opt[i].s.p, MIN(opt[i].s.len,
							       (size_t)1024)});
		sbuf_char(&b, '"');
	}
	if (e->count > 0)
		sbuf_fmt(&b, " count=%llu", (unsigned long long)e->count);
	log_at(level[d->level], "event %u %s: %s%s", d->id,
	       event_level_name(d->level), d->text, text);
}

/* A failure is told once, after this event (event_tell). */
static void
event_to_file(struct event_log *l, struct slice json)
{
	char *line;
	ssize_t n;

	if (l->fd < 0)
		return;
	line = malloc(json.len + 1);
	if (line == NULL) {
		l->lost++;
		return;
	}
	memcpy(line, json.p, json.len);
	line[json.len] = '\n';
	/* One write, so that lines of two writers never mix (O_APPEND). */
	do
		n = write(l->fd, line, json.len + 1);
	while (n < 0 && errno == EINTR);
	free(line);
	if (n == (ssize_t)(json.len + 1)) {
		if (l->failing)
			log_warn("event log: can be written again, %llu "
				 "lines were lost",
				 (unsigned long long)l->lost);
		l->failing = false;
		l->lost = 0;
		return;
	}
	l->lost++;
	l->tell_failing = !l->failing;
	if (!l->failing)
		l->failing_since = clock_real_ns();
	snprintf(l->why, sizeof(l->why), "event log: %s",
		 n < 0 ? strerror(errno) : "written in part");
	l->failing = true;
}

static void
event_to_ring(struct event_log *l, struct slice json)
{
	char *copy = malloc(json.len + 1);

	if (copy == NULL)
		return;
	memcpy(copy, json.p, json.len);
	copy[json.len] = '\0';
	free(l->ring[l->next]);
	l->ring[l->next] = copy;
	l->next = (l->next + 1) % EVENT_RING;
	l->kept = MIN(l->kept + 1, (size_t)EVENT_RING);
}

void
event_tell(struct event_log *l, const struct event_args *e)
{
	const struct event_def *d = event_def(e->id);
	struct slice json;
	struct event_args shorter;
	struct sbuf b;

	BUG_ON(d == NULL);
	event_to_stderr(d, e);
	event_render(l, d, e, true, &b);
	if (b.cut) {
		/* Each text is bounded here to what always fits. */
		shorter = *e;
		shorter.reason.len = MIN(e->reason.len, (size_t)2048);
		shorter.account.len = MIN(e->account.len, (size_t)512);
		shorter.author.len = MIN(e->author.len, (size_t)128);
		event_render(l, d, &shorter, false, &b);
		if (b.cut)
			return; /* standard error has it */
	}
	json = (struct slice){b.p, b.len};
	event_to_file(l, json);
	event_to_ring(l, json);
	if (l->follow != NULL)
		l->follow(l->follow_arg, json);
	if (l->tell_failing) { /* and not again while it lasts */
		l->tell_failing = false;
		event_tellf(l, 3108, "%s", l->why);
	}
}

void
event_tellf(struct event_log *l, uint32_t id, const char *fmt, ...)
{
	struct event_args e = {.id = id};
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	e.reason = slice_of(text);
	event_tell(l, &e);
}

/* --- not too often ----------------------------------------------------- */

/* Events that every request can cause; the rest mark a change of state. */
static bool
event_is_per_request(uint32_t id)
{
	static const uint32_t ids[] = {2000, 2001, 2104, 2106, 2109, 2113,
				       2141, 3000, 3001, 3106, 3107, 3108};

	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		if (ids[i] == id)
			return true;
	}
	return false;
}

/* Their account is what a client says that it is. */
static bool
event_is_claim(uint32_t id)
{
	return id == 2000 || id == 2106 || id == 2141;
}

static uint64_t
event_key(struct event_log *l, const struct event_args *e)
{
	/* The start of the reason tells causes apart; its end often holds
	 * what differs from request to request. */
	char text[1024];
	struct sbuf b;
	uint64_t key;

	sbuf_init(&b, text, sizeof(text));
	sbuf_fmt(&b, "%u|%.*s|%.*s|%.*s", e->id,
		 (int)MIN(e->account.len, (size_t)512),
		 e->account.len > 0 ? e->account.p : "",
		 (int)MIN(e->address.len, (size_t)64),
		 e->address.len > 0 ? e->address.p : "",
		 (int)MIN(e->reason.len, (size_t)48),
		 e->reason.len > 0 ? e->reason.p : "");
	key = hash_bytes(&l->hash, b.p, b.len);
	return key != 0 ? key : 1;
}

/* The cell of this cause, or NULL; then *oldest_r is the oldest nearby. */
static struct event_limit *
event_limit_find(struct event_log *l, uint64_t key,
		 struct event_limit **oldest_r)
{
	*oldest_r = NULL;
	for (size_t i = 0; i < LIMIT_PROBE; i++) {
		struct event_limit *c = &l->limit[(key + i) % LIMIT_SLOTS];

		if (c->key == key)
			return c;
		if (*oldest_r == NULL || c->told_ns < (*oldest_r)->told_ns)
			*oldest_r = c;
	}
	return NULL;
}

/* The cell of this cause; a new one takes the place of the oldest nearby. */
static struct event_limit *
event_limit_cell(struct event_log *l, uint64_t key)
{
	struct event_limit *oldest, *c = event_limit_find(l, key, &oldest);

	if (c != NULL)
		return c;
	*oldest = (struct event_limit){0};
	return oldest;
}

/*
 * What tells this event from others.  Of a claim that is its account, but only
 * for the first few of an address in a while: who makes up names gets no more
 * events for it, and leaves the others' their place.
 */
static uint64_t
event_claim_key(struct event_log *l, const struct event_args *e,
		uint64_t mono_ns)
{
	struct event_args address = {.id = e->id, .address = e->address};
	struct event_args cause = *e;
	uint64_t key = event_key(l, e), names_key;
	struct event_limit *c, *oldest;

	if (!event_is_claim(e->id) || e->account.len == 0)
		return key;
	c = event_limit_find(l, key, &oldest);
	if (c != NULL && mono_ns - c->told_ns < EVENT_LIMIT_NS)
		return key;
	names_key = event_key(l, &address);
	c = event_limit_cell(l, names_key);
	if (c->key != names_key || mono_ns - c->told_ns >= EVENT_LIMIT_NS)
		*c = (struct event_limit){
		    .key = names_key, .told_ns = mono_ns, .id = e->id};
	if (c->held < EVENT_CLAIMS_MAX) {
		c->held++;
		return key;
	}
	cause.account.len = 0;
	return event_key(l, &cause);
}

/* After "works again" the next failure is news. */
static void
event_limit_forget(struct event_log *l, uint32_t id)
{
	for (size_t i = 0; i < LIMIT_SLOTS; i++) {
		if (l->limit[i].id == id)
			l->limit[i] = (struct event_limit){0};
	}
}

bool
event_tell_limited(struct event_log *l, const struct event_args *e,
		   struct budget *b, uint64_t mono_ns)
{
	struct event_limit *c = NULL;
	struct event_args out = *e;

	if (event_is_per_request(e->id)) {
		uint64_t key = event_claim_key(l, e, mono_ns);

		c = event_limit_cell(l, key);
		if (c->key == key && mono_ns - c->told_ns < EVENT_LIMIT_NS) {
			c->held++;
			return false;
		}
		c->key = key;
		c->id = e->id;
	}
	if (!budget_take(b, mono_ns)) {
		if (c != NULL)
			c->held++;
		return false;
	}
	if (c != NULL) {
		c->told_ns = mono_ns;
		out.count = c->held;
		c->held = 0;
	}
	if (e->id == 1104) {
		event_limit_forget(l, 3106);
		event_limit_forget(l, 3107);
	}
	event_tell(l, &out);
	return true;
}
