/*
 * gzip of the cloud, undone for a client that did not ask for it: the whole
 * of it, or no end that looks like one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <openssl/ssl.h>
#include <zlib.h>

#include "tests/virtual/scene.h"

#define TEXT "<licence>one that was not a licence at all</licence>"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"

/* How the end of a reply is known. */
enum framing { BY_LENGTH, BY_CHUNKS, BY_END, FRAMINGS };

static void
wan(void)
{
	world_init();
	world.conf.wan_compression = true;
	world_up();
}

static size_t
zip(const char *text, size_t len, char *out, size_t size)
{
	z_stream z = {.next_in = (z_const Bytef *)(uintptr_t)text,
		      .avail_in = (uInt)len,
		      .next_out = (Bytef *)out,
		      .avail_out = (uInt)size};

	VIRT_NEED(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8,
			       Z_DEFAULT_STRATEGY) == Z_OK);
	VIRT_NEED(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	return size - z.avail_out;
}

/* A reply whose body is these bytes; in chunks of three. */
static size_t
reply_of(const char *data, size_t len, enum framing how, char *out, size_t size)
{
	size_t n = 0;

	if (how == BY_LENGTH)
		n = (size_t)snprintf(out, size,
				     HEAD "Content-Length: %zu\r\n\r\n", len);
	else
		n = (size_t)snprintf(
		    out, size, HEAD "%s\r\n",
		    how == BY_CHUNKS ? "Transfer-Encoding: chunked\r\n" : "");
	for (size_t i = 0; how == BY_CHUNKS && i < len; i += 3) {
		size_t k = len - i < 3 ? len - i : 3;

		n += (size_t)snprintf(out + n, size - n, "%zx\r\n", k);
		memcpy(out + n, data + i, k);
		memcpy(out + n + k, "\r\n", 2);
		n += k + 2;
	}
	if (how == BY_CHUNKS)
		return n + (size_t)snprintf(out + n, size - n, "0\r\n\r\n");
	memcpy(out + n, data, len);
	return n + len;
}

/* The cloud's end, with the next request on it. */
static void
served(struct end *cloud)
{
	scene_serve(cloud);
	VIRT_NEED(end_has(cloud, "Accept-Encoding: gzip\r\n"));
	end_clear(cloud);
}

static void
gets_text(struct end *c)
{
	scene_await_whole(c);
	VIRT_NEED(strcmp(scene_unchunked(c), TEXT) == 0, c->got);
	VIRT_NEED(!end_has(c, "Content-Encoding"));
}

/* --- pieces ----------------------------------------------------------------
 */

static void
split_anywhere(enum framing how)
{
	char gz[256], reply[2048];
	size_t len = zip(TEXT, strlen(TEXT), gz, sizeof(gz));
	size_t n = reply_of(gz, len, how, reply, sizeof(reply));
	struct end c, cloud = {.fd = -1};

	wan();
	for (size_t i = 1; i < n; i++) {
		end_dial(&c, false);
		scene_ask(&c);
		served(&cloud);
		end_send_bytes(&cloud, reply, i);
		end_take(&c);
		VIRT_NEED(c.len == 0 || !scene_is_whole(&c), c.got);
		end_send_bytes(&cloud, reply + i, n - i);
		if (how == BY_END)
			end_half_close(&cloud);
		gets_text(&c);
		if (how == BY_END)
			end_close(&cloud);
		end_close(&c);
	}
}

SCENARIO(by_length_split_anywhere)
{
	split_anywhere(BY_LENGTH);
}

SCENARIO(in_chunks_split_anywhere)
{
	split_anywhere(BY_CHUNKS);
}

SCENARIO(to_the_end_split_anywhere)
{
	split_anywhere(BY_END);
}

static void
one_exchange(bool tls)
{
	char gz[256], reply[2048];
	size_t len = zip(TEXT, strlen(TEXT), gz, sizeof(gz));
	size_t n = reply_of(gz, len, BY_CHUNKS, reply, sizeof(reply));
	struct end c, cloud = {.fd = -1};

	end_dial(&c, tls);
	if (tls)
		end_handshake(&c);
	scene_ask(&c);
	end_take(&c);
	served(&cloud);
	end_send_bytes(&cloud, reply, n);
	gets_text(&c);
}

SCENARIO(one_byte_at_a_time)
{
	wan();
	virt_io = (struct virt_io){.recv_max = 1, .send_max = 1};
	one_exchange(false);
}

static void
no_room_at(unsigned n)
{
	wan();
	virt_io = (struct virt_io){.full_at = n};
	one_exchange(true);
	if (virt_io.sends < n)
		virt_over();
}

static void
no_room_at_any_send(void **state)
{
	(void)state;
	assert_true(scene_series(no_room_at, 1, "send") > 4);
}

/* 3 MB of text in small sends, each second of which finds no room. */
SCENARIO(large_and_no_room_at_every_second_send)
{
	static char text[3 << 20], gz[3 << 20], reply[3 << 20];
	struct end c, cloud = {.fd = -1};
	unsigned seed = 1;
	size_t len, n;

	for (size_t i = 0; i < sizeof(text); i++) {
		seed = seed * 1103515245 + 12345;
		text[i] = (char)('a' + (seed >> 16) % 16);
	}
	len = zip(text, sizeof(text), gz, sizeof(gz));
	n = reply_of(gz, len, BY_LENGTH, reply, sizeof(reply));
	wan();
	virt_io = (struct virt_io){.full_every = 2, .send_max = 30000};
	end_dial(&c, false);
	scene_ask(&c);
	served(&cloud);
	/* in turns, for the relay stops to take what the client does not */
	for (size_t at = 0; at < n; at += 4096) {
		end_send_bytes(&cloud, reply + at,
			       n - at < 4096 ? n - at : 4096);
		end_take(&c);
	}
	for (int i = 0; i < 1000 && !end_has(&c, "\r\n0\r\n\r\n"); i++) {
		world_run();
		end_take(&c);
	}
	VIRT_NEED(end_has(&c, "\r\n0\r\n\r\n") && c.len > sizeof(text));
}

/* --- what is no whole stream -----------------------------------------------
 */

/* The client must not take it for a reply: no end of its framing, and the
 * connection broken, not closed. */
static void
gets_no_end(struct end *c)
{
	for (int n = 0; n < 20 && !c->eof && !c->reset; n++) {
		world_run();
		end_take(c);
	}
	VIRT_NEED(c->reset && !c->eof, c->got);
	VIRT_NEED(!scene_is_whole(c), c->got);
}

/* A client of HTTP/1.0 reads up to the end, which has to be none. */
static void
ask_tls(struct end *c, bool old)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s", request(REQ_PATH, BODY));
	if (old)
		memcpy(strstr(text, "HTTP/1.1"), "HTTP/1.0", 8);
	end_dial(c, true);
	end_handshake(c);
	end_send(c, text);
	end_take(c);
}

static void
broken(const char *gz, size_t len, enum framing how, bool old)
{
	static char reply[1 << 16];
	size_t n = reply_of(gz, len, how, reply, sizeof(reply));
	struct end c, cloud = {.fd = -1};

	ask_tls(&c, old);
	served(&cloud);
	end_send_bytes(&cloud, reply, n);
	if (cloud.fd >= 0)
		end_half_close(&cloud);
	gets_no_end(&c);
	end_close(&c);
	end_close(&cloud);
}

/* Whole for HTTP's framing, and cut within gzip. */
static void
cut_anywhere(bool old)
{
	char gz[256];
	size_t len = zip(TEXT, strlen(TEXT), gz, sizeof(gz));

	wan();
	for (size_t i = 1; i < len; i++)
		broken(gz, i, (enum framing)(i % FRAMINGS), old);
}

SCENARIO(cut_at_any_byte)
{
	cut_anywhere(false);
}

SCENARIO(cut_at_any_byte_for_http10)
{
	cut_anywhere(true);
}

SCENARIO(damaged_at_any_byte_of_its_data)
{
	char gz[256], bad[256];
	size_t len = zip(TEXT, strlen(TEXT), gz, sizeof(gz));

	wan();
	for (size_t i = 10; i < len; i++) { /* behind its head: RFC 1952 2.3 */
		memcpy(bad, gz, len);
		bad[i] = (char)(bad[i] ^ 0x55);
		broken(bad, len, (enum framing)(i % FRAMINGS), i % 2 == 0);
	}
}

SCENARIO(bytes_behind_its_end)
{
	char gz[256];
	size_t len = zip(TEXT, strlen(TEXT), gz, sizeof(gz));

	wan();
	for (int f = 0; f < FRAMINGS; f++) {
		gz[len] = 'x';
		broken(gz, len + 1, (enum framing)f, f == BY_END);
	}
}

SCENARIO(bomb)
{
	static char zeros[32 << 20], gz[1 << 16];
	size_t len = zip(zeros, sizeof(zeros), gz, sizeof(gz));
	struct end c, cloud = {.fd = -1};
	static char reply[1 << 17];
	size_t n;

	wan();
	n = reply_of(gz, len, BY_LENGTH, reply, sizeof(reply));
	ask_tls(&c, true);
	served(&cloud);
	end_send_bytes(&cloud, reply, n);
	gets_no_end(&c);
	VIRT_NEED(c.len < sizeof(zeros) / 4);
}

/* The connection breaks under a stream that HTTP ends by it. */
SCENARIO(broken_connection_is_no_end)
{
	char gz[256], reply[2048];
	size_t len = zip(TEXT, strlen(TEXT), gz, sizeof(gz)), n;
	struct end c, cloud = {.fd = -1};

	wan();
	n = reply_of(gz, len, BY_END, reply, sizeof(reply));
	ask_tls(&c, true);
	served(&cloud);
	end_send_bytes(&cloud, reply, n);
	end_close(&cloud); /* no close_notify: it may have been cut */
	gets_no_end(&c);
}

/* --- memory ----------------------------------------------------------------
 */

static void
fails_at(unsigned at)
{
	char gz[256], reply[2048];
	size_t len = zip(TEXT, strlen(TEXT), gz, sizeof(gz));
	size_t n = reply_of(gz, len, BY_LENGTH, reply, sizeof(reply));
	struct end c, cloud = {.fd = -1};

	wan();
	end_dial(&c, false);
	scene_ask(&c);
	served(&cloud);
	virt_alloc_begin(at); /* those of the reply */
	end_send_bytes(&cloud, reply, n);
	end_take(&c);
	if (virt_alloc_count() < at)
		virt_over();
	virt_alloc_end();
	VIRT_NEED(c.eof || c.reset || end_has(&c, "HTTP/1.1 "));
	VIRT_NEED(!end_has(&c, " 200 OK") || c.reset ||
		  strcmp(scene_unchunked(&c), TEXT) == 0 || c.eof);
	VIRT_NEED(world_stat(STAT_up_failed) == 0 &&
		      !end_has(&c, "CLOUD_BAD_REPLY"),
		  "the cloud is blamed");
	end_close(&c);
	end_close(&cloud);
	one_exchange(false);
}

static void
no_memory_at_any_allocation(void **state)
{
	(void)state;
	assert_true(scene_series(fails_at, 1, "allocation") > 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(by_length_split_anywhere),
	    cmocka_unit_test(in_chunks_split_anywhere),
	    cmocka_unit_test(to_the_end_split_anywhere),
	    cmocka_unit_test(one_byte_at_a_time),
	    cmocka_unit_test(no_room_at_any_send),
	    cmocka_unit_test(large_and_no_room_at_every_second_send),
	    cmocka_unit_test(cut_at_any_byte),
	    cmocka_unit_test(cut_at_any_byte_for_http10),
	    cmocka_unit_test(damaged_at_any_byte_of_its_data),
	    cmocka_unit_test(bytes_behind_its_end),
	    cmocka_unit_test(bomb),
	    cmocka_unit_test(broken_connection_is_no_end),
	    cmocka_unit_test(no_memory_at_any_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
