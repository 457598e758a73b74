/*
 * Purpose: play the keeper and the cloud agent.
 *
 * Runs in: tests, the script's thread.
 * Trusts:  the test.
 * Touches: the relay's channels.
 * Failure: the scenario ends with a line.
 */
#include <openssl/evp.h>
#include <poll.h>
#include <string.h>

#include "shm/msg.h"
#include "tests/virtual/world_priv.h"

/* The next message at this moment; false when there is none. */
bool
peer_hear(int fd, enum role self, struct ipc_msg *m)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	if (poll(&pfd, 1, 0) != 1 || (pfd.revents & POLLIN) == 0)
		return false;
	return ipc_recv_wait(fd, self, ROLE_RELAY, world_own.packet, 1000, m) ==
	       0;
}

/* --- the keeper ------------------------------------------------------------
 */

static void
answer_auth(uint64_t id)
{
	struct identity ident = {.mech = MECH_KERBEROS};
	struct msg_auth_reply r = {.outcome = AUTH_OK,
				   .token = world.keeper_token};
	static uint8_t packed[IDENTITY_PACKED_MAX];
	struct pack k;
	size_t len;

	switch (world.keeper) {
	case KEEPER_OK:
		memcpy(ident.principal, world.principal,
		       sizeof(ident.principal));
		pack_init(&k, packed, sizeof(packed));
		identity_pack(&k, &ident);
		r.identity = (struct slice){(const char *)packed, k.len};
		break;
	case KEEPER_GOES_ON:
		r.outcome = AUTH_CONTINUE;
		break;
	case KEEPER_REFUSES:
		r.outcome = AUTH_FAILED;
		r.cause = CAUSE_EXPIRED;
		break;
	case KEEPER_SILENT:
		return;
	}
	len = msg_auth_reply_pack(&r, world_own.body, sizeof(world_own.body));
	VIRT_NEED(len > 0);
	VIRT_NEED(ipc_send_wait(world_own.keeper, ROLE_KEEPER, ROLE_RELAY,
				IPC_AUTH_REPLY, id, world_own.body, len,
				-1) == 0);
}

static void
answer_sign(uint64_t id, const struct msg_sign *s)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(world_own.key, NULL);
	struct msg_sign_reply r = {.ok = true};
	unsigned char sig[256];
	size_t len = sizeof(sig);

	if (world.keeper == KEEPER_SILENT)
		return;
	VIRT_NEED(s->op == SIGN_ECDSA && ctx != NULL);
	VIRT_NEED(EVP_PKEY_sign_init(ctx) == 1);
	VIRT_NEED(EVP_PKEY_sign(ctx, sig, &len,
				(const unsigned char *)s->data.p,
				s->data.len) == 1);
	EVP_PKEY_CTX_free(ctx);
	r.data = (struct slice){(const char *)sig, len};
	len = msg_sign_reply_pack(&r, world_own.body, sizeof(world_own.body));
	VIRT_NEED(ipc_send_wait(world_own.keeper, ROLE_KEEPER, ROLE_RELAY,
				IPC_SIGN_REPLY, id, world_own.body, len,
				-1) == 0);
}

bool
keeper_hear(void)
{
	struct msg_sign s;
	struct ipc_msg m;

	if (!peer_hear(world_own.keeper, ROLE_KEEPER, &m))
		return false;
	if (m.type == IPC_AUTH_STEP) {
		world.steps++;
		answer_auth(m.id);
	} else if (m.type == IPC_AUTH_ABORT) {
		world.aborts++;
	} else if (m.type == IPC_SIGN) {
		world.signs++;
		VIRT_NEED(msg_sign_unpack(&s, m.body, m.len) == 0);
		answer_sign(m.id, &s);
	}
	return true;
}

/* --- the cloud agent -------------------------------------------------------
 */

void
world_agent(void)
{
	world_own.agent = master_tell_peer(ROLE_CLOUD);
	world_run();
}

bool
agent_hear(void)
{
	struct ipc_msg m;

	if (world_own.agent <= 0 || !peer_hear(world_own.agent, ROLE_CLOUD, &m))
		return false;
	world.stale += m.type == IPC_TOKEN_STALE;
	return true;
}
