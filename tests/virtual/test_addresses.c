/*
 * A cloud with several addresses, of which some do not do, and a way there
 * that changes while it is being made.
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

#define OPEN	  "HTTP/1.1 200 Connection established\r\n\r\n"
#define BASIC	  "bmV3OnBhc3N3b3Jk"
#define STAGGERED 251 /* ms: the next address has been begun */

/* Addresses by their last bytes (world.h). */
enum { A = 2, B, C, SIX = 0x61 };

static void
publish(const uint8_t *last, unsigned n)
{
	world_addresses(last, n);
	world_token();
}
static void
set_proxy(const char *scheme, const char *host)
{
	char url[64];

	snprintf(url, sizeof(url), "%s://%s:3128", scheme, host);
	scene_conf_proxy(url);
	scene_token_proxy(url, "");
}

static void
up_proxied(const char *scheme, const uint8_t *last, unsigned n)
{
	world_init();
	set_proxy(scheme, "proxy.test");
	world_addresses(last, n);
	world_up();
}

/* The exchange goes over the next connection, which is to this address; the
 * connection then ends. */
static void
goes_to(struct end *c, uint8_t address)
{
	struct end cloud;

	VIRT_NEED(cloud_accept(&cloud), "no connection to the cloud");
	end_handshake(&cloud);
	scene_exchange_again(c, &cloud);
	VIRT_NEED(virt_connected_to() == address, "to another address");
	end_close(&cloud);
	end_close(c);
}

/* n requests, each over a connection of its own, with one connect() each, to
 * this address. */
static void
all_go_to(uint8_t address, unsigned n)
{
	for (; n > 0; n--) {
		unsigned before = virt_connected();
		struct end c;

		scene_dial_ask(&c);
		goes_to(&c, address);
		VIRT_NEED(virt_connected() == before + 1, "another was tried");
	}
}

/* The proxy's end, when CONNECT has come; what came is there to look at. */
static void
asked(struct end *px)
{
	VIRT_NEED(proxy_accept(px), "no connection to the proxy");
	end_await(px, "\r\n\r\n");
	VIRT_NEED(strncmp(px->got, "CONNECT ", 8) == 0, px->got);
}

/* The exchange through it. */
static void
through(struct end *c, struct end *px)
{
	end_clear(px);
	end_send(px, OPEN);
	end_become_tls(px);
	end_handshake(px);
	scene_exchange_again(c, px);
}

/* --- the next address ------------------------------------------------------
 */

SCENARIO(next_address_after_a_tls_failure)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, B));
	scene_dial_ask(&c);
	VIRT_NEED(cloud_accept(&cloud) && virt_connected_to() == A);
	end_close(&cloud);
	goes_to(&c, B);
	VIRT_NEED(world_stat(STAT_up_failed) == 0);
}

/* It had not failed, only not been as fast. */
SCENARIO(loser_of_the_race_is_tried_when_the_winner_fails)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, SIX));
	virt_connects(VIRT_HANGS);
	scene_dial_ask(&c);
	world_advance(STAGGERED + 10);
	VIRT_NEED(virt_connected() == 2 && virt_connected_to() == A);
	virt_connects(VIRT_OK);
	virt_connect_late(SIX);
	world_run();
	VIRT_NEED(cloud_accept(&cloud) && virt_connected() == 2);
	end_close(&cloud);
	goes_to(&c, A);
	VIRT_NEED(virt_connected() == 3 && world_stat(STAT_up_failed) == 0);
	VIRT_NEED(world_stat(STAT_up_ejected) == 1); /* SIX */
}

SCENARIO(losers_come_by_how_long_they_were_silent)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, B, C, SIX));
	virt_connects(VIRT_HANGS);
	scene_dial_ask(&c);
	world_advance(2 * STAGGERED + 10); /* SIX, A, B */
	VIRT_NEED(virt_connected() == 3 && virt_connected_to() == B);
	virt_connects(VIRT_OK);
	virt_connect_late(A);
	world_run();
	VIRT_NEED(cloud_accept(&cloud));
	end_close(&cloud);
	VIRT_NEED(cloud_accept(&cloud) && virt_connected_to() == B);
	end_close(&cloud);
	VIRT_NEED(cloud_accept(&cloud) && virt_connected_to() == C);
	end_close(&cloud);
	goes_to(&c, SIX); /* which had two head starts */
	VIRT_NEED(virt_connected() == 6);
}

/* The event that is handled first does not make the other one bad. */
SCENARIO(two_that_connect_at_once)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, SIX));
	virt_connects(VIRT_HANGS);
	scene_dial_ask(&c);
	world_advance(3 * STAGGERED);
	virt_connects(VIRT_OK);
	virt_connect_late(A);
	virt_connect_late(SIX);
	world_run();
	VIRT_NEED(world_stat(STAT_up_ejected) == 0);
	while (cloud_accept(&cloud)) /* one is closed */
		end_close(&cloud);
	end_await(&c, "HTTP/1.1 502 ");
	VIRT_NEED(virt_connected() == 3);
}

SCENARIO(no_address_is_left_at_last)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, SIX));
	virt_connects(VIRT_HANGS);
	scene_dial_ask(&c);
	world_advance(STAGGERED + 10);
	virt_connects(VIRT_OK);
	virt_connect_late(SIX);
	for (int n = 0; n < 2; n++) {
		world_run();
		VIRT_NEED(cloud_accept(&cloud));
		end_close(&cloud);
	}
	end_await(&c, "HTTP/1.1 502 ");
	VIRT_NEED(end_has(&c, "CLOUD_TLS") && virt_connected() == 3);
}

/* --- addresses that do not do ----------------------------------------------
 */

SCENARIO(silent_at_connect_is_bad)
{
	struct end c;

	scene_up_at(ADDRESSES(A, SIX));
	virt_connects_at(SIX, VIRT_HANGS);
	scene_dial_ask(&c);
	world_advance(STAGGERED);
	goes_to(&c, A);
	VIRT_NEED(world_stat(STAT_up_ejected) == 1);
	all_go_to(A, 3);
}

SCENARIO(fails_in_tls_is_bad)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, SIX));
	scene_dial_ask(&c);
	VIRT_NEED(cloud_accept(&cloud) && virt_connected_to() == SIX);
	end_close(&cloud);
	goes_to(&c, A);
	VIRT_NEED(world_stat(STAT_up_ejected) == 1);
	all_go_to(A, 3);
}

SCENARIO(silent_in_tls_is_bad)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, SIX));
	scene_dial_ask(&c);
	VIRT_NEED(cloud_accept(&cloud) && virt_connected_to() == SIX);
	world_advance((uint64_t)world.conf.cloud_tls_timeout_ms + 10);
	goes_to(&c, A);
	VIRT_NEED(world_stat(STAT_up_ejected) == 1);
	all_go_to(A, 3);
	world_advance(30000);
	all_go_to(SIX, 1); /* half a minute is over */
}

/* A connection alone does not make it good, a handshake does. */
SCENARIO(good_again_after_a_handshake)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, SIX));
	for (int n = 0; n < 2; n++) {
		scene_dial_ask(&c);
		for (int i = 0; i < 2; i++) {
			world_run();
			VIRT_NEED(cloud_accept(&cloud));
			end_close(&cloud);
		}
		end_await(&c, "HTTP/1.1 502 ");
		end_close(&c);
	}
	VIRT_NEED(world_stat(STAT_up_ejected) == 2);
	all_go_to(SIX, 3); /* all are bad: the order is as ever */
	VIRT_NEED(world_stat(STAT_up_ejected) == 2);
}

SCENARIO(proxy_that_does_not_answer_connect_is_bad)
{
	struct end c, px;

	up_proxied("http", ADDRESSES(A, SIX));
	scene_dial_ask(&c);
	asked(&px);
	VIRT_NEED(virt_connected_to() == SIX);
	world_advance((uint64_t)world.conf.proxy_timeout_ms + 10);
	asked(&px);
	through(&c, &px);
	VIRT_NEED(world_stat(STAT_up_ejected) == 1);
	end_close(&px);
	end_clear(&c);
	scene_ask(&c);
	asked(&px);
	VIRT_NEED(virt_connected() == 3 && virt_connected_to() == A);
	through(&c, &px);
}

SCENARIO(proxy_that_wants_a_password_is_not_bad)
{
	struct end c, px;

	up_proxied("http", ADDRESSES(A, SIX));
	scene_dial_ask(&c);
	asked(&px);
	end_send(&px, "HTTP/1.1 407 No\r\n\r\n");
	end_await(&c, "PROXY_AUTH");
	VIRT_NEED(world_stat(STAT_up_ejected) == 0);
}

/* --- another way meanwhile -------------------------------------------------
 */

static void
change_proxy_to(const char *scheme, const uint8_t *last, unsigned n)
{
	set_proxy(scheme, "other.test");
	snprintf(world.token.proxy_basic, sizeof(world.token.proxy_basic),
		 BASIC);
	publish(last, n);
	world_reload(CA_OURS, CA_OURS);
}

static void
change_proxy(const char *scheme, uint8_t address)
{
	change_proxy_to(scheme, &address, 1);
}

/* Through the new one, with its password; nobody hears of the old one. */
static void
goes_the_new_way_to(struct end *c, uint8_t address)
{
	struct end px;

	world_advance(10);
	VIRT_NEED(proxy_accept(&px), "no connection to the new proxy");
	VIRT_NEED(virt_connected_to() == address, "to another address");
	end_await(&px, "\r\n\r\n");
	VIRT_NEED(end_has(&px, "Proxy-Authorization: Basic " BASIC), px.got);
	through(c, &px);
	VIRT_NEED(world_stat(STAT_up_failed) == 0 && !world_had_event(3111) &&
		  !world_had_event(3107) && !world_had_event(2130));
}

static void
goes_the_new_way(struct end *c)
{
	goes_the_new_way_to(c, B);
}

static void
has_no_password(struct end *px)
{
	end_take(px);
	VIRT_NEED(!end_has(px, "Basic") && !end_has(px, "CONNECT"), px->got);
}

SCENARIO(way_changes_while_the_old_proxy_is_dialed)
{
	struct end c, px;

	up_proxied("https", ADDRESSES(A));
	virt_connects_at(A, VIRT_HANGS);
	scene_dial_ask(&c);
	change_proxy("http", B);
	virt_connect_late(A);
	world_run();
	VIRT_NEED(proxy_accept(&px));
	has_no_password(&px);
	goes_the_new_way(&c);
	has_no_password(&px);
}

/* What the old way's proxy did there says nothing of the new one's. */
SCENARIO(old_way_fails_at_an_address_of_the_new_one)
{
	struct end c;

	up_proxied("http", ADDRESSES(SIX));
	virt_connects_at(SIX, VIRT_HANGS);
	scene_dial_ask(&c);
	virt_connects_at(SIX, VIRT_OK);
	change_proxy_to("http", ADDRESSES(SIX, B));
	virt_refuse_late(SIX);
	world_run();
	VIRT_NEED(world_stat(STAT_up_ejected) == 0);
	goes_the_new_way_to(&c, SIX);
}

/* Other issuers are another way, also where the addresses are the same. */
SCENARIO(old_way_fails_where_there_is_no_other_address)
{
	struct end c;

	scene_up_at(ADDRESSES(A));
	virt_connects_at(A, VIRT_HANGS);
	scene_dial_ask(&c);
	virt_connects_at(A, VIRT_OK);
	world_reload(CA_OTHER, CA_OURS);
	world_reload(CA_OURS, CA_OURS);
	virt_refuse_late(A);
	world_run();
	goes_to(&c, A);
	VIRT_NEED(virt_connected() == 2 && world_stat(STAT_up_failed) == 0 &&
		  !world_had_event(3107));
}

SCENARIO(old_way_was_silent_at_an_address_of_the_new_one)
{
	struct end c, px;

	up_proxied("http", ADDRESSES(SIX, A));
	virt_connects_at(SIX, VIRT_HANGS);
	virt_connects_at(A, VIRT_HANGS);
	scene_dial_ask(&c);
	world_advance(STAGGERED);
	VIRT_NEED(virt_connected() == 2);
	virt_connects_at(SIX, VIRT_OK);
	change_proxy_to("http", ADDRESSES(SIX, B));
	virt_connect_late(A);
	world_run();
	VIRT_NEED(proxy_accept(&px));
	has_no_password(&px);
	VIRT_NEED(world_stat(STAT_up_ejected) == 0);
	goes_the_new_way_to(&c, SIX);
}

SCENARIO(way_changes_in_the_handshake_with_the_old_proxy)
{
	struct end c, px;

	up_proxied("https", ADDRESSES(A));
	scene_dial_ask(&c);
	VIRT_NEED(proxy_accept(&px));
	end_become_tls(&px);
	change_proxy("http", B);
	for (int n = 0; n < 10 && SSL_do_handshake(px.ssl) != 1; n++)
		world_run();
	has_no_password(&px);
	goes_the_new_way(&c);
	has_no_password(&px);
}

SCENARIO(old_proxy_stops_while_it_is_asked)
{
	struct end c, px;

	world_init();
	world.conf.cloud_breaker_failures = 1;
	set_proxy("http", "proxy.test");
	world_addresses(ADDRESSES(A));
	world_up();
	scene_dial_ask(&c);
	asked(&px);
	change_proxy("http", B);
	end_close(&px);
	goes_the_new_way(&c);
}

/* Not only once it fails or is out of time. */
SCENARIO(old_proxy_is_not_waited_for)
{
	struct end c, px;

	up_proxied("http", ADDRESSES(A));
	scene_dial_ask(&c);
	asked(&px);
	change_proxy("http", B);
	goes_the_new_way(&c);
	end_take(&px);
	VIRT_NEED(px.eof || px.reset);
}

SCENARIO(old_proxy_that_does_not_answer_is_not_waited_for)
{
	struct end c;

	up_proxied("http", ADDRESSES(A));
	virt_connects_at(A, VIRT_HANGS);
	scene_dial_ask(&c);
	change_proxy("http", B);
	goes_the_new_way(&c);
}

SCENARIO(addresses_change_while_an_old_one_fails)
{
	struct end c, cloud;

	world_init();
	world.conf.cloud_breaker_failures = 1;
	world_up();
	scene_dial_ask(&c);
	VIRT_NEED(cloud_accept(&cloud));
	publish(ADDRESSES(B));
	world_reload(CA_OURS, CA_OURS);
	end_close(&cloud);
	goes_to(&c, B);
	VIRT_NEED(world_stat(STAT_up_failed) == 0 && !world_had_event(3107) &&
		  !world_had_event(2130));
}

/* As often as they change, but not for ever. */
SCENARIO(addresses_change_at_each_failure)
{
	struct end c, cloud;
	unsigned n;

	scene_up();
	scene_dial_ask(&c);
	for (n = 0; n < 100 && cloud_accept(&cloud); n++) {
		publish((const uint8_t[]){(uint8_t)(B + n % 2)}, 1);
		world_reload(CA_OURS, CA_OURS);
		end_close(&cloud);
		world_run();
	}
	VIRT_NEED(n > 2 && n < 10);
	end_await(&c, "HTTP/1.1 502 ");
	VIRT_NEED(world_stat(STAT_up_failed) == 1);
}

/* --- another list of addresses ---------------------------------------------
 */

/* Read by the relay, too. */
static void
relist(const uint8_t *last, unsigned n)
{
	publish(last, n);
	world_reload(CA_OURS, CA_OURS);
}

SCENARIO(pooled_while_its_address_is_published)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, B));
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	VIRT_NEED(virt_connected_to() == A);
	relist(ADDRESSES(C, A));
	end_clear(&c);
	end_clear(&cloud);
	scene_ask(&c);
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(virt_connected() == 1 && world_stat(STAT_up_reused) == 1);
	world_advance(5000);
	VIRT_NEED(world_stat(STAT_up_idle) == 1);
	relist(ADDRESSES(C, B));
	world_advance(5000);
	end_take(&cloud);
	VIRT_NEED(world_stat(STAT_up_idle) == 0 && (cloud.eof || cloud.reset));
}

SCENARIO(given_back_when_its_address_is_gone)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, B));
	end_dial(&c, false);
	scene_ask(&c);
	world_run();
	cloud_serve(&cloud);
	relist(ADDRESSES(B, C));
	end_send(&cloud, REPLY);
	end_await(&c, "hello");
	VIRT_NEED(world_stat(STAT_up_idle) == 0);
	end_clear(&c);
	scene_dial_ask(&c);
	goes_to(&c, C);
}

SCENARIO(bad_ones_stay_bad_in_another_list)
{
	struct end c;

	scene_up_at(ADDRESSES(A, SIX));
	virt_connects_at(SIX, VIRT_REFUSED);
	scene_dial_ask(&c);
	goes_to(&c, A);
	VIRT_NEED(virt_connected() == 2);
	relist(ADDRESSES(SIX, B));
	all_go_to(B, 2);
	relist(ADDRESSES(C, B)); /* it is away for a while */
	relist(ADDRESSES(SIX, B));
	all_go_to(B, 2);
	VIRT_NEED(world_stat(STAT_up_ejected) == 1);
}

/* The same address, but what was tried there was something else. */
SCENARIO(another_way_begins_without_bad_ones)
{
	struct end c, px;

	scene_up_at(ADDRESSES(A, SIX));
	virt_connects_at(SIX, VIRT_REFUSED);
	scene_dial_ask(&c);
	goes_to(&c, A);
	VIRT_NEED(world_stat(STAT_up_ejected) == 1);
	virt_connects_at(SIX, VIRT_OK);
	set_proxy("http", "other.test");
	relist(ADDRESSES(A, SIX));
	scene_dial_ask(&c);
	asked(&px);
	VIRT_NEED(virt_connected_to() == SIX, "it is still tried last");
	through(&c, &px);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(next_address_after_a_tls_failure),
	    cmocka_unit_test(loser_of_the_race_is_tried_when_the_winner_fails),
	    cmocka_unit_test(losers_come_by_how_long_they_were_silent),
	    cmocka_unit_test(two_that_connect_at_once),
	    cmocka_unit_test(no_address_is_left_at_last),
	    cmocka_unit_test(silent_at_connect_is_bad),
	    cmocka_unit_test(fails_in_tls_is_bad),
	    cmocka_unit_test(silent_in_tls_is_bad),
	    cmocka_unit_test(good_again_after_a_handshake),
	    cmocka_unit_test(proxy_that_does_not_answer_connect_is_bad),
	    cmocka_unit_test(proxy_that_wants_a_password_is_not_bad),
	    cmocka_unit_test(way_changes_while_the_old_proxy_is_dialed),
	    cmocka_unit_test(old_way_fails_at_an_address_of_the_new_one),
	    cmocka_unit_test(old_way_fails_where_there_is_no_other_address),
	    cmocka_unit_test(old_way_was_silent_at_an_address_of_the_new_one),
	    cmocka_unit_test(way_changes_in_the_handshake_with_the_old_proxy),
	    cmocka_unit_test(old_proxy_stops_while_it_is_asked),
	    cmocka_unit_test(old_proxy_is_not_waited_for),
	    cmocka_unit_test(old_proxy_that_does_not_answer_is_not_waited_for),
	    cmocka_unit_test(addresses_change_while_an_old_one_fails),
	    cmocka_unit_test(addresses_change_at_each_failure),
	    cmocka_unit_test(pooled_while_its_address_is_published),
	    cmocka_unit_test(given_back_when_its_address_is_gone),
	    cmocka_unit_test(bad_ones_stay_bad_in_another_list),
	    cmocka_unit_test(another_way_begins_without_bad_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
