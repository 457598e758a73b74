/*
 * keeper_driver: what its parts share.
 *
 *	keeper_driver.c		commands
 *	keeper_say.c		what is printed, a JSON object a line
 *	keeper_play.c		the master and the relays
 *	keeper_play_ntlm.c	NTLM processes, real ones and played ones
 */
#ifndef RMS_FAULT_KEEPER_DRIVER_H
#define RMS_FAULT_KEEPER_DRIVER_H

#include <errno.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "shm/base/json.h"
#include "shm/base/log.h"
#include "shm/ipc.h"

#define SLOTS 5 /* four can fill ACCEPT_OPEN_MAX */

struct event;
struct loop;
struct stats;

struct driver {
	const char *binary;
	struct loop *loop;
	struct event *input;
	char line[1 << 20];
	size_t len;
	struct conf conf;
	char keytab[512];
	char key[CONF_LISTENERS_MAX][512];
	struct stats *stats;
	uint64_t lives; /* of relays */
	struct ipc *keeper;
	struct ipc *relay[SLOTS];
	int raw[SLOTS]; /* the same sockets, to break the rules; -1 none */
	pid_t pid;
	uint64_t set;
	bool via;
	const char *ntlm_binary;
	char users[512];
	struct {
		pid_t pid; /* 0: none, or played by us */
		struct ipc *master, *keeper;
	} ntlm[NTLM_MAX];
};

extern struct driver d;

#define NEED(what)                                                         \
	do {                                                               \
		if (!(what))                                               \
			die(1, "%s:%d: %s (errno %d)", __FILE__, __LINE__, \
			    #what, errno);                                 \
	} while (0)

/* --- keeper_say.c -------------------------------------------------------- */
extern struct json js; /* the object of this line, open for members */
void say_begin(const char *what);
void say_end(void);
void say_hex(const char *key, struct slice s);
/* Members of an identity, packed. */
void say_identity(struct slice packed);
/* Bytes of a hex text ("-": none) in static memory. */
struct slice get_hex(const char *hex);

/* --- keeper_play.c ------------------------------------------------------- */
/* A channel to the keeper for a process; its other end, which is the
 * caller's. */
int peer_pair(enum role role, unsigned slot, uint64_t life);
void send_file(enum ipc_type type, const void *body, size_t len,
	       const char *path);
void relay_send(unsigned slot, enum ipc_type type, uint64_t id,
		const void *body, size_t len);
void relay_part(unsigned slot); /* closes its channel */
void cmd_start(void);
void cmd_apply(void);
void cmd_drain(unsigned ms);
void cmd_peer(unsigned slot);
void cmd_step(char *rest);
void cmd_flood(char *rest);
void cmd_sign(char *rest);
void cmd_body(char *rest);
void cmd_raw(char *rest);

/* --- keeper_play_ntlm.c -------------------------------------------------- */
void cmd_ntlm(unsigned slot);
void cmd_fake(unsigned slot);
/* MECH is the number of an identity's mechanism; 0: another leg is needed. */
void cmd_answer(const char *rest);

#endif
