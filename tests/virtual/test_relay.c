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
#include <unistd.h>

#include <openssl/ssl.h>

#include "tests/virtual/world.h"

#define SCENARIO(name)                                                       \
	static void name##_in(void *arg);                                    \
	static void name(void **state)                                       \
	{                                                                    \
		(void)state;                                                 \
		assert_int_equal(virt_scenario(name##_in, NULL), VIRT_GOOD); \
	}                                                                    \
	static void name##_in(void *arg __attribute__((unused)))

#define BODY  "<a>some body of a request</a>"
#define REPLY "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static void
up(void)
{
	world_init();
	world_up();
}

/* One request from a client that is there to its reply; the cloud's end. */
static void
exchange(struct end *c, struct end *cloud)
{
	end_send(c, request(REQ_PATH, BODY));
	end_take(c); /* session tickets, which would fill a socket of bytes */
	world_run();
	cloud_serve(cloud);
	end_send(cloud, REPLY);
	end_await(c, "\r\n\r\nhello");
	VIRT_NEED(end_has(c, "HTTP/1.1 200 OK\r\n"), c->got);
}

SCENARIO(a_request_is_relayed)
{
	struct end c, cloud;

	up();
	end_dial(&c, false);
	exchange(&c, &cloud);
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

	up();
	end_dial(&c, true);
	end_handshake(&c);
	VIRT_NEED(world.signs == 1);
	exchange(&c, &cloud);
}

/* --- time-outs: each at its moment, and what the client is told ------------
 */

/* The client has this text, or with NULL the end of its connection. */
struct wanted {
	struct end *c;
	const char *text;
};

static bool
is_there(void *arg)
{
	struct wanted *w = arg;

	end_take(w->c);
	if (w->text != NULL)
		return end_has(w->c, w->text);
	return w->c->eof || w->c->reset;
}

static void
expect(struct end *c, int64_t ms, const char *text)
{
	struct wanted w = {c, text};

	world_expect_at((uint64_t)ms, is_there, &w);
}

SCENARIO(tls_handshake_that_does_not_begin)
{
	struct end c;

	up();
	end_dial(&c, true);
	SSL_free(c.ssl);
	c.ssl = NULL; /* the bytes as they are */
	expect(&c, world.conf.tls_timeout_ms, NULL);
	VIRT_NEED(c.len == 0);
}

SCENARIO(tls_handshake_whose_signature_does_not_come)
{
	struct end c;

	up();
	world.keeper = KEEPER_SILENT;
	end_dial(&c, true);
	VIRT_NEED(SSL_do_handshake(c.ssl) != 1);
	world_run();
	VIRT_NEED(world.signs == 1);
	expect(&c, world.conf.tls_timeout_ms, NULL);
}

SCENARIO(connection_without_a_request)
{
	struct end c;

	up();
	end_dial(&c, false);
	expect(&c, world.conf.idle_timeout_ms, NULL);
	VIRT_NEED(c.len == 0);
}

SCENARIO(connection_between_requests)
{
	struct end c, cloud;

	up();
	end_dial(&c, false);
	exchange(&c, &cloud);
	expect(&c, world.conf.idle_timeout_ms, NULL);
}

SCENARIO(head_that_does_not_end)
{
	struct end c;

	up();
	end_dial(&c, false);
	world_advance(5000);
	end_send(&c, "POST " REQ_PATH " HTTP/1.1\r\nHost: ");
	world_advance(5000);
	end_send(&c, "c\r\n"); /* from its first byte, not its last */
	expect(&c, world.conf.head_timeout_ms - 5000, "HTTP/1.1 408 ");
}

SCENARIO(body_that_stops)
{
	struct end c, cloud;

	up();
	end_dial(&c, false);
	end_send_bytes(&c, request(REQ_PATH, BODY),
		       strlen(request(REQ_PATH, BODY)) - 3);
	VIRT_NEED(cloud_accept(&cloud)); /* it is streamed */
	end_handshake(&cloud);
	expect(&c, world.conf.body_timeout_ms, "HTTP/1.1 408 ");
}

SCENARIO(keeper_that_does_not_answer)
{
	struct end c;

	up();
	world.keeper = KEEPER_SILENT;
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	VIRT_NEED(world.steps == 1);
	expect(&c, world.conf.auth_timeout_ms, "HTTP/1.1 503 ");
	VIRT_NEED(end_has(&c, "Retry-After: "));
}

SCENARIO(cloud_that_does_not_accept)
{
	struct end c;

	up();
	virt_connects(VIRT_HANGS);
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	VIRT_NEED(virt_connected() == 1);
	expect(&c, world.conf.cloud_connect_timeout_ms, "HTTP/1.1 504 ");
}

SCENARIO(cloud_that_refuses)
{
	struct end c;

	up();
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

	up();
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	VIRT_NEED(cloud_accept(&cloud));
	expect(&c, world.conf.cloud_tls_timeout_ms, "HTTP/1.1 502 ");
}

SCENARIO(cloud_that_does_not_reply)
{
	struct end c, cloud;

	up();
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	cloud_serve(&cloud);
	expect(&c, world.conf.cloud_reply_timeout_ms, "HTTP/1.1 504 ");
}

SCENARIO(cloud_that_stops_in_its_reply)
{
	struct end c, cloud;

	up();
	end_dial(&c, false);
	end_send(&c, request(REQ_PATH, BODY));
	cloud_serve(&cloud);
	end_send(&cloud, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
	expect(&c, world.conf.cloud_body_timeout_ms, NULL);
	/* what was announced is not made up */
	VIRT_NEED(end_has(&c, "\r\n\r\nhel") && !end_has(&c, "hell"));
}

SCENARIO(client_that_takes_nothing)
{
	static char big[1 << 20];
	struct end c, cloud;
	char head[128];

	up();
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

/* --- pieces ----------------------------------------------------------------
 */

/* One request through whatever connection to the cloud there is. */
static void
exchange_again(struct end *c, struct end *cloud)
{
	struct end fresh;

	if (cloud_accept(&fresh)) {
		*cloud = fresh;
		end_handshake(cloud);
	}
	for (int n = 0; n < 1000 && !cloud_request_is_whole(cloud); n++) {
		world_run();
		end_take(cloud);
	}
	VIRT_NEED(cloud_request_is_whole(cloud) && end_has(cloud, BODY));
	end_clear(cloud);
	end_send(cloud, REPLY);
	end_await(c, "hello");
	VIRT_NEED(end_has(c, "HTTP/1.1 200 OK\r\n"));
}

SCENARIO(request_split_anywhere)
{
	const char *text = request(REQ_PATH, BODY);
	struct end c, cloud;

	up();
	for (size_t i = 1; i < strlen(text); i++) {
		end_dial(&c, false);
		end_send_bytes(&c, text, i);
		end_send(&c, text + i);
		exchange_again(&c, &cloud);
		end_close(&c);
	}
	VIRT_NEED(virt_connected() == 1);
}

/* The body of a reply in chunks, whatever its pieces; "" when it has no end. */
static const char *
unchunked(const struct end *e)
{
	static char out[256];
	const char *at = strstr(e->got, "\r\n\r\n");
	size_t len = 0, n;
	char *rest;

	VIRT_NEED(at != NULL && end_has(e, "Transfer-Encoding: chunked\r\n"));
	for (at += 4;; at = rest + 2 + n + 2) {
		n = strtoul(at, &rest, 16);
		if (rest == at || strncmp(rest, "\r\n", 2) != 0 ||
		    len + n >= sizeof(out))
			return "";
		memcpy(out + len, rest + 2, n);
		len += n;
		if (n == 0)
			break;
	}
	out[len] = '\0';
	return strcmp(rest, "\r\n\r\n") == 0 ? out : "";
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

	up();
	end_dial(&c, false);
	exchange(&c, &cloud);
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
			VIRT_NEED(r == 2 ? strcmp(unchunked(&c), "hello") == 0
					 : end_has(&c, "\r\n\r\nhello"));
		}
	VIRT_NEED(virt_connected() == 1);
}

static void
byte_by_byte(bool tls)
{
	struct end c, cloud;

	up();
	virt_io = (struct virt_io){.recv_max = 1, .send_max = 1};
	end_dial(&c, tls);
	if (tls)
		end_handshake(&c);
	exchange(&c, &cloud);
	end_clear(&c);
	end_send(&c, request(REQ_PATH, BODY));
	exchange_again(&c, &cloud);
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
	exchange(&c, &cloud);
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

struct no_room {
	unsigned at;
	bool tls;
};

static void
no_room_at(void *arg)
{
	const struct no_room *n = arg;

	up();
	virt_io = (struct virt_io){.full_at = n->at};
	two_requests(n->tls);
	if (virt_io.sends < n->at)
		virt_over();
}

static void
no_room_at_any_send(void **state)
{
	struct no_room n = {.at = 1};
	enum virt_result r;

	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		n.tls = tls == 1;
		for (n.at = 1; (r = virt_scenario(no_room_at, &n)) == VIRT_GOOD;
		     n.at++)
			;
		if (r == VIRT_BAD)
			print_error("send %u, %s\n", n.at,
				    n.tls ? "TLS" : "plain");
		assert_int_equal(r, VIRT_OVER);
		assert_true(n.at > 6); /* two requests have more than that */
	}
}

/* --- half-closed connections -----------------------------------------------
 */

SCENARIO(client_that_has_said_all)
{
	struct end c, cloud;

	up();
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

	up();
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

	up();
	end_dial(&c, false);
	exchange(&c, &cloud);
	end_close(&cloud);
	end_clear(&c);
	end_send(&c, request(REQ_PATH, BODY));
	exchange_again(&c, &cloud);
	VIRT_NEED(virt_connected() == 2);
}

SCENARIO(cloud_that_closes_on_a_request)
{
	struct end c, cloud;

	up();
	end_dial(&c, false);
	exchange(&c, &cloud);
	end_clear(&c);
	end_clear(&cloud);
	end_send(&c, request(REQ_PATH, BODY));
	end_take(&cloud);
	VIRT_NEED(cloud_request_is_whole(&cloud));
	end_close(&cloud); /* a pooled one: once more, on a new one */
	exchange_again(&c, &cloud);
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

struct torture {
	unsigned at;
	bool tls;
};

static void
fails_at(void *arg)
{
	const struct torture *t = arg;
	struct end c, cloud;

	up();
	virt_alloc_begin(t->at);
	try_exchange(t->tls);
	if (virt_alloc_count() < t->at)
		virt_over();
	virt_alloc_end();
	world_run();
	VIRT_NEED(!virt_ended());
	VIRT_NEED(world_stat(STAT_conns_open) == 0, "a connection is left");
	VIRT_NEED(world_stat(STAT_requests_open) == 0, "a request is left");
	end_dial(&c, t->tls);
	if (t->tls)
		end_handshake(&c);
	exchange(&c, &cloud);
}

/*
 * Each allocation of a request (some 2,400, and 3,400 with TLS) fails once.
 * All of them take a minute; a step of a prime, by default, picks some, others
 * than before when a line of code was added.
 */
static void
torture(bool tls)
{
	const char *step = getenv("VIRT_STEP");
	unsigned by = step == NULL ? 13 : (unsigned)strtoul(step, NULL, 10);
	struct torture t = {.at = 1, .tls = tls};
	enum virt_result r = VIRT_GOOD;
	unsigned bad = 0;

	assert_true(by > 0);
	for (; r != VIRT_OVER && bad < 10; t.at += by) {
		r = virt_scenario(fails_at, &t);
		if (r == VIRT_BAD)
			print_error("allocation %u\n", t.at);
		bad += r == VIRT_BAD;
	}
	assert_int_equal(bad, 0);
	assert_true(t.at > 1000);
}

static void
no_memory_at_any_allocation(void **state)
{
	(void)state;
	torture(false);
}

static void
no_memory_at_any_allocation_with_tls(void **state)
{
	(void)state;
	torture(true);
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
	    cmocka_unit_test(request_split_anywhere),
	    cmocka_unit_test(reply_split_anywhere),
	    cmocka_unit_test(one_byte_at_a_time),
	    cmocka_unit_test(one_byte_at_a_time_of_tls),
	    cmocka_unit_test(client_that_has_said_all),
	    cmocka_unit_test(client_that_goes_in_its_body),
	    cmocka_unit_test(cloud_that_closes_between_requests),
	    cmocka_unit_test(cloud_that_closes_on_a_request),
	    cmocka_unit_test(no_room_at_any_send),
	    cmocka_unit_test(no_memory_at_any_allocation),
	    cmocka_unit_test(no_memory_at_any_allocation_with_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
