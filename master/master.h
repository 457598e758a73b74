/*
 * master: the one privileged process, put together.
 *
 * Owns everything; the modules know nothing of each other but through here.
 * The control verbs and the signals act by the functions below.
 */
#ifndef RMS_MASTER_H
#define RMS_MASTER_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "conf/conf_file.h"
#include "master/budget.h"
#include "shm/base/bug.h"
#include "shm/msg.h"
#include "shm/stats.h"

struct control;
struct event;
struct event_log;
struct ipc_msg;
struct keytab_watch;
struct keyuse;
struct loop;
struct loop_timer;
struct proc;
struct publish;
struct rollout;
struct seal;
struct seen;
struct seen_keep;
struct store;
struct store_author;
struct supervise;
struct trouble;

#define MASTER_ERR 1024 /* room for an error line */

#define MASTER_SIGNALS 6
/* So long all processes may take to bring a new set into force. */
#define MASTER_ROLLOUT_MS 10000
/* Certificates grow old without a change of ours: looked at so often. */
#define MASTER_CERTS_MS (UINT64_C(12) * 3600 * 1000)

struct master {
	char conf_path[512];
	struct conf conf; /* in force: file and store's settings */
	char node[64];
	unsigned relays;
	char bin_dir[512];
	char user[64];			      /* that we run as */
	uint64_t started_ns, started_mono_ns; /* CLOCK_REALTIME, MONOTONIC */
	uint64_t loaded_ns;		      /* when conf came into force */
	char restart_needed[1024]; /* names separated by commas, or "" */

	struct loop *loop;
	struct seal *seal;
	struct store *store;
	struct event_log *events;
	int event_fd;
	struct seen *seen;
	struct seen_keep *seen_keep;
	struct publish *publish;
	struct supervise *supervise;
	struct rollout *rollout;
	char rollout_by[64]; /* author of what is rolled out */
	bool rollout_reload; /* it came from the file */
	struct control *control;
	struct loop_timer *certs;
	struct event *signal[MASTER_SIGNALS]; /* libevent's */
	bool stopping;			      /* TERM, INT or QUIT came */
	bool quitting;			      /* the last of them was QUIT */

	struct budget budget[STATS_ROWS]; /* of each process's events */
	struct trouble *trouble;
	bool keytab_told; /* 3109 came since the keeper's last READY */
	struct keytab_watch *keytab_watch;
	struct keyuse *keyuse;
	struct loop_timer *keytab_timer;

	/* the last reports of keeper and cloud agent */
	struct msg_cloud_status cloud;
	uint64_t cloud_mono_ns; /* 0: none yet */
	uint32_t keeper_entries;
	char keeper_text[16384];
};

/*
 * Starts from a checked configuration, in this order: event log, sealing key,
 * store, listeners, files, segments, control socket, children.  0, or the
 * exit status (sysexits.h) with a line in err; what was begun is undone by
 * master_fini().
 */
MUST_USE int master_init(struct master *m, const char *conf_path,
			 const struct conf *conf, char err[MASTER_ERR]);
/* The exit status (sysexits.h) for a start that failed with that -errno. */
int master_status(int r);
/* Runs until stopped.  e: what the reading of that configuration warned of.
 * The exit status. */
MUST_USE int master_run(struct master *m, const struct conf_errors *e);
void master_fini(struct master *m);

/* Reads and checks the file.  0, or -errno with the errors. */
MUST_USE int master_conf_load(const char *path, struct conf *conf_r,
			      struct conf_errors *e_r);

/*
 * As SIGHUP.  0, or -errno with the errors: then nothing has changed and
 * event 2100 was told.
 */
MUST_USE int master_reload(struct master *m, const char *author,
			   struct conf_errors *e_r);
/* As SIGUSR1: opens the logs again. */
void master_reopen_logs(struct master *m);

/*
 * After a change in the store: brings it into force and tells the event.
 * 0 with the number of relays that have it; -errno with a line in err when
 * the change is stored but not in force (event 3001 was told).
 */
MUST_USE int master_servers_changed(struct master *m,
				    const struct store_author *who,
				    unsigned *relays_r, char err[MASTER_ERR]);
MUST_USE int master_settings_changed(struct master *m,
				     const struct store_author *who,
				     const char *what, char err[MASTER_ERR]);

/* Name of the credential that a role's requests travel with. */
const char *master_credential_name(const struct conf *c, enum server_role r);

/* For `rmsctl status`: the event befell this process, NULL ourselves. */
PRINTF(4, 5)
void master_trouble(struct master *m, const struct proc *p, uint32_t id,
		    const char *fmt, ...);

/* A message of a child; master_msg.c. */
void master_on_msg(void *arg, struct proc *p, struct ipc_msg *m);

#endif
