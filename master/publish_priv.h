/*
 * publish_priv: the inside of struct publish, for publish.c, which owns what
 * is in it, and publish_send.c, which sends it.
 */
#ifndef RMS_PUBLISH_PRIV_H
#define RMS_PUBLISH_PRIV_H

#include "master/publish.h"
#include "shm/role.h"

#define PUBLISH_BODY_MAX 65536

struct publish {
	const struct conf *conf;
	struct store *store;
	uint64_t set; /* number of the last one */
	struct publish_files *files;
	struct listen *listen;
	int access_log;

	struct stats *stats;
	int table_fd; /* -1 none */
	struct table *table;
	int token_fd, token_ro_fd;
	int tickets_ro_fd;
	int replay_fd; /* the keeper's own; we do not map it */
	struct pub *tickets;
	int trail_fd[RELAY_MAX]; /* -1 until the relay's first start */
	struct ticket_ring *ring;
	struct loop_timer *rotate;
	uint8_t body[PUBLISH_BODY_MAX];
};

#endif
