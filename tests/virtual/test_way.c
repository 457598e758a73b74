/*
 * The way through a web proxy: whatever the proxy says, in whatever pieces.
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
#include "worker/relay/proxy.h"

#define OPEN "HTTP/1.1 200 Connection established\r\n\r\n"
#define ASKED                                                              \
	"CONNECT cloud.test:443 HTTP/1.1\r\nHost: cloud.test:443\r\nUser-" \
	"Agent: rms-connector/"

/* A relay whose way goes through a proxy; its first connection is scripted. */
static void
proxied(const char *url)
{
	world_init();
	scene_conf_proxy(url);
	scene_token_proxy(url, "");
	world_up();
}

/* The proxy's end, when all of CONNECT has come. */
static void
asked(struct end *px, bool tls)
{
	VIRT_NEED(proxy_accept(px), "no connection to the proxy");
	if (tls) {
		end_become_tls(px);
		end_handshake(px);
	}
	end_await(px, "\r\n\r\n");
	VIRT_NEED(strncmp(px->got, ASKED, strlen(ASKED)) == 0, px->got);
	VIRT_NEED(strstr(px->got, "a-token") == NULL, "a token for the proxy");
	end_clear(px);
}

/* The answer that opens the way, and the exchange through it. */
static void
through(struct end *c, struct end *px)
{
	end_send(px, OPEN);
	end_become_tls(px);
	end_handshake(px);
	scene_exchange_again(c, px);
}

/* A client whose request waits for the answer of a proxy. */
static void
wait_for_answer(struct end *c, struct end *px)
{
	end_dial(c, false);
	scene_ask(c);
	asked(px, false);
}

static void
ask_and_fail(struct end *c, const char *answer, size_t len, const char *want)
{
	struct end px;

	wait_for_answer(c, &px);
	end_send_bytes(&px, answer, len);
	end_close(&px);
	end_await(c, want);
	VIRT_NEED(!scene_is_whole(c) || !end_has(c, " 200 "));
	end_close(c);
}

/* --- what opens the way ----------------------------------------------------
 */

static const char *const opens[] = {
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Fine\r\nX: y\r\n\r\n",
    /* RFC 9110 9.3.6: no body, whatever it announces */
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
};

SCENARIO(answer_split_anywhere)
{
	struct end c, px;

	proxied("http://proxy.test:3128");
	end_dial(&c, false);
	for (size_t a = 0; a < sizeof(opens) / sizeof(opens[0]); a++)
		for (size_t i = 0; i < strlen(opens[a]); i++) {
			end_clear(&c);
			scene_ask(&c);
			asked(&px, false);
			end_send_bytes(&px, opens[a], i);
			VIRT_NEED(c.len == 0);
			end_send(&px, opens[a] + i);
			end_become_tls(&px);
			end_handshake(&px);
			scene_exchange_again(&c, &px);
			end_close(&px); /* the next one asks anew */
		}
	VIRT_NEED(world_stat(STAT_up_failed) == 0);
}

SCENARIO(way_is_asked_for_once)
{
	struct end c, px;

	proxied("http://proxy.test:3128");
	wait_for_answer(&c, &px);
	through(&c, &px);
	end_clear(&c);
	scene_ask(&c);
	scene_exchange_again(&c, &px);
	VIRT_NEED(virt_connected() == 1);
}

SCENARIO(https_proxy)
{
	struct end c, px;

	proxied("https://proxy.test:3128");
	end_dial(&c, false);
	scene_ask(&c);
	asked(&px, true);
	through(&c, &px);
	end_clear(&c);
	scene_ask(&c);
	scene_exchange_again(&c, &px);
	VIRT_NEED(virt_connected() == 1);
}

static void
byte_by_byte(const char *url, bool tls)
{
	struct end c, px;

	proxied(url);
	virt_io = (struct virt_io){.recv_max = 1, .send_max = 1};
	end_dial(&c, false);
	scene_ask(&c);
	asked(&px, tls);
	through(&c, &px);
	end_clear(&c);
	scene_ask(&c);
	scene_exchange_again(&c, &px);
}

SCENARIO(one_byte_at_a_time)
{
	byte_by_byte("http://proxy.test:3128", false);
}

SCENARIO(one_byte_at_a_time_of_https)
{
	byte_by_byte("https://proxy.test:3128", true);
}

SCENARIO(connection_of_a_proxy_that_died_in_the_pool)
{
	struct end c, px;

	proxied("http://proxy.test:3128");
	wait_for_answer(&c, &px);
	through(&c, &px);
	end_clear(&c);
	end_clear(&px);
	scene_ask(&c);
	end_take(&px);
	VIRT_NEED(cloud_request_is_whole(&px));
	end_close(&px); /* without a byte of a reply: once more */
	asked(&px, false);
	through(&c, &px);
	VIRT_NEED(world_stat(STAT_up_retries) == 1 && virt_connected() == 2);
}

/* --- what does not ---------------------------------------------------------
 */

SCENARIO(closes_at_any_byte_of_its_answer)
{
	struct end c;

	proxied("http://proxy.test:3128");
	for (size_t i = 0; i < strlen(OPEN); i++) {
		ask_and_fail(&c, OPEN, i, "HTTP/1.1 50");
		world_reload(CA_OURS, CA_OURS); /* closes the circuit */
	}
	VIRT_NEED(world_stat(STAT_up_failed) == strlen(OPEN));
}

/* The cloud says nothing before our hello: what is behind the 200 is no TLS,
 * and nothing of the request goes there. */
SCENARIO(bytes_behind_the_200_split_anywhere)
{
	static const char *const more[] = {
	    OPEN "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
	    OPEN "\x15\x03\x03\x00\x02\x02\x28", /* a fatal alert */
	};
	struct end c, px;

	proxied("http://proxy.test:3128");
	for (size_t m = 0; m < 2; m++) {
		size_t len = strlen(OPEN) +
			     (m == 0 ? strlen(more[0]) - strlen(OPEN) : 7);

		for (size_t i = 1; i < len; i++) {
			wait_for_answer(&c, &px);
			end_send_bytes(&px, more[m], i);
			end_send_bytes(&px, more[m] + i, len - i);
			end_await(&c, "HTTP/1.1 502 ");
			VIRT_NEED(end_has(&c, "CLOUD_TLS"), c.got);
			end_take(&px);
			VIRT_NEED(!end_has(&px, "POST"));
			end_close(&px);
			end_close(&c);
			world_reload(CA_OURS, CA_OURS);
		}
	}
}

SCENARIO(junk)
{
	static const struct {
		const char *answer, *why;
	} bad[] = {
	    {"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n",
	     "PROXY_AUTH"},
	    {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "PROXY_REFUSED"},
	    {"HTTP/1.1 101 Other\r\n\r\n", "PROXY_REFUSED"},
	    {"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "PROXY_REFUSED"},
	    {"HTTP/1.1 200 OK\n\n", "PROXY_BAD_REPLY"},
	    {"HTTP/1.1 2000 OK\r\n\r\n", "PROXY_BAD_REPLY"},
	    {"HTTP/1.1 200 OK\r\nX y\r\n\r\n", "PROXY_BAD_REPLY"},
	    {"\x16\x03\x03\x01\x01\r\n\r\n", "PROXY_BAD_REPLY"},
	    {"SSH-2.0-OpenSSH\r\n", "PROXY_"},
	};
	struct end c;

	proxied("http://proxy.test:3128");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ask_and_fail(&c, bad[i].answer, strlen(bad[i].answer),
			     bad[i].why);
		if (i == 0)
			VIRT_NEED(world_had_event(3110));
		world_reload(CA_OURS, CA_OURS);
	}
}

SCENARIO(answer_that_has_no_end)
{
	static char more[PROXY_HEAD_MAX];
	struct end c, px;

	proxied("http://proxy.test:3128");
	wait_for_answer(&c, &px);
	memset(more, 'x', sizeof(more));
	end_send(&px, "HTTP/1.1 200 OK\r\nX: ");
	end_send_bytes(&px, more, sizeof(more));
	end_await(&c, "PROXY_BAD_REPLY");
}

SCENARIO(no_answer)
{
	struct end c, px;

	proxied("http://proxy.test:3128");
	wait_for_answer(&c, &px);
	scene_expect(&c, world.conf.proxy_timeout_ms, "HTTP/1.1 504 ");
	VIRT_NEED(end_has(&c, "PROXY_SLOW"));
}

SCENARIO(answer_drop_by_drop)
{
	struct end c, px;

	proxied("http://proxy.test:3128");
	wait_for_answer(&c, &px);
	for (int i = 0; i < 10; i++) { /* from CONNECT on, not the last byte */
		world_advance(1000);
		end_send_bytes(&px, OPEN + i, 1);
	}
	scene_expect(&c, world.conf.proxy_timeout_ms - 10000, "HTTP/1.1 504 ");
}

SCENARIO(tunnel_without_a_cloud)
{
	struct end c, px;

	proxied("http://proxy.test:3128");
	wait_for_answer(&c, &px);
	end_send(&px, OPEN);
	scene_expect(&c, world.conf.cloud_tls_timeout_ms, "HTTP/1.1 502 ");
	VIRT_NEED(end_has(&c, "CLOUD_TLS"));
}

SCENARIO(half_closed_behind_its_answer)
{
	struct end c, px;

	proxied("http://proxy.test:3128");
	wait_for_answer(&c, &px);
	end_send(&px, OPEN);
	end_half_close(&px);
	end_await(&c, "HTTP/1.1 502 ");
	VIRT_NEED(end_has(&c, "CLOUD_TLS"));
}

SCENARIO(client_that_goes_while_it_is_asked)
{
	struct end c, px;

	proxied("http://proxy.test:3128");
	wait_for_answer(&c, &px);
	end_close(&c);
	end_send(&px, OPEN);
	world_advance((uint64_t)world.conf.cloud_tls_timeout_ms + 30);
	VIRT_NEED(world_stat(STAT_conns_open) == 0);
	end_take(&px);
	VIRT_NEED(!end_has(&px, "POST") && (px.eof || px.reset));
}

/* --- no room, no memory ----------------------------------------------------
 */

static void
no_room_at(unsigned n, const char *url, bool tls)
{
	struct end c, px;

	proxied(url);
	virt_io = (struct virt_io){.full_at = n};
	end_dial(&c, false);
	scene_ask(&c);
	asked(&px, tls);
	through(&c, &px);
	if (virt_io.sends < n)
		virt_over();
}

static void
no_room_plain(unsigned n)
{
	no_room_at(n, "http://proxy.test:3128", false);
}

static void
no_room_https(unsigned n)
{
	no_room_at(n, "https://proxy.test:3128", true);
}

static void
no_room_at_any_send(void **state)
{
	(void)state;
	assert_true(scene_series(no_room_plain, 1, "send, http") > 4);
	assert_true(scene_series(no_room_https, 1, "send, https") > 4);
}

/* As far as it goes, with a proxy that does all right. */
static void
try_through(struct end *c, bool tls)
{
	struct end px = {.fd = -1};
	bool open = false;

	for (int n = 0; n < 20; n++) {
		world_run();
		if (px.fd < 0) {
			if (!proxy_accept(&px))
				continue;
			if (tls)
				end_become_tls(&px);
		}
		if (px.ssl != NULL && !SSL_is_init_finished(px.ssl)) {
			(void)!SSL_do_handshake(px.ssl);
			continue;
		}
		end_take(&px);
		if (!open && end_has(&px, "\r\n\r\n")) {
			end_clear(&px);
			end_send(&px, OPEN);
			end_become_tls(&px);
			open = true;
		} else if (open && cloud_request_is_whole(&px)) {
			end_clear(&px);
			end_send(&px, REPLY);
		}
	}
	end_take(c);
	if (px.fd >= 0)
		end_close(&px);
	while (proxy_accept(&px)) /* further tries */
		end_close(&px);
}

static void
fails_at(unsigned n, const char *url, bool tls)
{
	struct end c, px;

	proxied(url);
	virt_alloc_begin(n);
	end_dial(&c, false);
	scene_ask(&c);
	try_through(&c, tls);
	if (virt_alloc_count() < n)
		virt_over();
	virt_alloc_end();
	VIRT_NEED(c.eof || c.reset || end_has(&c, "HTTP/1.1 "),
		  "neither a reply nor an end");
	VIRT_NEED(!end_has(&c, " 200 OK") || end_has(&c, "hello") || c.eof ||
		      c.reset,
		  "half a reply, and no end");
	end_close(&c);
	VIRT_NEED(!virt_ended() && world_stat(STAT_conns_open) == 0 &&
		  world_stat(STAT_requests_open) == 0);
	end_dial(&c, false);
	scene_ask(&c);
	asked(&px, tls);
	through(&c, &px);
}

static void
fails_http(unsigned n)
{
	fails_at(n, "http://proxy.test:3128", false);
}

static void
fails_https(unsigned n)
{
	fails_at(n, "https://proxy.test:3128", true);
}

/* The handshake with the cloud is the same as without a proxy, where more of
 * its allocations have their turn. */
static void
no_memory_at_any_allocation(void **state)
{
	(void)state;
	assert_true(scene_series(fails_http, scene_step(65), "allocation") >
		    1000);
	assert_true(scene_series(fails_https, scene_step(65),
				 "allocation, https") > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answer_split_anywhere),
	    cmocka_unit_test(way_is_asked_for_once),
	    cmocka_unit_test(https_proxy),
	    cmocka_unit_test(one_byte_at_a_time),
	    cmocka_unit_test(one_byte_at_a_time_of_https),
	    cmocka_unit_test(connection_of_a_proxy_that_died_in_the_pool),
	    cmocka_unit_test(closes_at_any_byte_of_its_answer),
	    cmocka_unit_test(bytes_behind_the_200_split_anywhere),
	    cmocka_unit_test(junk),
	    cmocka_unit_test(answer_that_has_no_end),
	    cmocka_unit_test(no_answer),
	    cmocka_unit_test(answer_drop_by_drop),
	    cmocka_unit_test(tunnel_without_a_cloud),
	    cmocka_unit_test(half_closed_behind_its_answer),
	    cmocka_unit_test(client_that_goes_while_it_is_asked),
	    cmocka_unit_test(no_room_at_any_send),
	    cmocka_unit_test(no_memory_at_any_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
