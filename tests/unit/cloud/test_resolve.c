/*
 * Addresses, URLs, TTL bounds, and names kept fresh against a name server in
 * the same event loop.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "worker/cloud/addr_set.h"
#include "worker/cloud/cloud_url.h"
#include "worker/cloud/resolve.h"

/* --- URLs and addresses -------------------------------------------------- */

static void
url(const char *text, const char *host, unsigned port, bool literal)
{
	struct cloud_url u;

	assert_int_equal(cloud_url_parse(text, &u), 0);
	assert_string_equal(u.host, host);
	assert_int_equal(u.port, port);
	assert_int_equal(u.literal, literal);
}

static void
test_url(void **state)
{
	static const char *const bad[] = {"",
					  "http://a/",
					  "https://",
					  "https://a:0/",
					  "https://a:65536",
					  "https://a:b",
					  "https://u@a/",
					  "https://[::1/",
					  "https://[a]/",
					  "https://a b/",
					  "https://[::1]x",
					  "https:///x",
					  "ftp://a",
					  "https://a:/"};
	struct cloud_url u;

	(void)state;
	url("https://A.Example.test", "a.example.test", 443, false);
	url("HTTPS://a:8443/x?y#z", "a", 8443, false);
	url("https://a?b", "a", 443, false);
	url("https://10.0.0.1:1/", "10.0.0.1", 1, true);
	url("https://[2001:DB8::1]:65535/", "2001:db8::1", 65535, true);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_true(cloud_url_parse(bad[i], &u) < 0);
		assert_string_equal(u.host, "");
	}
}

static void
test_addr_set(void **state)
{
	struct addr_set a, b, many = {0};
	char text[ADDR_SET_TEXT], one[32];

	(void)state;
	assert_int_equal(addr_set_parse(&a, "10.0.0.1, 2001:db8::1,10.0.0.1"),
			 0);
	assert_int_equal(a.n, 2);
	addr_set_text(&a, true, text, sizeof(text));
	assert_string_equal(text, "10.0.0.1,[2001:db8::1]");
	addr_set_text(&a, false, text, sizeof(text));
	assert_string_equal(text, "10.0.0.1,2001:db8::1");
	assert_int_equal(addr_set_parse(&b, "2001:db8::1,10.0.0.1"), 0);
	assert_true(addr_set_same(&a, &b));
	assert_int_equal(addr_set_parse(&b, "10.0.0.1"), 0);
	assert_false(addr_set_same(&a, &b));
	assert_false(addr_set_same(&b, &a));
	assert_int_equal(addr_set_count(&a, 6), 1);
	addr_set_append(&b, &a, 6);
	assert_true(addr_set_same(&a, &b));
	/* What nobody can connect to. */
	assert_true(addr_set_parse(&b, "0.0.0.0") < 0);
	assert_true(addr_set_parse(&b, "::") < 0);
	assert_true(addr_set_parse(&b, "224.0.0.1") < 0);
	assert_true(addr_set_parse(&b, "ff02::1") < 0);
	assert_true(addr_set_parse(&b, "") < 0);
	assert_true(addr_set_parse(&b, " , ") < 0);
	assert_true(addr_set_parse(&b, "localhost") < 0);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(one, sizeof(one), "10.0.0.%u", i);
		assert_int_equal(addr_set_add_text(&many, one), 0);
	}
	assert_int_equal(many.n, TOKEN_ADDRS_MAX);
	addr_set_text(&many, true, one, sizeof(one));
	assert_true(strlen(one) < sizeof(one));
}

static void
test_ttl(void **state)
{
	struct resolve_limits lim = {5000, 300000};

	(void)state;
	assert_int_equal(resolve_ttl_ms(0, &lim), 5000);
	assert_int_equal(resolve_ttl_ms(-1, &lim), 5000);
	assert_int_equal(resolve_ttl_ms(60, &lim), 60000);
	assert_int_equal(resolve_ttl_ms(INT32_MAX, &lim), 300000);
	lim = (struct resolve_limits){0, 0};
	assert_int_equal(resolve_ttl_ms(0, &lim), 1);
}

/* --- a name server in the loop ------------------------------------------- */

enum { CODE_OK = 0, CODE_SERVFAIL = 2, CODE_NXDOMAIN = 3 };

struct server {
	struct loop *loop;
	struct event *ev;
	int fd;
	unsigned code;
	uint32_t ttl;
	const char *a4, *a6; /* NULL: none */
	unsigned queries;
	/* of the client */
	unsigned results, changes;
	struct resolver *r;
	struct resolve_name *n;
	unsigned stop_after; /* results */
};

static size_t
answer_put(uint8_t *p, uint16_t type, uint32_t ttl, const void *raw, size_t n)
{
	const uint8_t head[] = {0xc0,
				0x0c,
				0,
				(uint8_t)type,
				0,
				1,
				(uint8_t)(ttl >> 24),
				(uint8_t)(ttl >> 16),
				(uint8_t)(ttl >> 8),
				(uint8_t)ttl,
				0,
				(uint8_t)n};

	memcpy(p, head, sizeof(head));
	memcpy(p + sizeof(head), raw, n);
	return sizeof(head) + n;
}

static void
server_on_query(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	uint8_t q[600], raw[16];
	struct sockaddr_storage peer;
	socklen_t plen = sizeof(peer);
	ssize_t got =
	    recvfrom(fd, q, 512, 0, (struct sockaddr *)(void *)&peer, &plen);
	size_t len;
	uint8_t type;

	(void)what;
	assert_true(got > 16);
	s->queries++;
	len = 12;
	while (q[len] != 0)
		len += q[len] + 1U;
	type = q[len + 2];
	len += 5;
	q[2] = 0x81;
	q[3] = (uint8_t)(0x80 | s->code);
	memset(q + 6, 0, 6);
	if (s->code == CODE_OK && type == 1 && s->a4 != NULL) {
		assert_int_equal(inet_pton(AF_INET, s->a4, raw), 1);
		len += answer_put(q + len, 1, s->ttl, raw, 4);
		q[7] = 1;
	} else if (s->code == CODE_OK && type == 28 && s->a6 != NULL) {
		assert_int_equal(inet_pton(AF_INET6, s->a6, raw), 1);
		len += answer_put(q + len, 28, s->ttl, raw, 16);
		q[7] = 1;
	}
	sendto(fd, q, len, 0, (struct sockaddr *)(void *)&peer, plen);
}

static void
on_result(void *arg, struct resolve_name *n, bool changed)
{
	struct server *s = arg;

	assert_ptr_equal(n, s->n);
	s->results++;
	s->changes += changed;
	if (s->results >= s->stop_after)
		loop_stop(s->loop, 0);
}

static const struct resolver_ops ops = {on_result};

static void
server_open(struct server *s)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);
	struct resolve_limits lim = {20, 40};
	char servers[32];

	s->loop = loop_new();
	assert_non_null(s->loop);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    bind(s->fd, (struct sockaddr *)(void *)&in, sizeof(in)), 0);
	getsockname(s->fd, (struct sockaddr *)(void *)&in, &len);
	s->ev = event_new(loop_base(s->loop), s->fd, EV_READ | EV_PERSIST,
			  server_on_query, s);
	assert_int_equal(event_add(s->ev, NULL), 0);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(in.sin_port));
	assert_int_equal(resolver_new(s->loop, servers, &ops, s, &s->r), 0);
	resolver_limits(s->r, &lim);
	s->n = resolve_name_new(s->r, "tenant.example.test");
	assert_non_null(s->n);
	assert_int_equal(resolve_name_status(s->n), RESOLVE_PENDING);
}

static void
server_run(struct server *s, unsigned results)
{
	s->results = s->changes = 0;
	s->stop_after = results;
	loop_run(s->loop);
}

static void
server_close(struct server *s)
{
	resolve_name_free(&s->n);
	resolver_free(&s->r);
	event_free(s->ev);
	close(s->fd);
	loop_free(&s->loop);
}

/* Some turns in which the look-up is asked and nobody answers. */
static void
server_ask_only(struct server *s)
{
	event_del(s->ev);
	for (int i = 0; i < 20; i++) {
		usleep(1000);
		clock_turn();
		event_base_loop(loop_base(s->loop), EVLOOP_NONBLOCK);
	}
	assert_int_equal(event_add(s->ev, NULL), 0);
}

static void
expect_addrs(const struct server *s, const char *want)
{
	char text[ADDR_SET_TEXT];

	addr_set_text(resolve_name_addrs(s->n), false, text, sizeof(text));
	assert_string_equal(text, want);
}

static void
test_kept_fresh(void **state)
{
	struct server s = {.a4 = "10.0.0.1", .ttl = 1};

	(void)state;
	server_open(&s);
	server_run(&s, 1);
	assert_int_equal(resolve_name_status(s.n), RESOLVE_OK);
	assert_int_equal(s.changes, 1);
	expect_addrs(&s, "10.0.0.1");
	/* The same again is no change; another address is. */
	server_run(&s, 2);
	assert_int_equal(s.changes, 0);
	s.a4 = "10.0.0.2";
	server_run(&s, 1);
	assert_int_equal(s.changes, 1);
	expect_addrs(&s, "10.0.0.2");
	server_close(&s);
}

static void
test_failures_keep_addresses(void **state)
{
	struct server s = {.a4 = "10.0.0.1", .ttl = 1};

	(void)state;
	server_open(&s);
	server_run(&s, 1);
	s.code = CODE_NXDOMAIN;
	server_run(&s, 1);
	assert_int_equal(resolve_name_status(s.n), RESOLVE_NO_NAME);
	expect_addrs(&s, "10.0.0.1");
	s.code = CODE_SERVFAIL;
	server_run(&s, 1);
	assert_int_equal(resolve_name_status(s.n), RESOLVE_REFUSED);
	expect_addrs(&s, "10.0.0.1");
	s.code = CODE_OK;
	s.a4 = NULL;
	server_run(&s, 1);
	assert_int_equal(resolve_name_status(s.n), RESOLVE_NO_ADDRESS);
	expect_addrs(&s, "10.0.0.1");
	/* A sinkhole's answer is no address either. */
	s.a4 = "0.0.0.0";
	server_run(&s, 1);
	assert_int_equal(resolve_name_status(s.n), RESOLVE_NO_ADDRESS);
	expect_addrs(&s, "10.0.0.1");
	s.a4 = "10.0.0.3";
	server_run(&s, 1);
	assert_int_equal(resolve_name_status(s.n), RESOLVE_OK);
	expect_addrs(&s, "10.0.0.3");
	server_close(&s);
}

static void
test_missing_family_gets_one_more_answer(void **state)
{
	struct server s = {.a4 = "10.0.0.1", .a6 = "2001:db8::1", .ttl = 1};

	(void)state;
	server_open(&s);
	server_run(&s, 1);
	assert_int_equal(resolve_name_addrs(s.n)->n, 2);
	s.a4 = NULL;
	server_run(&s, 1);
	assert_int_equal(resolve_name_addrs(s.n)->n, 2);
	server_run(&s, 1);
	expect_addrs(&s, "2001:db8::1");
	server_close(&s);
}

static void
test_other_servers_while_a_look_up_runs(void **state)
{
	struct server s = {.a4 = "10.0.0.1", .ttl = 1};
	struct server t = {.a4 = "10.0.0.9", .ttl = 1};
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	char servers[64];

	(void)state;
	server_open(&s);
	server_open(&t);
	getsockname(t.fd, (struct sockaddr *)(void *)&in, &len);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(in.sin_port));
	server_run(&s, 1);
	assert_true(resolver_servers(s.r, "nonsense") < 0);
	assert_true(resolver_servers(s.r, "127.0.0.1, x") < 0);
	server_run(&s, 1);
	expect_addrs(&s, "10.0.0.1");
	/* t's socket is served by t's loop: the look-up stays under way ... */
	assert_int_equal(resolver_servers(s.r, servers), 0);
	server_ask_only(&s);
	/* ... and is asked again elsewhere when the servers change back. */
	getsockname(s.fd, (struct sockaddr *)(void *)&in, &len);
	snprintf(servers, sizeof(servers), " 127.0.0.1:%u , [::1]:53",
		 ntohs(in.sin_port));
	s.a4 = "10.0.0.2";
	assert_int_equal(resolver_servers(s.r, servers), 0);
	server_run(&s, 1);
	expect_addrs(&s, "10.0.0.2");
	server_close(&t);
	server_close(&s);
}

static void
test_freed_while_a_look_up_runs(void **state)
{
	struct server s = {.a4 = "10.0.0.1", .ttl = 1};

	(void)state;
	server_open(&s);
	server_ask_only(&s);
	server_close(&s);
	assert_int_equal(s.results, 0);
}

static void
test_literal_and_fixed_ask_nobody(void **state)
{
	struct server s = {.a4 = "10.0.0.1"};
	struct addr_set set;

	(void)state;
	server_open(&s);
	resolve_name_free(&s.n);
	s.n = resolve_name_new(s.r, "192.0.2.7");
	server_run(&s, 1);
	assert_int_equal(s.changes, 1);
	expect_addrs(&s, "192.0.2.7");
	resolve_name_free(&s.n);
	assert_int_equal(addr_set_parse(&set, "192.0.2.8"), 0);
	s.n = resolve_name_fixed(s.r, "tenant.example.test", &set);
	server_run(&s, 1);
	expect_addrs(&s, "192.0.2.8");
	assert_int_equal(s.queries, 0);
	server_close(&s);
}

static void
test_seed(void **state)
{
	struct server s = {.code = CODE_SERVFAIL};
	struct addr_set set;

	(void)state;
	server_open(&s);
	assert_int_equal(addr_set_parse(&set, "192.0.2.8"), 0);
	resolve_name_seed(s.n, &set);
	server_run(&s, 1);
	assert_int_equal(resolve_name_status(s.n), RESOLVE_REFUSED);
	expect_addrs(&s, "192.0.2.8");
	server_close(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_url),
	    cmocka_unit_test(test_addr_set),
	    cmocka_unit_test(test_ttl),
	    cmocka_unit_test(test_kept_fresh),
	    cmocka_unit_test(test_failures_keep_addresses),
	    cmocka_unit_test(test_missing_family_gets_one_more_answer),
	    cmocka_unit_test(test_other_servers_while_a_look_up_runs),
	    cmocka_unit_test(test_freed_while_a_look_up_runs),
	    cmocka_unit_test(test_literal_and_fixed_ask_nobody),
	    cmocka_unit_test(test_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
