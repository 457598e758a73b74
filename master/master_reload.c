/*
 * Purpose: bring changes into force: a new file, a change in the store,
 *          rotated logs.
 *
 * Runs in: the master.
 * Trusts:  the file's owner, after the checks.
 * Touches: the configuration in force, everything that hangs on it.
 * Failure: everything that can fail comes before the first change, so a
 *          refused reload leaves no trace but event 2100.
 */
#include "master/master_reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/control.h"
#include "master/event.h"
#include "master/listen.h"
#include "master/logfile.h"
#include "master/publish.h"
#include "master/rollout.h"
#include "master/seen.h"
#include "master/store.h"
#include "master/supervise.h"
#include "master/trouble.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/json.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

/* Room for the accounts of event 1004. */
#define ACCOUNTS_MAX 16384

int
master_conf_load(const char *path, struct conf *conf_r, struct conf_errors *e_r)
{
	int r;

	*e_r = (struct conf_errors){.n = 0};
	r = conf_file_load(path, conf_r, e_r);
	if (r == 0)
		r = conf_file_check(path, conf_r, e_r);
	return r;
}

void
master_set_log_level(const struct master *m)
{
	enum log_level level;

	if (log_level_parse(m->conf.log_level.s, &level) == 0)
		log_set_level(level);
}

/* --- what grows old ---------------------------------------------------- */

static void
tell_staple(struct master *m, size_t n, const char *what)
{
	char why[MASTER_ERR];

	if (n == 0)
		return;
	snprintf(why, sizeof(why), "%.200s: certificate_ocsp: %zu of the %s",
		 m->conf_path, n, what);
	event_tellf(m->events, 2140, "%s", why);
	master_trouble(m, NULL, 2140, "%s", why);
}

/* Of what is in force, whatever lies there now: is told until a reload takes
 * another.  The time of the next look. */
static uint64_t
tell_staples(struct master *m)
{
	uint64_t now_s = clock_real_ns() / NS_PER_S, next_s;
	size_t n = publish_staples_ended(m->publish, now_s, &next_s);

	tell_staple(m, n,
		    "responses that were stapled to certificates have ended "
		    "and are stapled no more, fetch them again and reload");
	tell_staple(m, publish_staples_left_out(m->publish),
		    "files were not good when they were read and are not "
		    "stapled, reload when they are");
	if (next_s - now_s > MASTER_CERTS_MS / 1000)
		return MASTER_CERTS_MS;
	return (next_s - now_s) * 1000 + 500;
}

static void
tell_changed(void *arg, const char *path)
{
	struct master *m = arg;
	char why[MASTER_ERR];

	snprintf(why, sizeof(why),
		 "%.300s: the file is not what is in force of it any more, "
		 "reload to take it",
		 path);
	event_tellf(m->events, 2140, "%s", why);
	master_trouble(m, NULL, 2140, "%s", why);
}

/* later: the files were not read just now. */
static void
tell_warnings(struct master *m, const struct conf_errors *e, bool later)
{
	trouble_over(m->trouble, TROUBLE_MASTER, 2140);
	for (size_t i = 0; i < e->nwarn; i++) {
		event_tellf(m->events, 2140, "%s", e->warn[i]);
		master_trouble(m, NULL, 2140, "%s", e->warn[i]);
	}
	/* renewed, and nobody reloaded: it would run out unnoticed */
	if (later)
		publish_tell_changed(m->publish, &m->conf, tell_changed, m);
	loop_timer_set(m->certs, tell_staples(m));
}

void
master_tell_warnings(struct master *m, const struct conf_errors *e)
{
	tell_warnings(m, e, false);
}

void
master_on_certs(void *arg)
{
	struct master *m = arg;
	struct conf_errors *e = calloc(1, sizeof(*e));

	/* Errors are for a reload to tell: what is in force is a copy. */
	if (e != NULL) {
		(void)!conf_file_check(m->conf_path, &m->conf, e);
		tell_warnings(m, e, true);
	}
	free(e);
}

/* --- a new file -------------------------------------------------------- */

static size_t
conf_member_size(enum conf_type type)
{
	switch (type) {
	case CONF_T_INT:
	case CONF_T_SIZE:
	case CONF_T_TIME:
		return sizeof(int64_t);
	case CONF_T_BOOL:
		return sizeof(bool);
	case CONF_T_STR:
	case CONF_T_PATH:
	case CONF_T_ENUM:
		return sizeof(struct conf_text);
	}
	BUG_ON(true);
}

/* What cannot change while we run keeps its value. */
static void
conf_keep_restart(struct conf *to, const struct conf *from)
{
	size_t n;
	const struct conf_row *row = conf_rows(&n);

	for (size_t i = 0; i < n; i++) {
		if (row[i].reload == CONF_RESTART)
			memcpy((char *)to + row[i].offset,
			       (const char *)from + row[i].offset,
			       conf_member_size(row[i].type));
	}
}

/* All that a new configuration needs, ready to be taken. */
struct reload {
	struct conf conf;
	struct publish_files *files;
	struct listen *listen;
	int event_fd, access_fd;
	char restart[sizeof(((struct master *)0)->restart_needed)];
};

static void
errors_add(struct conf_errors *e, const char *path, const char *text)
{
	if (e->n < ARRAY_LEN(e->text))
		snprintf(e->text[e->n], sizeof(e->text[0]), "%s: %s", path,
			 text);
	e->n++;
}

static void
reload_drop(struct reload *n)
{
	publish_files_free(&n->files);
	listen_free(&n->listen);
	fd_close(&n->event_fd);
	fd_close(&n->access_fd);
}

static int
reload_prepare(struct master *m, struct reload *n, struct conf_errors *e)
{
	char err[MASTER_ERR] = "";
	int r = master_conf_load(m->conf_path, &n->conf, e);

	if (r != 0)
		return r;
	r = store_settings_get(m->store, &n->conf);
	if (r != 0)
		snprintf(err, sizeof(err), "the store cannot be read: %s",
			 strerror(-r));
	if (conf_restart_diff(&m->conf, &n->conf, n->restart,
			      sizeof(n->restart)) == 0)
		n->restart[0] = '\0';
	conf_keep_restart(&n->conf, &m->conf);
	if (r == 0)
		r = publish_files_load(&n->files, &n->conf, err, sizeof(err));
	if (r == 0)
		r = logfile_open(n->conf.event_log.s, &n->event_fd, err,
				 sizeof(err));
	if (r == 0)
		r = logfile_open(n->conf.access_log.s, &n->access_fd, err,
				 sizeof(err));
	if (r == 0)
		r = listen_open(&n->listen, &n->conf, m->relays,
				publish_listen(m->publish), err, sizeof(err));
	if (r != 0)
		errors_add(e, m->conf_path, err);
	return r;
}

/* From here nothing can fail. */
static void
reload_commit(struct master *m, struct reload *n)
{
	struct supervise_conf sc;

	m->conf = n->conf;
	m->loaded_ns = clock_real_ns();
	snprintf(m->restart_needed, sizeof(m->restart_needed), "%s",
		 n->restart);
	master_set_log_level(m);
	master_name_node(m);
	event_log_set_fd(m->events, n->event_fd);
	fd_close(&m->event_fd);
	m->event_fd = n->event_fd;
	publish_use(m->publish, &n->files, &n->listen);
	publish_use_access_log(m->publish, n->access_fd);
	master_supervise_conf(m, &sc);
	supervise_tune(m->supervise, &sc);
	seen_set_pause(m->seen,
		       (uint64_t)m->conf.account_report_ms * (NS_PER_S / 1000));
	control_regroup(m->control);
	trouble_over(m->trouble, TROUBLE_MASTER, 2100);
	trouble_over_all(m->trouble, 3108); /* the logs were opened anew */
}

static void
reload_tell_refused(struct master *m, const char *what,
		    const struct conf_errors *e, const char *author)
{
	struct event_args ev = {.id = 2100, .author = slice_of(author)};
	char lines[4096];
	struct sbuf b;

	sbuf_init(&b, lines, sizeof(lines));
	sbuf_str(&b, what);
	for (size_t i = 0; i < MIN(e->n, ARRAY_LEN(e->text)); i++)
		sbuf_fmt(&b, "%s%s", i > 0 ? " | " : "", e->text[i]);
	ev.reason = (struct slice){b.p, b.len};
	event_tell(m->events, &ev);
}

int
master_reload(struct master *m, const char *author, struct conf_errors *e_r)
{
	struct event_args ev = {.id = 2105, .author = slice_of(author)};
	struct reload *n;
	int r;

	*e_r = (struct conf_errors){.n = 0};
	if (supervise_is_draining(m->supervise)) {
		errors_add(e_r, m->conf_path, "the connector is stopping");
		return -EBUSY;
	}
	n = calloc(1, sizeof(*n)); /* two hundred kilobytes: not on the stack */
	if (n == NULL) {
		errors_add(e_r, m->conf_path, "out of memory");
		return -ENOMEM;
	}
	n->event_fd = n->access_fd = -1;
	r = reload_prepare(m, n, e_r);
	if (r != 0) {
		reload_drop(n);
		reload_tell_refused(m, "", e_r, author);
		master_trouble(m, NULL, 2100, "%s", e_r->text[0]);
		free(n);
		return r;
	}
	reload_commit(m, n);
	master_tell_warnings(m, e_r);
	free(n);
	master_roll_out(m, author, true);
	if (m->restart_needed[0] != '\0') {
		ev.reason = slice_of(m->restart_needed);
		event_tell(m->events, &ev);
	}
	return 0;
}

/* --- into the processes ------------------------------------------------ */

void
master_roll_out(struct master *m, const char *author, bool reload)
{
	publish_to_all(m->publish, m->supervise);
	/* A reload that is under way has this set too: its end is told. */
	m->rollout_reload = m->rollout_reload || reload;
	snprintf(m->rollout_by, sizeof(m->rollout_by), "%s", author);
	rollout_begin(m->rollout, publish_set_number(m->publish));
}

/* The lines are those of the processes without the set, in their order. */
static void
rollout_trouble(struct master *m, uint64_t set, const struct conf_errors *wrong)
{
	size_t line = 0;

	for (size_t i = 0; i < supervise_count(m->supervise); i++) {
		const struct proc *p = supervise_proc(m->supervise, i);

		if (p->set < set && p->wanted &&
		    line < MIN(wrong->n, ARRAY_LEN(wrong->text)))
			master_trouble(m, p, 2100, "%s", wrong->text[line++]);
	}
}

void
master_on_rollout(void *arg, uint64_t set, const struct conf_errors *wrong)
{
	struct master *m = arg;
	struct event_args ev = {.id = 1100, .author = slice_of(m->rollout_by)};
	bool reload = m->rollout_reload;
	char text[64];

	m->rollout_reload = false;
	if (supervise_is_draining(m->supervise)) {
		log_info("set %llu: the stop came first",
			 (unsigned long long)set);
	} else if (wrong->n > 0) {
		snprintf(text, sizeof(text), "set %llu is not everywhere: ",
			 (unsigned long long)set);
		reload_tell_refused(m, text, wrong, m->rollout_by);
		rollout_trouble(m, set, wrong);
	} else if (reload) {
		snprintf(text, sizeof(text), "set %llu",
			 (unsigned long long)set);
		ev.reason = slice_of(text);
		event_tell(m->events, &ev);
	}
	control_settle(m->control, wrong);
}

/* --- rotated logs ------------------------------------------------------ */

static void
reopen_failed(struct master *m, const char *err)
{
	event_tellf(m->events, 3108, "%s", err);
	master_trouble(m, NULL, 3108, "%s", err);
}

void
master_reopen_logs(struct master *m)
{
	char err[MASTER_ERR];
	int fd;

	trouble_over_all(m->trouble, 3108);
	if (logfile_open(m->conf.event_log.s, &fd, err, sizeof(err)) == 0) {
		event_log_set_fd(m->events, fd);
		fd_close(&m->event_fd);
		m->event_fd = fd;
	} else {
		reopen_failed(m, err);
	}
	if (logfile_open(m->conf.access_log.s, &fd, err, sizeof(err)) == 0) {
		publish_use_access_log(m->publish, fd);
		publish_access_log(m->publish, m->supervise);
	} else {
		reopen_failed(m, err);
	}
	log_info("logs reopened");
}

/* --- changes in the store ---------------------------------------------- */

struct accounts {
	struct json json;
	char text[ACCOUNTS_MAX];
	struct sbuf b;
};

/* Goes on while there is room for one more entry and the end. */
static int
accounts_add(void *arg, const struct store_server *s)
{
	struct accounts *a = arg;

	/* Six bytes for each of a text is JSON's worst case. */
	if (a->b.len + 6 * (strlen(s->subject) + strlen(s->name)) + 256 >
	    sizeof(a->text))
		return 1;
	json_object(&a->json, NULL);
	json_u64(&a->json, "entry", s->id);
	json_str(&a->json, "subject", s->subject);
	json_str(&a->json, "role", server_role_name(s->role));
	if (s->name[0] != '\0')
		json_str(&a->json, "name", s->name);
	json_object_end(&a->json);
	return 0;
}

static void
tell_list(struct master *m, const char *author)
{
	struct accounts *a;
	struct event_args e = {.id = 1004, .author = slice_of(author)};
	size_t n = store_servers_count(m->store);

	if (n == 0) {
		e.id = 2003;
		event_tell(m->events, &e);
		return;
	}
	a = calloc(1, sizeof(*a));
	if (a != NULL) {
		sbuf_init(&a->b, a->text, sizeof(a->text));
		json_init(&a->json, &a->b);
		json_u64(&a->json, "accounts_total", n);
		json_array(&a->json, "accounts");
		if (store_servers_each(m->store, accounts_add, a) < 0)
			log_err("the list of servers cannot be read");
		json_array_end(&a->json);
		if (!a->b.cut)
			e.more = (struct slice){a->b.p, a->b.len};
	}
	event_tell(m->events, &e);
	free(a);
}

static int
bring_table(struct master *m, unsigned *relays_r, char err[MASTER_ERR])
{
	int r = publish_table(m->publish, m->supervise, relays_r);

	if (r == 0) {
		trouble_over(m->trouble, TROUBLE_MASTER, 3001);
		return 0;
	}
	snprintf(err, MASTER_ERR,
		 "the authorization table could not be built: %s; the last one "
		 "stays in force",
		 strerror(-r));
	event_tellf(m->events, 3001, "%s", err);
	master_trouble(m, NULL, 3001, "%s", err);
	return r;
}

void
master_first_table(struct master *m, char err[MASTER_ERR])
{
	unsigned relays;

	if (bring_table(m, &relays, err) == 0)
		tell_list(m, "");
}

int
master_servers_changed(struct master *m, const struct store_author *who,
		       unsigned *relays_r, char err[MASTER_ERR])
{
	int r = bring_table(m, relays_r, err);

	if (r == 0)
		tell_list(m, who->name);
	return r;
}

int
master_settings_changed(struct master *m, const struct store_author *who,
			const char *what, char err[MASTER_ERR])
{
	struct event_args e = {.id = 1103,
			       .author = slice_of(who->name),
			       .reason = slice_of(what)};
	int r = store_settings_get(m->store, &m->conf);

	if (r != 0) {
		snprintf(err, MASTER_ERR,
			 "stored, but it cannot be read back: %s; restart the "
			 "connector",
			 strerror(-r));
		return r;
	}
	master_roll_out(m, who->name, false);
	event_tell(m->events, &e);
	return 0;
}

const char *
master_credential_name(const struct conf *c, enum server_role r)
{
	switch (r) {
	case SERVER_EXCHANGE:
		return c->credential_exchange.s;
	case SERVER_SHAREPOINT:
		return c->credential_sharepoint.s;
	case SERVER_FCI:
		return c->credential_fci.s;
	case SERVER_NONE:
	case SERVER_ROLE_MAX:
		break;
	}
	return "";
}
