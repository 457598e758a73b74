/*
 * A refusal, and the body that comes with what is refused.
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

#include "shm/msg.h"
#include "tests/virtual/scene.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		refusal_after_the_queue_of_a_client_that_still_writes),
	    cmocka_unit_test(refusal_of_chunks_keeps_its_word),
	    cmocka_unit_test(refusal_of_too_many_chunks_says_the_end),
	    cmocka_unit_test(refusal_of_chunks_that_are_none),
	    cmocka_unit_test(refusal_of_chunks_that_do_not_come),
	    cmocka_unit_test(refusal_of_chunks_that_break_off),
	    cmocka_unit_test(refusal_of_chunks_that_wait_for_a_word),
	    cmocka_unit_test(refusal_of_chunks_with_a_detail),
	    cmocka_unit_test(refused_method_of_chunks),
	    cmocka_unit_test(connect_with_a_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
