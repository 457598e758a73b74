/*
 * publish: what the children are given, at their start and after a change.
 *
 * Owns the shared segments, the sockets and the files that children get a
 * descriptor of.  A child's set of messages, in this order:
 *
 *	CONF_VIEW, SEGMENTs, LISTENER_PEMs, TLS_KEYs, KEYTAB, NTLM_USERS,
 *	CREDENTIALS, CLOUD_CA, PROXY_CA, ACCESS_LOG, LISTENERs, PEERs,
 *	CONF_DONE(number of the set)
 *
 * as far as ipc_msgs.def lets them go to its role.  A set is whole: a
 * listener, certificate or key that is not in the newest one is gone.  After
 * a reload segments and peers are not sent again: they stay.  Between sets a
 * child gets a SEGMENT (a newer table), a PEER (a neighbour was replaced), an
 * ACCESS_LOG (reopened) or a KEYTAB_NEWS (its file has changed) alone.
 */
#ifndef RMS_PUBLISH_H
#define RMS_PUBLISH_H

#include <stdbool.h>

#include "conf/conf.h"
#include "shm/base/bug.h"

struct listen;
struct loop;
struct proc;
struct publish;
struct publish_files;
struct stats;
struct store;
struct supervise;
struct table;

/*
 * Reads and opens what conf names: certificates, keys, keytab, cloud_ca_file.
 * All or nothing: 0, or -errno with a line in err.
 */
MUST_USE int publish_files_load(struct publish_files **f_r,
				const struct conf *conf, char *err,
				size_t err_size);
void publish_files_free(struct publish_files **f);

/*
 * Makes the segments; ticket keys come with publish_use().  conf and store are
 * borrowed for its life.  0 or -errno with a line in err.
 */
MUST_USE int publish_new(struct publish **p_r, struct loop *l,
			 const struct conf *conf, struct store *store,
			 char *err, size_t err_size);
void publish_free(struct publish **p);

/* Takes what a new configuration is served with, and frees the old. */
void publish_use(struct publish *p, struct publish_files **files,
		 struct listen **listen);
/* The listeners in force, for the next listen_open(); NULL at the start. */
const struct listen *publish_listen(const struct publish *p);
/* Closes our copies of the listening sockets: a drain has begun. */
void publish_close_listeners(struct publish *p);
/* Takes the descriptor of the access log, -1 none; sent by the next set, or
 * to all relays at once by publish_access_log(). */
void publish_use_access_log(struct publish *p, int fd);
void publish_access_log(struct publish *p, struct supervise *s);

struct stats *publish_stats(struct publish *p);
/* The trail (shm/trail.h) of that relay slot; -1: it never ran.  Borrowed. */
int publish_trail(const struct publish *p, unsigned slot);
/* The table in force, NULL none.  Borrowed until the next change. */
const struct table *publish_table_now(const struct publish *p);
/*
 * Of the OCSP responses in force: how many have ended by now_s, as time(2)
 * counts, and the end of the next one; UINT64_MAX: there is none.
 */
size_t publish_staples_ended(const struct publish *p, uint64_t now_s,
			     uint64_t *next_s_r);
/* Files of certificate_ocsp that were not good when they were read for what is
 * in force. */
size_t publish_staples_left_out(const struct publish *p);
/* Tells the path of each certificate, client_ca and client_crl of conf whose
 * file is there and is not what is in force of it. */
void publish_tell_changed(const struct publish *p, const struct conf *conf,
			  void (*tell)(void *arg, const char *path), void *arg);
/* Number of the last set that was begun. */
uint64_t publish_set_number(const struct publish *p);

/* The whole set to a child that was just started, and itself to its peers. */
void publish_to_new(struct publish *p, struct supervise *s, struct proc *child);
/* A new set, without segments and peers, to every child that is up. */
void publish_to_all(struct publish *p, struct supervise *s);
/* The keytab that keepers get, a sealed memfd of ours; -1 none. */
int publish_keytab_now(const struct publish *p);
/* Takes *fd, a sealed memfd, as the keytab from now on, and hands it to the
 * keeper. */
void publish_keytab(struct publish *p, struct supervise *s, int *fd);
/*
 * Builds the store's table and hands it to every relay that is up; s may be
 * NULL before there are any.  0 with their number, or -errno: the old one
 * stays in force.
 */
MUST_USE int publish_table(struct publish *p, struct supervise *s,
			   unsigned *relays_r);

#endif
