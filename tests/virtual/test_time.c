/*
 * How long a request may take as a whole, whatever it waits for, and who gets
 * the blame: in what the client is told, and for the circuit.
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

#include <openssl/ssl.h>

#include "shm/base/log.h"
#include "tests/virtual/scene.h"

#define S     UINT64_C(1000)
#define TOTAL (60 * S)
#define LONG                                                            \
	(8U << 20) /* more than all sockets and buffers on the way hold \
		    */

/* A request may take TOTAL; nothing else ends it sooner. */
static void
up(void)
{
	world_init();
	world.conf.request_timeout_ms = (int64_t)TOTAL;
	world.conf.head_timeout_ms = world.conf.auth_timeout_ms = 100 * S;
	world.conf.queue_timeout_ms = world.conf.token_wait_ms = 100 * S;
	world.conf.body_timeout_ms = 100 * S;
	world.conf.cloud_connect_timeout_ms = 100 * S;
	world.conf.cloud_tls_timeout_ms = 100 * S;
	world.conf.cloud_reply_timeout_ms = 100 * S;
	world.conf.cloud_body_timeout_ms = 100 * S;
	world.conf.write_timeout_ms = 100 * S;
	world.conf.cloud_breaker_failures = 2;
	world_up();
}

/* The first bytes of the request, and so long later the others. */
static void
asks_slowly(struct end *c, uint64_t head_ms)
{
	const char *text = request(REQ_PATH, BODY);

	end_dial(c, false);
	end_send_bytes(c, text, 10);
	world_advance(head_ms);
	end_send(c, text + 10);
	end_take(c);
}

/* All but the last bytes; they come so long later. */
static void
uploads_slowly(struct end *c, struct end *cloud, uint64_t ms)
{
	const char *text = request(REQ_PATH, BODY);
	size_t n = strlen(text) - 3;

	end_dial(c, false);
	end_send_bytes(c, text, n);
	if (cloud_accept(cloud))
		end_handshake(cloud);
	world_advance(ms);
	end_send(c, text + n);
	end_take(cloud);
	VIRT_NEED(cloud_request_is_whole(cloud));
}

/* In so many milliseconds it is told this. */
static void
is_told(struct end *c, uint64_t ms, const char *status, const char *reason)
{
	scene_expect(c, (int64_t)ms, status);
	VIRT_NEED(end_has(c, reason), c->got);
}

static void
circuit_is(bool open)
{
	VIRT_NEED(world_stat(STAT_circuit_open) == (open ? 1 : 0),
		  open ? "it did not count for the circuit"
		       : "it counts for the circuit");
}

/* --- each state ------------------------------------------------------------
 */

SCENARIO(total_ends_in_the_head)
{
	struct end c;

	up();
	end_dial(&c, false);
	end_send(&c, "POST ");
	is_told(&c, TOTAL, "HTTP/1.1 408 ", "CLIENT_SLOW_HEAD");
}

SCENARIO(total_ends_with_the_keeper)
{
	struct end c;

	up();
	world.keeper = KEEPER_SILENT;
	asks_slowly(&c, 20 * S);
	is_told(&c, TOTAL - 20 * S, "HTTP/1.1 503 ", "AUTH_TIMEOUT");
}

SCENARIO(total_ends_in_the_queue)
{
	struct end first, c, cloud;

	up();
	world.conf.cloud_requests_max = 1;
	world.conf.request_timeout_ms = 0;
	world_reload(CA_OURS, CA_OURS);
	end_dial(&first, false);
	scene_ask(&first);
	cloud_serve(&cloud);
	world.conf.request_timeout_ms = (int64_t)TOTAL; /* for the next one */
	world_reload(CA_OURS, CA_OURS);
	asks_slowly(&c, 10 * S);
	VIRT_NEED(world_stat(STAT_queue_length) == 1);
	is_told(&c, TOTAL - 10 * S, "HTTP/1.1 503 ", "QUEUE_TIMEOUT");
	circuit_is(false);
}

SCENARIO(total_ends_while_a_token_is_fetched)
{
	struct end c, cloud;

	up();
	world_agent();
	end_dial(&c, false);
	scene_ask(&c);
	cloud_serve(&cloud);
	world_advance(20 * S);
	end_send(&cloud, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
	end_take(&c);
	VIRT_NEED(c.len == 0, c.got);
	is_told(&c, TOTAL - 20 * S, "HTTP/1.1 502 ", "CLOUD_UNAUTHORIZED");
}

/* What connects too slowly for half of the time, is to blame; */
SCENARIO(total_ends_in_connecting)
{
	struct end c;

	up();
	virt_connects(VIRT_HANGS);
	for (int n = 0; n < 2; n++) {
		circuit_is(false);
		asks_slowly(&c, 20 * S);
		is_told(&c, TOTAL - 20 * S, "HTTP/1.1 504 ",
			"CLOUD_CONNECT_SLOW");
	}
	circuit_is(true);
}

/* what had only the rest of it, is not. */
SCENARIO(total_ends_soon_after_connecting_began)
{
	struct end c;

	up();
	virt_connects(VIRT_HANGS);
	for (int n = 0; n < 3; n++) {
		asks_slowly(&c, 40 * S);
		is_told(&c, TOTAL - 40 * S, "HTTP/1.1 504 ",
			"TIME_OVER_CONNECT");
		VIRT_NEED(end_has(&c, "fault of: none"), c.got);
	}
	circuit_is(false);
}

SCENARIO(total_ends_in_the_body)
{
	const char *text = request(REQ_PATH, BODY);
	struct end c, cloud;

	up();
	end_dial(&c, false);
	end_send_bytes(&c, text, strlen(text) - 10);
	VIRT_NEED(cloud_accept(&cloud));
	end_handshake(&cloud);
	world_advance(TOTAL - S);
	end_send_bytes(&c, "x", 1);
	is_told(&c, S, "HTTP/1.1 408 ", "CLIENT_SLOW_BODY");
	circuit_is(false);
}

SCENARIO(total_ends_without_a_reply)
{
	struct end c, cloud;

	up();
	for (int n = 0; n < 2; n++) {
		circuit_is(false);
		uploads_slowly(&c, &cloud, 20 * S);
		is_told(&c, TOTAL - 20 * S, "HTTP/1.1 504 ", "TIME_OVER_CLOUD");
		VIRT_NEED(end_has(&c, "fault of: cloud"), c.got);
	}
	circuit_is(true);
}

/* A client that takes all the time for its body: no failure of the cloud. */
SCENARIO(total_ends_soon_after_the_body)
{
	struct end c, cloud;

	up();
	for (int n = 0; n < 3; n++) {
		uploads_slowly(&c, &cloud, TOTAL - S);
		is_told(&c, S, "HTTP/1.1 504 ", "TIME_OVER_REPLY");
		VIRT_NEED(end_has(&c, "fault of: none"), c.got);
	}
	circuit_is(false);
	VIRT_NEED(!world_had_event(3000), "it is told as a failure");
}

/* The same of one that tries whether the cloud is back: the next one tries. */
SCENARIO(total_ends_of_a_try_that_says_nothing)
{
	struct end c, cloud;

	up();
	virt_connects(VIRT_REFUSED);
	for (int n = 0; n < 2; n++) {
		end_dial(&c, false);
		scene_ask(&c);
		end_await(&c, "HTTP/1.1 502 ");
	}
	circuit_is(true);
	world_advance((uint64_t)world.conf.cloud_breaker_ms + 10);
	virt_connects(VIRT_OK);
	uploads_slowly(&c, &cloud, TOTAL - S);
	is_told(&c, S, "HTTP/1.1 504 ", "TIME_OVER_REPLY");
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	circuit_is(false);
}

/* The time with a connection that breaks is time with the cloud. */
SCENARIO(total_counts_what_was_tried_before)
{
	struct end c, cloud, fresh;

	up();
	world.conf.cloud_breaker_failures = 1;
	world_reload(CA_OURS, CA_OURS);
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	end_clear(&c);
	end_clear(&cloud);
	scene_ask(&c);
	end_take(&cloud);
	world_advance(40 * S);
	end_close(&cloud);
	scene_serve(&fresh);
	circuit_is(false);
	is_told(&c, TOTAL - 40 * S, "HTTP/1.1 504 ", "TIME_OVER_CLOUD");
	circuit_is(true);
}

SCENARIO(total_ends_in_the_reply)
{
	struct end c, cloud;

	up();
	end_dial(&c, false);
	scene_ask(&c);
	cloud_serve(&cloud);
	end_send(&cloud, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel");
	world_advance(50 * S);
	end_send(&cloud, "l");
	scene_expect(&c, (int64_t)(TOTAL - 50 * S), NULL);
	circuit_is(false);
}

SCENARIO(no_total_is_no_bound)
{
	struct end c, cloud;

	up();
	world.conf.request_timeout_ms = 0;
	world_reload(CA_OURS, CA_OURS);
	uploads_slowly(&c, &cloud, TOTAL + S);
	world_advance(TOTAL);
	end_send(&cloud, REPLY);
	end_await(&c, "hello");
}

/* --- a cloud that takes a request slowly, or not ---------------------------
 */

static size_t long_sent;

/* As much of the body as goes now. */
static void
sends_on(struct end *c)
{
	static const char zeros[65536];
	ssize_t n = 1;

	while (n > 0 && long_sent < LONG) {
		n = send(c->fd, zeros, MIN(sizeof(zeros), LONG - long_sent),
			 MSG_NOSIGNAL);
		long_sent += n > 0 ? (size_t)n : 0;
		world_run();
	}
}

/* A request whose body is longer than all that lies between, and as much of
 * it as goes. */
static void
sends_much(struct end *c, struct end *cloud)
{
	char head[512];

	end_dial(c, false);
	snprintf(head, sizeof(head),
		 "POST " REQ_PATH " HTTP/1.1\r\nHost: c\r\n"
		 "Authorization: Negotiate bm90IGEgcmVhbCB0b2tlbg==\r\n"
		 "Content-Length: %u\r\n\r\n",
		 LONG);
	end_send(c, head);
	VIRT_NEED(cloud_accept(cloud), "it did not go");
	end_handshake(cloud);
	long_sent = 0;
	sends_on(c);
	VIRT_NEED(long_sent < LONG, "all of it goes");
}

SCENARIO(cloud_that_takes_no_more_counts_for_the_circuit)
{
	struct end c, cloud;

	scene_up();
	world.conf.cloud_breaker_failures = 2;
	world_reload(CA_OURS, CA_OURS);
	for (int n = 0; n < 2; n++) {
		circuit_is(false);
		sends_much(&c, &cloud);
		is_told(&c, (uint64_t)world.conf.cloud_body_timeout_ms,
			"HTTP/1.1 504 ", "CLOUD_SLOW_BODY");
	}
	circuit_is(true);
}

/* One that has begun to reply has not failed in that. */
SCENARIO(cloud_that_takes_no_more_and_replies)
{
	struct end c, cloud;

	scene_up();
	world.conf.cloud_breaker_failures = 1;
	world_reload(CA_OURS, CA_OURS);
	sends_much(&c, &cloud);
	end_send(&cloud, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
	end_await(&c, "hel");
	scene_expect(&c, world.conf.cloud_body_timeout_ms, NULL);
	circuit_is(false);
}

/* ms until it is told that the cloud is slow, while that takes `bytes` each
 * five seconds; `max` when it is not in that time. */
static uint64_t
taken_drop_by_drop(size_t bytes, uint64_t max)
{
	struct end c, cloud;
	char mem[16384];
	uint64_t ms;
	int r;

	sends_much(&c, &cloud);
	for (ms = 0; ms < max && c.len == 0; ms += 5 * S) {
		for (size_t n = 0; n < bytes && c.len == 0; n += (size_t)r) {
			sends_on(&c);
			r = SSL_read(cloud.ssl, mem, sizeof(mem));
			VIRT_NEED(r > 0, "there is nothing to take");
		}
		world_advance(5 * S);
		end_take(&c);
	}
	VIRT_NEED(c.len == 0 || (end_has(&c, "HTTP/1.1 504 ") &&
				 end_has(&c, "CLOUD_SLOW_BODY")),
		  c.got);
	return ms;
}

SCENARIO(cloud_that_takes_a_request_drop_by_drop)
{
	uint64_t ms, pause;

	world_init();
	world.conf.cloud_rate_min = 100000;
	world_up();
	pause = (uint64_t)world.conf.cloud_body_timeout_ms;
	/* longer than a pause, so not for that; a tenth of the rate that is
	 * demanded, and so not for long */
	ms = taken_drop_by_drop(50000, 10 * pause);
	VIRT_NEED(ms > pause + 5 * S && ms < 2 * pause, "not for its rate");
}

/* What waits to be taken is as long each time, and yet it goes on. */
SCENARIO(cloud_that_takes_a_request_fast_enough)
{
	world_init();
	world.conf.cloud_rate_min = 5000;
	world_up();
	VIRT_NEED(taken_drop_by_drop(50000, 300 * S) == 300 * S);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(total_ends_in_the_head),
	    cmocka_unit_test(total_ends_with_the_keeper),
	    cmocka_unit_test(total_ends_in_the_queue),
	    cmocka_unit_test(total_ends_while_a_token_is_fetched),
	    cmocka_unit_test(total_ends_in_connecting),
	    cmocka_unit_test(total_ends_soon_after_connecting_began),
	    cmocka_unit_test(total_ends_in_the_body),
	    cmocka_unit_test(total_ends_without_a_reply),
	    cmocka_unit_test(total_ends_soon_after_the_body),
	    cmocka_unit_test(total_ends_of_a_try_that_says_nothing),
	    cmocka_unit_test(total_counts_what_was_tried_before),
	    cmocka_unit_test(total_ends_in_the_reply),
	    cmocka_unit_test(no_total_is_no_bound),
	    cmocka_unit_test(cloud_that_takes_no_more_counts_for_the_circuit),
	    cmocka_unit_test(cloud_that_takes_no_more_and_replies),
	    cmocka_unit_test(cloud_that_takes_a_request_drop_by_drop),
	    cmocka_unit_test(cloud_that_takes_a_request_fast_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
