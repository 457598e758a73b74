/*
 * Purpose: play the master: what it gives a relay, and what it hears.
 *
 * Runs in: tests, the script's thread.
 * Trusts:  the test.
 * Touches: the relay's channel and segments.
 * Failure: the scenario ends with a line.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/msg.h"
#include "shm/table.h"
#include "shm/tickets.h"
#include "shm/trail.h"
#include "tests/virtual/world_priv.h"

static void
tell(enum ipc_type type, const void *body, size_t len, int fd)
{
	VIRT_NEED(ipc_send_wait(world_own.master, ROLE_MASTER, ROLE_RELAY, type,
				0, body, len, fd) == 0,
		  "the relay takes no message");
}

static void
tell_segment(enum segment_kind kind, int fd)
{
	struct msg_segment m = {kind};
	size_t len =
	    msg_segment_pack(&m, world_own.body, sizeof(world_own.body));

	VIRT_NEED(len > 0 && fd >= 0);
	tell(IPC_SEGMENT, world_own.body, len, fd);
	close(fd);
}

static void
tell_stats(void)
{
	unsigned row = stats_row_index(ROLE_RELAY, 0);
	const char *why = "";
	struct stats *s = stats_new(&why);

	VIRT_NEED(s != NULL);
	world.row = stats_row(s, row);
	tell_segment(SEGMENT_STATS, dup(stats_row_fd(s, row)));
}

static void
tell_table(void)
{
	struct table_in in[] = {
	    {.id = 1,
	     .kind = SUBJECT_PRINCIPAL,
	     .key = slice_of(world.principal),
	     .role = SERVER_EXCHANGE,
	     .name = SLICE_LIT("the server")},
	    {.id = 2,
	     .kind = SUBJECT_PRINCIPAL,
	     .key = SLICE_LIT(CRAWLER),
	     .role = SERVER_SHAREPOINT,
	     .name = SLICE_LIT("one that crawls")},
	    {.id = 3,
	     .kind = SUBJECT_PRINCIPAL,
	     .key = SLICE_LIT(CRAWLER_2),
	     .role = SERVER_SHAREPOINT,
	     .name = SLICE_LIT("another one")},
	};

	if (!world.listed)
		in[0].key = SLICE_LIT("somebody@ELSE.TEST");
	tell_segment(SEGMENT_TABLE, table_build(in, ARRAY_LEN(in), 1));
}

void
world_addresses(const uint8_t *last, unsigned n)
{
	/* RFC 5737, RFC 3849 */
	static const struct token_addr four = {.family = 4,
					       .bytes = {192, 0, 2}};
	static const struct token_addr six = {
	    .family = 6, .bytes = {0x20, 0x01, 0x0d, 0xb8}};
	struct token_value *t = &world.token;

	memset(t->addr, 0, sizeof(t->addr));
	for (unsigned i = 0; i < n; i++) {
		bool is_six = last[i] >= 0x60;

		t->addr[i] = is_six ? six : four;
		t->addr[i].bytes[is_six ? 15 : 3] = last[i];
	}
	t->naddr = n;
	t->addr_serial++;
}

void
master_token_init(struct token_value *t)
{
	t->slot[0] = (struct token_slot){.credential = 1,
					 .state = TOKEN_OK,
					 .serial = 1,
					 .expires = UINT64_MAX,
					 .len = 7};
	memcpy(t->slot[0].bytes, "a-token", 7);
	world_addresses((const uint8_t[]){2}, 1);
	snprintf(t->host, sizeof(t->host), CLOUD_NAME);
	snprintf(t->tenant, sizeof(t->tenant), "https://" CLOUD_NAME);
}

static void
tell_token(void)
{
	int fd = pub_create("token", sizeof(world.token), TOKEN_LAYOUT);
	const char *why = "";

	world_own.token =
	    pub_map(fd, sizeof(world.token), TOKEN_LAYOUT, true, &why);
	VIRT_NEED(world_own.token != NULL);
	pub_write(world_own.token, &world.token);
	tell_segment(SEGMENT_TOKEN, fd);
}

void
world_token(void)
{
	pub_write(world_own.token, &world.token);
	if (world_own.agent > 0)
		VIRT_NEED(ipc_send_wait(world_own.agent, ROLE_CLOUD, ROLE_RELAY,
					IPC_TOKEN_NEWS, 0, NULL, 0, -1) == 0);
}

static void
tell_tickets(void)
{
	static struct tickets_value t = {.nkeys = 1};
	const char *why = "";
	int fd = pub_create("tickets", sizeof(t), TICKETS_LAYOUT);
	struct pub *pub = pub_map(fd, sizeof(t), TICKETS_LAYOUT, true, &why);

	VIRT_NEED(pub != NULL);
	memset(&t.key[0], 0x5a, sizeof(t.key[0]));
	pub_write(pub, &t);
	tell_segment(SEGMENT_TICKETS, fd);
}

static void
tell_trail(void)
{
	tell_segment(SEGMENT_TRAIL, trail_create(0));
}

static void
tell_listener(uint32_t index, const char *name)
{
	struct msg_listener m = {index};
	size_t len =
	    msg_listener_pack(&m, world_own.body, sizeof(world_own.body));
	int fd = virt_listen(name);

	tell(IPC_LISTENER, world_own.body, len, fd);
	close(fd);
}

static void
tell_cert(uint32_t index)
{
	struct msg_listener_pem m = {.index = index, .kind = PEM_CHAIN};
	size_t len =
	    msg_listener_pem_pack(&m, world_own.body, sizeof(world_own.body));
	int fd = fd_memfd_sealed("chain", world_own.cert_pem,
				 strlen(world_own.cert_pem));

	VIRT_NEED(len > 0 && fd >= 0);
	tell(IPC_LISTENER_PEM, world_own.body, len, fd);
	close(fd);
}

static void
tell_ca(enum ipc_type type, enum world_ca which)
{
	const char *pem = which == CA_OURS    ? world_own.ca_pem
			  : which == CA_OTHER ? world_own.other_pem
					      : "no certificate";
	int fd = fd_memfd_sealed("ca", pem, strlen(pem));

	VIRT_NEED(fd >= 0);
	tell(type, NULL, 0, fd);
	close(fd);
}

/* The relay's channel to another process: our end of it. */
int
master_tell_peer(enum role role)
{
	struct msg_peer m = {.role = role, .slot = 0, .life = 1};
	size_t len = msg_peer_pack(&m, world_own.body, sizeof(world_own.body));
	int fd[2];

	VIRT_NEED(ipc_pair(fd) == 0 && len > 0);
	tell(IPC_PEER, world_own.body, len, fd[1]);
	close(fd[1]);
	return fd[0];
}

void
master_tell_set(bool first, enum world_ca cloud, enum world_ca proxy)
{
	struct msg_set m = {.number = ++world_own.sets};
	size_t len = conf_view_pack(&world.conf, ROLE_RELAY, world_own.body,
				    sizeof(world_own.body));

	VIRT_NEED(len > 0);
	tell(IPC_CONF_VIEW, world_own.body, len, -1);
	tell_ca(IPC_CLOUD_CA, cloud);
	tell_ca(IPC_PROXY_CA, proxy);
	tell_cert(1);
	if (first) {
		tell_listener(0, "plain");
		tell_listener(1, "tls");
	}
	len = msg_set_pack(&m, world_own.body, sizeof(world_own.body));
	tell(IPC_CONF_DONE, world_own.body, len, -1);
}

void
master_tell_start(void)
{
	tell_stats();
	tell_table();
	tell_token();
	tell_tickets();
	tell_trail();
	world_own.keeper = master_tell_peer(ROLE_KEEPER);
	master_tell_set(true, CA_OURS, CA_OURS);
}

/* --- what it hears ----------------------------------------------------------
 */

static void
note_event(unsigned id)
{
	memmove(world.events + 1, world.events,
		sizeof(world.events) - sizeof(world.events[0]));
	world.events[0] = id;
}

bool
master_hear(void)
{
	struct msg_event e;
	struct msg_seen s;
	struct ipc_msg m;

	if (world.deaf || !peer_hear(world_own.master, ROLE_MASTER, &m))
		return false;
	if (m.type == IPC_READY)
		world.ready++;
	if (m.type == IPC_REFUSED)
		world.refused++;
	if (m.type == IPC_SEEN && msg_seen_unpack(&s, m.body, m.len) == 0)
		world.seen += slice_is(s.account, world.principal);
	if (m.type == IPC_EVENT && msg_event_unpack(&e, m.body, m.len) == 0)
		note_event(e.id);
	return true;
}
