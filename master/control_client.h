/*
 * control_client: a connection to the control socket.  For control.c,
 * control_client.c and control_answer.c alone.
 *
 * It brings one request, gets one reply, or one and then events for as long as
 * it lives, and ends.
 */
#ifndef RMS_CONTROL_CLIENT_H
#define RMS_CONTROL_CLIENT_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "conf/conf_file.h"
#include "shm/base/bug.h"
#include "shm/base/buf.h"
#include "shm/base/loop.h"

struct event;
struct master;

struct client {
	LIST_ENTRY(client) link;
	struct control *owner;
	int fd;
	int given; /* descriptor that came with the request; -1 none */
	struct ucred peer;
	bool may_change;
	struct event *ev_read, *ev_write;
	struct loop_timer *timer;
	uint8_t head[4];
	size_t head_got;
	char *req; /* wiped: it may hold a secret */
	size_t req_len, req_got;
	struct buf out;
	char *held; /* the reply of a verb that waits for the rollout */
	size_t held_len;
	bool answered, following, dead;
	struct loop_cell cell;
};

struct control {
	struct master *m;
	int fd;
	gid_t group; /* (gid_t)-1: none */
	struct event *ev_accept;
	struct loop_timer *pause; /* of accepting */
	size_t nclients, nfollowers;
	LIST_HEAD(, client) clients;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* --- a connection (control_client.c) ----------------------------------- */

/* Begins to read; c has owner, fd, given and out.  0 or -errno: end it. */
MUST_USE int client_set_up(struct client *c);
/* Freed at the end of the turn, so that no handler meets a corpse. */
void client_end(struct client *c);
/* Frees it now; owner may be NULL. */
void client_free(void *arg);
/* A whole reply behind what waits to be sent; ends c without memory. */
void client_put_reply(struct client *c, const char *json, size_t len);
/* Sends what waits; then c ends, unless more is to come. */
void client_send(struct client *c);

/* --- what it is answered (control_answer.c) ---------------------------- */

/* Its request is whole: runs it and sends the reply, or holds that until
 * client_settle(). */
void client_answer(struct client *c);
/* Sends the reply that was held; wrong as for control_settle(). */
void client_settle(struct client *c, const struct conf_errors *wrong);
/* A refusal as a reply; errors, NULL none, are its lines. */
void client_put_error(struct client *c, int e, const char *text,
		      const struct conf_errors *errors);

#endif
