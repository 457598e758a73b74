/*
 * Bad input that is about amounts and about TLS: floods, bombs, bodies
 * without measure, records that are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "shm/base/log.h"
#include "tests/virtual/scene.h"

#define GIB   (UINT64_C(1) << 30)
#define PIECE ((size_t)1 << 16)

/* What may be kept of a flood. */
#ifndef RMS_MODE_asan
#define KEPT_MAX ((size_t)4 << 20)
#else
#define KEPT_MAX ((size_t)8 << 20)

/* Memory that was freed is kept by ASan, 256 MiB of it if not told. */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "quarantine_size_mb=1:thread_local_quarantine_size_kb=64";
}
#endif

/* Resident memory of this process, bytes: the relay's and the script's. */
static size_t
resident(void)
{
	unsigned long size, pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	VIRT_NEED(f != NULL && fscanf(f, "%lu %lu", &size, &pages) == 2);
	fclose(f);
	return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* It still works, for another client. */
static void
goes_on(void)
{
	struct end c, cloud;

	world_run();
	VIRT_NEED(!virt_ended());
	world_reload(CA_OURS, CA_OURS); /* no old connections to the cloud */
	end_dial(&c, true);
	end_handshake(&c);
	scene_exchange(&c, &cloud);
}

/* --- TLS -------------------------------------------------------------------
 */

static const struct {
	const char *bytes;
	size_t len;
} garbage[] = {
    {"GET / HTTP/1.1\r\nHost: c\r\n\r\n", 26},
    {"\x16\x03\x01\xff\xff\x01\x00\x00\x00", 9},	  /* too long */
    {"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10},	  /* no hello */
    {"\x15\x03\x01\x00\x02\x02\x28", 7},		  /* an alert */
    {"\x14\x03\x03\x00\x01\x01", 6},			  /* out of turn */
    {"\x17\x03\x03\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0", 17}, /* data */
    {"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", 11}, /* SSL 2.0 */
};

static void
send_raw(struct end *e, const char *bytes, size_t len)
{
	VIRT_NEED(send(e->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
	world_run();
}

SCENARIO(client_begins_with_garbage)
{
	struct end c;

	scene_up();
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		end_dial(&c, true);
		SSL_free(c.ssl);
		c.ssl = NULL; /* the bytes as they are */
		send_raw(&c, garbage[i].bytes, garbage[i].len);
		end_half_close(&c);
		end_take(&c);
		VIRT_NEED(c.eof || c.reset);
		VIRT_NEED(!end_has(&c, "HTTP/"));
		end_close(&c);
	}
	VIRT_NEED(world_stat(STAT_conns_open) == 0);
	goes_on();
}

SCENARIO(client_sends_garbage_for_records)
{
	struct end c;

	scene_up();
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		end_dial(&c, true);
		end_handshake(&c);
		send_raw(&c, garbage[i].bytes, garbage[i].len);
		end_half_close(&c);
		end_take(&c);
		VIRT_NEED(c.eof || c.reset);
		VIRT_NEED(!end_has(&c, "HTTP/"));
		end_close(&c);
	}
	VIRT_NEED(world_stat(STAT_conns_open) == 0);
	goes_on();
}

/* A whole request, its last record without its last bytes. */
SCENARIO(client_whose_record_is_truncated)
{
	BIO *out = BIO_new(BIO_s_mem());
	struct end c, cloud;
	char *bytes;
	long n;

	scene_up();
	for (long cut = 1; cut < 30; cut += 7) {
		end_dial(&c, true);
		end_handshake(&c);
		end_take(&c);
		(void)BIO_reset(out);
		BIO_up_ref(out);
		SSL_set0_wbio(c.ssl, out);
		VIRT_NEED(SSL_write(c.ssl, request(REQ_PATH, BODY),
				    (int)strlen(request(REQ_PATH, BODY))) > 0);
		n = BIO_get_mem_data(out, &bytes);
		send_raw(&c, bytes, (size_t)(n - cut));
		shutdown(c.fd, SHUT_WR);
		world_run();
		VIRT_NEED(!cloud_accept(&cloud), "half a record was taken");
		end_take(&c);
		VIRT_NEED((c.eof || c.reset) && !end_has(&c, "HTTP/"));
		end_close(&c);
	}
	VIRT_NEED(world_stat(STAT_conns_open) == 0);
	goes_on();
}

/* Those that come, of client or server: one for each handshake. */
static void
count_hellos(int write_p, int version, int type, const void *buf, size_t len,
	     SSL *ssl, void *arg)
{
	unsigned *n = arg;
	const char *p = buf;

	(void)version;
	(void)ssl;
	*n += write_p == 0 && type == SSL3_RT_HANDSHAKE && len > 0 &&
	      (*p == SSL3_MT_CLIENT_HELLO || *p == SSL3_MT_SERVER_HELLO);
}

static void
renegotiates(struct end *e)
{
	VIRT_NEED(SSL_version(e->ssl) == TLS1_2_VERSION);
	VIRT_NEED(SSL_renegotiate(e->ssl) == 1);
	(void)!SSL_do_handshake(e->ssl);
	world_run();
}

SCENARIO(client_renegotiates)
{
	unsigned hellos = 0;
	struct end c;

	scene_up();
	end_dial(&c, true);
	SSL_set_max_proto_version(c.ssl, TLS1_2_VERSION);
	SSL_set_msg_callback(c.ssl, count_hellos);
	SSL_set_msg_callback_arg(c.ssl, &hellos);
	end_handshake(&c);
	VIRT_NEED(hellos == 1 && world.signs == 1);
	renegotiates(&c);
	for (int i = 0; i < 5; i++) {
		(void)!SSL_do_handshake(c.ssl);
		world_run();
	}
	VIRT_NEED(hellos == 1 && world.signs == 1, "a second handshake");
	end_close(&c);
	VIRT_NEED(world_stat(STAT_conns_open) == 0);
	goes_on();
}

SCENARIO(cloud_renegotiates)
{
	struct end c, cloud;
	unsigned hellos = 0;

	scene_up();
	end_dial(&c, false);
	scene_ask(&c);
	VIRT_NEED(cloud_accept(&cloud));
	SSL_set_max_proto_version(cloud.ssl, TLS1_2_VERSION);
	SSL_set_msg_callback(cloud.ssl, count_hellos);
	SSL_set_msg_callback_arg(cloud.ssl, &hellos);
	end_handshake(&cloud);
	end_await(&cloud, BODY);
	VIRT_NEED(cloud_request_is_whole(&cloud) && hellos == 1);
	renegotiates(&cloud); /* HelloRequest */
	end_take(&cloud);
	world_run();
	end_take(&cloud);
	VIRT_NEED(hellos == 1, "a second handshake");
	end_close(&cloud);
	end_await(&c, "HTTP/1.1 502 ");
	goes_on();
}

SCENARIO(cloud_answers_with_garbage)
{
	struct end c, cloud;

	scene_up();
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		end_dial(&c, false);
		scene_ask(&c);
		VIRT_NEED(proxy_accept(&cloud)); /* plain */
		send_raw(&cloud, garbage[i].bytes, garbage[i].len);
		end_half_close(&cloud);
		end_await(&c, "HTTP/1.1 502 ");
		VIRT_NEED(end_has(&c, "CLOUD_TLS"), c.got);
		end_close(&cloud);
		end_close(&c);
		world_reload(CA_OURS, CA_OURS);
	}
	goes_on();
}

SCENARIO(cloud_sends_garbage_for_records)
{
	struct end c, cloud;

	scene_up();
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		end_dial(&c, false);
		scene_ask(&c);
		cloud_serve(&cloud);
		/* half a reply, then no TLS any more */
		end_send(&cloud,
			 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
		send_raw(&cloud, garbage[i].bytes, garbage[i].len);
		shutdown(cloud.fd, SHUT_WR);
		world_run();
		end_take(&c);
		VIRT_NEED((c.eof || c.reset) && !scene_is_whole(&c), c.got);
		end_close(&cloud);
		end_close(&c);
		world_reload(CA_OURS, CA_OURS);
	}
	goes_on();
}

/* --- floods ----------------------------------------------------------------
 */

static void
flood(const char *begin, const char *more, const char *want)
{
	static char piece[4096];
	size_t before, n = sizeof(piece) / strlen(more) * strlen(more);
	struct end c;

	for (size_t i = 0; i < n; i++)
		piece[i] = more[i % strlen(more)];
	end_dial(&c, false);
	before = resident();
	end_send(&c, begin);
	for (size_t sent = 0; sent < 16U << 20; sent += n) {
		if (send(c.fd, piece, n, MSG_NOSIGNAL) < 0 && errno == EPIPE)
			break;
		world_run();
		end_take(&c);
	}
	VIRT_NEED(end_has(&c, want), c.got);
	VIRT_NEED(resident() - before < KEPT_MAX);
	end_close(&c);
}

SCENARIO(floods_of_a_head)
{
	static const char line[] = "POST " REQ_PATH " HTTP/1.1\r\nHost: c\r\n";

	scene_up();
	flood(line, "X: y\r\n", "HTTP/1.1 431 ");
	flood(line, "x", "HTTP/1.1 431 ");
	flood(line, "\t", "HTTP/1.1 431 "); /* a folded line */
	flood("POST /", "x", "HTTP/1.1 414 ");
	flood("", "\r\n", "HTTP/1.1 400 ");
	goes_on();
}

/* 100 Continue for ever is no reply, and does not make its time longer. */
SCENARIO(cloud_that_never_goes_beyond_100)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_ask(&c);
	cloud_serve(&cloud);
	for (int64_t ms = 0; ms < world.conf.cloud_reply_timeout_ms - 1000;
	     ms += 1000) {
		for (int i = 0; i < 20; i++)
			end_send(&cloud, "HTTP/1.1 100 Continue\r\n\r\n");
		world_advance(1000);
	}
	VIRT_NEED(c.len == 0);
	scene_expect(&c, 1000, "HTTP/1.1 504 ");
}

/* --- what is in a body is nobody's business --------------------------------
 */

SCENARIO(xml_bomb_passes_unparsed)
{
	static const char bomb[] =
	    "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY a \"lol\">"
	    "<!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">"
	    "<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">"
	    "<!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">"
	    "<!ENTITY e SYSTEM \"file:///etc/passwd\">]>"
	    "<s:Envelope xmlns:s=\"x\"><s:Body>&d;&e;</s:Body></s:Envelope>";
	struct end c, cloud;
	size_t before;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	before = resident();
	for (int i = 0; i < 100; i++) {
		end_clear(&c);
		end_clear(&cloud);
		end_send(&c, request(REQ_PATH, bomb));
		end_take(&cloud);
		VIRT_NEED(cloud_request_is_whole(&cloud));
		VIRT_NEED(end_has(&cloud, bomb), "other bytes");
		end_send(&cloud, REPLY);
		end_await(&c, "hello");
	}
	VIRT_NEED(resident() - before < 1U << 20);
}

/* Takes what is there, and counts it. */
static uint64_t
drain(struct end *e)
{
	uint64_t n;

	end_take(e);
	n = e->len;
	end_clear(e);
	return n;
}

/* As much as goes at the moment. */
static size_t
push(struct end *e, const char *data, size_t len)
{
	ssize_t n;

	if (e->ssl != NULL)
		n = SSL_write(e->ssl, data, (int)len);
	else
		n = send(e->fd, data, len, MSG_NOSIGNAL);
	world_run();
	return n > 0 ? (size_t)n : 0;
}

/* All of a GiB from one end to the other.  The one that takes it waits each
 * time until the other is stuck: memory stays as it is. */
static void
stream(struct end *from, struct end *to)
{
	static char piece[PIECE];
	uint64_t sent = 0, got = 0, turn, n;
	size_t before = resident();

	memset(piece, 'x', sizeof(piece));
	do {
		for (turn = 0; turn < 64U << 20; turn += n) {
			n = push(from, piece,
				 (size_t)MIN((uint64_t)PIECE, GIB - sent));
			sent += n;
			if (n == 0)
				break;
		}
		VIRT_NEED(resident() - before < KEPT_MAX, "it is kept");
		n = drain(to);
		got += n;
		world_run();
	} while (turn + n > 0);
	VIRT_NEED(sent == GIB && got == GIB, "not all of it came");
}

SCENARIO(gib_of_a_request_in_bounded_memory)
{
	struct end c, cloud;
	char text[1024];

	world_init();
	world.conf.body_bytes_max = (int64_t)GIB;
	world_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	end_clear(&cloud);
	snprintf(text, sizeof(text), "%s", request(REQ_PATH, ""));
	snprintf(strstr(text, "Content-Length: "), 100,
		 "Content-Length: %llu\r\n\r\n", (unsigned long long)GIB);
	end_send(&c, text);
	end_await(&cloud, "\r\n\r\n");
	VIRT_NEED(end_has(&cloud, "Content-Length: 1073741824\r\n"));
	VIRT_NEED(strcmp(strstr(cloud.got, "\r\n\r\n"), "\r\n\r\n") == 0);
	end_clear(&cloud);
	end_clear(&c);
	stream(&c, &cloud);
	end_send(&cloud, REPLY);
	end_await(&c, "hello");
}

SCENARIO(gib_of_a_reply_in_bounded_memory)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_ask(&c);
	cloud_serve(&cloud);
	end_send(&cloud,
		 "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
	end_await(&c, "\r\n\r\n");
	end_clear(&c);
	stream(&cloud, &c);
	VIRT_NEED(world_stat(STAT_up_idle) == 1);
}

SCENARIO(larger_than_may_be_is_refused)
{
	struct end c, cloud;
	char text[1024];

	scene_up();
	end_dial(&c, false);
	snprintf(text, sizeof(text), "%s", request(REQ_PATH, ""));
	snprintf(strstr(text, "Content-Length: "), 100,
		 "Content-Length: %llu\r\n\r\n", (unsigned long long)GIB);
	end_send(&c, text);
	end_await(&c, "HTTP/1.1 413 ");
	VIRT_NEED(!cloud_accept(&cloud));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(client_begins_with_garbage),
	    cmocka_unit_test(client_sends_garbage_for_records),
	    cmocka_unit_test(client_whose_record_is_truncated),
	    cmocka_unit_test(client_renegotiates),
	    cmocka_unit_test(cloud_renegotiates),
	    cmocka_unit_test(cloud_answers_with_garbage),
	    cmocka_unit_test(cloud_sends_garbage_for_records),
	    cmocka_unit_test(floods_of_a_head),
	    cmocka_unit_test(cloud_that_never_goes_beyond_100),
	    cmocka_unit_test(xml_bomb_passes_unparsed),
	    cmocka_unit_test(gib_of_a_request_in_bounded_memory),
	    cmocka_unit_test(gib_of_a_reply_in_bounded_memory),
	    cmocka_unit_test(larger_than_may_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
