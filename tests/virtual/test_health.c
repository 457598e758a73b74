/*
 * What a relay believes of the cloud's health, and what of a new
 * configuration: its own eyes before other relays, the whole before a half.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <openssl/ssl.h>

#include "shm/base/clock.h"
#include "tests/virtual/scene.h"

#define S	 1000
#define HEED_S	 30  /* others are heeded for so long, */
#define EACH_S	 600 /* once in so long */
#define TO_WAIT	 "HTTP/1.1 503 Wait\r\nRetry-After: 120\r\n"
#define NO_BODY	 "Content-Length: 0\r\n\r\n"
#define THROTTLE "HTTP/1.1 429 Slow\r\nRetry-After: 120\r\n" NO_BODY

/* A request of a client of its own is refused with this reason. */
static void
refused(const char *reason)
{
	struct end c;

	end_dial(&c, false);
	scene_ask(&c);
	end_await(&c, "HTTP/1.1 503 ");
	VIRT_NEED(end_has(&c, reason) && end_has(&c, "\r\nRetry-After: "),
		  c.got);
	end_close(&c);
}

/* One goes to the cloud, which answers so. */
static void
goes(struct end *cloud, const char *answer)
{
	const char *line_end = strchr(answer, '\r');
	char line[64];
	struct end c, fresh;

	snprintf(line, sizeof(line), "%.*s", (int)(line_end - answer), answer);
	end_dial(&c, false);
	scene_ask(&c);
	if (cloud_accept(&fresh)) {
		*cloud = fresh;
		end_handshake(cloud);
	}
	end_take(&c);
	VIRT_NEED(cloud->fd >= 0, "it did not go", c.got);
	end_take(cloud);
	VIRT_NEED(cloud_request_is_whole(cloud), "it did not go", c.got);
	end_clear(cloud);
	end_send(cloud, answer);
	end_await(&c, line);
	end_close(&c);
}

static void
others_say_wait(void)
{
	world.token.health.wait_all = virt_now_ns() + 3600 * NS_PER_S;
	world_token();
}

static void
others_say_down(void)
{
	world.token.health.down_since = virt_now_ns();
	world.token.health.down_until = virt_now_ns() + 60 * NS_PER_S;
	world_token();
}

/* --- other relays ----------------------------------------------------------
 */

static void
heeded_in_bounds(void (*say)(void), const char *reason, int again_s)
{
	struct end cloud;

	scene_up();
	goes(&cloud, REPLY);
	for (int s = 0; s < HEED_S - 1; s++) { /* said again and again */
		world_advance(S);
		say();
		refused(reason);
	}
	world_advance(2 * S);
	/* what was said last is good for long, but is not heeded any more */
	for (int s = HEED_S + 1; s < again_s; s += 9) {
		goes(&cloud, REPLY);
		say();
		world_advance(9 * S);
	}
	world_advance(9 * S);
	say();
	refused(reason);
	world_advance((HEED_S + 1) * S);
	goes(&cloud, REPLY);
}

SCENARIO(wait_of_others_counts_for_half_a_minute_in_ten)
{
	heeded_in_bounds(others_say_wait, "CLOUD_WAIT", EACH_S);
}

SCENARIO(circuit_of_others_counts_for_half_a_minute_in_ten)
{
	/* the ten minutes begin with the try that shows them to be wrong */
	heeded_in_bounds(others_say_down, "CLOUD_DOWN", EACH_S + HEED_S);
}

SCENARIO(both_together_count_for_no_longer)
{
	struct end cloud;

	scene_up();
	goes(&cloud, REPLY);
	world_advance(S);
	others_say_wait();
	refused("CLOUD_WAIT");
	world_advance((HEED_S - 5) * S);
	world.token.health.wait_all = 0;
	others_say_down();
	refused("CLOUD_DOWN");
	world_advance(6 * S);
	others_say_wait();
	goes(&cloud, REPLY);
}

SCENARIO(circuit_of_others_is_older_than_our_reply)
{
	struct end cloud;

	scene_up();
	world_advance(S);
	world.token.health.down_since = virt_now_ns();
	world_advance(S);
	goes(&cloud, REPLY);
	world.token.health.down_until = virt_now_ns() + 60 * NS_PER_S;
	world_token();
	goes(&cloud, REPLY);
}

SCENARIO(others_were_right)
{
	struct end cloud;

	scene_up();
	goes(&cloud, REPLY);
	world_advance(S);
	others_say_wait();
	refused("CLOUD_WAIT");
	world_advance((HEED_S + 1) * S);
	goes(&cloud, TO_WAIT NO_BODY); /* so it is, and now we know */
	world_advance(119 * S);
	refused("CLOUD_WAIT");
	world_advance(2 * S);
	others_say_wait(); /* they are heeded anew */
	refused("CLOUD_WAIT");
}

/* A cloud that throttles one credential bears nobody out who says "all". */
SCENARIO(others_are_not_right_for_one_that_is_throttled)
{
	struct end cloud;

	scene_up();
	goes(&cloud, REPLY);
	world_advance(S);
	others_say_wait();
	refused("CLOUD_WAIT");
	world_advance((HEED_S + 1) * S);
	goes(&cloud, THROTTLE);
	world_advance(121 * S);
	others_say_wait();
	goes(&cloud, REPLY);
}

/* --- our own eyes ----------------------------------------------------------
 */

SCENARIO(retry_after_to_its_end)
{
	struct end cloud;

	scene_up();
	goes(&cloud, TO_WAIT NO_BODY);
	world_advance(119 * S);
	refused("CLOUD_WAIT");
	world_advance(2 * S);
	goes(&cloud, REPLY);
}

SCENARIO(retry_after_split_anywhere)
{
	static const char text[] = TO_WAIT NO_BODY;
	struct end c, cloud;

	scene_up();
	goes(&cloud, REPLY);
	for (size_t i = 1; i < sizeof(text) - 1; i++) {
		end_dial(&c, false);
		scene_ask(&c);
		end_take(&cloud);
		VIRT_NEED(cloud_request_is_whole(&cloud));
		end_clear(&cloud);
		end_send_bytes(&cloud, text, i);
		end_send(&cloud, text + i);
		end_await(&c, "HTTP/1.1 503 Wait");
		end_close(&c);
		refused("CLOUD_WAIT");
		/* or the connection would be idle for too long */
		world_advance(50 * S);
		world_reload(CA_OURS, CA_OURS);
		world_advance(71 * S);
		goes(&cloud, REPLY);
	}
}

static void
fails(void)
{
	struct end c;

	end_dial(&c, false);
	scene_ask(&c);
	end_await(&c, "HTTP/1.1 502 ");
	end_close(&c);
}

SCENARIO(circuit_opens_tries_and_closes)
{
	struct end c, cloud;

	scene_up();
	virt_connects(VIRT_REFUSED);
	for (int64_t n = 0; n < world.conf.cloud_breaker_failures; n++)
		fails();
	refused("CLOUD_DOWN");
	VIRT_NEED(world_had_event(2130));
	world_advance((uint64_t)world.conf.cloud_breaker_ms - 10);
	refused("CLOUD_DOWN");
	world_advance(20);
	fails(); /* one tries, in vain: twice as long */
	refused("CLOUD_DOWN");
	world_advance((uint64_t)world.conf.cloud_breaker_ms * 2 - 10);
	refused("CLOUD_DOWN");
	world_advance(20);
	virt_connects(VIRT_OK);
	end_dial(&c, false);
	scene_ask(&c);	       /* this one tries, */
	refused("CLOUD_DOWN"); /* and no other */
	cloud_serve(&cloud);
	end_clear(&cloud);
	end_send(&cloud, REPLY);
	end_await(&c, "hello");
	VIRT_NEED(world_had_event(1131));
	goes(&cloud, REPLY);
	VIRT_NEED(world_stat(STAT_circuit_open) == 0);
}

/* The circuit opens, and is due to be tried. */
static void
outage(void)
{
	virt_connects(VIRT_REFUSED);
	for (int64_t n = 0; n < world.conf.cloud_breaker_failures; n++)
		fails();
	world_advance((uint64_t)world.conf.cloud_breaker_ms + 10);
	virt_connects(VIRT_OK);
}

/* Its client goes away, and the next one tries. */
SCENARIO(circuit_whose_try_has_no_outcome)
{
	struct end c, cloud;

	scene_up();
	outage();
	end_dial(&c, false);
	end_send_bytes(&c, request(REQ_PATH, BODY),
		       strlen(request(REQ_PATH, BODY)) - 3);
	VIRT_NEED(cloud_accept(&cloud));
	end_handshake(&cloud);
	refused("CLOUD_DOWN");
	end_half_close(&c); /* in its body */
	end_close(&cloud);
	goes(&cloud, REPLY);
}

/* A request from before the outage has its reply after all, while one tries:
 * that has nothing to decide any more. */
SCENARIO(circuit_that_closed_during_its_try)
{
	struct end old, c, cloud, other;

	scene_up();
	end_dial(&old, false);
	scene_ask(&old);
	cloud_serve(&cloud);
	outage();
	end_dial(&c, false);
	scene_ask(&c); /* this one tries */
	cloud_serve(&other);
	refused("CLOUD_DOWN");
	end_clear(&cloud);
	end_send(&cloud, REPLY);
	end_await(&old, "hello");
	VIRT_NEED(world_stat(STAT_circuit_open) == 0);
	end_close(&other);
	end_await(&c, "HTTP/1.1 502 ");
	VIRT_NEED(world_stat(STAT_circuit_open) == 0, "one failure opens it");
	goes(&cloud, REPLY);
}

/* --- configuration ---------------------------------------------------------
 */

SCENARIO(refused_set_changes_nothing)
{
	struct conf before;
	struct end cloud;

	scene_up();
	goes(&cloud, REPLY);
	before = world.conf;
	snprintf(world.conf.cloud_issuers.s, sizeof(world.conf.cloud_issuers.s),
		 "Nobody");
	snprintf(world.conf.proxy.s, sizeof(world.conf.proxy.s),
		 "http://proxy.test:3128");
	world_reload(CA_OTHER, CA_NONE);
	VIRT_NEED(world.refused == 1 && world.ready == 1);
	goes(&cloud, REPLY);
	VIRT_NEED(virt_connected() == 1, "the pool has not stayed");
	end_close(&cloud);
	goes(&cloud, REPLY); /* verified by the issuers that are in force */
	VIRT_NEED(virt_connected() == 2);
	/* and the other half broken */
	world_reload(CA_NONE, CA_OTHER);
	VIRT_NEED(world.refused == 2 && world.ready == 1);
	end_close(&cloud);
	goes(&cloud, REPLY);
	world.conf = before;
	world_reload(CA_OURS, CA_OURS);
	VIRT_NEED(world.ready == 2);
	goes(&cloud, REPLY);
}

SCENARIO(other_issuers_are_in_force_at_once)
{
	struct end c, cloud;

	scene_up();
	goes(&cloud, REPLY);
	world_reload(CA_OTHER, CA_OURS);
	VIRT_NEED(world.ready == 2);
	end_dial(&c, false);
	scene_ask(&c);
	VIRT_NEED(cloud_accept(&cloud), "the pool has stayed");
	while (!end_has(&c, "\r\n\r\n")) {
		(void)!SSL_do_handshake(cloud.ssl);
		world_run();
		end_take(&c);
	}
	VIRT_NEED(end_has(&c, "HTTP/1.1 502 ") &&
		      end_has(&c, "CLOUD_INSPECTED"),
		  c.got);
}

/* --- half-closed and dead connections of the pool --------------------------
 */

SCENARIO(cloud_that_half_closes_behind_its_reply)
{
	struct end cloud;

	scene_up();
	goes(&cloud, REPLY);
	end_half_close(&cloud);
	VIRT_NEED(world_stat(STAT_up_idle) == 0);
	goes(&cloud, REPLY);
	VIRT_NEED(virt_connected() == 2);
}

SCENARIO(cloud_that_half_closes_on_a_request)
{
	struct end c, cloud;

	scene_up();
	goes(&cloud, REPLY);
	end_dial(&c, false);
	scene_ask(&c);
	end_take(&cloud);
	VIRT_NEED(cloud_request_is_whole(&cloud));
	end_half_close(&cloud); /* it may still read, but will not reply */
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(world_stat(STAT_up_retries) == 1);
}

/* What is retried was sent by nobody twice with half a reply. */
SCENARIO(cloud_that_closes_at_any_byte_of_its_reply)
{
	struct end c, cloud;

	scene_up();
	for (size_t i = 1; i < strlen(REPLY); i++) {
		goes(&cloud, REPLY);
		end_dial(&c, false);
		scene_ask(&c);
		end_take(&cloud);
		end_clear(&cloud);
		end_send_bytes(&cloud, REPLY, i);
		end_close(&cloud);
		end_take(&c);
		VIRT_NEED(c.eof || c.reset || end_has(&c, "HTTP/1.1 502 "));
		VIRT_NEED(!end_has(&c, " 200 ") || !scene_is_whole(&c), c.got);
		end_close(&c);
	}
	VIRT_NEED(world_stat(STAT_up_retries) == 0);
}

SCENARIO(cloud_that_replies_twice)
{
	struct end cloud;

	scene_up();
	goes(&cloud, REPLY REPLY);
	VIRT_NEED(world_stat(STAT_up_idle) == 0);
	goes(&cloud, REPLY); /* on another connection, and to nobody else */
	VIRT_NEED(virt_connected() == 2);
}

SCENARIO(cloud_that_speaks_before_it_is_asked)
{
	struct end cloud;

	scene_up();
	goes(&cloud, REPLY);
	end_send(&cloud, REPLY);
	VIRT_NEED(world_stat(STAT_up_idle) == 0);
	goes(&cloud, REPLY);
	VIRT_NEED(virt_connected() == 2);
}

/* The pooled connection dies on a request, and so does an allocation of what
 * follows: a new connection, its handshake, the request once more. */
static void
retry_fails_at(unsigned n)
{
	struct end c, cloud, fresh = {.fd = -1};

	scene_up();
	goes(&cloud, REPLY);
	end_dial(&c, false);
	scene_ask(&c);
	virt_alloc_begin(n);
	end_close(&cloud);
	for (int i = 0; i < 20; i++) {
		world_run();
		if (fresh.fd < 0 && !cloud_accept(&fresh))
			continue;
		if (!SSL_is_init_finished(fresh.ssl)) {
			(void)!SSL_do_handshake(fresh.ssl);
			continue;
		}
		end_take(&fresh);
		if (!cloud_request_is_whole(&fresh))
			continue;
		end_clear(&fresh);
		end_send(&fresh, REPLY);
	}
	if (virt_alloc_count() < n)
		virt_over();
	virt_alloc_end();
	end_take(&c);
	VIRT_NEED(c.eof || c.reset || scene_is_whole(&c), c.got);
	end_close(&c);
	VIRT_NEED(!virt_ended() && world_stat(STAT_conns_open) == 0 &&
		  world_stat(STAT_requests_open) == 0);
	if (fresh.fd >= 0)
		end_close(&fresh);
	goes(&cloud, REPLY);
}

static void
no_memory_at_any_allocation_of_a_retry(void **state)
{
	(void)state;
	assert_true(scene_series(retry_fails_at, scene_step(65), "allocation") >
		    500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(wait_of_others_counts_for_half_a_minute_in_ten),
	    cmocka_unit_test(circuit_of_others_counts_for_half_a_minute_in_ten),
	    cmocka_unit_test(both_together_count_for_no_longer),
	    cmocka_unit_test(circuit_of_others_is_older_than_our_reply),
	    cmocka_unit_test(others_were_right),
	    cmocka_unit_test(others_are_not_right_for_one_that_is_throttled),
	    cmocka_unit_test(retry_after_to_its_end),
	    cmocka_unit_test(retry_after_split_anywhere),
	    cmocka_unit_test(circuit_opens_tries_and_closes),
	    cmocka_unit_test(circuit_whose_try_has_no_outcome),
	    cmocka_unit_test(circuit_that_closed_during_its_try),
	    cmocka_unit_test(refused_set_changes_nothing),
	    cmocka_unit_test(other_issuers_are_in_force_at_once),
	    cmocka_unit_test(cloud_that_half_closes_behind_its_reply),
	    cmocka_unit_test(cloud_that_half_closes_on_a_request),
	    cmocka_unit_test(cloud_that_closes_at_any_byte_of_its_reply),
	    cmocka_unit_test(cloud_that_replies_twice),
	    cmocka_unit_test(no_memory_at_any_allocation_of_a_retry),
	    cmocka_unit_test(cloud_that_speaks_before_it_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
