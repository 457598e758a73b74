/*
 * Purpose: put the master together, run it, reload it and stop it.
 *
 * Runs in: the master.
 * Trusts:  the configuration file's owner, the store, and rmsctl's callers as
 *          far as the control socket lets them in.
 * Touches: everything that the modules touch; signals.
 * Failure: at start an exit status with a line; later the old state stays in
 *          force and an event says why.
 */
#include "master/master.h"

#include <errno.h>
#include <event2/event.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "master/control.h"
#include "master/event.h"
#include "master/keyuse.h"
#include "master/listen.h"
#include "master/logfile.h"
#include "master/master_keytab.h"
#include "master/master_reload.h"
#include "master/master_state.h"
#include "master/publish.h"
#include "master/rollout.h"
#include "master/seen.h"
#include "master/seen_keep.h"
#include "master/supervise.h"
#include "master/trouble.h"
#include "master/version.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

/* --- facts about this host --------------------------------------------- */

static unsigned
master_relays(const struct conf *c)
{
	cpu_set_t set;
	int n = 1;

	if (c->workers > 0)
		return (unsigned)MIN(c->workers, (int64_t)RELAY_MAX);
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	return (unsigned)MAX(1, MIN(n, RELAY_MAX));
}

/* Where the programs are: as told, beside us, or where `make install` puts
 * them. */
static int
master_find_programs(struct master *m, char err[MASTER_ERR])
{
	char self[400], second[MASTER_ERR];
	ssize_t n;
	char *slash;

	if (m->conf.libexec_dir.s[0] != '\0') {
		snprintf(m->bin_dir, sizeof(m->bin_dir), "%s",
			 m->conf.libexec_dir.s);
		return supervise_check_programs(m->bin_dir, err, MASTER_ERR);
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0) {
		snprintf(err, MASTER_ERR,
			 "/proc is not mounted: set libexec_dir");
		return -ENOENT;
	}
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash != NULL)
		*slash = '\0';
	snprintf(m->bin_dir, sizeof(m->bin_dir), "%s", self);
	if (supervise_check_programs(m->bin_dir, second, sizeof(second)) == 0)
		return 0;
	snprintf(m->bin_dir, sizeof(m->bin_dir), "%s/../libexec/rms-connector",
		 self);
	return supervise_check_programs(m->bin_dir, err, MASTER_ERR);
}

void
master_name_node(struct master *m)
{
	char host[sizeof(m->node)] = "";

	if (m->conf.node_name.s[0] != '\0') {
		snprintf(m->node, sizeof(m->node), "%.63s",
			 m->conf.node_name.s);
	} else {
		if (gethostname(host, sizeof(host) - 1) != 0)
			host[0] = '\0';
		snprintf(m->node, sizeof(m->node), "%s",
			 host[0] != '\0' ? host : "node");
	}
	event_log_set_node(m->events, m->node);
	/* The relays write it into the access log. */
	snprintf(m->conf.node_name.s, sizeof(m->conf.node_name.s), "%s",
		 m->node);
}

static void
master_name_user(struct master *m)
{
	struct passwd *pw = getpwuid(geteuid());

	if (pw != NULL)
		snprintf(m->user, sizeof(m->user), "%.63s", pw->pw_name);
	else
		snprintf(m->user, sizeof(m->user), "uid %u",
			 (unsigned)geteuid());
}

void
master_supervise_conf(const struct master *m, struct supervise_conf *c_r)
{
	*c_r = (struct supervise_conf){
	    .relays = m->relays,
	    .watchdog_ms = (uint64_t)m->conf.watchdog_ms,
	    .respawn_max_ms = (uint64_t)m->conf.respawn_max_ms,
	    .ntlm_slots = (unsigned)m->conf.ntlm_workers,
	    .ntlm = m->conf.ntlm,
	};
	snprintf(c_r->bin_dir, sizeof(c_r->bin_dir), "%s", m->bin_dir);
}

/* Relays hold two descriptors for each connection; they inherit this. */
static void
master_raise_limits(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur == l.rlim_max)
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) != 0)
		log_warn("limit of open files stays as it is: %s",
			 strerror(errno));
}

/* --- trouble ----------------------------------------------------------- */

void
master_trouble(struct master *m, const struct proc *p, uint32_t id,
	       const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	trouble_note(m->trouble,
		     p == NULL ? TROUBLE_MASTER
			       : stats_row_index(p->role, p->slot),
		     id, slice_of(text), clock_real_ns(), clock_mono_ns());
}

/* --- children ---------------------------------------------------------- */

static void
master_on_spawn(void *arg, struct proc *p)
{
	struct master *m = arg;

	publish_to_new(m->publish, m->supervise, p);
}

static void
master_on_end(void *arg, struct proc *p, enum proc_end end, const char *why)
{
	static const uint32_t id[] = {
	    [PROC_END_CRASHED] = 3101,
	    [PROC_END_STUCK] = 3102,
	    [PROC_END_LIED] = 3103,
	};
	struct master *m = arg;

	trouble_gone(m->trouble, stats_row_index(p->role, p->slot));
	if (end == PROC_END_STOPPED) {
		log_info("%s %u: %s", role_name(p->role), p->slot, why);
		return;
	}
	master_trouble(m, p, id[end], "%s", why);
	event_tellf(m->events, id[end], "%s %u, %s", role_name(p->role),
		    p->slot, why);
}

static void
master_on_all_gone(void *arg)
{
	struct master *m = arg;

	loop_stop(m->loop, 0);
}

static const struct supervise_ops supervise_ops = {
    .on_spawn = master_on_spawn,
    .on_msg = master_on_msg,
    .on_end = master_on_end,
    .on_all_gone = master_on_all_gone,
};

/* --- signals ----------------------------------------------------------- */

static void
master_stop(struct master *m, uint64_t drain_ms, bool at_once)
{
	publish_close_listeners(m->publish);
	if (at_once)
		supervise_kill(m->supervise);
	else
		supervise_drain(m->supervise, drain_ms);
	rollout_look(m->rollout);
}

/* A second request to stop does not wait; only a TERM may shorten a QUIT. */
static void
master_on_stop(evutil_socket_t sig, short what, void *arg)
{
	struct master *m = arg;
	bool again = m->stopping && (sig != SIGQUIT) && !m->quitting;

	(void)what;
	log_info("%s: %s", strsignal((int)sig),
		 again		  ? "ending at once"
		 : sig == SIGQUIT ? "draining until done"
				  : "draining");
	m->stopping = true;
	m->quitting = sig == SIGQUIT;
	/* drain_ms 0 means: no time; the message's 0 means: no limit. */
	if (sig == SIGQUIT)
		master_stop(m, 0, false);
	else
		master_stop(m, MAX((uint64_t)m->conf.drain_ms, UINT64_C(1)),
			    again);
}

static void
master_on_hup(evutil_socket_t sig, short what, void *arg)
{
	struct conf_errors errs = {.n = 0};
	int r = master_reload(arg, "signal HUP", &errs);

	(void)sig;
	(void)what;
	if (r != 0)
		log_err("reload refused");
}

static void
master_on_usr1(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	master_reopen_logs(arg);
}

static void
master_on_chld(evutil_socket_t sig, short what, void *arg)
{
	struct master *m = arg;

	(void)sig;
	(void)what;
	supervise_reap(m->supervise);
}

static int
master_catch_signals(struct master *m)
{
	static const struct {
		int sig;
		event_callback_fn fn;
	} map[MASTER_SIGNALS] = {
	    {SIGCHLD, master_on_chld}, {SIGTERM, master_on_stop},
	    {SIGINT, master_on_stop},  {SIGQUIT, master_on_stop},
	    {SIGHUP, master_on_hup},   {SIGUSR1, master_on_usr1},
	};

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit of size is like a full disk */
	for (size_t i = 0; i < ARRAY_LEN(map); i++) {
		m->signal[i] =
		    evsignal_new(loop_base(m->loop), map[i].sig, map[i].fn, m);
		if (m->signal[i] == NULL ||
		    evsignal_add(m->signal[i], NULL) != 0)
			return -ENOMEM;
	}
	return 0;
}

/* --- start ------------------------------------------------------------- */

int
master_status(int r)
{
	switch (-r) {
	case EACCES:
	case EPERM:
		return EX_NOPERM;
	case EBUSY:
	case EADDRINUSE:
	case EADDRNOTAVAIL:
		return EX_UNAVAILABLE;
	case EPROTO:
	case EBADMSG:
	case EUCLEAN:
		return EX_DATAERR;
	case ENOSPC:
	case EIO:
		return EX_IOERR;
	case EINVAL:
	case ENOENT:
		return EX_CONFIG;
	default:
		return EX_OSERR;
	}
}

static int
master_open_logs(struct master *m, char err[MASTER_ERR])
{
	int access = -1, r;

	r = logfile_open(m->conf.event_log.s, &m->event_fd, err, MASTER_ERR);
	if (r != 0)
		return r;
	event_log_set_fd(m->events, m->event_fd);
	r = logfile_open(m->conf.access_log.s, &access, err, MASTER_ERR);
	if (r == 0)
		publish_use_access_log(m->publish, access);
	return r;
}

static int
master_open_service(struct master *m, char err[MASTER_ERR])
{
	struct publish_files *files = NULL;
	struct listen *listen = NULL;
	int r = publish_new(&m->publish, m->loop, &m->conf, m->store, err,
			    MASTER_ERR);

	if (r == 0)
		r = master_open_logs(m, err);
	if (r == 0)
		r = publish_files_load(&files, &m->conf, err, MASTER_ERR);
	if (r == 0)
		r = listen_open(&listen, &m->conf, m->relays, NULL, err,
				MASTER_ERR);
	if (r != 0) {
		publish_files_free(&files);
		return r;
	}
	publish_use(m->publish, &files, &listen);
	return control_open(&m->control, m, err, MASTER_ERR);
}

/* What was seen could not be saved, or can be again. */
static void
master_on_seen_failing(void *arg, const char *why)
{
	struct master *m = arg;

	if (why == NULL) {
		trouble_over(m->trouble, TROUBLE_MASTER, 2108);
		return;
	}
	master_trouble(m, NULL, 2108, "%s", why);
	event_tellf(m->events, 2108, "%s", why);
}

static void
master_start_seen(struct master *m)
{
	seen_set_pause(m->seen,
		       (uint64_t)m->conf.account_report_ms * (NS_PER_S / 1000));
	m->seen_keep = seen_keep_new(m->loop, m->store, m->seen,
				     master_on_seen_failing, m);
	if (m->seen_keep == NULL ||
	    keyuse_keep(m->keyuse, m->loop, m->store) != 0)
		log_err("out of memory: what is seen will not be "
			"saved");
}

static int
master_make(struct master *m, char err[MASTER_ERR])
{
	struct supervise_conf sc;
	int r = master_find_programs(m, err);

	if (r == 0)
		r = master_state_open(m, err);
	if (r == 0)
		r = master_open_service(m, err);
	if (r != 0)
		return r;
	master_start_seen(m);
	master_supervise_conf(m, &sc);
	m->supervise = supervise_new(m->loop, &sc, publish_stats(m->publish),
				     &supervise_ops, m);
	if (m->supervise != NULL)
		m->rollout =
		    rollout_new(m->loop, m->supervise, MASTER_ROLLOUT_MS,
				master_on_rollout, m);
	m->certs = loop_timer_new(m->loop, master_on_certs, m);
	if (m->rollout == NULL || m->certs == NULL ||
	    master_keytab_start(m) != 0 || master_catch_signals(m) != 0) {
		snprintf(err, MASTER_ERR, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

int
master_init(struct master *m, const char *conf_path, const struct conf *conf,
	    char err[MASTER_ERR])
{
	int r;

	*m = (struct master){.event_fd = -1};
	snprintf(m->conf_path, sizeof(m->conf_path), "%s", conf_path);
	m->conf = *conf;
	m->started_ns = m->loaded_ns = clock_real_ns();
	m->started_mono_ns = clock_mono_ns();
	m->relays = master_relays(conf);
	m->loop = loop_new();
	m->events = event_log_new();
	m->seen = seen_new(SEEN_MAX);
	m->trouble = trouble_new();
	m->keyuse = keyuse_new(m->started_ns);
	if (m->loop == NULL || m->events == NULL || m->seen == NULL ||
	    m->trouble == NULL || m->keyuse == NULL) {
		snprintf(err, MASTER_ERR, "out of memory");
		return EX_OSERR;
	}
	master_set_log_level(m);
	master_name_node(m);
	master_name_user(m);
	master_raise_limits();
	r = master_make(m, err);
	return r == 0 ? 0 : master_status(r);
}

int
master_run(struct master *m, const struct conf_errors *e)
{
	char err[MASTER_ERR];
	int status;

	event_tellf(m->events, 1000, "version %s, pid %d, user %s, %u relays",
		    RMS_VERSION, (int)getpid(), m->user, m->relays);
	/* A table that cannot be built is an event; the relays refuse. */
	master_first_table(m, err);
	master_tell_warnings(m, e);
	supervise_start(m->supervise);
	status = loop_run(m->loop);
	event_tellf(
	    m->events, 1001, "after %llu s",
	    (unsigned long long)((clock_mono_ns() - m->started_mono_ns) /
				 NS_PER_S));
	return status;
}

void
master_fini(struct master *m)
{
	control_free(&m->control);
	for (size_t i = 0; i < MASTER_SIGNALS; i++) {
		if (m->signal[i] != NULL)
			event_free(m->signal[i]);
	}
	master_keytab_stop(m);
	rollout_free(&m->rollout);
	loop_timer_free(&m->certs);
	supervise_free(&m->supervise);
	publish_free(&m->publish);
	seen_keep_free(&m->seen_keep);
	keyuse_free(&m->keyuse);
	master_state_close(m);
	seen_free(&m->seen);
	trouble_free(&m->trouble);
	event_log_free(&m->events);
	fd_close(&m->event_fd);
	loop_free(&m->loop);
}
