/*
 * master_reload: what master.c and master_reload.c share.
 */
#ifndef RMS_MASTER_RELOAD_H
#define RMS_MASTER_RELOAD_H

#include "master/master.h"

struct supervise_conf;

/* From conf in force to the node's name, the log level, the supervisor's
 * times (master.c, master_reload.c). */
void master_name_node(struct master *m);
void master_set_log_level(const struct master *m);
void master_supervise_conf(const struct master *m, struct supervise_conf *c_r);

/* A set went out, by this author; reload: from the file. */
void master_roll_out(struct master *m, const char *author, bool reload);
/* How that ended: rollout_done of rollout.h. */
void master_on_rollout(void *arg, uint64_t set,
		       const struct conf_errors *wrong);

/* Tells what of the files, which were read just now, will not do for long
 * (event 2140), and sets the time of the next look. */
void master_tell_warnings(struct master *m, const struct conf_errors *e);
/* That look: at the files anew, and whether they are still what is in force;
 * arg is the master. */
void master_on_certs(void *arg);
/* The table at the start, with event 1004 or 2003, or 3001. */
void master_first_table(struct master *m, char err[MASTER_ERR]);

#endif
