/*
 * Purpose: send every child what it needs, and no more.
 *
 * Runs in: the master.
 * Trusts:  the store and the checked configuration.
 * Touches: the channels of the children; the trails of relays.
 * Failure: a child that takes no more is killed (supervise_send); a table
 *          that cannot be made leaves the old one in force.
 */
#include <errno.h>
#include <string.h>

#include "master/listen.h"
#include "master/publish_files.h"
#include "master/publish_priv.h"
#include "master/store.h"
#include "master/supervise.h"
#include "shm/base/fd.h"
#include "shm/msg.h"
#include "shm/stats.h"
#include "shm/table.h"
#include "shm/trail.h"
#include "shm/base/log.h"

/* --- the parts of a set ------------------------------------------------ */

static void
send_view(struct publish *p, struct proc *c)
{
	size_t len =
	    conf_view_pack(p->conf, c->role, p->body, PUBLISH_BODY_MAX);

	BUG_ON(len == 0); /* the tables' own bounds keep it below */
	supervise_send(c, IPC_CONF_VIEW, p->body, len, -1);
}

static void
send_segment(struct proc *c, enum segment_kind kind, int fd)
{
	struct msg_segment m = {.kind = kind};
	uint8_t body[16];
	size_t len = msg_segment_pack(&m, body, sizeof(body));

	if (fd >= 0)
		supervise_send(c, IPC_SEGMENT, body, len, fd);
}

/* The slot's, with what its last owner left in it. */
static void
send_trail(struct publish *p, struct proc *c)
{
	int *fd = &p->trail_fd[c->slot], r = 0;

	if (*fd < 0)
		*fd = trail_create(c->slot);
	else
		r = trail_renew(*fd, c->slot);
	if (*fd < 0 || r != 0)
		log_warn("relay %u will not note its requests: %s", c->slot,
			 strerror(*fd < 0 ? -*fd : -r));
	else
		send_segment(c, SEGMENT_TRAIL, *fd);
}

static void
send_segments(struct publish *p, struct proc *c)
{
	send_segment(c, SEGMENT_STATS,
		     stats_row_fd(p->stats, stats_row_index(c->role, c->slot)));
	if (c->role == ROLE_RELAY) {
		send_segment(c, SEGMENT_TABLE, p->table_fd);
		send_segment(c, SEGMENT_TOKEN, p->token_ro_fd);
		send_segment(c, SEGMENT_TICKETS, p->tickets_ro_fd);
		send_trail(p, c);
	} else if (c->role == ROLE_CLOUD) {
		send_segment(c, SEGMENT_TOKEN, p->token_fd);
	} else if (c->role == ROLE_KEEPER) {
		send_segment(c, SEGMENT_REPLAY, p->replay_fd);
	}
}

static void
send_pem(struct proc *c, const struct msg_listener_pem *m, int fd)
{
	uint8_t body[24];
	size_t len = msg_listener_pem_pack(m, body, sizeof(body));

	if (fd >= 0)
		supervise_send(c, IPC_LISTENER_PEM, body, len, fd);
}

static void
send_chain(struct publish *p, struct proc *c, uint32_t i, uint32_t place)
{
	const struct publish_files *f = p->files;
	struct msg_listener_pem m = {
	    .index = i, .kind = PEM_CHAIN, .place = place};

	send_pem(c, &m, f->chain_fd[i][place]);
	m.kind = PEM_OCSP;
	m.until_s = f->ocsp_until_s[i][place];
	send_pem(c, &m, f->ocsp_fd[i][place]);
}

static void
send_key(struct proc *c, uint32_t i, uint32_t place, int fd)
{
	struct msg_tls_key m = {.index = i, .place = place};
	uint8_t body[16];
	size_t len = msg_tls_key_pack(&m, body, sizeof(body));

	if (fd >= 0)
		supervise_send(c, IPC_TLS_KEY, body, len, fd);
}

static void
send_of_listeners(struct publish *p, struct proc *c)
{
	const struct publish_files *f = p->files;

	for (uint32_t i = 0; i < p->conf->nlisteners; i++) {
		for (uint32_t k = 0; k < CONF_CERTS_MAX; k++) {
			if (c->role == ROLE_KEEPER)
				send_key(c, i, k, f->key_fd[i][k]);
			else if (c->role == ROLE_RELAY)
				send_chain(p, c, i, k);
		}
		for (int k = 0; c->role == ROLE_RELAY && k < PEM_MAX; k++) {
			struct msg_listener_pem m = {
			    .index = i, .kind = (enum listener_pem)k};

			send_pem(c, &m, f->pem_fd[i][k]);
		}
	}
}

static void
send_credentials(struct publish *p, struct proc *c)
{
	struct msg_creds creds = {0};
	int r = store_creds_open(p->store, &creds);
	size_t len;

	if (r < 0) { /* told at the change or at the start */
		log_err("credentials cannot be read: %s", strerror(-r));
		creds.n = 0;
	}
	len = msg_creds_pack(&creds, p->body, PUBLISH_BODY_MAX);
	BUG_ON(len == 0);
	supervise_send(c, IPC_CREDENTIALS, p->body, len, -1);
	str_wipe(p->body, len);
	str_wipe(&creds, sizeof(creds));
}

static void
send_listener(struct proc *c, uint32_t i, int fd)
{
	struct msg_listener m = {.index = i};
	uint8_t body[16];
	size_t len = msg_listener_pack(&m, body, sizeof(body));

	supervise_send(c, IPC_LISTENER, body, len, fd);
}

static void
send_listeners(struct publish *p, struct proc *c)
{
	for (uint32_t i = 0; p->listen != NULL && i < listen_count(p->listen);
	     i++) {
		int fd = listen_fd(p->listen, i, c->slot);

		if (fd >= 0)
			send_listener(c, i, fd);
	}
}

static void
send_peer(struct proc *to, const struct proc *other, int fd)
{
	struct msg_peer m = {
	    .role = other->role, .slot = other->slot, .life = other->life};
	uint8_t body[16];
	size_t len = msg_peer_pack(&m, body, sizeof(body));

	supervise_send(to, IPC_PEER, body, len, fd);
}

/* A fresh pair between the child and each neighbour that runs. */
static void
send_peers(struct supervise *s, struct proc *c)
{
	for (size_t i = 0; i < supervise_count(s); i++) {
		struct proc *q = supervise_proc(s, i);
		int fd[2], r;

		if (!proc_is_up(q) || !ipc_neighbours(c->role, q->role))
			continue;
		r = ipc_pair(fd);
		if (r != 0) {
			log_err("no channel between %s %u and %s %u: %s",
				role_name(c->role), c->slot, role_name(q->role),
				q->slot, strerror(-r));
			continue;
		}
		send_peer(c, q, fd[0]);
		send_peer(q, c, fd[1]);
		fd_close(&fd[0]);
		fd_close(&fd[1]);
	}
}

static void
send_done(struct publish *p, struct proc *c)
{
	struct msg_set m = {.number = p->set};
	uint8_t body[8];
	size_t len = msg_set_pack(&m, body, sizeof(body));

	supervise_send(c, IPC_CONF_DONE, body, len, -1);
	c->set_last = p->set;
	if (c->set_first == 0)
		c->set_first = p->set;
}

/* An https proxy's issuers are the cloud's unless it has its own. */
static void
send_issuers(struct publish *p, struct proc *c)
{
	int own = p->files->proxy_ca_fd;

	supervise_send(c, IPC_CLOUD_CA, NULL, 0, p->files->ca_fd);
	supervise_send(c, IPC_PROXY_CA, NULL, 0,
		       own >= 0 ? own : p->files->ca_fd);
}

/* Everything of a set but its head and its end. */
static void
send_files(struct publish *p, struct proc *c)
{
	send_of_listeners(p, c);
	if (c->role == ROLE_KEEPER && p->files->keytab_fd >= 0)
		supervise_send(c, IPC_KEYTAB, NULL, 0, p->files->keytab_fd);
	if (c->role == ROLE_CLOUD)
		send_credentials(p, c);
	if (c->role == ROLE_NTLM && p->files->ntlm_users_fd >= 0)
		supervise_send(c, IPC_NTLM_USERS, NULL, 0,
			       p->files->ntlm_users_fd);
	if ((c->role == ROLE_RELAY || c->role == ROLE_CLOUD) &&
	    p->files->ca_fd >= 0)
		send_issuers(p, c);
	if (c->role == ROLE_RELAY && p->access_log >= 0)
		supervise_send(c, IPC_ACCESS_LOG, NULL, 0, p->access_log);
	if (c->role == ROLE_RELAY)
		send_listeners(p, c);
}

/* --- sets -------------------------------------------------------------- */

void
publish_to_new(struct publish *p, struct supervise *s, struct proc *child)
{
	if (p->set == 0)
		p->set = 1;
	send_view(p, child);
	send_segments(p, child);
	send_files(p, child);
	send_peers(s, child);
	send_done(p, child);
}

void
publish_to_all(struct publish *p, struct supervise *s)
{
	p->set++;
	for (size_t i = 0; i < supervise_count(s); i++) {
		struct proc *c = supervise_proc(s, i);

		if (!proc_is_up(c))
			continue;
		send_view(p, c);
		send_files(p, c);
		send_done(p, c);
	}
}

/* --- between sets ------------------------------------------------------ */

static unsigned
publish_to_relays(struct supervise *s,
		  void (*send)(struct publish *p, struct proc *c),
		  struct publish *p)
{
	unsigned n = 0;

	for (size_t i = 0; s != NULL && i < supervise_count(s); i++) {
		struct proc *c = supervise_proc(s, i);

		if (c->role != ROLE_RELAY || !proc_is_up(c))
			continue;
		send(p, c);
		n++;
	}
	return n;
}

void
publish_keytab(struct publish *p, struct supervise *s, int *fd)
{
	BUG_ON(p->files == NULL);
	fd_close(&p->files->keytab_fd);
	p->files->keytab_fd = *fd;
	*fd = -1;
	for (size_t i = 0; i < supervise_count(s); i++) {
		struct proc *c = supervise_proc(s, i);

		if (c->role == ROLE_KEEPER && proc_is_up(c))
			supervise_send(c, IPC_KEYTAB_NEWS, NULL, 0,
				       p->files->keytab_fd);
	}
}

static void
send_table(struct publish *p, struct proc *c)
{
	send_segment(c, SEGMENT_TABLE, p->table_fd);
}

static void
send_access_log(struct publish *p, struct proc *c)
{
	supervise_send(c, IPC_ACCESS_LOG, NULL, 0, p->access_log);
}

void
publish_access_log(struct publish *p, struct supervise *s)
{
	if (p->access_log >= 0)
		publish_to_relays(s, send_access_log, p);
}

int
publish_table(struct publish *p, struct supervise *s, unsigned *relays_r)
{
	int fd = store_table_build(p->store);
	struct table *t;
	const char *why;

	*relays_r = 0;
	if (fd < 0)
		return fd;
	t = table_map(fd, &why);
	if (t == NULL) {
		log_err("the table that was built cannot be mapped: %s", why);
		fd_close(&fd);
		return -ENOMEM;
	}
	if (p->table != NULL)
		table_unmap(&p->table);
	fd_close(&p->table_fd);
	p->table = t;
	p->table_fd = fd;
	*relays_r = publish_to_relays(s, send_table, p);
	return 0;
}
