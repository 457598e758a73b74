/*
 * Time-outs, each at its moment, and what the client is told then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <openssl/ssl.h>

#include "tests/virtual/scene.h"
#include "worker/relay/client.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
