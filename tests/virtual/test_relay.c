/*
 * A whole relay, driven through what real networks do once a year: one that
 * closes half, a cloud that talks nonsense, memory that is not there.
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

/* --- what the cloud answers, and is no reply --------------------------------
 */

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
	    cmocka_unit_test(token_that_is_refused),
	    cmocka_unit_test(cloud_that_speaks_no_http),
	    cmocka_unit_test(each_request_has_a_trace_of_its_own),
	    cmocka_unit_test(client_that_has_said_all),
	    cmocka_unit_test(client_that_goes_in_its_body),
	    cmocka_unit_test(cloud_that_closes_between_requests),
	    cmocka_unit_test(cloud_that_closes_on_a_request),
	    cmocka_unit_test(no_memory_for_a_long_head),
	    cmocka_unit_test(no_memory_at_any_allocation),
	    cmocka_unit_test(no_memory_at_any_allocation_with_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
