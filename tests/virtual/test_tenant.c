/*
 * The configuration turns to another tenant.  Relay and cloud agent learn of
 * it one after the other, in either order, and a token goes to the tenant that
 * it was acquired for: A_TOKEN to the first, B_TOKEN to the second.  Requests
 * that have none wait for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "shm/base/clock.h"
#include "tests/virtual/scene.h"

#define OPEN "HTTP/1.1 200 Connection established\r\n\r\n"
#define ONE  "b25lOm9uZQ=="
#define TWO  "dHdvOnR3bw=="

/* Addresses by their last bytes (world.h). */
enum { A = 2, B };

#define PROXY	"http://proxy.test:3128"
#define FIRST	"https://cloud.test"
#define A_TOKEN "a-token"
#define B_TOKEN "b-token"

/* The second tenant: another host, or another port or path of the same. */
struct move {
	const char *proxy; /* "": none */
	const char *to, *host, *authority;
};

static const struct move moves[] = {
    {PROXY, "https://proxy.test", "proxy.test", "proxy.test"},
    {PROXY, "https://cloud.test:8443", "cloud.test", "cloud.test:8443"},
    {PROXY, "https://cloud.test/second", "cloud.test", "cloud.test"},
    {"", "https://proxy.test", "proxy.test", "proxy.test"},
    {"", "https://cloud.test:8443", "cloud.test", "cloud.test:8443"},
    {"", "https://cloud.test/second/", "cloud.test", "cloud.test"},
};

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

/* The name of a tenant is its URL without the slash at the end. */
static void
agent_is_at(const char *url, const char *token)
{
	struct token_slot *s = &world.token.slot[0];
	char *tenant = world.token.tenant;
	size_t n = strlen(url);

	if (n > 0 && url[n - 1] == '/')
		n--;
	snprintf(tenant, sizeof(world.token.tenant), "%.*s", (int)n, url);
	s->serial++;
	s->len = (uint32_t)strlen(token);
	memset(s->bytes, 0, sizeof(s->bytes));
	memcpy(s->bytes, token, s->len);
}

/* Straight it resolves the tenant's name, too. */
static void
agent_moves(const struct move *m)
{
	agent_is_at(m->to, B_TOKEN);
	if (m->proxy[0] == '\0')
		snprintf(world.token.host, sizeof(world.token.host), "%s",
			 m->host);
	world_addresses((const uint8_t[]){m->proxy[0] != '\0' ? A : B}, 1);
	world_token();
}

static void
relay_is_told(const char *tenant)
{
	char err[256];

	VIRT_NEED(conf_setting_set(&world.conf, "tenant_url", tenant, err,
				   sizeof(err)) == 0);
	world_reload(CA_OURS, CA_OURS);
}

static void
reaches_cloud(struct end *e, const char *proxy, const char *authority)
{
	char line[128];

	VIRT_NEED(proxy_accept(e), "no connection");
	if (proxy[0] != '\0') {
		end_await(e, "\r\n\r\n");
		snprintf(line, sizeof(line), "CONNECT %s%s HTTP/1.1\r\n",
			 authority,
			 strchr(authority, ':') == NULL ? ":443" : "");
		VIRT_NEED(end_has(e, line), e->got);
		end_clear(e);
		end_send(e, OPEN);
	}
	end_become_tls(e);
	end_handshake(e);
}

/* A request is answered by this tenant, with this token. */
static void
is_answered(struct end *c, const char *proxy, const char *authority,
	    const char *token)
{
	char field[128];
	struct end cloud;

	world_run();
	reaches_cloud(&cloud, proxy, authority);
	end_await(&cloud, BODY);
	snprintf(field, sizeof(field), "\r\nHost: %s\r\n", authority);
	VIRT_NEED(end_has(&cloud, field), cloud.got);
	snprintf(field, sizeof(field), "\r\nAuthorization: Bearer %s\r\n",
		 token);
	VIRT_NEED(end_has(&cloud, field), cloud.got);
	end_clear(&cloud);
	end_send(&cloud, REPLY);
	end_await(c, "hello");
	end_close(&cloud);
	end_close(c);
}

static void
asks(const char *proxy, const char *authority, const char *token)
{
	struct end c;

	end_dial(&c, false);
	scene_ask(&c);
	is_answered(&c, proxy, authority, token);
}

/* What was published of the first one is good until the relay is told. */
static void
agent_moves_first(void *arg)
{
	const struct move *m = arg;

	up(m->proxy);
	asks(m->proxy, "cloud.test", A_TOKEN);
	agent_moves(m);
	for (int n = 0; n < 2; n++)
		asks(m->proxy, "cloud.test", A_TOKEN);
	relay_is_told(m->to);
	asks(m->proxy, m->authority, B_TOKEN);
	scene_lost_nothing();
}

/* Of the second one nothing is known yet. */
static void
relay_moves_first(void *arg)
{
	const struct move *m = arg;

	up(m->proxy);
	asks(m->proxy, "cloud.test", A_TOKEN);
	relay_is_told(m->to);
	scene_is_refused("NO_TOKEN");
	/* the first one's token is refreshed meanwhile */
	agent_is_at(FIRST, A_TOKEN);
	world_token();
	scene_is_refused("NO_TOKEN");
	agent_moves(m);
	asks(m->proxy, m->authority, B_TOKEN);
	scene_lost_nothing();
}

static void
the_agent_moves_first(void **state)
{
	(void)state;
	assert_int_equal(scene_each(agent_moves_first, moves, ARRAY_LEN(moves),
				    sizeof(moves[0])),
			 0);
}

static void
the_relay_moves_first(void **state)
{
	(void)state;
	assert_int_equal(scene_each(relay_moves_first, moves, ARRAY_LEN(moves),
				    sizeof(moves[0])),
			 0);
}

/* A relay that was started in between has no token of its tenant. */
SCENARIO(new_relay_has_no_token_of_another_tenant)
{
	world_init();
	scene_conf_proxy(PROXY);
	publishes(PROXY, ONE, A);
	agent_is_at("https://proxy.test", B_TOKEN);
	world_up();
	scene_is_refused("NO_TOKEN");
	agent_is_at(FIRST, A_TOKEN);
	world_token();
	asks(PROXY, "cloud.test", A_TOKEN);
}

/* An agent that knows no tenant has tokens for none. */
SCENARIO(token_for_no_tenant)
{
	up(PROXY);
	agent_is_at("", B_TOKEN);
	world_token();
	asks(PROXY, "cloud.test", A_TOKEN);
	relay_is_told("https://proxy.test");
	scene_is_refused("NO_TOKEN");
}

/* What is kept ends with its time. */
SCENARIO(kept_token_ends)
{
	up(PROXY);
	world.token.slot[0].expires = virt_now_ns() + 60 * NS_PER_S;
	world_token();
	asks(PROXY, "cloud.test", A_TOKEN); /* reads it */
	agent_is_at("https://proxy.test", B_TOKEN);
	world.token.slot[0].expires = UINT64_MAX;
	world_token();
	asks(PROXY, "cloud.test", A_TOKEN);
	world_advance(61000);
	scene_is_refused("NO_TOKEN");
}

/* The connection is made, and its last flight finds no room at first: what
 * would go on it then is for another tenant. */
SCENARIO(relay_moves_before_the_head_is_out)
{
	static const char *const second = "https://cloud.test:8443";
	struct end c, cloud;

	up("");
	end_dial(&c, false);
	scene_ask(&c);
	world_run();
	VIRT_NEED(cloud_accept(&cloud));
	VIRT_NEED(SSL_do_handshake(cloud.ssl) != 1); /* its part */
	virt_io = (struct virt_io){.full_at = 1};
	agent_is_at(second, B_TOKEN);
	world_token();
	relay_is_told(second);
	VIRT_NEED(virt_io.sends > 1);
	end_handshake(&cloud);
	end_take(&cloud);
	VIRT_NEED(cloud.eof && !end_has(&cloud, "Bearer"), cloud.got);
	is_answered(&c, "", "cloud.test:8443", B_TOKEN);
	scene_lost_nothing();
}

/* There and back: nothing is kept of a tenant that was left. */
SCENARIO(relay_moves_twice)
{
	up(PROXY);
	relay_is_told("https://proxy.test");
	agent_is_at("https://proxy.test", B_TOKEN);
	world_token();
	asks(PROXY, "proxy.test", B_TOKEN);
	relay_is_told(FIRST);
	scene_is_refused("NO_TOKEN");
	agent_is_at(FIRST, A_TOKEN);
	world_token();
	asks(PROXY, "cloud.test", A_TOKEN);
}

/* Tenant and proxy, in one set. */
SCENARIO(another_tenant_behind_another_proxy)
{
	static const char *const second = "http://proxy.test:3129";

	up(PROXY);
	asks(PROXY, "cloud.test", A_TOKEN);
	scene_conf_proxy(second);
	relay_is_told("https://proxy.test");
	scene_is_refused("NO_TOKEN");
	/* the old proxy's way is not the new tenant's */
	agent_is_at("https://proxy.test", B_TOKEN);
	world_token();
	scene_is_refused("NO_ADDRESS");
	publishes(second, TWO, B);
	world_token();
	asks(second, "proxy.test", B_TOKEN);
	scene_lost_nothing();
}

/* The same, the agent first. */
SCENARIO(agent_of_another_tenant)
{
	up(PROXY);
	agent_is_at("https://cloud.test:8443", B_TOKEN);
	publishes("", "", B);
	world_token();
	asks(PROXY, "cloud.test", A_TOKEN);
	VIRT_NEED(virt_connected_to() == A);
	publishes("http://proxy.test:3129", TWO, A);
	world_token();
	asks(PROXY, "cloud.test", A_TOKEN);
	VIRT_NEED(virt_connected_port() == 3128);
	scene_conf_proxy("http://proxy.test:3129");
	relay_is_told("https://cloud.test:8443");
	asks("http://proxy.test:3129", "cloud.test:8443", B_TOKEN);
	scene_lost_nothing();
}

/* --- requests wait for a token ---------------------------------------------
 */

static void
asks_and_waits(struct end *c)
{
	struct end none;

	end_dial(c, false);
	scene_ask(c);
	world_run();
	end_take(c);
	VIRT_NEED(c->len == 0, c->got);
	VIRT_NEED(!proxy_accept(&none), "a connection before the token");
}

/* The agent has dropped the first one's token, and fetches. */
static void
agent_fetches_for(const char *url)
{
	agent_is_at(url, "");
	world.token.slot[0].state = TOKEN_NONE;
	world_token();
}

static void
second_is_waited_for(void *arg)
{
	const struct move *m = arg;
	struct end c[3];

	up(m->proxy);
	world_agent();
	asks(m->proxy, "cloud.test", A_TOKEN);
	relay_is_told(m->to);
	asks_and_waits(&c[0]);
	agent_is_at(FIRST, A_TOKEN);
	world_token();
	asks_and_waits(&c[1]);
	agent_fetches_for(m->to);
	asks_and_waits(&c[2]);
	world.token.slot[0].state = TOKEN_OK;
	agent_moves(m);
	for (int n = 2; n >= 0; n--) /* the newest client is the first */
		is_answered(&c[n], m->proxy, m->authority, B_TOKEN);
	asks(m->proxy, m->authority, B_TOKEN);
	VIRT_NEED(world_stat(STAT_token_missing) == 0 &&
		  world_stat(STAT_token_replays) == 0);
	scene_lost_nothing();
}

static void
the_second_is_waited_for(void **state)
{
	(void)state;
	assert_int_equal(scene_each(second_is_waited_for, moves,
				    ARRAY_LEN(moves), sizeof(moves[0])),
			 0);
}

/* Straight, and the name is looked up for longer than the token takes. */
SCENARIO(address_comes_after_the_token)
{
	struct end c;

	up("");
	world_agent();
	relay_is_told("https://proxy.test");
	asks_and_waits(&c);
	agent_is_at("https://proxy.test", B_TOKEN);
	world_token();
	world_run();
	end_take(&c);
	VIRT_NEED(c.len == 0, c.got);
	agent_moves(&moves[3]);
	is_answered(&c, "", "proxy.test", B_TOKEN);
	scene_lost_nothing();
}

/* Nothing follows when the agent was the first: the set does. */
SCENARIO(relay_has_to_be_told)
{
	struct end c;

	up(PROXY);
	world_agent();
	world.token.slot[0].expires = virt_now_ns() + 60 * NS_PER_S;
	world_token();
	world_advance(61000);
	world.token.slot[0].expires = UINT64_MAX;
	agent_moves(&moves[0]);
	asks_and_waits(&c);
	relay_is_told(moves[0].to);
	is_answered(&c, PROXY, "proxy.test", B_TOKEN);
	scene_lost_nothing();
}

/* Its way is made anew, and then there is no token. */
SCENARIO(relay_moves_while_it_connects)
{
	struct end c, px;

	up(PROXY);
	world_agent();
	end_dial(&c, false);
	scene_ask(&c);
	world_run();
	VIRT_NEED(proxy_accept(&px));
	relay_is_told("https://cloud.test:8443");
	world_advance(2);
	reaches_cloud(&px, PROXY, "cloud.test:8443");
	world_run();
	end_take(&px);
	end_take(&c);
	VIRT_NEED(px.eof && px.len == 0 && c.len == 0, c.got);
	agent_moves(&moves[1]);
	is_answered(&c, PROXY, "cloud.test:8443", B_TOKEN);
	scene_lost_nothing();
}

SCENARIO(token_that_does_not_come)
{
	struct end c;

	up(PROXY);
	world_agent();
	relay_is_told("https://proxy.test");
	asks_and_waits(&c);
	scene_expect(&c, world.conf.token_wait_ms, "NO_TOKEN");
	end_close(&c);
	VIRT_NEED(world_stat(STAT_token_missing) == 1);
	/* and that cannot be fetched */
	asks_and_waits(&c);
	agent_fetches_for("https://proxy.test");
	end_take(&c);
	VIRT_NEED(c.len == 0, c.got);
	world.token.slot[0].state = TOKEN_FAILED;
	world_token();
	end_await(&c, "NO_TOKEN");
	end_close(&c);
	scene_is_refused("NO_TOKEN");
}

SCENARIO(nobody_waits_without_time)
{
	world_init();
	world.conf.token_wait_ms = 0;
	world_up();
	world_agent();
	agent_fetches_for(FIRST);
	scene_is_refused("NO_TOKEN");
}

/* Not only of another tenant. */
SCENARIO(first_token_is_waited_for)
{
	struct end c;

	up(PROXY);
	world_agent();
	agent_fetches_for(FIRST);
	asks_and_waits(&c);
	agent_is_at(FIRST, A_TOKEN);
	world.token.slot[0].state = TOKEN_OK;
	world_token();
	is_answered(&c, PROXY, "cloud.test", A_TOKEN);
	scene_lost_nothing();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_agent_moves_first),
	    cmocka_unit_test(the_relay_moves_first),
	    cmocka_unit_test(new_relay_has_no_token_of_another_tenant),
	    cmocka_unit_test(token_for_no_tenant),
	    cmocka_unit_test(kept_token_ends),
	    cmocka_unit_test(relay_moves_before_the_head_is_out),
	    cmocka_unit_test(relay_moves_twice),
	    cmocka_unit_test(another_tenant_behind_another_proxy),
	    cmocka_unit_test(agent_of_another_tenant),
	    cmocka_unit_test(the_second_is_waited_for),
	    cmocka_unit_test(address_comes_after_the_token),
	    cmocka_unit_test(relay_has_to_be_told),
	    cmocka_unit_test(relay_moves_while_it_connects),
	    cmocka_unit_test(token_that_does_not_come),
	    cmocka_unit_test(nobody_waits_without_time),
	    cmocka_unit_test(first_token_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
