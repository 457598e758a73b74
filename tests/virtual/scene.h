/*
 * scene: what the scripted tests of a relay begin with and say often.
 */
#ifndef RMS_SCENE_H
#define RMS_SCENE_H

#include "tests/virtual/end.h"
#include "tests/virtual/world.h"

/* A cmocka test that is one scenario; the function must be defined behind. */
#define SCENARIO(name)                                                       \
	static void name##_in(void *arg);                                    \
	static void name(void **state)                                       \
	{                                                                    \
		(void)state;                                                 \
		assert_int_equal(virt_scenario(name##_in, NULL), VIRT_GOOD); \
	}                                                                    \
	static void name##_in(void *arg __attribute__((unused)))

#define BODY  "<a>some body of a request</a>"
#define REPLY "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* world.conf names this proxy (a URL), or none with "". */
void scene_conf_proxy(const char *url);
/* What the cloud agent has in world.token is for that proxy, or for the way
 * without one: name, port, scheme and this password in base64. */
void scene_token_proxy(const char *url, const char *basic);

/* A relay with the defaults, ready. */
void scene_up(void);
/* The same, with the cloud at these addresses (ADDRESSES(), by their last
 * bytes: world.h). */
void scene_up_at(const uint8_t *last, unsigned n);
#define ADDRESSES(...) \
	(const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})
/* Sends the usual request. */
void scene_ask(struct end *c);
/* A new client does; it waits for a connection. */
void scene_dial_ask(struct end *c);
/* One request from a client that is there to its reply; the cloud's end of a
 * new connection. */
void scene_exchange(struct end *c, struct end *cloud);
/* A request is refused for this reason, and no connection made for it. */
void scene_is_refused(const char *reason);
/* No connection has failed, and the proxy is blamed for nothing. */
void scene_lost_nothing(void);
/* The cloud's end with the next request on it, whole: a new one when there is
 * a new connection, else the one that it is (fd -1: none). */
void scene_serve(struct end *cloud);
/* One through whatever connection to the cloud there is. */
void scene_exchange_again(struct end *c, struct end *cloud);
/* The client gets this text, or with NULL the end of its connection, in so
 * many milliseconds, not sooner and not later. */
void scene_expect(struct end *c, int64_t ms, const char *text);
/* The body of a reply in chunks, whatever its pieces; "" when it has no end. */
const char *scene_unchunked(const struct end *e);
/* Did the client get a body with an end, by its framing? */
bool scene_is_whole(const struct end *e);
/* It gets one. */
void scene_await_whole(struct end *c);

/* in(item) in a scenario of its own for each of n items of that size.  How many
 * went wrong; which ones is said, from 0. */
unsigned scene_each(void (*in)(void *item), const void *items, size_t n,
		    size_t size);
/*
 * fn(n) in a scenario of its own for n = 1, 1 + by, 1 + 2 * by and so on, until
 * one calls virt_over().  The last n, or 0 when one went wrong, which is said
 * with `what`.
 */
unsigned scene_series(void (*fn)(unsigned n), unsigned by, const char *what);
/*
 * `by` of a series over allocations.  All of them take minutes; some of them,
 * by default each of so many, are others than before when a line of code was
 * added.  VIRT_STEP in the environment is the step of every series: with 1
 * each allocation fails once.
 */
unsigned scene_step(unsigned usual);

#endif
