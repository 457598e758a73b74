/*
 * A whole relay, driven through what real networks do once a year.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "tests/virtual/scene.h"
#include "worker/relay/client.h"

SCENARIO(a_request_is_relayed)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	VIRT_NEED(end_has(&cloud, "Authorization: Bearer a-token\r\n"));
	VIRT_NEED(end_has(&cloud, "\r\n\r\n" BODY));
	VIRT_NEED(world.steps == 1 && virt_connected() == 1);
	/* and the next one over the same two connections */
	end_clear(&c);
	end_clear(&cloud);
	end_send(&c, request(REQ_PATH, BODY));
	end_take(&cloud);
	VIRT_NEED(cloud_request_is_whole(&cloud));
	end_send(&cloud, REPLY);
	end_take(&c);
	VIRT_NEED(end_has(&c, "hello") && virt_connected() == 1);
}

SCENARIO(a_tls_client_is_served)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, true);
	end_handshake(&c);
	VIRT_NEED(world.signs == 1);
	scene_exchange(&c, &cloud);
}

/* --- time-outs: each at its moment, and what the client is told ------------
 */

SCENARIO(tls_handshake_that_does_not_begin)
{
	struct end c;

	scene_up();
	end_dial(&c, true);
	SSL_free(c.ssl);
	c.ssl = NULL; /* the bytes as they are */
	scene_expect(&c, world.conf.tls_timeout_ms, NULL);
	VIRT_NEED(c.len == 0);
}

SCENARIO(tls_handshake_whose_signature_does_not_come)
{
	struct end c;

	scene_up();
	world.keeper = KEEPER_SILENT;
	end_dial(&c, true);
	VIRT_NEED(SSL_do_handshake(c.ssl) != 1);
	world_run();
	VIRT_NEED(world.signs == 1);
	scene_expect(&c, world.conf.tls_timeout_ms, NULL);
}

SCENARIO(connection_without_a_request)
{
	struct end c;

	scene_up();
	end_dial(&c, false);
	scene_expect(&c, world.conf.idle_timeout_ms, NULL);
	VIRT_NEED(c.len == 0);
}

SCENARIO(connection_between_requests)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	scene_expect(&c, world.conf.idle_timeout_ms, NULL);
}

SCENARIO(head_that_does_not_end)
{
	struct end c;

	scene_up();
	end_dial(&c, false);
	world_advance(5000);
	end_send(&c, "POST " REQ_PATH " HTTP/1.1\r\nHost: ");
	world_advance(5000);
	end_send(&c, "c\r\n"); /* from its first byte, not its last */
	scene_expect(&c, world.conf.head_timeout_ms - 5000, "HTTP/1.1 408 ");
}

SCENARIO(body_that_stops)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	end_send_bytes(&c, request(REQ_PATH, BODY),
		       strlen(request(REQ_PATH, BODY)) - 3);
	VIRT_NEED(cloud_accept(&cloud)); /* it is streamed */
	end_handshake(&cloud);
	scene_expect(&c, world.conf.body_timeout_ms, "HTTP/1.1 408 ");
}

SCENARIO(keeper_that_does_not_answer)
{
	struct end c;

	scene_up();
	world.keeper = KEEPER_SILENT;
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	VIRT_NEED(world.steps == 1);
	scene_expect(&c, world.conf.auth_timeout_ms + CLIENT_AUTH_GRACE_MS,
		     "HTTP/1.1 503 ");
	VIRT_NEED(end_has(&c, "Retry-After: "));
}

SCENARIO(cloud_that_does_not_accept)
{
	struct end c;

	scene_up();
	virt_connects(VIRT_HANGS);
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	VIRT_NEED(virt_connected() == 1);
	scene_expect(&c, world.conf.cloud_connect_timeout_ms, "HTTP/1.1 504 ");
}

SCENARIO(cloud_that_refuses)
{
	struct end c;

	scene_up();
	virt_connects(VIRT_REFUSED);
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	end_take(&c);
	VIRT_NEED(end_has(&c, "HTTP/1.1 502 "));
	VIRT_NEED(world_stat(STAT_up_failed) == 1);
}

SCENARIO(cloud_that_does_not_shake_hands)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	VIRT_NEED(cloud_accept(&cloud));
	scene_expect(&c, world.conf.cloud_tls_timeout_ms, "HTTP/1.1 502 ");
}

SCENARIO(cloud_that_does_not_reply)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	cloud_serve(&cloud);
	scene_expect(&c, world.conf.cloud_reply_timeout_ms, "HTTP/1.1 504 ");
}

SCENARIO(cloud_that_stops_in_its_reply)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	cloud_serve(&cloud);
	end_send(&cloud, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
	scene_expect(&c, world.conf.cloud_body_timeout_ms, NULL);
	/* what was announced is not made up */
	VIRT_NEED(end_has(&c, "\r\n\r\nhel") && !end_has(&c, "hell"));
}

SCENARIO(client_that_takes_nothing)
{
	static char big[1 << 20];
	struct end c, cloud;
	char head[128];

	scene_up();
	virt_set_room(4096);
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	cloud_serve(&cloud);
	memset(big, 'x', sizeof(big));
	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof(big));
	end_send(&cloud, head);
	/* the relay stops to take it: as much as it holds, and no more */
	(void)!SSL_write(cloud.ssl, big, sizeof(big));
	world_run();
	world_advance((uint64_t)world.conf.write_timeout_ms + 30);
	VIRT_NEED(world_stat(STAT_conns_open) == 0, "it is still there");
	end_take(&c);
	VIRT_NEED(c.len < sizeof(big));
}

static bool
is_gone(void *arg)
{
	(void)arg;
	return world_stat(STAT_conns_open) == 0;
}

/* A client in whose socket replies of the relay itself stay: it asks, one
 * request behind the other, without reading. */
static void
takes_no_own_reply(struct end *c, const char *text, unsigned times)
{
	world_init();
	world.conf.write_rate_min = 0; /* the pause alone */
	world_up();
	virt_set_room(4096);
	virt_io = (struct virt_io){.send_max = 1};
	end_dial(c, false);
	for (unsigned n = 0; n < times; n++)
		end_send(c, text);
	world_run();
	VIRT_NEED(world_stat(STAT_conns_open) == 1);
}

#define UNKNOWN "GET / HTTP/1.1\r\nHost: c\r\n\r\n"

SCENARIO(client_that_takes_no_reply_of_ours)
{
	struct end c;

	takes_no_own_reply(&c, UNKNOWN, 3);
	VIRT_NEED(world_stat(STAT_requests) == 1, "it reads on");
	VIRT_NEED(world.conf.write_timeout_ms < world.conf.idle_timeout_ms);
	world_expect_at((uint64_t)world.conf.write_timeout_ms, is_gone, NULL);
}

SCENARIO(client_that_takes_our_reply_late)
{
	struct end c;

	takes_no_own_reply(&c, UNKNOWN, 1);
	world_advance((uint64_t)world.conf.write_timeout_ms - 1000);
	end_await(&c, "\r\n\r\n");
	virt_io = (struct virt_io){0};
	end_take(&c);
	/* the time between requests, from now on */
	world_expect_at((uint64_t)world.conf.idle_timeout_ms, is_gone, NULL);
}

SCENARIO(client_that_does_not_take_why_we_close)
{
	struct end c;

	takes_no_own_reply(&c, "no request\r\n\r\n", 1);
	VIRT_NEED(world_stat(STAT_status_4xx) == 1);
	/* as for any reply: not the short time for the client's own close */
	world_expect_at((uint64_t)world.conf.write_timeout_ms, is_gone, NULL);
}

/* reasons.def: later, and no 503. */
SCENARIO(token_that_is_refused)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_ask(&c);
	cloud_serve(&cloud);
	end_send(&cloud, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
	end_await(&c, "HTTP/1.1 502 ");
	end_take(&c);
	VIRT_NEED(end_has(&c, "CLOUD_UNAUTHORIZED") &&
		      end_has(&c, "\r\nRetry-After: "),
		  c.got);
}

/* Not for one that may try again at once, or never. */
SCENARIO(cloud_that_speaks_no_http)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_ask(&c);
	cloud_serve(&cloud);
	end_send(&cloud, "220 mail.test ESMTP\r\n\r\n");
	end_await(&c, "HTTP/1.1 502 ");
	end_take(&c);
	VIRT_NEED(!end_has(&c, "Retry-After"), c.got);
}

/* --- several at a time ------------------------------------------------------
 */

/* The traceparent that the cloud gets with the next request. */
static void
next_trace(char trace_r[TRACE_LEN + 1])
{
	static const char name[] = "\r\ntraceparent: ";
	struct end cloud;
	const char *at;

	cloud_serve(&cloud);
	at = strstr(cloud.got, name);
	VIRT_NEED(at != NULL, cloud.got);
	snprintf(trace_r, TRACE_LEN + 1, "%s", at + sizeof(name) - 1);
	VIRT_NEED(trace_is_valid((struct slice){trace_r, TRACE_LEN}), trace_r);
}

SCENARIO(each_request_has_a_trace_of_its_own)
{
	char trace[2][TRACE_LEN + 1];
	const char *text;
	struct end c[2];

	scene_up();
	end_dial(&c[0], false);
	end_dial(&c[1], false);
	text = request(REQ_PATH, BODY);
	/* both are here before the keeper says who sent the first */
	for (size_t i = 0; i < 2; i++)
		VIRT_NEED(send(c[i].fd, text, strlen(text), 0) > 0);
	world_run();
	for (size_t i = 0; i < 2; i++)
		next_trace(trace[i]);
	VIRT_NEED(strcmp(trace[0], trace[1]) != 0, trace[0]);
}

#define LONG_BODY (4U << 20)

/* Of a long body, as much as finds room while nobody reads it. */
static size_t
send_until_full(struct end *c, const char *body)
{
	size_t sent = 0;
	ssize_t n;

	while ((n = send(c->fd, body + sent, LONG_BODY - sent, MSG_NOSIGNAL)) >
	       0) {
		sent += (size_t)n;
		world_run();
	}
	VIRT_NEED(sent < LONG_BODY, "it reads all");
	return sent;
}

/* What is in the socket came with an edge long ago, and nothing more comes
 * before it is read: the client writes on and reads its reply then. */
SCENARIO(refusal_after_the_queue_of_a_client_that_still_writes)
{
	struct end first, c, cloud;
	char *body = calloc(1, LONG_BODY);
	char head[512];
	size_t sent;

	VIRT_NEED(body != NULL);
	world_init();
	world.conf.cloud_requests_max = 1;
	world_up();
	end_dial(&first, false);
	scene_ask(&first);
	cloud_serve(&cloud);
	end_dial(&c, false);
	snprintf(head, sizeof(head),
		 "POST " REQ_PATH " HTTP/1.1\r\nHost: c\r\n"
		 "Authorization: Negotiate bm90IGEgcmVhbCB0b2tlbg==\r\n"
		 "Content-Length: %u\r\n\r\n",
		 LONG_BODY);
	end_send(&c, head);
	sent = send_until_full(&c, body);
	VIRT_NEED(world_stat(STAT_queue_length) == 1);
	end_send(&cloud, "HTTP/1.1 503 Wait\r\nRetry-After: 60\r\n"
			 "Content-Length: 0\r\n\r\n");
	VIRT_NEED(world_stat(STAT_wait_refused) == 1);
	end_send_bytes(&c, body + sent, LONG_BODY - sent);
	end_await(&c, "\r\nConnection: close\r\n");
	end_take(&c);
	VIRT_NEED(end_has(&c, "HTTP/1.1 503 ") && c.eof && !c.reset, c.got);
	free(body);
}

/* --- pieces ----------------------------------------------------------------
 */

SCENARIO(request_split_anywhere)
{
	const char *text = request(REQ_PATH, BODY);
	struct end c, cloud;

	scene_up();
	for (size_t i = 1; i < strlen(text); i++) {
		end_dial(&c, false);
		end_send_bytes(&c, text, i);
		end_send(&c, text + i);
		scene_exchange_again(&c, &cloud);
		end_close(&c);
	}
	VIRT_NEED(virt_connected() == 1);
}

SCENARIO(reply_split_anywhere)
{
	static const char *const reply[] = {
	    REPLY,
	    "HTTP/1.1 100 Continue\r\n\r\n" REPLY,
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "2;x=\"y\"\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
	};
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	for (size_t r = 0; r < 3; r++)
		for (size_t i = 1; i < strlen(reply[r]); i++) {
			end_clear(&c);
			end_clear(&cloud);
			end_send(&c, request(REQ_PATH, BODY));
			end_take(&cloud);
			VIRT_NEED(cloud_request_is_whole(&cloud));
			end_send_bytes(&cloud, reply[r], i);
			end_take(&c);
			VIRT_NEED(!end_has(&c, "100 Continue"));
			end_send(&cloud, reply[r] + i);
			end_take(&c);
			VIRT_NEED(end_has(&c, "HTTP/1.1 200 OK\r\n"));
			VIRT_NEED(
			    r == 2 ? strcmp(scene_unchunked(&c), "hello") == 0
				   : end_has(&c, "\r\n\r\nhello"));
		}
	VIRT_NEED(virt_connected() == 1);
}

static void
byte_by_byte(bool tls)
{
	struct end c, cloud;

	scene_up();
	virt_io = (struct virt_io){.recv_max = 1, .send_max = 1};
	end_dial(&c, tls);
	if (tls)
		end_handshake(&c);
	scene_exchange(&c, &cloud);
	end_clear(&c);
	end_send(&c, request(REQ_PATH, BODY));
	scene_exchange_again(&c, &cloud);
}

SCENARIO(one_byte_at_a_time)
{
	byte_by_byte(false);
}

SCENARIO(one_byte_at_a_time_of_tls)
{
	byte_by_byte(true);
}

/* Two requests, the second with a reply in chunks. */
static void
two_requests(bool tls)
{
	struct end c, cloud;

	end_dial(&c, tls);
	if (tls)
		end_handshake(&c);
	scene_exchange(&c, &cloud);
	end_clear(&c);
	end_clear(&cloud);
	end_send(&c, request(REQ_PATH, BODY));
	end_take(&cloud);
	VIRT_NEED(cloud_request_is_whole(&cloud));
	end_send(&cloud, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			 "5\r\nhello\r\n0\r\n\r\n");
	end_take(&c);
	VIRT_NEED(end_has(&c, "hello\r\n0\r\n\r\n"));
}

static void
no_room_at(unsigned n, bool tls)
{
	scene_up();
	virt_io = (struct virt_io){.full_at = n};
	two_requests(tls);
	if (virt_io.sends < n)
		virt_over();
}

static void
no_room_plain(unsigned n)
{
	no_room_at(n, false);
}

static void
no_room_tls(unsigned n)
{
	no_room_at(n, true);
}

static void
no_room_at_any_send(void **state)
{
	(void)state;
	/* two requests have more than six */
	assert_true(scene_series(no_room_plain, 1, "send, plain") > 6);
	assert_true(scene_series(no_room_tls, 1, "send, TLS") > 6);
}

/* --- a refusal, and the body that comes with it -----------------------------
 */

#define STRANGER         \
	"POST " REQ_PATH \
	" HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n"

static void
stranger_begins(struct end *c, const char *fields)
{
	world_init();
	world.conf.drain_bytes_max = 1000;
	world_up();
	end_dial(c, false);
	end_send(c, STRANGER);
	end_send(c, fields);
	world_run();
}

/* Chunks of 100 bytes. */
static void
send_chunks(struct end *c, unsigned n)
{
	char text[128];

	for (; n > 0; n--) {
		snprintf(text, sizeof(text), "64\r\n%0100u\r\n", n);
		end_send(c, text);
	}
	world_run();
	end_take(c);
}

static void
is_told_of_the_end(struct end *c)
{
	end_await(c, "HTTP/1.1 401 ");
	VIRT_NEED(end_has(c, "Connection: close\r\n"), c->got);
	VIRT_NEED(end_has(c, "AUTH_REQUIRED") && c->eof && !c->reset, c->got);
}

SCENARIO(refusal_of_chunks_keeps_its_word)
{
	struct end c, cloud;

	stranger_begins(&c, "\r\n");
	send_chunks(&c, 10); /* as many as may be */
	VIRT_NEED(c.len == 0, c.got);
	end_send(&c, "0\r\n\r\n");
	end_await(&c, "HTTP/1.1 401 ");
	VIRT_NEED(!end_has(&c, "Connection: "), c.got);
	end_clear(&c);
	scene_exchange(&c, &cloud);
}

SCENARIO(refusal_of_too_many_chunks_says_the_end)
{
	struct end c;

	stranger_begins(&c, "\r\n");
	send_chunks(&c, 10);
	VIRT_NEED(c.len == 0, c.got);
	send_chunks(&c, 1);
	is_told_of_the_end(&c);
	/* whatever else it sends before it reads: no reset */
	send_chunks(&c, 1000);
	VIRT_NEED(!c.reset);
	end_close(&c);
	VIRT_NEED(world_stat(STAT_conns_open) == 0);
}

SCENARIO(refusal_of_chunks_that_are_none)
{
	struct end c;

	stranger_begins(&c, "\r\n");
	send_chunks(&c, 1);
	end_send(&c, "no chunk\r\n");
	is_told_of_the_end(&c);
}

SCENARIO(refusal_of_chunks_that_do_not_come)
{
	struct end c;

	stranger_begins(&c, "\r\n");
	send_chunks(&c, 1);
	scene_expect(&c, world.conf.body_timeout_ms, "HTTP/1.1 401 ");
	is_told_of_the_end(&c);
}

SCENARIO(refusal_of_chunks_that_break_off)
{
	struct end c;

	stranger_begins(&c, "\r\n");
	send_chunks(&c, 1);
	end_half_close(&c);
	is_told_of_the_end(&c);
	VIRT_NEED(world_stat(STAT_conns_open) == 0);
}

SCENARIO(refusal_of_chunks_that_wait_for_a_word)
{
	struct end c;

	stranger_begins(&c, "Expect: 100-continue\r\n\r\n");
	is_told_of_the_end(&c);
}

/* The words of a refusal are of another time than its reply. */
SCENARIO(refusal_of_chunks_with_a_detail)
{
	struct end c;

	stranger_begins(&c, "Authorization: Basic eDp5\r\n\r\n");
	end_take(&c);
	VIRT_NEED(c.len == 0, c.got);
	end_send(&c, "0\r\n\r\n");
	end_await(&c, "HTTP/1.1 401 ");
	VIRT_NEED(end_has(&c, auth_cause_text(CAUSE_NO_MECH)), c.got);
	end_clear(&c);
	end_send(&c, "GET / HTTP/1.1\r\nHost: c\r\n\r\n");
	end_await(&c, "HTTP/1.1 404 ");
}

/* Allow is made of the head, and not of what came over it. */
SCENARIO(refused_method_of_chunks)
{
	struct end c;

	scene_up();
	end_dial(&c, false);
	end_send(&c, "PUT " REQ_PATH " HTTP/1.1\r\nHost: c\r\n"
		     "Transfer-Encoding: chunked\r\n\r\n");
	end_await(&c, "HTTP/1.1 405 ");
	VIRT_NEED(end_has(&c, "Allow: POST, GET, HEAD\r\n"), c.got);
	VIRT_NEED(end_has(&c, "Connection: close\r\n") && c.eof, c.got);
}

/* Whoever asked in front of us may not see a body behind it, or think that
 * what follows is a tunnel: not a byte of it is a request. */
SCENARIO(connect_with_a_body)
{
	static const char *const framing[] = {"", "Content-Length: 38\r\n",
					      "Transfer-Encoding: chunked\r\n"};

	scene_up();
	for (size_t i = 0; i < 3; i++) {
		struct end c;

		end_dial(&c, false);
		end_send(&c, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n");
		end_send(&c, framing[i]);
		end_send(&c, "\r\nGET /inner HTTP/1.1\r\n"
			     "Host: inner.test\r\n\r\n");
		end_await(&c, "HTTP/1.1 405 ");
		end_take(&c);
		VIRT_NEED(end_has(&c, "Connection: close\r\n") && c.eof, c.got);
		VIRT_NEED(strstr(c.got + 1, "HTTP/1.1 ") == NULL, c.got);
		end_close(&c);
	}
	VIRT_NEED(world_stat(STAT_requests) == 3 && virt_connected() == 0);
}

/* --- half-closed connections -----------------------------------------------
 */

SCENARIO(client_that_has_said_all)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	end_half_close(&c);
	cloud_serve(&cloud);
	end_send(&cloud, REPLY);
	end_take(&c);
	VIRT_NEED(end_has(&c, "\r\n\r\nhello") && c.eof);
}

SCENARIO(client_that_goes_in_its_body)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	end_send_bytes(&c, request(REQ_PATH, BODY),
		       strlen(request(REQ_PATH, BODY)) - 3);
	VIRT_NEED(cloud_accept(&cloud));
	end_handshake(&cloud);
	end_half_close(&c);
	end_take(&c);
	VIRT_NEED(c.eof && !end_has(&c, " 200 "));
	/* the cloud never takes half a request for a whole one */
	end_take(&cloud);
	VIRT_NEED((cloud.eof || cloud.reset) &&
		  !cloud_request_is_whole(&cloud));
}

SCENARIO(cloud_that_closes_between_requests)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	end_close(&cloud);
	end_clear(&c);
	end_send(&c, request(REQ_PATH, BODY));
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(virt_connected() == 2);
}

SCENARIO(cloud_that_closes_on_a_request)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	end_clear(&c);
	end_clear(&cloud);
	end_send(&c, request(REQ_PATH, BODY));
	end_take(&cloud);
	VIRT_NEED(cloud_request_is_whole(&cloud));
	end_close(&cloud); /* a pooled one: once more, on a new one */
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(virt_connected() == 2 && world_stat(STAT_up_retries) == 1);
	/* a new one that does it is no accident any more */
	end_clear(&c);
	end_close(&cloud);
	end_send(&c, request(REQ_PATH, BODY));
	cloud_serve(&cloud);
	end_close(&cloud);
	end_take(&c);
	VIRT_NEED(end_has(&c, "HTTP/1.1 502 "));
}

/* --- memory ----------------------------------------------------------------
 */

/* As much of a request as can be; nothing is expected of it. */
static void
try_exchange(bool tls)
{
	struct end c, cloud = {.fd = -1};

	end_dial(&c, tls);
	for (int n = 0; tls && n < 20 && SSL_do_handshake(c.ssl) != 1; n++)
		world_run();
	end_send(&c, request(REQ_PATH, BODY));
	for (int n = 0; n < 20; n++) {
		world_run();
		if (cloud.fd < 0 && !cloud_accept(&cloud))
			continue;
		if (!SSL_is_init_finished(cloud.ssl)) {
			(void)!SSL_do_handshake(cloud.ssl);
			continue;
		}
		end_take(&cloud);
		if (!cloud_request_is_whole(&cloud))
			continue;
		end_clear(&cloud);
		end_send(&cloud, REPLY);
	}
	end_take(&c);
	VIRT_NEED(c.eof || c.reset || end_has(&c, "HTTP/1.1 "),
		  "neither a reply nor an end");
	VIRT_NEED(!end_has(&c, " 200 OK") || end_has(&c, "hello") || c.eof ||
		      c.reset,
		  "half a reply, and no end");
	end_close(&c);
	if (cloud.fd >= 0)
		end_close(&cloud);
	while (cloud_accept(&cloud)) /* further tries */
		end_close(&cloud);
}

static void
fails_at(unsigned n, bool tls)
{
	struct end c, cloud;

	scene_up();
	virt_alloc_begin(n);
	try_exchange(tls);
	if (virt_alloc_count() < n)
		virt_over();
	virt_alloc_end();
	world_run();
	VIRT_NEED(!virt_ended());
	VIRT_NEED(world_stat(STAT_conns_open) == 0, "a connection is left");
	VIRT_NEED(world_stat(STAT_requests_open) == 0, "a request is left");
	end_dial(&c, tls);
	if (tls)
		end_handshake(&c);
	scene_exchange(&c, &cloud);
}

static void
fails_plain(unsigned n)
{
	fails_at(n, false);
}

static void
fails_tls(unsigned n)
{
	fails_at(n, true);
}

/* Each allocation of a request (some 2,400, and 3,400 with TLS) fails once. */
static void
no_memory_at_any_allocation(void **state)
{
	(void)state;
	assert_true(scene_series(fails_plain, scene_step(13), "allocation") >
		    1000);
}

static void
no_memory_at_any_allocation_with_tls(void **state)
{
	(void)state;
	assert_true(scene_series(fails_tls, scene_step(13), "allocation, TLS") >
		    1000);
}

/* A head within its bounds that needs a larger block, which is not to be had:
 * no fault of the client. */
SCENARIO(no_memory_for_a_long_head)
{
	static char field[66000];
	struct end c;

	scene_up();
	memset(field, 'a', sizeof(field) - 1);
	end_dial(&c, false);
	end_send(&c, "POST " REQ_PATH " HTTP/1.1\r\nHost: c\r\n"
		     "Authorization: Negotiate ");
	end_send_bytes(&c, field, 65000);
	virt_alloc_begin(1);
	end_send_bytes(&c, field, 1000);
	virt_alloc_end();
	end_await(&c, "HTTP/1.1 503 ");
	VIRT_NEED(end_has(&c, "NOMEM") && end_has(&c, "Retry-After: "), c.got);
	VIRT_NEED(world_stat(STAT_nomem) == 1);
	end_take(&c);
	VIRT_NEED(c.eof && !c.reset);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_request_is_relayed),
	    cmocka_unit_test(a_tls_client_is_served),
	    cmocka_unit_test(tls_handshake_that_does_not_begin),
	    cmocka_unit_test(tls_handshake_whose_signature_does_not_come),
	    cmocka_unit_test(connection_without_a_request),
	    cmocka_unit_test(connection_between_requests),
	    cmocka_unit_test(head_that_does_not_end),
	    cmocka_unit_test(body_that_stops),
	    cmocka_unit_test(keeper_that_does_not_answer),
	    cmocka_unit_test(cloud_that_does_not_accept),
	    cmocka_unit_test(cloud_that_refuses),
	    cmocka_unit_test(cloud_that_does_not_shake_hands),
	    cmocka_unit_test(cloud_that_does_not_reply),
	    cmocka_unit_test(cloud_that_stops_in_its_reply),
	    cmocka_unit_test(client_that_takes_nothing),
	    cmocka_unit_test(client_that_takes_no_reply_of_ours),
	    cmocka_unit_test(client_that_takes_our_reply_late),
	    cmocka_unit_test(client_that_does_not_take_why_we_close),
	    cmocka_unit_test(token_that_is_refused),
	    cmocka_unit_test(cloud_that_speaks_no_http),
	    cmocka_unit_test(each_request_has_a_trace_of_its_own),
	    cmocka_unit_test(
		refusal_after_the_queue_of_a_client_that_still_writes),
	    cmocka_unit_test(request_split_anywhere),
	    cmocka_unit_test(reply_split_anywhere),
	    cmocka_unit_test(one_byte_at_a_time),
	    cmocka_unit_test(one_byte_at_a_time_of_tls),
	    cmocka_unit_test(refusal_of_chunks_keeps_its_word),
	    cmocka_unit_test(refusal_of_too_many_chunks_says_the_end),
	    cmocka_unit_test(refusal_of_chunks_that_are_none),
	    cmocka_unit_test(refusal_of_chunks_that_do_not_come),
	    cmocka_unit_test(refusal_of_chunks_that_break_off),
	    cmocka_unit_test(refusal_of_chunks_that_wait_for_a_word),
	    cmocka_unit_test(refusal_of_chunks_with_a_detail),
	    cmocka_unit_test(refused_method_of_chunks),
	    cmocka_unit_test(connect_with_a_body),
	    cmocka_unit_test(client_that_has_said_all),
	    cmocka_unit_test(client_that_goes_in_its_body),
	    cmocka_unit_test(cloud_that_closes_between_requests),
	    cmocka_unit_test(cloud_that_closes_on_a_request),
	    cmocka_unit_test(no_room_at_any_send),
	    cmocka_unit_test(no_memory_for_a_long_head),
	    cmocka_unit_test(no_memory_at_any_allocation),
	    cmocka_unit_test(no_memory_at_any_allocation_with_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
