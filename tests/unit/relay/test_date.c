/*
 * The Date field: its form, and that it is made anew when time goes on or
 * back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/date.h"

static void
test_date(void **state)
{
	static const struct {
		uint64_t s;
		const char *line;
	} is[] = {
	    {0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"},
	    {784111777, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"},
	    {951782400, "Date: Tue, 29 Feb 2000 00:00:00 GMT\r\n"},
	    {951782399, "Date: Mon, 28 Feb 2000 23:59:59 GMT\r\n"},
	    {UINT64_MAX / NS_PER_S, "Date: Sun, 21 Jul 2554 23:34:33 GMT\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(is); i++) {
		assert_string_equal(date_line(is[i].s * NS_PER_S), is[i].line);
		assert_string_equal(date_line(is[i].s * NS_PER_S + 1),
				    is[i].line);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_date)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
