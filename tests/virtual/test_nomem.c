/*
 * No memory, at each allocation of what is rarer than a plain request
 * (test_relay.c), a second try (test_health.c) or a way through a proxy
 * (test_way.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ssl.h>

#include "shm/base/log.h"
#include "tests/virtual/scene.h"
#include "worker/relay/base64.h"
#include "worker/relay/relay.h"

#define UNAUTHORIZED "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
#define ROUNDS	     24
/* Until then the cloud leaves what it was asked unanswered. */
#define ROUND_ANSWERS 8

#define SWEEP_MS 1000 /* what found no memory is tried again */

/* What is there before a client asks, and how it does. */
struct play {
	void (*prepare)(void);
	void (*ask)(struct end *c);
};

/* The cloud's ends, as they come, and one client that was there before. */
static struct {
	struct end cloud[16], first;
	size_t n;
	bool refuses; /* the first token */
} s = {.first = {.fd = -1}};

static void
cloud_turn(bool answers)
{
	if (s.n < ARRAY_LEN(s.cloud) && cloud_accept(&s.cloud[s.n]))
		s.n++;
	for (size_t i = 0; i < s.n; i++) {
		struct end *e = &s.cloud[i];
		bool no;

		if (e->eof || e->reset)
			continue;
		if (!SSL_is_init_finished(e->ssl)) {
			(void)!SSL_do_handshake(e->ssl);
			continue;
		}
		end_take(e);
		if (!answers || !cloud_request_is_whole(e))
			continue;
		no = s.refuses && end_has(e, "Bearer a-token\r\n");
		end_clear(e);
		end_send(e, no ? UNAUTHORIZED : REPLY);
	}
}

/* The cloud agent: a token that was refused is followed by another. */
static void
agent_turn(void)
{
	struct token_slot *t = &world.token.slot[0];

	if (world.stale == 0 || t->serial > 1)
		return;
	t->serial++;
	memcpy(t->bytes, "b-token", 7);
	world_token();
	world_run();
}

static void
run_rounds(void)
{
	for (int n = 0; n < ROUNDS; n++) {
		world_run();
		cloud_turn(n >= ROUND_ANSWERS);
		agent_turn();
	}
}

static void
all_close(void)
{
	if (s.first.fd >= 0)
		end_close(&s.first);
	for (size_t i = 0; i < s.n; i++)
		end_close(&s.cloud[i]);
	s.n = 0;
	world_run();
	while (cloud_accept(&s.cloud[0])) /* further tries */
		end_close(&s.cloud[0]);
}

static void
fails_at(unsigned n, const struct play *p)
{
	struct end c;

	p->prepare();
	virt_alloc_begin(n);
	end_dial(&c, false);
	p->ask(&c);
	run_rounds();
	if (virt_alloc_count() < n)
		virt_over();
	virt_alloc_end();
	world_advance(SWEEP_MS);
	run_rounds();
	end_take(&c);
	VIRT_NEED(c.eof || c.reset || scene_is_whole(&c), c.got);
	/* nothing is made of it that is the client's fault */
	VIRT_NEED(!end_has(&c, "HTTP/1.1 4"), c.got);
	end_close(&c);
	all_close();
	VIRT_NEED(!virt_ended());
	VIRT_NEED(world_stat(STAT_conns_open) == 0, "a connection is left");
	VIRT_NEED(world_stat(STAT_requests_open) == 0, "a request is left");
	VIRT_NEED(world_stat(STAT_queue_length) == 0, "one waits");
	end_dial(&c, false);
	p->ask(&c);
	run_rounds();
	end_take(&c);
	VIRT_NEED(end_has(&c, "HTTP/1.1 200 OK\r\n") && end_has(&c, "hello"),
		  c.got);
}

/* --- a token that the cloud refuses ----------------------------------------
 */

static void
prepare_token(void)
{
	scene_up();
	world_agent();
	s.refuses = true;
}

SCENARIO(there_is_a_replay)
{
	struct end c;

	prepare_token();
	end_dial(&c, false);
	scene_ask(&c);
	run_rounds();
	end_take(&c);
	VIRT_NEED(end_has(&c, "hello") && world.stale == 1 &&
		      world_stat(STAT_token_replays) == 1,
		  c.got);
}

static void
fails_token(unsigned n)
{
	fails_at(n, &(struct play){prepare_token, scene_ask});
}

/* The token that came does not find room: whoever asks next has it. */
static void
fails_news(unsigned n)
{
	struct end c;

	scene_up();
	world_agent();
	world.token.slot[0].serial++;
	memcpy(world.token.slot[0].bytes, "b-token", 7);
	virt_alloc_begin(n);
	world_token();
	world_run();
	if (virt_alloc_count() < n)
		virt_over();
	virt_alloc_end();
	end_dial(&c, false);
	scene_ask(&c);
	run_rounds();
	end_take(&c);
	VIRT_NEED(end_has(&c, "HTTP/1.1 200 OK\r\n"), c.got);
}

static void
no_memory_for_a_new_token(void **state)
{
	(void)state;
	assert_true(scene_series(fails_news, 1, "allocation, token") > 1);
}

/* The same, while somebody waits for it: has it at the next sweep. */
SCENARIO(no_memory_for_the_token_that_one_waits_for)
{
	struct end c;

	prepare_token();
	end_dial(&c, false);
	scene_ask(&c);
	for (int n = 0; n < ROUNDS && world.stale == 0; n++) {
		world_run();
		cloud_turn(true);
	}
	virt_alloc_deny(strlen("Bearer") + strlen("b-token") + 32);
	agent_turn();
	VIRT_NEED(virt_alloc_denied());
	run_rounds();
	end_take(&c);
	VIRT_NEED(c.len == 0, c.got);
	world_advance(SWEEP_MS);
	run_rounds();
	end_take(&c);
	VIRT_NEED(end_has(&c, "HTTP/1.1 200 OK\r\n") &&
		      world_stat(STAT_token_replays) == 1,
		  c.got);
}

static void
no_memory_for_a_replay(void **state)
{
	(void)state;
	assert_true(scene_series(fails_token, scene_step(65),
				 "allocation, 401") > 1000);
}

/* --- a request that waits for its turn -------------------------------------
 */

static void
prepare_queue(void)
{
	world_init();
	world.conf.cloud_requests_max = 1;
	world_up();
	end_dial(&s.first, false);
	scene_ask(&s.first);
	for (int n = 0; n < ROUND_ANSWERS; n++) {
		world_run();
		cloud_turn(false);
	}
	VIRT_NEED(s.n == 1 && cloud_request_is_whole(&s.cloud[0]));
}

SCENARIO(there_is_a_queue)
{
	struct end c;

	prepare_queue();
	end_dial(&c, false);
	scene_ask(&c);
	VIRT_NEED(world_stat(STAT_queue_length) == 1);
	run_rounds();
	end_take(&c);
	end_take(&s.first);
	VIRT_NEED(end_has(&c, "hello") && end_has(&s.first, "hello"), c.got);
}

static void
fails_queue(unsigned n)
{
	fails_at(n, &(struct play){prepare_queue, scene_ask});
}

static void
no_memory_in_the_queue(void **state)
{
	(void)state;
	assert_true(
	    scene_series(fails_queue, scene_step(1), "allocation, queue") > 1);
}

/* --- a body in chunks ------------------------------------------------------
 */

static void
ask_in_chunks(struct end *c)
{
	end_send(c, "POST " REQ_PATH " HTTP/1.1\r\nHost: c\r\n"
		    "Authorization: Negotiate bm90IGEgcmVhbCB0b2tlbg==\r\n"
		    "Content-Type: text/xml\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n");
	end_send(c, "3\r\n<a>\r\n4;x=\"y\"\r\n");
	end_send(c, "some\r\n4\r\n</a>\r\n");
	end_send(c, "0\r\nA: b\r\n\r\n");
}

static void
fails_chunks(unsigned n)
{
	fails_at(n, &(struct play){scene_up, ask_in_chunks});
}

static void
no_memory_for_chunks(void **state)
{
	(void)state;
	assert_true(scene_series(fails_chunks, scene_step(65),
				 "allocation, chunks") > 1000);
}

/* --- a head that needs more than the usual block ---------------------------
 */

static void
ask_with_a_large_head(struct end *c)
{
	static char text[80000];
	size_t n = (size_t)snprintf(text, sizeof(text),
				    "POST " REQ_PATH " HTTP/1.1\r\nHost: c\r\n"
				    "Content-Length: 3\r\n"
				    "Authorization: Negotiate ");

	memset(text + n, 'A', 70000);
	n += 70000;
	snprintf(text + n, sizeof(text) - n, "\r\n\r\n<a>");
	end_send(c, text);
}

static void
fails_large(unsigned n)
{
	fails_at(n, &(struct play){scene_up, ask_with_a_large_head});
}

/* Before the cloud is asked: these are our own. */
static void
fails_large_first(unsigned n)
{
	if (n > 40)
		virt_over();
	fails_large(n);
}

static void
no_memory_for_a_large_head(void **state)
{
	(void)state;
	assert_true(
	    scene_series(fails_large_first, 1, "allocation, large head") > 40);
	assert_true(scene_series(fails_large, scene_step(65),
				 "allocation, large head") > 1000);
}

/* --- a PROXY header --------------------------------------------------------
 */

static void
prepare_balancer(void)
{
	world_init();
	snprintf(world.conf.listener[0].proxy_protocol.s,
		 sizeof(world.conf.listener[0].proxy_protocol.s), "192.0.2.1");
	world.conf.source_connections_max = 2;
	world_up();
}

static void
ask_through_a_balancer(struct end *c)
{
	end_send(c, "PROXY TCP4 198.51.100.7 ");
	end_send(c, "192.0.2.9 5000 80\r\n");
	scene_ask(c);
}

static void
fails_balancer(unsigned n)
{
	fails_at(n, &(struct play){prepare_balancer, ask_through_a_balancer});
}

static void
no_memory_behind_a_balancer(void **state)
{
	(void)state;
	assert_true(scene_series(fails_balancer, scene_step(65),
				 "allocation, PROXY") > 1000);
}

static void
is_told_of_no_memory(struct end *c)
{
	VIRT_NEED(virt_alloc_denied());
	end_await(c, "HTTP/1.1 503 ");
	end_take(c);
	VIRT_NEED(end_has(c, "NOMEM") && end_has(c, "\r\nRetry-After: "),
		  c->got);
	VIRT_NEED(world_stat(STAT_nomem) == 1);
	VIRT_NEED(world_stat(STAT_up_failed) == 0 && !world_had_event(3107),
		  "the cloud is blamed");
}

/* --- the keeper's token ----------------------------------------------------
 */

/* A size that nothing else has. */
#define TOKEN_BYTES 999
#define TOKEN_ROOM  (BASE64_LEN(TOKEN_BYTES) + 1)

static void
asks_for_a_token(struct end *c, enum keeper_mode keeper)
{
	static const char token[TOKEN_BYTES];

	scene_up();
	world.keeper = keeper;
	world.keeper_token = (struct slice){token, sizeof(token)};
	end_dial(c, false);
	virt_alloc_deny(TOKEN_ROOM);
	scene_ask(c);
	end_take(c);
	VIRT_NEED(virt_alloc_denied());
}

/* RFC 4559 4.1: a client may hold us to prove ourselves, too.  Without the
 * proof it takes no reply, and would not know why. */
SCENARIO(no_memory_for_the_proof_of_who_we_are)
{
	struct end c, cloud;

	asks_for_a_token(&c, KEEPER_OK);
	is_told_of_no_memory(&c);
	VIRT_NEED(!end_has(&c, "WWW-Authenticate") && virt_connected() == 0,
		  "it was carried out");
	end_close(&c);
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	VIRT_NEED(end_has(&c, "WWW-Authenticate: Negotiate AAAA"), c.got);
}

/* Without its challenge a client would begin anew, and we with it. */
SCENARIO(no_memory_for_another_leg)
{
	struct end c;

	asks_for_a_token(&c, KEEPER_GOES_ON);
	is_told_of_no_memory(&c);
	VIRT_NEED(world.aborts == 1, "the keeper holds it");
}

/* That it is refused, and why, the answer says without. */
SCENARIO(no_memory_for_the_token_of_a_refusal)
{
	struct end c;

	asks_for_a_token(&c, KEEPER_REFUSES);
	VIRT_NEED(end_has(&c, "HTTP/1.1 401 ") && end_has(&c, "AUTH_FAILED") &&
		      end_has(&c, "\r\nWWW-Authenticate: Negotiate\r\n"),
		  c.got);
}

/* --- a block to read into ---------------------------------------------------
 */

/* A client with half a head, and so with the newest free block, if there is
 * one. */
static void
holds_a_block(struct end *c)
{
	end_dial(c, false);
	end_send(c, "POST ");
}

SCENARIO(no_memory_to_read_a_reply)
{
	struct end c, cloud;

	scene_up();
	holds_a_block(&c);
	virt_alloc_deny(RELAY_BLOCK);
	end_send(&c, request(REQ_PATH, BODY) + strlen("POST "));
	VIRT_NEED(cloud_accept(&cloud));
	end_handshake(&cloud);
	world_run();
	is_told_of_no_memory(&c);
	end_close(&c);
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
}

/* The pooled connection is as good as any, and the cloud is not asked twice. */
SCENARIO(no_memory_to_read_a_reply_of_the_pool)
{
	struct end c, cloud, other;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	end_clear(&c);
	holds_a_block(&other);
	virt_alloc_deny(RELAY_BLOCK);
	scene_ask(&c);
	is_told_of_no_memory(&c);
	VIRT_NEED(world_stat(STAT_up_retries) == 0 && virt_connected() == 1);
	end_send(&other, request(REQ_PATH, BODY) + strlen("POST "));
	cloud_serve(&cloud);
	end_send(&cloud, REPLY);
	end_await(&other, "hello");
}

SCENARIO(no_memory_to_read_the_answer_of_a_proxy)
{
	struct end c, px;

	world_init();
	scene_conf_proxy("http://proxy.test:3128");
	scene_token_proxy("http://proxy.test:3128", "");
	world_up();
	holds_a_block(&c);
	virt_alloc_deny(RELAY_BLOCK);
	end_send(&c, request(REQ_PATH, BODY) + strlen("POST "));
	VIRT_NEED(proxy_accept(&px));
	is_told_of_no_memory(&c);
	end_take(&px);
	VIRT_NEED(px.len == 0 && px.eof, px.got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_is_a_replay),
	    cmocka_unit_test(no_memory_for_a_new_token),
	    cmocka_unit_test(no_memory_for_the_token_that_one_waits_for),
	    cmocka_unit_test(no_memory_for_a_replay),
	    cmocka_unit_test(there_is_a_queue),
	    cmocka_unit_test(no_memory_in_the_queue),
	    cmocka_unit_test(no_memory_for_chunks),
	    cmocka_unit_test(no_memory_for_a_large_head),
	    cmocka_unit_test(no_memory_behind_a_balancer),
	    cmocka_unit_test(no_memory_for_the_proof_of_who_we_are),
	    cmocka_unit_test(no_memory_for_another_leg),
	    cmocka_unit_test(no_memory_for_the_token_of_a_refusal),
	    cmocka_unit_test(no_memory_to_read_a_reply),
	    cmocka_unit_test(no_memory_to_read_a_reply_of_the_pool),
	    cmocka_unit_test(no_memory_to_read_the_answer_of_a_proxy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
