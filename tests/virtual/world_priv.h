/*
 * world_priv: what those who play a relay's surroundings share; nobody else
 * includes it.
 *
 *	world.c		from the start on, in time
 *	world_master.c	what the master gives and hears
 *	world_peers.c	the keeper and the cloud agent
 *	world_certs.c	whom the cloud's certificate is of
 *	end.c		connections
 */
#ifndef RMS_WORLD_PRIV_H
#define RMS_WORLD_PRIV_H

#include <openssl/types.h>

#include "shm/ipc.h"
#include "tests/virtual/world.h"

#define CLOUD_NAME "cloud.test"
#define PROXY_NAME "proxy.test"
#define ROUNDS_MAX 10000 /* of taking turns, until it should rest */

struct pub;

/* What the script has in hand. */
struct world_own {
	int master, keeper, agent, cloud; /* agent 0: there is none */
	EVP_PKEY *key; /* of the listener, which the keeper has */
	SSL_CTX *server, *client;
	char *ca_pem, *other_pem, *cert_pem;
	struct pub *token;
	uint32_t sets;
	uint8_t packet[IPC_BODY_MAX + sizeof(struct ipc_head)];
	uint8_t body[IPC_BODY_MAX];
};
extern struct world_own world_own;

/* --- world_certs.c: fills what there is of keys, contexts and PEM ------- */
void certs_make(void);

/* --- world_master.c ----------------------------------------------------- */
/* All that is said at a start, the first set at the end. */
void master_tell_start(void);
/* A set; first: with the listeners. */
void master_tell_set(bool first, enum world_ca cloud, enum world_ca proxy);
/* The relay's channel to another process: our end of it. */
int master_tell_peer(enum role role);
/* world.token as it is at first. */
void master_token_init(struct token_value *t);
/* Takes one message of the relay; false when there is none at this moment. */
bool master_hear(void);

/* --- world_peers.c ------------------------------------------------------ */
/* The next message at this moment, in world_own.packet; false: none. */
bool peer_hear(int fd, enum role self, struct ipc_msg *m);
/* Takes one message and answers it; false when there is none. */
bool keeper_hear(void);
bool agent_hear(void);

#endif
