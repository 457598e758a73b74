/*
 * Heads of requests: their lines and fields, byte by byte and in pieces, and
 * how many and how long they may be.
 */
#include <stdlib.h>

#include "tests/unit/relay/http_fixture.h"

/* ---- lines ------------------------------------------------------------- */

static void
test_bare_lf(void **state)
{
	(void)state;
	refused(parse("GET / HTTP/1.1\nHost: h\r\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\n\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n"),
		BAD_LINE_END);
	refused(parse("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_LINE_END);
}

static void
test_bare_cr(void **state)
{
	(void)state;
	refused(parse("GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\nHost: h\r\n\r\r\n"), BAD_LINE_END);
	refused(parse("GET\r/ HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_LINE_END);
	refused(parse("GET / HTTP/1.1\r\n\rHost: h\r\n\r\n"), BAD_LINE_END);
}

static void
test_empty_line_first(void **state)
{
	(void)state;
	/* client.c skips one; the scanner itself knows of none */
	refused(parse("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), BAD_LINE_END);
	refused(parse("\r\n\r\n"), BAD_LINE_END);
}

/* RFC 9110 5.5: field-vchar and obs-text, SP and HTAB between them.  Each byte
 * at each place of values of all lengths up to a few words. */
static void
test_bytes_of_a_value(void **state)
{
	static const char first[] = "GET / HTTP/1.1\r\nHost: h\r\nA: b";
	char t[sizeof(first) + 32];
	size_t at = sizeof(first) - 1;

	(void)state;
	memcpy(t, first, at);
	for (size_t len = 2; len < 26; len++) {
		for (size_t i = 0; i < len - 1; i++) {
			for (int ch = 0; ch < 0x100; ch++) {
				bool good =
				    (ch >= 0x20 && ch != 0x7f) || ch == '\t';

				if (ch == '\n' || ch == '\r')
					continue; /* the scanner's */
				/* with bytes around that a sum could reach */
				memset(t + at, i % 2 == 0 ? '!' : '~', len);
				t[at + i] = (char)ch;
				memcpy(t + at + len, "\r\n\r\n", 4);
				if ((parse_n(t, at + len + 4) == REASON_OK) !=
				    good)
					fail_msg("byte %d at %zu of %zu", ch, i,
						 len);
			}
		}
	}
}

/* In place of any byte but those of CR LF: never accepted. */
static void
test_nul_and_controls(void **state)
{
	static const char base[] =
	    "GET /abc HTTP/1.1\r\nHost: hh\r\nAb: cd\r\n\r\n";
	char t[sizeof(base)];

	(void)state;
	for (int ch = 0; ch < 0x80; ch++) {
		if ((ch >= 0x20 && ch != 0x7f) || ch == '\t')
			continue;
		for (size_t i = 0; i < sizeof(base) - 1; i++) {
			if (base[i] == '\r' || base[i] == '\n')
				continue;
			memcpy(t, base, sizeof(t));
			t[i] = (char)ch;
			if (parse_n(t, sizeof(t) - 1) == REASON_OK)
				fail_msg("byte %d at %zu is taken", ch, i);
		}
	}
	refused(parse_n("GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", 35),
		BAD_FIELD);
	refused(parse_n("GET / HTTP/1.1\r\nHost: h\r\nA\0: bc\r\n\r\n", 35),
		BAD_FIELD);
	refused(parse_n("GET /\0 HTTP/1.1\r\nHost: h\r\nA: bc\r\n\r\n", 35),
		BAD_TARGET);
}

static void
test_obs_fold(void **state)
{
	(void)state;
	refused(with("A: b\r\n c\r\n"), OBS_FOLD);
	refused(with("A: b\r\n\tc: d\r\n"), OBS_FOLD);
	refused(parse("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), OBS_FOLD);
	refused(with("A: b\r\n \r\n"), OBS_FOLD);
}

static void
test_field_names(void **state)
{
	(void)state;
	refused(with("A : b\r\n"), BAD_FIELD);
	refused(with("A\t: b\r\n"), BAD_FIELD);
	refused(with(": b\r\n"), BAD_FIELD);
	refused(with("A b: c\r\n"), BAD_FIELD);
	refused(with("A\r\n"), BAD_FIELD);
	refused(with("A(b): c\r\n"), BAD_FIELD);
	refused(with("\"A\": c\r\n"), BAD_FIELD);
	refused(with("A\xc3\xa4: c\r\n"), BAD_FIELD);
	refused(with("A\x7f: c\r\n"), BAD_FIELD);
	refused(with("A: b\x7f\r\n"), BAD_FIELD);
	refused(with("A: \x01\r\n"), BAD_FIELD);
	accepted(with("!#$%&'*+-.^_`|~09azAZ: \xc3\xa4\"(<>)\t@\r\n"));
	is(r.field[1].value, "\xc3\xa4\"(<>)\t@");
	accepted(with("A:b:c\r\n"));
	is(r.field[1].value, "b:c");
}

/* CVE-2021-40346: a name whose length overflows what keeps it, so that a
 * length or a coding shows behind it or vanishes. */
static void
test_name_longer_than_a_byte_counts(void **state)
{
	static const char *const names[] = {"Content-Length",
					    "Transfer-Encoding", "Host"};
	static const size_t more[] = {256, 512, 4096, 65536};
	static char t[1 << 17], name[66000];
	struct sbuf b;

	(void)state;
	lim.head_max = sizeof(t);
	for (size_t i = 0; i < ARRAY_LEN(names) * ARRAY_LEN(more); i++) {
		const char *is = names[i % ARRAY_LEN(names)];
		size_t n = strlen(is) + more[i / ARRAY_LEN(names)];

		memset(name, 'a', n);
		memcpy(name, is, strlen(is));
		name[n] = '\0';
		sbuf_init(&b, t, sizeof(t));
		sbuf_fmt(&b, "%s:\r\nContent-Length: 60\r\n", name);
		accepted(with(t));
		assert_int_equal(r.nfields, 3);
		assert_int_equal(r.field[1].id, FIELD_OTHER);
		assert_int_equal(r.field[1].name.len, n);
		assert_int_equal(http_fate_req(&r.field[1]), FATE_DROP);
		assert_int_equal(r.framing, HTTP_LENGTH);
		assert_int_equal(r.length, 60);
		/* as the only one it frames nothing */
		sbuf_init(&b, t, sizeof(t));
		sbuf_fmt(&b, "%s: 5\r\n", name);
		accepted(with(t));
		assert_int_equal(r.framing, HTTP_NO_BODY);
		assert_false(r.has_length);
		/* and what is behind it is seen */
		sbuf_init(&b, t, sizeof(t));
		sbuf_fmt(&b,
			 "%s: x\r\nContent-Length: 5\r\n"
			 "Transfer-Encoding: chunked\r\n",
			 name);
		refused(with(t), LENGTH_AND_TE);
	}
}

/* One name in three fields, one of them in another case. */
static void
test_repeated_singletons(void **state)
{
	(void)state;
	refused(with("Authorization: Negotiate YQ==\r\n"
		     "authorization: Negotiate YQ==\r\n"),
		BAD_FIELD);
	/* two readers would pick different ones */
	refused(with("Content-Type: text/xml\r\ncontent-type: text/plain\r\n"),
		BAD_FIELD);
	refused(with("SOAPAction: \"a/Certify\"\r\nSoapAction: \"b\"\r\n"),
		BAD_FIELD);
	accepted(with("Accept: a\r\nAccept: b\r\n"));
}

/* ---- bounds ------------------------------------------------------------- */

static void
test_target_bound(void **state)
{
	static char t[HTTP_TARGET_MAX + 64];

	(void)state;
	for (size_t more = 0; more < 2; more++) {
		size_t n = HTTP_TARGET_MAX + more - 1;
		int len = snprintf(t, sizeof(t), "GET /");

		memset(t + len, 'a', n);
		snprintf(t + (size_t)len + n, sizeof(t) - (size_t)len - n,
			 " HTTP/1.1\r\nHost: h\r\n\r\n");
		assert_int_equal(parse(t),
				 more ? REASON_TARGET_TOO_LONG : REASON_OK);
	}
}

/* n field lines more than the Host line. */
static enum reason
with_fields(size_t n)
{
	char t[4096];
	struct sbuf b;

	sbuf_init(&b, t, sizeof(t));
	for (size_t i = 0; i < n; i++)
		sbuf_str(&b, "A: b\r\n");
	return with(t);
}

static void
test_fields_bound(void **state)
{
	(void)state;
	lim.fields_max = 8;
	accepted(with_fields(7));
	assert_int_equal(r.nfields, 8);
	refused(with_fields(8), HEAD_TOO_LARGE);
	/* never more than there is room for */
	lim.fields_max = 100000;
	accepted(with_fields(HTTP_FIELDS_MAX - 1));
	assert_int_equal(r.nfields, HTTP_FIELDS_MAX);
	refused(with_fields(HTTP_FIELDS_MAX), HEAD_TOO_LARGE);
}

static void
pad(struct sbuf *b, const char *name, size_t n)
{
	sbuf_fmt(b, "%s: ", name);
	while (n-- > 0)
		sbuf_char(b, 'x');
	sbuf_str(b, "\r\n");
}

static enum reason
with_padding(size_t a, size_t auth1, size_t auth2)
{
	static char t[8192];
	struct sbuf b;

	sbuf_init(&b, t, sizeof(t));
	pad(&b, "A", a);
	if (auth1 > 0)
		pad(&b, "Authorization", auth1);
	if (auth2 > 0)
		pad(&b, "Authorization", auth2);
	return with(t);
}

/* The head's bound does not count Authorization's value, which has its own. */
static void
test_head_bound(void **state)
{
	const size_t rest = strlen("POST /a HTTP/1.1\r\nHost: h\r\n"
				   "A: \r\nAuthorization: \r\n\r\n");

	(void)state;
	lim.head_max = 1000;
	lim.auth_max = 2000;
	accepted(with_padding(1000 - rest, 2000, 0));
	assert_int_equal(r.authorization.len, 2000);
	refused(with_padding(1001 - rest, 2000, 0), HEAD_TOO_LARGE);
	refused(with_padding(1, 2001, 0), AUTH_TOO_LARGE);
	/* a second Authorization does not buy more room */
	refused(with_padding(1, 1000, 1), HEAD_TOO_LARGE);
}

/* Naming many fields costs no more than reading them. */
static enum reason
with_options(size_t n, const char *more)
{
	char t[4096];
	struct sbuf b;

	sbuf_init(&b, t, sizeof(t));
	sbuf_str(&b, "Connection: a");
	for (size_t i = 1; i < n; i++)
		sbuf_str(&b, ",a");
	sbuf_fmt(&b, "\r\n%s", more);
	return with(t);
}

static void
test_connection_options_bound(void **state)
{
	(void)state;
	accepted(with_options(HTTP_HOPS_MAX, ""));
	refused(with_options(HTTP_HOPS_MAX + 1, ""), BAD_FIELD);
	refused(with_options(HTTP_HOPS_MAX, "Connection: close\r\n"),
		BAD_FIELD);
}

/* ---- piece by piece ----------------------------------------------------- */

/* Scanning in pieces cut at a and b gives what one scan gives. */
static void
scan_split(const char *p, size_t len, size_t a, size_t b,
	   enum http_scan_result want, size_t want_len)
{
	struct http_scan s = {0};
	size_t cut[] = {a, b, len}, n = 0;
	enum http_scan_result got = HTTP_MORE;

	for (size_t i = 0; i < ARRAY_LEN(cut) && got == HTTP_MORE; i++) {
		/* a copy of its own: a read beyond it is seen by ASan */
		char *copy = malloc(cut[i] + 1);

		memcpy(copy, p, cut[i]);
		got = http_scan(&s, copy, cut[i], &n);
		free(copy);
	}
	assert_int_equal(got, want);
	if (got == HTTP_DONE)
		assert_int_equal(n, want_len);
}

static void
test_scan_every_split(void **state)
{
	static const char *const texts[] = {
	    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	    "A\r\n\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: h\r\n",
	    "GET / HTTP/1.1\nHost: h\r\n\r\n",
	    "GET / HTTP/1.1\r\nHo\rst: h\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: h\r\n\n",
	    "\r\nGET / HTTP/1.1\r\n\r\n",
	};

	(void)state;
	for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
		struct http_scan s = {0};
		size_t len = strlen(texts[t]), n = 0;
		enum http_scan_result want = http_scan(&s, texts[t], len, &n);

		for (size_t a = 0; a <= len; a++)
			for (size_t b = a; b <= len; b++)
				scan_split(texts[t], len, a, b, want, n);
	}
}

static void
test_scan_finds_the_end(void **state)
{
	static const char t[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\nbody\r\n\r\n";
	struct http_scan s = {0};
	size_t n = 0;

	(void)state;
	assert_int_equal(http_scan(&s, t, 0, &n), HTTP_MORE);
	assert_int_equal(http_scan(&s, t, sizeof(t) - 1, &n), HTTP_DONE);
	assert_int_equal(n, 27);
}

/* RFC 9112 2.2 */
static void
test_empty_line(void **state)
{
	static const struct {
		const char *text;
		bool known;
		size_t len;
	} t[] = {
	    {"", true, 0},	 {"\r", false, 0},   {"\r\n", true, 2},
	    {"\r\r\n", true, 0}, {"\n", true, 0},    {"\r\n\r\nG", true, 2},
	    {"GET", true, 0},	 {" \r\n", true, 0},
	};
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		n = 9;
		assert_int_equal(
		    http_empty_line(t[i].text, strlen(t[i].text), &n),
		    t[i].known);
		assert_int_equal(n, t[i].len);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(target_bound),
	    T(bare_lf),
	    T(bare_cr),
	    T(empty_line_first),
	    T(bytes_of_a_value),
	    T(nul_and_controls),
	    T(obs_fold),
	    T(field_names),
	    T(repeated_singletons),
	    T(name_longer_than_a_byte_counts),
	    T(fields_bound),
	    T(head_bound),
	    T(connection_options_bound),
	    T(empty_line),
	    T(scan_every_split),
	    T(scan_finds_the_end),
	};

	return cmocka_run_group_tests_name("http lines", tests, NULL, NULL);
}
