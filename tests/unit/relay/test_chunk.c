/*
 * The chunked coding: the body is the same however its bytes arrive, and what
 * is not exactly RFC 9112 7.1 is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/base/str.h"
#include "worker/relay/chunk.h"

struct decoded {
	enum chunk_result end; /* MORE, END or BAD */
	size_t used;
	size_t len;
	char body[65536];
};

/* Reads p in pieces that end at the cuts. */
static void
decode_cut(struct decoded *d, const char *p, size_t len, const size_t *cut,
	   size_t ncut)
{
	struct chunk c = {0};
	size_t from = 0;

	d->used = d->len = 0;
	d->end = CHUNK_MORE;
	for (size_t i = 0; i <= ncut && d->end == CHUNK_MORE; i++) {
		size_t to = i < ncut ? cut[i] : len, at = 0, n = to - from;
		/* a copy of its own: a read beyond it is seen by ASan */
		char *copy = malloc(n + 1);

		memcpy(copy, p + from, n);
		do {
			const char *data = NULL;
			size_t used = 0, ndata = 0;

			d->end = chunk_read(&c, copy + at, n - at, &used, &data,
					    &ndata);
			assert_true(used <= n - at);
			if (d->end == CHUNK_DATA) {
				assert_true(ndata > 0);
				assert_true(data >= copy + at);
				assert_true(data + ndata == copy + at + used);
				assert_true(d->len + ndata <= sizeof(d->body));
				memcpy(d->body + d->len, data, ndata);
				d->len += ndata;
			}
			at += used;
		} while (d->end == CHUNK_DATA);
		if (d->end == CHUNK_MORE)
			assert_int_equal(at, n);
		d->used += at;
		from = to;
		free(copy);
	}
}

static struct decoded one;

static enum chunk_result
decode(const char *text)
{
	decode_cut(&one, text, strlen(text), NULL, 0);
	return one.end;
}

static void
refused(const char *text)
{
	if (decode(text) != CHUNK_BAD)
		fail_msg("\"%s\" is taken", text);
}

static void
gives(const char *text, const char *body)
{
	if (decode(text) != CHUNK_END)
		fail_msg("\"%s\" is not taken", text);
	assert_int_equal(one.len, strlen(body));
	assert_memory_equal(one.body, body, one.len);
}

static void
test_good(void **state)
{
	(void)state;
	gives("0\r\n\r\n", "");
	gives("5\r\nhello\r\n0\r\n\r\n", "hello");
	gives("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world");
	gives("0A\r\n0123456789\r\n000\r\n\r\n", "0123456789");
	gives("9\r\n\r\n0\r\n\r\n56\r\n0\r\n\r\n", "\r\n0\r\n\r\n56");
	gives("1;a=b;c=\"d;e\"\r\nx\r\n0;last\r\n\r\n", "x");
	gives("1\r\nx\r\n0\r\nA: b\r\nC:\td e\xc3\xa4 \r\n\r\n", "x");
}

static void
test_end_is_exact(void **state)
{
	static const char text[] = "1\r\nx\r\n0\r\n\r\nPOST / HTTP/1.1\r\n";

	(void)state;
	decode_cut(&one, text, sizeof(text) - 1, NULL, 0);
	assert_int_equal(one.end, CHUNK_END);
	assert_int_equal(one.used, 11);
}

static void
test_incomplete(void **state)
{
	static const char text[] = "1;x=y\r\nx\r\n0\r\nA: b\r\n\r\n";

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		decode_cut(&one, text, n, NULL, 0);
		assert_int_equal(one.end, CHUNK_MORE);
		assert_int_equal(one.used, n);
	}
}

static void
test_every_split(void **state)
{
	static const char *const texts[] = {
	    "5;ext=\"a\"\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
	    "1\r\nx\r\n0\r\nA: b\r\nCd: e\r\n\r\nrest",
	    "1\r\nx\r\n0\r\nA : b\r\n\r\n",
	    "5\r\nhello0\r\n\r\n",
	    "5;a\nhello\r\n0\r\n\r\n",
	};
	static struct decoded whole;

	(void)state;
	for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
		size_t len = strlen(texts[t]);

		decode_cut(&whole, texts[t], len, NULL, 0);
		for (size_t a = 0; a <= len; a++) {
			for (size_t b = a; b <= len; b++) {
				size_t cut[] = {a, b};

				decode_cut(&one, texts[t], len, cut, 2);
				assert_int_equal(one.end, whole.end);
				assert_int_equal(one.len, whole.len);
				assert_memory_equal(one.body, whole.body,
						    one.len);
				assert_int_equal(one.used, whole.used);
			}
		}
	}
}

static void
test_byte_by_byte(void **state)
{
	static const char text[] =
	    "b\r\nhello world\r\n1;a\r\n!\r\n0\r\nA: b\r\n\r\n";
	size_t cut[sizeof(text)];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		cut[i] = i;
	decode_cut(&one, text, sizeof(text) - 1, cut, sizeof(text) - 1);
	assert_int_equal(one.end, CHUNK_END);
	assert_int_equal(one.len, 12);
	assert_memory_equal(one.body, "hello world!", 12);
}

/* ---- what is refused --------------------------------------------------- */

static void
test_size_is_hex_only(void **state)
{
	(void)state;
	refused("\r\n\r\n");
	refused("g\r\n");
	refused("-1\r\n");
	refused("+1\r\nx\r\n");
	refused("0x1\r\nx\r\n");
	refused(" 1\r\nx\r\n");
	refused("1 \r\nx\r\n");
	refused("1\t\r\nx\r\n");
	refused("1 ;a\r\nx\r\n");
	refused("1_0\r\n");
	refused(";a\r\nx\r\n");
	refused("1,1\r\nx\r\n");
	refused("1\x0b\r\n");
}

static void
test_size_overflow(void **state)
{
	(void)state;
	refused("10000000000000000\r\n"); /* 2^64 */
	refused("10000000000000001\r\nx\r\n");
	refused("ffffffffffffffff\r\n");
	refused("8000000000000000\r\n");
	refused("0000000000000000000000001\r\nx\r\n");
	/* the largest that is taken does not wrap */
	assert_int_equal(decode("fffffffffffffff\r\nabc"), CHUNK_MORE);
	assert_int_equal(one.len, 3);
	gives("000000000000001\r\nx\r\n0\r\n\r\n", "x");
}

static void
test_bare_lf(void **state)
{
	(void)state;
	refused("1\nx\r\n0\r\n\r\n");
	refused("1\r\nx\n0\r\n\r\n");
	refused("1\r\nx\r\n0\n\r\n");
	refused("1\r\nx\r\n0\r\n\n");
	refused("0\r\nA: b\n\r\n");
	refused("0\r\nA: b\r\n\n");
}

static void
test_bare_cr(void **state)
{
	(void)state;
	refused("1\rx\r\n");
	refused("1\r\r\nx\r\n");
	refused("1\r\nx\rx");
	refused("0\r\n\r\r\n");
	refused("0\r\nA: b\rc\r\n\r\n");
	refused("0\r\nA\r\n\r\n");
}

/* Where Kestrel, h11, netty and Go were taken in: a line end of another kind
 * inside an extension. */
static void
test_line_end_in_extension(void **state)
{
	(void)state;
	refused("1;\nx\r\n0\r\n\r\n");
	refused("1;a\nb\r\nx\r\n0\r\n\r\n");
	refused("1;a=\"\n\"\r\nx\r\n0\r\n\r\n");
	refused("1;a\rb\r\nx\r\n0\r\n\r\n");
	refused("1;a=\"\r\"\r\nx\r\n");
	refused("1;\r\r\nx\r\n");
	refused("0;\n\r\n");
}

static void
test_controls_in_extension(void **state)
{
	struct chunk c = {0};
	const char *data;
	size_t used, n;

	(void)state;
	refused("1;a\x01\r\nx\r\n");
	refused("1;a\x7f\r\nx\r\n");
	assert_int_equal(chunk_read(&c, "1;\0", 3, &used, &data, &n),
			 CHUNK_BAD);
}

static void
test_extension_grammar(void **state)
{
	static const char *const good[] = {
	    "1;a",
	    "1;a=b",
	    "1;a;b=c;d",
	    "1; a",
	    "1;\ta \t= b",
	    "1;a = \"\"",
	    "1;a=\"b\\\"c\"",
	    "1;a=\"\xc3\xa4;=\"",
	    "1;a=\"b\" ; c",
	    "1;a ;b",
	    "1;a=b\t;c",
	};
	static const char *const bad[] = {
	    "1;",	"1;;",	      "1;=b",	 "1;a=",
	    "1;a=;b",	"1;a b",      "1;a=b c", "1;a=\"",
	    "1;a=\"\\", "1;a=\"b\"c", "1;a ",	 "1;a=b ",
	    "1;a,b",	"1;\"a\"",    "1 ;a",	 "1;a=\"b\\\x01\"",
	    "1;a==b",	"1;a=b=c",
	};
	char t[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		snprintf(t, sizeof(t), "%s\r\nx\r\n0\r\n\r\n", good[i]);
		gives(t, "x");
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(t, sizeof(t), "%s\r\nx\r\n0\r\n\r\n", bad[i]);
		if (decode(t) != CHUNK_BAD)
			fail_msg("%s is taken", bad[i]);
	}
}

static void
test_data_end(void **state)
{
	(void)state;
	refused("1\r\nxy\r\n0\r\n\r\n");
	refused("2\r\nx\r\n0\r\n\r\n");
	refused("1\r\nx0\r\n\r\n");
	refused("1\r\nx\r\r\n");
	refused("1\r\nxy\n0\r\n\r\n");
	refused("0\r\nx\r\n");
}

static void
test_trailers(void **state)
{
	(void)state;
	refused("0\r\n: b\r\n\r\n");
	refused("0\r\n A: b\r\n\r\n");
	refused("0\r\n\tA: b\r\n\r\n");
	refused("0\r\nA: b\r\n c\r\n\r\n");
	refused("0\r\nA : b\r\n\r\n");
	refused("0\r\nA b: c\r\n\r\n");
	refused("0\r\nA\r\n\r\n");
	refused("0\r\nA: b\x01\r\n\r\n");
	refused("0\r\nA: b\x7f\r\n\r\n");
	/* names are tokens, as in a head */
	refused("0\r\nA(: b\r\n\r\n");
	refused("0\r\n\"A\": b\r\n\r\n");
	refused("0\r\nA\xc3\xa4: b\r\n\r\n");
	refused("0\r\n{A}: b\r\n\r\n");
	gives("0\r\nA:\r\nB:c\r\n\r\n", "");
	/* what would frame is thrown away like the others */
	gives("0\r\nContent-Length: 5\r\n\r\n", "");
}

/* ---- bounds ------------------------------------------------------------ */

static enum chunk_result
decode_line(const char *before, size_t n, const char *after)
{
	static char t[CHUNK_TRAILER_MAX * 2];
	struct sbuf b;

	sbuf_init(&b, t, sizeof(t));
	sbuf_str(&b, before);
	while (n-- > 0)
		sbuf_char(&b, 'x');
	sbuf_str(&b, after);
	assert_false(b.cut);
	return decode(t);
}

static void
test_line_bound(void **state)
{
	(void)state;
	/* "1;" and the CR belong to the line */
	assert_int_equal(
	    decode_line("1;", CHUNK_LINE_MAX - 3, "\r\nx\r\n0\r\n\r\n"),
	    CHUNK_END);
	assert_int_equal(
	    decode_line("1;", CHUNK_LINE_MAX - 2, "\r\nx\r\n0\r\n\r\n"),
	    CHUNK_BAD);
	/* without an end in sight, too */
	assert_int_equal(decode_line("1;", CHUNK_LINE_MAX, ""), CHUNK_BAD);
}

static void
test_trailer_bound(void **state)
{
	(void)state;
	assert_int_equal(
	    decode_line("0\r\nA:", CHUNK_TRAILER_MAX - 100, "\r\n\r\n"),
	    CHUNK_END);
	assert_int_equal(decode_line("0\r\nA:", CHUNK_TRAILER_MAX, "\r\n\r\n"),
			 CHUNK_BAD);
	/* all lines together */
	assert_int_equal(decode_line("0\r\nA:", CHUNK_TRAILER_MAX - 100,
				     "\r\nB: c\r\nD: "
				     "0123456789012345678901234567890123456789"
				     "0123456789012345678901234567890123456789"
				     "0123456789012345678901234567890123456789"
				     "\r\n\r\n"),
			 CHUNK_BAD);
	/* a trailer's name alone */
	assert_int_equal(decode_line("0\r\n", CHUNK_TRAILER_MAX + 1, ""),
			 CHUNK_BAD);
}

/* One byte of body must not buy a kilobyte of extension, chunk by chunk. */
static void
test_extensions_bound(void **state)
{
	static char t[1 << 17];
	struct sbuf b;
	size_t n = CHUNK_EXTS_MAX / 1000 - 1;

	(void)state;
	for (int more = 0; more < 2; more++) {
		sbuf_init(&b, t, sizeof(t));
		for (size_t i = 0; i < n + 3 * (size_t)more; i++)
			sbuf_fmt(&b, "1;%0999d\r\nx\r\n", 0);
		sbuf_str(&b, "0\r\n\r\n");
		assert_false(b.cut);
		assert_int_equal(decode(t), more ? CHUNK_BAD : CHUNK_END);
	}
}

static void
test_head(void **state)
{
	static const struct {
		uint64_t len;
		const char *text;
	} is[] = {
	    {1, "1\r\n"},
	    {15, "f\r\n"},
	    {16, "10\r\n"},
	    {65536, "10000\r\n"},
	    {UINT64_MAX, "ffffffffffffffff\r\n"},
	};
	char out[CHUNK_HEAD_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(is); i++) {
		size_t n = chunk_head(out, is[i].len);

		assert_int_equal(n, strlen(is[i].text));
		assert_memory_equal(out, is[i].text, n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_end_is_exact),
	    cmocka_unit_test(test_incomplete),
	    cmocka_unit_test(test_every_split),
	    cmocka_unit_test(test_byte_by_byte),
	    cmocka_unit_test(test_size_is_hex_only),
	    cmocka_unit_test(test_size_overflow),
	    cmocka_unit_test(test_bare_lf),
	    cmocka_unit_test(test_bare_cr),
	    cmocka_unit_test(test_line_end_in_extension),
	    cmocka_unit_test(test_controls_in_extension),
	    cmocka_unit_test(test_extension_grammar),
	    cmocka_unit_test(test_data_end),
	    cmocka_unit_test(test_trailers),
	    cmocka_unit_test(test_line_bound),
	    cmocka_unit_test(test_trailer_bound),
	    cmocka_unit_test(test_extensions_bound),
	    cmocka_unit_test(test_head),
	};

	return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
