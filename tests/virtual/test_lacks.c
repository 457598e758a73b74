/*
 * What the host lacks to connect to the cloud (memory, descriptors, ports) is
 * not the cloud's fault, nor that of the way there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "shm/base/log.h"
#include "tests/virtual/scene.h"

#define STAGGERED 251 /* ms: the next address has been begun */

/* Addresses by their last bytes (world.h). */
enum { A = 2, B, SIX = 0x61 };

static void
nobody_is_blamed(void)
{
	VIRT_NEED(world_stat(STAT_up_failed) == 0 &&
		      world_stat(STAT_up_ejected) == 0 &&
		      world_stat(STAT_circuit_opened) == 0,
		  "the cloud is blamed");
	for (unsigned id = 3106; id <= 3112; id++)
		VIRT_NEED(!world_had_event(id), "an event blames the cloud");
}

/* 503, and what it was that lacked. */
static void
told(struct end *c, const char *detail)
{
	end_await(c, "HTTP/1.1 503 ");
	end_take(c);
	VIRT_NEED(end_has(c, "NOMEM") && end_has(c, "\r\nRetry-After: ") &&
		      end_has(c, detail),
		  c->got);
	end_close(c);
}

/* A request goes over a new connection, which then ends. */
static void
goes_on(void)
{
	struct end c, cloud;

	scene_dial_ask(&c);
	VIRT_NEED(cloud_accept(&cloud), "no connection to the cloud");
	end_handshake(&cloud);
	scene_exchange_again(&c, &cloud);
	end_close(&cloud);
	end_close(&c);
}

/* --- no socket -------------------------------------------------------------
 */

static const struct {
	int err;
	const char *detail;
} no_sockets[] = {
    {ENOMEM, "out of memory"},
    {ENOBUFS, "out of memory"},
    {EMFILE, "no file descriptor is free"},
    {ENFILE, "no file descriptor is free"},
};

/* As often as would open the circuit; the other address is no other host. */
SCENARIO(no_socket)
{
	struct end c;

	scene_up_at(ADDRESSES(A, B));
	for (size_t n = 0; n < 40; n++) {
		virt_next_socket(no_sockets[n % 4].err);
		scene_dial_ask(&c);
		told(&c, no_sockets[n % 4].detail);
		VIRT_NEED(virt_connected() == 0, "another one was tried");
		VIRT_NEED(world_stat(STAT_nomem) == n + 1);
	}
	nobody_is_blamed();
	goes_on();
}

SCENARIO(no_socket_towards_a_proxy)
{
	struct end c;

	world_init();
	scene_conf_proxy("http://proxy.test:3128");
	scene_token_proxy("http://proxy.test:3128", "");
	world_up();
	virt_next_socket(EMFILE);
	scene_dial_ask(&c);
	told(&c, "no file descriptor is free");
	nobody_is_blamed();
}

SCENARIO(no_room_to_connect)
{
	struct end c;

	scene_up_at(ADDRESSES(A, B));
	virt_next_connect(VIRT_NO_ROOM);
	scene_dial_ask(&c);
	told(&c, "out of memory");
	VIRT_NEED(virt_connected() == 1, "another one was tried");
	nobody_is_blamed();
	goes_on();
}

/* --- while another one is under way ----------------------------------------
 */

/* What is under way does not need it, and may do. */
SCENARIO(no_socket_for_the_second)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, B));
	virt_connects_at(A, VIRT_HANGS);
	scene_dial_ask(&c);
	virt_next_socket(EMFILE);
	world_advance(STAGGERED + 10);
	virt_connect_late(A);
	world_run();
	VIRT_NEED(virt_connected() == 1 && cloud_accept(&cloud));
	end_handshake(&cloud);
	scene_exchange_again(&c, &cloud);
	nobody_is_blamed();
}

/* It was none of its tries: it has its turn when there is a socket again. */
SCENARIO(no_socket_for_the_second_at_first)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, B));
	virt_connects_at(A, VIRT_HANGS);
	scene_dial_ask(&c);
	virt_next_socket(EMFILE);
	world_advance(STAGGERED + 10);
	VIRT_NEED(virt_connected() == 1, "without a pause");
	world_advance(STAGGERED);
	VIRT_NEED(virt_connected_to() == B && cloud_accept(&cloud));
	end_handshake(&cloud);
	scene_exchange_again(&c, &cloud);
}

/* One was refused, which says that it is bad.  That the other would have been
 * is not known. */
static void
second_lacks_memory(size_t size)
{
	struct end c;

	scene_up_at(ADDRESSES(A, B));
	virt_connects_at(A, VIRT_HANGS);
	scene_dial_ask(&c);
	VIRT_NEED(virt_connected_to() == A);
	virt_alloc_deny(size);
	virt_refuse_late(A);
	world_run();
	VIRT_NEED(virt_alloc_denied() && virt_connected() == 2);
	told(&c, "out of memory");
	VIRT_NEED(world_stat(STAT_up_ejected) == 1 &&
		  world_stat(STAT_up_failed) == 0);
}

SCENARIO(no_memory_for_an_event)
{
	second_lacks_memory(event_get_struct_event_size());
}

/* --- no port ---------------------------------------------------------------
 */

/* To another address there may be one. */
SCENARIO(no_port_to_one)
{
	struct end c, cloud;

	scene_up_at(ADDRESSES(A, B));
	virt_connects_at(A, VIRT_NO_PORT);
	scene_dial_ask(&c);
	VIRT_NEED(virt_connected() == 2 && virt_connected_to() == B);
	VIRT_NEED(cloud_accept(&cloud));
	end_handshake(&cloud);
	scene_exchange_again(&c, &cloud);
	nobody_is_blamed();
}

SCENARIO(no_port_to_any)
{
	struct end c;

	scene_up_at(ADDRESSES(A, B, SIX));
	virt_connects(VIRT_NO_PORT);
	scene_dial_ask(&c);
	told(&c, "no local port is free");
	VIRT_NEED(virt_connected() == 3);
	nobody_is_blamed();
	virt_connects(VIRT_OK);
	goes_on();
}

/* The one that was not tried might have done. */
SCENARIO(no_port_to_one_and_the_other_is_refused)
{
	struct end c;

	scene_up_at(ADDRESSES(A, B));
	virt_connects_at(A, VIRT_NO_PORT);
	virt_connects_at(B, VIRT_REFUSED);
	scene_dial_ask(&c);
	told(&c, "2:443: no local port is free");
	VIRT_NEED(world_stat(STAT_up_ejected) == 1 &&
		  world_stat(STAT_up_failed) == 0);
}

/* A host without IPv6 says the same of every such address: that is its way
 * there, not a lack. */
SCENARIO(no_source)
{
	struct end c;

	scene_up_at(ADDRESSES(SIX, A));
	virt_connects_at(SIX, VIRT_NO_SOURCE);
	virt_connects_at(A, VIRT_REFUSED);
	scene_dial_ask(&c);
	end_await(&c, "HTTP/1.1 502 ");
	end_take(&c);
	VIRT_NEED(end_has(&c, "CLOUD_CONNECT"), c.got);
	VIRT_NEED(world_stat(STAT_up_ejected) == 2);
}

/* --- no memory for TLS -----------------------------------------------------
 */

#define OPEN "HTTP/1.1 200 Connection established\r\n\r\n"

/* Plays the cloud, or with `way` first that proxy, as far as it goes. */
static void
play(const char *way)
{
	bool open = way[0] == '\0';
	struct end e = {.fd = -1};

	for (int n = 0; n < 24; n++) {
		world_run();
		if (e.fd < 0) {
			if (!proxy_accept(&e))
				continue;
			if (open || strncmp(way, "https", 5) == 0)
				end_become_tls(&e);
		}
		if (e.ssl != NULL && !SSL_is_init_finished(e.ssl)) {
			(void)!SSL_do_handshake(e.ssl);
			continue;
		}
		end_take(&e);
		if (!open && end_has(&e, "\r\n\r\n")) {
			end_clear(&e);
			end_send(&e, OPEN);
			end_become_tls(&e);
			open = true;
		} else if (open && cloud_request_is_whole(&e)) {
			end_clear(&e);
			end_send(&e, REPLY);
		}
	}
	if (e.fd >= 0)
		end_close(&e);
	VIRT_NEED(!proxy_accept(&e), "it was tried again");
}

/* From the connection on; what is before has tests of its own. */
static void
lacks_at(unsigned n, const char *way)
{
	struct end c;

	world_init();
	if (way[0] != '\0') {
		scene_conf_proxy(way);
		scene_token_proxy(way, "");
	}
	world_addresses(ADDRESSES(A, B));
	world_up();
	virt_connects_at(A, VIRT_HANGS);
	scene_dial_ask(&c);
	virt_alloc_begin(n);
	virt_connect_late(A);
	play(way);
	if (virt_alloc_count() < n)
		virt_over();
	virt_alloc_end();
	end_take(&c);
	nobody_is_blamed();
	VIRT_NEED(end_has(&c, "\r\n\r\nhello") || end_has(&c, "NOMEM"), c.got);
	VIRT_NEED(world_stat(STAT_nomem) == end_has(&c, "NOMEM"));
}

static void
lacks_for_cloud(unsigned n)
{
	lacks_at(n, "");
}

static void
lacks_behind_proxy(unsigned n)
{
	lacks_at(n, "https://proxy.test:3128");
}

static void
no_memory_for_tls(void **state)
{
	(void)state;
	assert_true(scene_series(lacks_for_cloud, scene_step(65),
				 "allocation, cloud") > 1000);
	assert_true(scene_series(lacks_behind_proxy, scene_step(131),
				 "allocation, https proxy") > 2000);
}

/* A client's handshake that lacks memory is not one that failed: its
 * certificate, or what it offered, may be as good as any. */
static void
lacks_for_client(unsigned n)
{
	struct end c;

	scene_up();
	virt_alloc_begin(n);
	end_dial(&c, true);
	for (int i = 0; i < 12; i++) {
		world_run();
		if (!SSL_is_init_finished(c.ssl))
			(void)!SSL_do_handshake(c.ssl);
	}
	if (virt_alloc_count() < n)
		virt_over();
	virt_alloc_end();
	VIRT_NEED(world_stat(STAT_tls_failed) == 0, "the client is blamed");
	VIRT_NEED(world_stat(STAT_nomem) + world_stat(STAT_tls_full) > 0);
	end_close(&c);
	end_dial(&c, true);
	end_handshake(&c);
}

static void
no_memory_for_tls_of_a_client(void **state)
{
	(void)state;
	assert_true(scene_series(lacks_for_client, scene_step(65),
				 "allocation, client") > 500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_socket),
	    cmocka_unit_test(no_socket_towards_a_proxy),
	    cmocka_unit_test(no_room_to_connect),
	    cmocka_unit_test(no_socket_for_the_second),
	    cmocka_unit_test(no_socket_for_the_second_at_first),
	    cmocka_unit_test(no_memory_for_an_event),
	    cmocka_unit_test(no_port_to_one),
	    cmocka_unit_test(no_port_to_any),
	    cmocka_unit_test(no_port_to_one_and_the_other_is_refused),
	    cmocka_unit_test(no_source),
	    cmocka_unit_test(no_memory_for_tls),
	    cmocka_unit_test(no_memory_for_tls_of_a_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
