/*
 * The configuration turns to another web proxy, or to another tenant.  Relay
 * and cloud agent learn of it one after the other, in either order: meanwhile
 * no proxy gets the other one's password, no tenant the other one's token, and
 * no request is lost where the old way can be gone.
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

static void
is_refused(const char *reason)
{
	struct end c, px;

	end_dial(&c, false);
	scene_ask(&c);
	end_await(&c, reason);
	VIRT_NEED(!proxy_accept(&px), "a connection all the same");
	end_close(&c);
}

static void
lost_nothing(void)
{
	VIRT_NEED(world_stat(STAT_up_failed) == 0 && !world_had_event(3110) &&
		  !world_had_event(3111));
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
	lost_nothing();
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
	lost_nothing();
}

static void
all_turns(void (*in)(void *arg))
{
	unsigned wrong = 0;

	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		struct turn t = turns[i];

		if (virt_scenario(in, &t) == VIRT_GOOD)
			continue;
		print_error("from \"%s\" to \"%s\"\n", t.from, t.to);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static void
the_agent_first(void **state)
{
	(void)state;
	all_turns(agent_is_first);
}

static void
the_relay_first(void **state)
{
	(void)state;
	all_turns(relay_is_first);
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
	lost_nothing();
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
	lost_nothing();
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
	is_refused("NO_ADDRESS");
	publishes("http://proxy.test:3129", TWO, A);
	world_token();
	goes_by("http://proxy.test:3129", TWO, A);
}

/* --- another tenant --------------------------------------------------------
 *
 * A token goes to the tenant that it was acquired for, whoever learns first
 * that there is another one: A_TOKEN to the first, B_TOKEN to the second.
 */

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
	scene_serve(&cloud);
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
	lost_nothing();
}

/* Of the second one nothing is known yet. */
static void
relay_moves_first(void *arg)
{
	const struct move *m = arg;

	up(m->proxy);
	asks(m->proxy, "cloud.test", A_TOKEN);
	relay_is_told(m->to);
	is_refused("NO_TOKEN");
	/* the first one's token is refreshed meanwhile */
	agent_is_at(FIRST, A_TOKEN);
	world_token();
	is_refused("NO_TOKEN");
	agent_moves(m);
	asks(m->proxy, m->authority, B_TOKEN);
	lost_nothing();
}

static void
all_moves(void (*in)(void *arg))
{
	unsigned wrong = 0;

	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		struct move m = moves[i];

		if (virt_scenario(in, &m) == VIRT_GOOD)
			continue;
		print_error("to %s by \"%s\"\n", m.to, m.proxy);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static void
the_agent_moves_first(void **state)
{
	(void)state;
	all_moves(agent_moves_first);
}

static void
the_relay_moves_first(void **state)
{
	(void)state;
	all_moves(relay_moves_first);
}

/* A relay that was started in between has no token of its tenant. */
SCENARIO(new_relay_has_no_token_of_another_tenant)
{
	world_init();
	scene_conf_proxy(PROXY);
	publishes(PROXY, ONE, A);
	agent_is_at("https://proxy.test", B_TOKEN);
	world_up();
	is_refused("NO_TOKEN");
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
	is_refused("NO_TOKEN");
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
	is_refused("NO_TOKEN");
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
	lost_nothing();
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
	is_refused("NO_TOKEN");
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
	is_refused("NO_TOKEN");
	/* the old proxy's way is not the new tenant's */
	agent_is_at("https://proxy.test", B_TOKEN);
	world_token();
	is_refused("NO_ADDRESS");
	publishes(second, TWO, B);
	world_token();
	asks(second, "proxy.test", B_TOKEN);
	lost_nothing();
}

/* The same, the agent first. */
SCENARIO(agent_of_another_tenant)
{
	up(PROXY);
	agent_is_at("https://cloud.test:8443", B_TOKEN);
	publishes("", "", B);
	world_token();
	goes_by(PROXY, ONE, A);
	asks(PROXY, "cloud.test", A_TOKEN);
	publishes("http://proxy.test:3129", TWO, A);
	world_token();
	goes_by(PROXY, ONE, A);
	asks(PROXY, "cloud.test", A_TOKEN);
	scene_conf_proxy("http://proxy.test:3129");
	relay_is_told("https://cloud.test:8443");
	asks("http://proxy.test:3129", "cloud.test:8443", B_TOKEN);
	lost_nothing();
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
	lost_nothing();
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
	    cmocka_unit_test(the_agent_moves_first),
	    cmocka_unit_test(the_relay_moves_first),
	    cmocka_unit_test(new_relay_has_no_token_of_another_tenant),
	    cmocka_unit_test(token_for_no_tenant),
	    cmocka_unit_test(kept_token_ends),
	    cmocka_unit_test(relay_moves_before_the_head_is_out),
	    cmocka_unit_test(relay_moves_twice),
	    cmocka_unit_test(another_tenant_behind_another_proxy),
	    cmocka_unit_test(agent_of_another_tenant),
	    cmocka_unit_test(old_proxy_goes_by_its_own_issuers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
