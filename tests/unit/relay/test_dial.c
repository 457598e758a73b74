/*
 * In which order addresses are tried, and how long Retry-After is.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/log.h"
#include "worker/relay/dial.h"
#include "worker/relay/health.h"

static struct token_addr addr[TOKEN_ADDRS_MAX];
static bool bad[TOKEN_ADDRS_MAX];

/* families: 4 and 6 are good addresses, f (four) and s (six) bad ones. */
static void
assert_order(const char *families, size_t start, const char *wanted)
{
	uint8_t order[TOKEN_ADDRS_MAX];
	uint32_t n = (uint32_t)strlen(families);
	char text[TOKEN_ADDRS_MAX + 1] = "";

	for (uint32_t i = 0; i < n; i++) {
		addr[i].family =
		    families[i] == '6' || families[i] == 's' ? 6 : 4;
		bad[i] = families[i] == 'f' || families[i] == 's';
	}
	dial_order(addr, n, start, bad, order);
	for (uint32_t i = 0; i < n; i++)
		text[i] = (char)('a' + order[i]);
	assert_string_equal(text, wanted);
}

static void
test_families_take_turns_and_six_is_first(void **state)
{
	(void)state;
	assert_order("4", 0, "a");
	assert_order("46", 0, "ba");
	assert_order("4466", 0, "cadb");
	assert_order("6444", 0, "abcd");
	assert_order("6666444444446666", 0, "aebfcgdhminjokpl");
}

static void
test_each_dial_starts_elsewhere(void **state)
{
	(void)state;
	assert_order("444", 0, "abc");
	assert_order("444", 1, "bca");
	assert_order("444", 5, "cab");
	assert_order("4466", 1, "cbda");
}

static void
test_bad_ones_are_last_and_still_there(void **state)
{
	(void)state;
	assert_order("f4", 0, "ba");
	assert_order("s4", 0, "ba");
	assert_order("fs", 0, "ba");
	assert_order("f4s6", 0, "dbca");
}

static void
test_retry_after(void **state)
{
	const uint64_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */
	static const struct {
		const char *value;
		uint64_t s;
	} t[] = {
	    {"0", 0},
	    {"17", 17},
	    {"99999999999", 31536000},
	    {"Sun, 06 Nov 1994 08:50:00 GMT", 23},
	    {"Mon, 07 Nov 1994 08:49:37 GMT", 86400},
	    {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
	    {"Sat, 05 Nov 1994 08:49:37 GMT", 0},
	    {"Thu, 29 Feb 1996 00:00:00 GMT", 31536000},
	    {"", 0},
	    {"-1", 0},
	    {"1.5", 0},
	    {"17 s", 0},
	    {"+17", 0},
	    {"soon", 0},
	    {"Sun, 06 Nov 1994 08:50:00 UTC", 0},
	    {"Sun, 00 Nov 1994 08:50:00 GMT", 0},
	    {"Sun, 06 Nvo 1994 08:50:00 GMT", 0},
	    {"Sun, 06 Nov 1994 24:50:00 GMT", 0},
	    {"Sun, 31 Nov 1994 08:50:00 GMT", 0},
	    {"Wed, 29 Feb 1995 00:00:00 GMT", 0},
	    {"Son, 06 Nov 1994 08:50:00 GMT", 0},
	    {"Sun, 06 Nov 1994 08:50:00 GMT ", 0},
	    {"Fri, 31 Dec 1999 23:59:60 GMT", 31536000},
	    /* rfc850-date */
	    {"Sunday, 06-Nov-94 08:50:00 GMT", 23},
	    {"Wednesday, 09-Nov-94 08:49:37 GMT", 3 * 86400},
	    {"Sunday, 06-Nov-94 08:49:37 GMT", 0},
	    {"Sunday, 06-Nov-43 08:50:00 GMT", 31536000}, /* 2043 */
	    {"Sunday, 07-Nov-44 08:50:00 GMT", 0},	  /* 1944 */
	    {"Sunday, 06-Nov-00 08:50:00 GMT", 31536000},
	    {"Sunday, 06-Nov-69 08:50:00 GMT", 0},
	    {"Sun, 06-Nov-94 08:50:00 GMT", 0},
	    {"sunday, 06-Nov-94 08:50:00 GMT", 0},
	    {"Sunday, 06-Nov-1994 08:50:00 GMT", 0},
	    {"Sunday, 06-Nov-94 08:50:00 UTC", 0},
	    {"Sunday, 6-Nov-94 08:50:00 GMT", 0},
	    {"Sunday, 31-Nov-94 08:50:00 GMT", 0},
	    {"Sunday", 0},
	    {"Sunday, ", 0},
	    /* asctime-date */
	    {"Sun Nov  6 08:50:00 1994", 23},
	    {"Wed Nov 16 08:49:37 1994", 10 * 86400},
	    {"Wed Nov 06 08:50:00 1994", 23}, /* 2DIGIT may begin with 0 */
	    {"Sun Nov  6 08:49:37 1994", 0},
	    {"Sun Nov  0 08:50:00 1994", 0},
	    {"Sun Nov 6  08:50:00 1994", 0},
	    {"Sun Nov 6 08:50:00 1994", 0},
	    {"Sun Nov  6 08:50:00 94", 0},
	    {"Sun Nov  6 08:50:00 1994 GMT", 0},
	    {"Sun, Nov  6 08:50:00 1994", 0},
	    {"Sun Nov 31 08:50:00 1994", 0},
	    {"Sun Nov  6 08:50:00 1969", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (health_retry_after(slice_of(t[i].value), now) != t[i].s)
			fail_msg("%s", t[i].value);
	/* a leap day lies between */
	assert_int_equal(
	    health_retry_after(slice_of("Fri, 01 Mar 1996 00:00:00 GMT"),
			       825465600 /* 28 Feb 1996 00:00:00 */),
	    2 * 86400);
}

/* The century of a year with two digits, from the end of one. */
static void
test_retry_after_of_the_next_century(void **state)
{
	const uint64_t now = 4102444790; /* Thu, 31 Dec 2099 23:59:50 GMT */
	static const struct {
		const char *value;
		uint64_t s;
	} t[] = {
	    {"Friday, 01-Jan-00 00:00:00 GMT", 10}, /* 2100 */
	    {"Thursday, 31-Dec-99 23:59:55 GMT", 5},
	    {"Friday, 31-Dec-48 00:00:00 GMT", 31536000},
	    {"Friday, 02-Jan-50 00:00:00 GMT", 0}, /* 2050 */
	    {"Monday, 29-Feb-00 00:00:00 GMT", 0}, /* none in 2100 */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (health_retry_after(slice_of(t[i].value), now) != t[i].s)
			fail_msg("%s", t[i].value);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_families_take_turns_and_six_is_first),
	    cmocka_unit_test(test_each_dial_starts_elsewhere),
	    cmocka_unit_test(test_bad_ones_are_last_and_still_there),
	    cmocka_unit_test(test_retry_after),
	    cmocka_unit_test(test_retry_after_of_the_next_century),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
