/*
 * The configuration turns to another web proxy.  Relay and cloud agent learn
 * of it one after the other, in either order: meanwhile no proxy gets the
 * other one's password, and no request is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tests/virtual/scene.h"

#define OPEN "HTTP/1.1 200 Connection established\r\n\r\n"
#define ONE  "b25lOm9uZQ=="
#define TWO  "dHdvOnR3bw=="

/* Addresses by their last bytes (world.h). */
enum { A = 2, B };

/* The proxy before and after; "": none.  Addresses of a name are good for all
 * of its ports. */
struct turn {
	const char *from, *to;
	bool same_name;
};

static const struct turn turns[] = {
    {"http://proxy.test:3128", "http://proxy.test:3129", true},
    {"https://proxy.test:3128", "http://proxy.test:3128", true},
    {"http://proxy.test:3128", "https://proxy.test:3128", true},
    {"http://proxy.test:3128", "http://other.test:3128", false},
    {"", "http://proxy.test:3128", false},
    {"https://proxy.test:3128", "", false},
    /* a proxy that has the tenant's name */
    {"", "http://cloud.test:443", true},
    {"https://cloud.test:443", "", true},
};

/* Every password is for the URL that it was published with. */
static void
publishes(const char *url, const char *basic, uint8_t address)
{
	scene_token_proxy(url, url[0] != '\0' ? basic : "");
	world_addresses(&address, 1);
}

static void
up(const char *url)
{
	world_init();
	scene_conf_proxy(url);
	publishes(url, ONE, A);
	world_up();
}

static uint16_t
port_of(const char *url)
{
	const char *colon = strrchr(url, ':');
	unsigned port = 443;

	if (colon != NULL)
		VIRT_NEED(sscanf(colon, ":%u", &port) == 1);
	return (uint16_t)port;
}

/* CONNECT with this password ("": none), and the way is open. */
static void
opens(struct end *px, const char *basic)
{
	char field[128];

	end_await(px, "\r\n\r\n");
	VIRT_NEED(strncmp(px->got, "CONNECT ", 8) == 0, px->got);
	snprintf(field, sizeof(field), "\r\nProxy-Authorization: Basic %s\r\n",
		 basic);
	VIRT_NEED(end_has(px, basic[0] != '\0' ? field : "\r\n\r\n"), px->got);
	VIRT_NEED(basic[0] != '\0' || !end_has(px, "Basic"), px->got);
	end_clear(px);
	end_send(px, OPEN);
	end_become_tls(px);
}

/* A request takes the way of this URL with this password, and is answered; its
 * connection is in the pool then. */
static void
goes_by(const char *url, const char *basic, uint8_t address)
{
	struct end c, px;

	end_dial(&c, false);
	scene_ask(&c);
	world_run();
	if (!proxy_accept(&px)) {
		end_take(&c);
		VIRT_NEED(false, "no connection, but this:", c.got);
	}
	VIRT_NEED(virt_connected_port() == port_of(url), "to another port");
	VIRT_NEED(virt_connected_to() == address, "to another address");
	if (strncmp(url, "http", 4) != 0 || strncmp(url, "https", 5) == 0) {
		end_become_tls(&px);
		end_handshake(&px);
	}
	if (url[0] != '\0') {
		opens(&px, basic);
		end_handshake(&px);
	}
	scene_exchange_again(&c, &px);
	end_close(&px);
	end_close(&c);
}

/* --- in either order -------------------------------------------------------
 */

static void
agent_is_first(void *arg)
{
	const struct turn *t = arg;

	up(t->from);
	goes_by(t->from, ONE, A);
	publishes(t->to, TWO, B);
	world_token();
	for (int n = 0; n < 3; n++)
		goes_by(t->from, ONE, t->same_name ? B : A);
	scene_conf_proxy(t->to);
	world_reload(CA_OURS, CA_OURS);
	goes_by(t->to, TWO, B);
	scene_lost_nothing();
}

static void
relay_is_first(void *arg)
{
	const struct turn *t = arg;

	up(t->from);
	goes_by(t->from, ONE, A);
	scene_conf_proxy(t->to);
	world_reload(CA_OURS, CA_OURS);
	for (int n = 0; n < 3; n++)
		goes_by(t->from, ONE, A);
	publishes(t->to, TWO, B);
	world_token();
	goes_by(t->to, TWO, B);
	scene_lost_nothing();
}

static void
the_agent_first(void **state)
{
	(void)state;
	assert_int_equal(scene_each(agent_is_first, turns, ARRAY_LEN(turns),
				    sizeof(turns[0])),
			 0);
}

static void
the_relay_first(void **state)
{
	(void)state;
	assert_int_equal(scene_each(relay_is_first, turns, ARRAY_LEN(turns),
				    sizeof(turns[0])),
			 0);
}

/* There and back before the relay has heard of it. */
SCENARIO(the_agent_turns_twice)
{
	static const char *const from = "http://proxy.test:3128";

	up(from);
	publishes("http://proxy.test:3129", TWO, B);
	world_token();
	goes_by(from, ONE, B);
	publishes("https://other.test:3128", TWO, A);
	world_token();
	goes_by(from, ONE, B);
	publishes(from, TWO, A); /* another password of the same */
	world_token();
	goes_by(from, TWO, A);
	scene_lost_nothing();
}

/* The password is not what was kept of a way that is used no more. */
SCENARIO(nothing_is_kept_of_the_way_before)
{
	static const char *const one = "http://proxy.test:3128";
	static const char *const two = "http://proxy.test:3129";

	up(one);
	goes_by(one, ONE, A);
	publishes(two, "", A);
	scene_conf_proxy(two);
	world_token();
	world_reload(CA_OURS, CA_OURS);
	goes_by(two, "", A);
	publishes(one, ONE, A);
	world_token();
	goes_by(two, "", A);
	scene_lost_nothing();
}

/* --- nothing is known of the way -------------------------------------------
 */

/* A relay that was started between the two. */
SCENARIO(new_relay_has_no_password_for_another_port)
{
	world_init();
	scene_conf_proxy("http://proxy.test:3129");
	publishes("http://proxy.test:3128", ONE, A);
	world_up();
	scene_is_refused("NO_ADDRESS");
	publishes("http://proxy.test:3129", TWO, A);
	world_token();
	goes_by("http://proxy.test:3129", TWO, A);
}

/* --- who vouches for the proxy ---------------------------------------------
 */

/* The new one's issuers are for the new one only. */
SCENARIO(old_proxy_goes_by_its_own_issuers)
{
	static const char *const from = "https://proxy.test:3128";
	struct end c, px;

	up(from);
	scene_conf_proxy("https://proxy.test:3129");
	world_reload(CA_OURS, CA_OTHER);
	goes_by(from, ONE, A);
	scene_lost_nothing();
	publishes("https://proxy.test:3129", TWO, A);
	world_token();
	end_dial(&c, false);
	scene_ask(&c);
	world_run();
	VIRT_NEED(proxy_accept(&px) && virt_connected_port() == 3129);
	end_become_tls(&px);
	end_take(&px);
	end_await(&c, "PROXY_CERT");
	VIRT_NEED(!end_has(&px, "CONNECT"));
	end_close(&px);
	end_close(&c);
	/* of one that stays they are in force at once */
	world_reload(CA_OURS, CA_OURS);
	goes_by("https://proxy.test:3129", TWO, A);
	world_reload(CA_OURS, CA_OTHER);
	end_dial(&c, false);
	scene_ask(&c);
	world_run();
	VIRT_NEED(proxy_accept(&px));
	end_become_tls(&px);
	end_take(&px);
	end_await(&c, "PROXY_CERT");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_agent_first),
	    cmocka_unit_test(the_relay_first),
	    cmocka_unit_test(the_agent_turns_twice),
	    cmocka_unit_test(nothing_is_kept_of_the_way_before),
	    cmocka_unit_test(new_relay_has_no_password_for_another_port),
	    cmocka_unit_test(old_proxy_goes_by_its_own_issuers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
