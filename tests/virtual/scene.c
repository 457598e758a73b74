/*
 * Purpose: what the scripted tests of a relay say often.
 *
 * Runs in: tests.
 * Trusts:  the test.
 * Touches: what world.h does.
 * Failure: the scenario, or the series of them, fails with a line.
 */
#include "tests/virtual/scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/proxy.h"

void
scene_conf_proxy(const char *url)
{
	snprintf(world.conf.proxy.s, sizeof(world.conf.proxy.s), "%s", url);
}

void
scene_token_proxy(const char *url, const char *basic)
{
	struct token_value *t = &world.token;
	static struct conf c;
	struct conf_proxy p;

	snprintf(c.proxy.s, sizeof(c.proxy.s), "%s", url);
	VIRT_NEED(conf_proxy_for(&c, "cloud.test", &p) == 0);
	snprintf(t->host, sizeof(t->host), "%s",
		 p.used ? p.host : "cloud.test");
	t->proxy_port = p.port;
	t->proxy_tls = p.tls;
	snprintf(t->proxy_basic, sizeof(t->proxy_basic), "%s", basic);
}

void
scene_up(void)
{
	world_init();
	world_up();
}

void
scene_up_at(const uint8_t *last, unsigned n)
{
	world_init();
	world_addresses(last, n);
	world_up();
}

void
scene_dial_ask(struct end *c)
{
	end_dial(c, false);
	scene_ask(c);
	world_run();
}

void
scene_ask(struct end *c)
{
	end_send(c, request(REQ_PATH, BODY));
}

void
scene_exchange(struct end *c, struct end *cloud)
{
	scene_ask(c);
	end_take(c); /* session tickets, which would fill a socket of bytes */
	world_run();
	cloud_serve(cloud);
	end_send(cloud, REPLY);
	end_await(c, "\r\n\r\nhello");
	VIRT_NEED(end_has(c, "HTTP/1.1 200 OK\r\n"), c->got);
}

void
scene_serve(struct end *cloud)
{
	struct end fresh;

	if (cloud_accept(&fresh)) {
		*cloud = fresh;
		end_handshake(cloud);
	}
	for (int n = 0; n < 1000 && !cloud_request_is_whole(cloud); n++) {
		world_run();
		end_take(cloud);
	}
	VIRT_NEED(cloud_request_is_whole(cloud), "no whole request");
}

void
scene_exchange_again(struct end *c, struct end *cloud)
{
	scene_serve(cloud);
	VIRT_NEED(end_has(cloud, BODY));
	end_clear(cloud);
	end_send(cloud, REPLY);
	end_await(c, "hello");
	VIRT_NEED(end_has(c, "HTTP/1.1 200 OK\r\n"));
}

/* --- what the client gets --------------------------------------------------
 */

struct wanted {
	struct end *c;
	const char *text;
};

static bool
scene_is_there(void *arg)
{
	struct wanted *w = arg;

	end_take(w->c);
	if (w->text != NULL)
		return end_has(w->c, w->text);
	return w->c->eof || w->c->reset;
}

void
scene_expect(struct end *c, int64_t ms, const char *text)
{
	struct wanted w = {c, text};

	world_expect_at((uint64_t)ms, scene_is_there, &w);
}

const char *
scene_unchunked(const struct end *e)
{
	static char out[1 << 16];
	const char *at = strstr(e->got, "\r\n\r\n");
	size_t len = 0, n;
	char *rest;

	VIRT_NEED(at != NULL && end_has(e, "Transfer-Encoding: chunked\r\n"));
	for (at += 4;; at = rest + 2 + n + 2) {
		n = strtoul(at, &rest, 16);
		if (rest == at || strncmp(rest, "\r\n", 2) != 0 ||
		    len + n >= sizeof(out))
			return "";
		if (n == 0)
			break;
		if (strlen(rest) < 2 + n + 2)
			return "";
		memcpy(out + len, rest + 2, n);
		len += n;
	}
	out[len] = '\0';
	return strcmp(rest, "\r\n\r\n") == 0 ? out : "";
}

bool
scene_is_whole(const struct end *e)
{
	const char *body = strstr(e->got, "\r\n\r\n");
	const char *length = strstr(e->got, "\r\nContent-Length: ");

	if (body == NULL)
		return false;
	if (end_has(e, "Transfer-Encoding: chunked\r\n"))
		return scene_unchunked(e)[0] != '\0';
	/* without either it goes up to the end of the connection */
	return length != NULL && length < body
		   ? strlen(body + 4) >= strtoul(length + 18, NULL, 10)
		   : e->eof && !e->reset;
}

void
scene_await_whole(struct end *c)
{
	for (int n = 0; n < 1000 && !scene_is_whole(c); n++) {
		world_run();
		end_take(c);
	}
	VIRT_NEED(scene_is_whole(c), c->got);
}

void
scene_is_refused(const char *reason)
{
	struct end c, cloud;

	end_dial(&c, false);
	scene_ask(&c);
	end_await(&c, reason);
	VIRT_NEED(!proxy_accept(&cloud), "a connection all the same");
	end_close(&c);
}

void
scene_lost_nothing(void)
{
	VIRT_NEED(world_stat(STAT_up_failed) == 0 && !world_had_event(3110) &&
		  !world_had_event(3111));
}

/* --- series ----------------------------------------------------------------
 */

struct turn {
	void (*fn)(unsigned n);
	unsigned n;
};

static void
scene_turn(void *arg)
{
	const struct turn *t = arg;

	t->fn(t->n);
}

unsigned
scene_series(void (*fn)(unsigned n), unsigned by, const char *what)
{
	struct turn t = {.fn = fn, .n = 1};
	enum virt_result r = VIRT_GOOD;
	unsigned bad = 0;

	for (;; t.n += by) {
		r = virt_scenario(scene_turn, &t);
		if (r == VIRT_OVER)
			break;
		if (r == VIRT_BAD)
			fprintf(stderr, "%s %u\n", what, t.n);
		bad += r == VIRT_BAD;
		if (bad == 5)
			break;
	}
	return bad > 0 ? 0 : t.n;
}

unsigned
scene_step(unsigned usual)
{
	const char *step = getenv("VIRT_STEP");
	unsigned long by = step == NULL ? usual : strtoul(step, NULL, 10);

	return by == 0 ? 1 : (unsigned)by;
}

unsigned
scene_each(void (*in)(void *item), const void *items, size_t n, size_t size)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < n; i++) {
		void *item = (void *)((uintptr_t)items + i * size);

		if (virt_scenario(in, item) == VIRT_GOOD)
			continue;
		fprintf(stderr, "item %zu\n", i);
		wrong++;
	}
	return wrong;
}
