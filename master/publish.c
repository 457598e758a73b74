/*
 * Purpose: own what the children are given: segments, sockets, files.
 *
 * Runs in: the master.
 * Trusts:  the checked configuration.
 * Touches: the shared segments.
 * Failure: a segment that cannot be made is no start; what is in force stays
 *          until there is another.
 */
#include "master/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/listen.h"
#include "master/publish_files.h"
#include "master/publish_priv.h"
#include "master/ticket_ring.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/pub.h"
#include "shm/replay_log.h"
#include "shm/stats.h"
#include "shm/table.h"
#include "shm/tickets.h"
#include "shm/token.h"
#include "shm/base/log.h"

/* How often the clock is asked whether ticket keys are to change. */
#define TICKETS_LOOK_MS UINT64_C(60000)

/* --- segments ---------------------------------------------------------- */

static void
publish_rotate(void *arg)
{
	struct publish *p = arg;
	struct tickets_value v;

	if (ticket_ring_turn(p->ring, clock_real_ns() / NS_PER_S,
			     clock_boot_ns())) {
		ticket_ring_value(p->ring, &v);
		pub_write(p->tickets, &v);
		str_wipe(&v, sizeof(v));
	}
	loop_timer_set(p->rotate, TICKETS_LOOK_MS);
}

static int
publish_make_tickets(struct publish *p, const char **why_r)
{
	int fd =
	    pub_create("tickets", sizeof(struct tickets_value), TICKETS_LAYOUT);
	int r = 0;

	if (fd < 0)
		return fd;
	p->tickets = pub_map(fd, sizeof(struct tickets_value), TICKETS_LAYOUT,
			     true, why_r);
	p->tickets_ro_fd = fd_reopen_ro(fd);
	p->ring = ticket_ring_new();
	if (p->tickets == NULL || p->ring == NULL)
		r = -ENOMEM;
	else if (p->tickets_ro_fd < 0)
		r = p->tickets_ro_fd;
	fd_close(&fd);
	return r;
}

static int
publish_make_token(struct publish *p)
{
	p->token_fd =
	    pub_create("token", sizeof(struct token_value), TOKEN_LAYOUT);
	if (p->token_fd < 0)
		return p->token_fd;
	p->token_ro_fd = fd_reopen_ro(p->token_fd);
	return MIN(p->token_ro_fd, 0);
}

static int
publish_make_replay(struct publish *p)
{
	p->replay_fd = replay_log_create();
	return MIN(p->replay_fd, 0);
}

int
publish_new(struct publish **p_r, struct loop *l, const struct conf *conf,
	    struct store *store, char *err, size_t err_size)
{
	struct publish *p = calloc(1, sizeof(*p));
	const char *why = NULL;
	int r = -ENOMEM;

	if (p != NULL) {
		p->conf = conf;
		p->store = store;
		p->access_log = p->table_fd = -1;
		p->token_fd = p->token_ro_fd = p->tickets_ro_fd = p->replay_fd =
		    -1;
		memset(p->trail_fd, 0xff, sizeof(p->trail_fd)); /* all -1 */
		p->rotate = loop_timer_new(l, publish_rotate, p);
	}
	if (p != NULL && p->rotate != NULL) {
		p->stats = stats_new(&why);
		if (p->stats != NULL)
			r = publish_make_token(p);
		if (r == 0)
			r = publish_make_tickets(p, &why);
		if (r == 0)
			r = publish_make_replay(p);
	}
	if (r != 0) {
		snprintf(err, err_size, "shared memory: %s%s%s", strerror(-r),
			 why != NULL ? ": " : "", why != NULL ? why : "");
		publish_free(&p);
		return r;
	}
	*p_r = p;
	return 0;
}

void
publish_free(struct publish **pp)
{
	struct publish *p = *pp;

	if (p == NULL)
		return;
	loop_timer_free(&p->rotate);
	publish_files_free(&p->files);
	listen_free(&p->listen);
	if (p->table != NULL)
		table_unmap(&p->table);
	if (p->tickets != NULL)
		pub_unmap(&p->tickets);
	stats_free(&p->stats);
	fd_close(&p->access_log);
	fd_close(&p->table_fd);
	fd_close(&p->token_fd);
	fd_close(&p->token_ro_fd);
	fd_close(&p->tickets_ro_fd);
	fd_close(&p->replay_fd);
	for (size_t i = 0; i < RELAY_MAX; i++)
		fd_close(&p->trail_fd[i]);
	ticket_ring_free(&p->ring);
	free(p);
	*pp = NULL;
}

/* --- what is in force -------------------------------------------------- */

void
publish_use(struct publish *p, struct publish_files **files,
	    struct listen **listen)
{
	publish_files_free(&p->files);
	listen_free(&p->listen);
	p->files = *files;
	p->listen = *listen;
	*files = NULL;
	*listen = NULL;
	ticket_ring_use(p->ring, p->files->has_ticket_secret
				     ? p->files->ticket_secret
				     : NULL);
	publish_rotate(p);
}

const struct listen *
publish_listen(const struct publish *p)
{
	return p->listen;
}

void
publish_close_listeners(struct publish *p)
{
	listen_free(&p->listen);
}

void
publish_use_access_log(struct publish *p, int fd)
{
	fd_close(&p->access_log);
	p->access_log = fd;
}

struct stats *
publish_stats(struct publish *p)
{
	return p->stats;
}

int
publish_trail(const struct publish *p, unsigned slot)
{
	return slot < RELAY_MAX ? MAX(p->trail_fd[slot], -1) : -1;
}

const struct table *
publish_table_now(const struct publish *p)
{
	return p->table;
}

void
publish_tell_changed(const struct publish *p, const struct conf *conf,
		     void (*tell)(void *arg, const char *path), void *arg)
{
	const struct publish_files *f = p->files;
	char path[CONF_TEXT_MAX];

	for (size_t i = 0; f != NULL && i < conf->nlisteners; i++) {
		const struct conf_listener *c = &conf->listener[i];

		for (size_t k = 0; k < CONF_CERTS_MAX &&
				   conf_path_at(&c->certificate, k, path);
		     k++)
			if (publish_files_differ(path, f->chain_fd[i][k]))
				tell(arg, path);
		if (publish_files_differ(c->client_ca.s,
					 f->pem_fd[i][PEM_CLIENT_CA]))
			tell(arg, c->client_ca.s);
		if (publish_files_differ(c->client_crl.s,
					 f->pem_fd[i][PEM_CLIENT_CRL]))
			tell(arg, c->client_crl.s);
	}
}

size_t
publish_staples_ended(const struct publish *p, uint64_t now_s,
		      uint64_t *next_s_r)
{
	const struct publish_files *f = p->files;
	size_t n = 0;

	*next_s_r = UINT64_MAX;
	for (size_t i = 0; f != NULL && i < CONF_LISTENERS_MAX; i++)
		for (size_t k = 0; k < CONF_CERTS_MAX; k++) {
			if (f->ocsp_fd[i][k] < 0)
				continue;
			if (f->ocsp_until_s[i][k] <= now_s)
				n++;
			else
				*next_s_r =
				    MIN(*next_s_r, f->ocsp_until_s[i][k]);
		}
	return n;
}

size_t
publish_staples_left_out(const struct publish *p)
{
	return p->files == NULL ? 0 : p->files->ocsp_left_out;
}

uint64_t
publish_set_number(const struct publish *p)
{
	return p->set;
}

int
publish_keytab_now(const struct publish *p)
{
	return p->files == NULL ? -1 : p->files->keytab_fd;
}
