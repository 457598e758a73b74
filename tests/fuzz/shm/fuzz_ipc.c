/*
 * Packets from a process that was taken over.
 *
 * Input: sender's role, receiver's role, number of descriptors (a byte each),
 * then the packet.  Holds:
 *	- ipc_check() lets nothing through that breaks a bound of the table;
 *	- a body that unpacks as some message packs again to the same bytes,
 *	  into exactly that much room and into no less.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shm/ipc.h"
#include "shm/msg.h"
#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[IPC_BODY_MAX + 1];

static void
same(const uint8_t *body, size_t len, size_t packed)
{
	BUG_ON(packed != len);
	BUG_ON(memcmp(body, again, len) != 0);
}

#define TRY(X)                                                              \
	static void try_##X(const uint8_t *body, size_t len)                \
	{                                                                   \
		struct msg_##X m;                                           \
                                                                            \
		if (msg_##X##_unpack(&m, body, len) != 0)                   \
			return;                                             \
		same(body, len, msg_##X##_pack(&m, again, len));            \
		BUG_ON(len > 0 && msg_##X##_pack(&m, again, len - 1) != 0); \
	}

TRY(segment)
TRY(listener)
TRY(listener_pem)
TRY(tls_key)
TRY(peer)
TRY(accuse)
TRY(refused)
TRY(set)
TRY(drain)
TRY(creds)
TRY(event)
TRY(seen)
TRY(cloud_status)
TRY(keeper_status)
TRY(auth_step)
TRY(auth_reply)
TRY(sign)
TRY(sign_reply)
TRY(token_stale)
TRY(cloud_health)

static void
try_identity(const uint8_t *body, size_t len)
{
	struct unpack u;
	struct pack k;
	struct identity *id;

	unpack_init(&u, body, len);
	id = identity_unpack(&u);
	if (id == NULL)
		return;
	pack_init(&k, again, sizeof(again));
	identity_pack(&k, id);
	if (unpack_done(&u))
		same(body, len, k.len);
	for (size_t i = 0; i < id->nsids; i++) {
		uint8_t back[SID_BYTES_MAX];
		char text[SID_TEXT_MAX];

		BUG_ON(sid_text(id->sids[i].bytes, id->sids[i].len, text) != 0);
		BUG_ON(sid_parse(slice_of(text), back) != id->sids[i].len);
		BUG_ON(memcmp(back, id->sids[i].bytes, id->sids[i].len) != 0);
	}
	identity_free(&id);
}

static void
try_reply_identity(const uint8_t *body, size_t len)
{
	struct msg_auth_reply m;

	if (msg_auth_reply_unpack(&m, body, len) == 0)
		try_identity((const uint8_t *)m.identity.p, m.identity.len);
}

static void (*const tries[])(const uint8_t *, size_t) = {
    try_segment,      try_listener,	 try_listener_pem,
    try_peer,	      try_set,		 try_drain,
    try_creds,	      try_event,	 try_seen,
    try_cloud_status, try_keeper_status, try_auth_step,
    try_auth_reply,   try_sign,		 try_sign_reply,
    try_token_stale,  try_cloud_health,	 try_accuse,
    try_refused,      try_identity,	 try_reply_identity,
    try_tls_key,
};

static void
check_packet(const uint8_t *roles, const uint8_t *packet, size_t len)
{
	enum role from = roles[0] % ROLE_MAX, to = roles[1] % ROLE_MAX;
	const struct ipc_rule *rule;
	struct ipc_head head;

	if (ipc_check(from, to, packet, len, roles[2]) != NULL)
		return;
	memcpy(&head, packet, sizeof(head));
	rule = ipc_rule((enum ipc_type)head.type);
	BUG_ON(len - sizeof(head) > rule->max_bytes);
	BUG_ON(roles[2] != rule->fds);
	BUG_ON((rule->from & ROLE_BIT(from)) == 0);
	BUG_ON((rule->to & ROLE_BIT(to)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *body;
	size_t len;

	if (size < 3)
		return 0;
	check_packet(data, data + 3, size - 3);
	if (size < 3 + sizeof(struct ipc_head))
		return 0;
	len = size - 3 - sizeof(struct ipc_head);
	if (len > IPC_BODY_MAX)
		return 0;
	/* On the heap by itself, so that one byte too far is seen. */
	body = malloc(len);
	if (body == NULL && len > 0)
		return 0;
	if (len > 0)
		memcpy(body, data + 3 + sizeof(struct ipc_head), len);
	for (size_t i = 0; i < ARRAY_LEN(tries); i++)
		tries[i](body, len);
	free(body);
	return 0;
}
