/*
 * Networks: how they are written, and which addresses are in them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/base/net.h"

static bool
has(const char *list, const char *address)
{
	struct net nets[8];
	ssize_t n = net_parse_list(list, nets, ARRAY_LEN(nets));
	struct sockaddr_storage ss = {0};
	struct sockaddr_in6 *s6 = (void *)&ss;
	struct sockaddr_in *s4 = (void *)&ss;

	assert_true(n >= 0);
	if (inet_pton(AF_INET, address, &s4->sin_addr) == 1) {
		ss.ss_family = AF_INET;
	} else {
		assert_int_equal(inet_pton(AF_INET6, address, &s6->sin6_addr),
				 1);
		ss.ss_family = AF_INET6;
	}
	return net_has(nets, (size_t)n, &ss);
}

static void
test_has(void **state)
{
	(void)state;
	assert_true(has("10.0.0.1", "10.0.0.1"));
	assert_false(has("10.0.0.1", "10.0.0.2"));
	assert_true(has("10.0.0.0/8", "10.255.255.255"));
	assert_false(has("10.0.0.0/8", "11.0.0.0"));
	assert_true(has("10.0.0.64/27", "10.0.0.95"));
	assert_false(has("10.0.0.64/27", "10.0.0.96"));
	assert_false(has("10.0.0.64/27", "10.0.0.63"));
	assert_true(has("0.0.0.0/0", "1.2.3.4"));
	assert_false(has("0.0.0.0/0", "::1"));
	assert_true(has("::/0", "::1"));
	assert_false(has("::/0", "1.2.3.4"));
	assert_true(has("10.0.0.1", "::ffff:10.0.0.1"));
	assert_true(has("2001:db8:8000::/33", "2001:db8:ffff::1"));
	assert_false(has("2001:db8:8000::/33", "2001:db8:7fff::1"));
	assert_true(has("192.0.2.1 , ::1,10.0.0.0/8", "10.1.1.1"));
	assert_true(has("192.0.2.1 , ::1,10.0.0.0/8", "::1"));
	assert_false(has("", "10.0.0.1"));
}

static void
test_bad(void **state)
{
	static const char *const bad[] = {
	    ",",
	    "10.0.0.1,",
	    "10.0.0.1,,::1",
	    "10.0.0",
	    "10.0.0.0/33",
	    "::/129",
	    "10.0.0.1/8",
	    "10.0.0.1/",
	    "10.0.0.1/-1",
	    "10.0.0.1/8/8",
	    "x",
	    "10.0.0.1 10.0.0.2",
	    "[::1]",
	    "10.0.0.1:80",
	    " ",
	    "2001:db8::1/64",
	};
	struct net nets[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (net_parse_list(bad[i], nets, ARRAY_LEN(nets)) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(net_parse_list("::1,::2,::3", nets, 2), -E2BIG);
	assert_int_equal(net_parse_list("::1,::2", nets, 2), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_has),
	    cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
