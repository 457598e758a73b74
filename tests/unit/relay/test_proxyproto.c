/*
 * The PROXY protocol: what is a header of either version, cut anywhere, and
 * everything near to one that is none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/proxyproto.h"

static struct proxyproto pp;
static size_t used;

static enum proxyproto_result
read_text(const char *s)
{
	return proxyproto_read(s, strlen(s), &pp, &used);
}

static void
is_from(const char *address, uint16_t port)
{
	char text[INET6_ADDRSTRLEN];

	assert_false(pp.local);
	inet_ntop(pp.family == 4 ? AF_INET : AF_INET6, pp.address, text,
		  sizeof(text));
	assert_string_equal(text, address);
	assert_int_equal(pp.port, port);
}

static void
test_v1(void **state)
{
	const char *longest =
	    "PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";

	(void)state;
	assert_int_equal(
	    read_text("PROXY TCP4 10.1.2.3 10.0.0.1 40000 443\r\nGET"),
	    PROXYPROTO_DONE);
	is_from("10.1.2.3", 40000);
	assert_int_equal(used, 40);
	assert_int_equal(read_text("PROXY TCP6 fd00::1 ::1 0 65535\r\n"),
			 PROXYPROTO_DONE);
	is_from("fd00::1", 0);
	assert_int_equal(read_text("PROXY UNKNOWN\r\n"), PROXYPROTO_DONE);
	assert_true(pp.local);
	assert_int_equal(used, 15);
	assert_int_equal(read_text("PROXY UNKNOWN ffff::1 x\x01 9\r\nGET"),
			 PROXYPROTO_DONE);
	assert_true(pp.local);
	assert_int_equal(read_text(longest), PROXYPROTO_BAD); /* dots */
}

static void
test_v1_bad(void **state)
{
	static const char *const bad[] = {
	    "GET / HTTP/1.1\r\n",
	    "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
	    "PROXY\r\n",
	    "PROXY \r\n",
	    "PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
	    "PROXY UNKNOWNx\r\n",
	    "PROXY TCP4\r\n",
	    "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
	    "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
	    "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
	    "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
	    "PROXY TCP4 1.1.1.1\t2.2.2.2 1 2\r\n",
	    "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
	    "PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
	    "PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
	    "PROXY TCP4 ::1 2.2.2.2 1 2\r\n",
	    "PROXY TCP6 1.1.1.1 ::1 1 2\r\n",
	    "PROXY TCP6 ::1 1.1.1.1 1 2\r\n",
	    "PROXY TCP6 ::1%lo ::1 1 2\r\n",
	    "PROXY TCP6 [::1] ::1 1 2\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
	    "PROXY TCP4 1.1.1.1 2.2.2.2 1\r 2\r\n",
	    "\n",
	    "P\n",
	};
	char t[200] = "PROXY UNKNOWN ";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (read_text(bad[i]) != PROXYPROTO_BAD)
			fail_msg("taken: %s", bad[i]);
	/* 107 bytes are the most, and more are not waited for */
	memset(t + 14, 'x', 91);
	memcpy(t + 105, "\r\n", 3);
	assert_int_equal(read_text(t), PROXYPROTO_DONE);
	memcpy(t + 105, "x\r\n", 4);
	assert_int_equal(read_text(t), PROXYPROTO_BAD);
	memset(t + 14, 'x', 93);
	t[107] = '\0';
	assert_int_equal(read_text(t), PROXYPROTO_BAD);
}

#define V2	   "\r\n\r\n\0\r\nQUIT\n"
#define read_v2(s) proxyproto_read(s, sizeof(s) - 1, &pp, &used)
#define A4	   "\x0a\x01\x02\x03\x0a\x00\x00\x01\x9c\x40\x01\xbb"

static void
test_v2(void **state)
{
	(void)state;
	assert_int_equal(read_v2(V2 "\x21\x11\x00\x0c" A4 "GET"),
			 PROXYPROTO_DONE);
	is_from("10.1.2.3", 40000);
	assert_int_equal(used, 28);
	assert_int_equal(read_v2(V2 "\x21\x21\x00\x24"
				    "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
				    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
				    "\x00\x01\x00\x02"),
			 PROXYPROTO_DONE);
	is_from("fd00::1", 1);
	/* TLVs: an ALPN of one byte, and an empty one */
	assert_int_equal(
	    read_v2(V2 "\x21\x11\x00\x13" A4 "\x01\x00\x01x\x04\x00\x00"),
	    PROXYPROTO_DONE);
	is_from("10.1.2.3", 40000);
	/* LOCAL: whatever is in it */
	assert_int_equal(read_v2(V2 "\x20\x00\x00\x00"), PROXYPROTO_DONE);
	assert_true(pp.local);
	assert_int_equal(read_v2(V2 "\x20\x11\x00\x03xyz"), PROXYPROTO_DONE);
	assert_true(pp.local);
	assert_int_equal(used, 19);
	assert_int_equal(read_v2(V2 "\x21\x00\x00\x02xy"), PROXYPROTO_DONE);
	assert_true(pp.local);
}

static void
test_v2_bad(void **state)
{
	(void)state;
	assert_int_equal(read_v2("\r\n\r\n\0\r\nQUIT\r"), PROXYPROTO_BAD);
	assert_int_equal(read_v2("\r\n\r\nGET"), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x11\x11\x00\x0c" A4), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x22\x11\x00\x0c" A4), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x21\x12\x00\x0c" A4), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x21\x31\x00\x0c" A4), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x21\x10\x00\x0c" A4), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x21\x11\x00\x0b" A4), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x21\x21\x00\x0c" A4), PROXYPROTO_BAD);
	/* TLVs that do not come out even */
	assert_int_equal(read_v2(V2 "\x21\x11\x00\x0d" A4 "\x01"),
			 PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x21\x11\x00\x10" A4 "\x01\x00\x02x"),
			 PROXYPROTO_BAD);
	/* longer than we wait for */
	assert_int_equal(read_v2(V2 "\x21\x11\x03\xf1" A4), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x21\x11\xff\xff" A4), PROXYPROTO_BAD);
	assert_int_equal(read_v2(V2 "\x21\x11\x03\xf0" A4), PROXYPROTO_MORE);
}

/* A piece is never taken for the whole, and never refused. */
static void
test_every_cut(void **state)
{
	static const char v1[] = "PROXY TCP4 10.1.2.3 10.0.0.1 40000 443\r\n";
	static const char v2[] = V2 "\x21\x11\x00\x0c" A4;

	(void)state;
	for (size_t i = 0; i < sizeof(v1) - 1; i++)
		assert_int_equal(proxyproto_read(v1, i, &pp, &used),
				 PROXYPROTO_MORE);
	for (size_t i = 0; i < sizeof(v2) - 1; i++)
		assert_int_equal(proxyproto_read(v2, i, &pp, &used),
				 PROXYPROTO_MORE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_v1),	      cmocka_unit_test(test_v1_bad),
	    cmocka_unit_test(test_v2),	      cmocka_unit_test(test_v2_bad),
	    cmocka_unit_test(test_every_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
