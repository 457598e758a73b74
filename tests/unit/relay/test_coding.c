/*
 * What Accept-Encoding says of gzip.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/log.h"
#include "worker/relay/coding.h"

/* The lines are in one text, with LF between them. */
static bool
takes(const char *lines)
{
	struct coding_wish w = {0};

	for (const char *p = lines; *p != '\0'; p += strspn(p, "\n")) {
		coding_line(&w, (struct slice){p, strcspn(p, "\n")});
		p += strcspn(p, "\n");
	}
	return coding_takes_gzip(&w);
}

static void
test_wanted(void **state)
{
	static const char *const t[] = {
	    "gzip",
	    "GZIP",
	    "x-gzip",
	    "*",
	    "br, *",
	    "deflate, gzip;q=0.5",
	    "gzip;q=1",
	    "gzip;q=1.000",
	    "gzip;q=0.001",
	    "gzip \t; \tQ=0.1 ",
	    "gzip;q=1.",
	    ",, ,gzip,,",
	    "identity;q=0, *;q=0.5",
	    "*;q=0, gzip",
	    "*;q=0\ngzip",
	    "gzip\n*;q=0",
	    "br\ngzip",
	    "gzip, gzip",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (!takes(t[i]))
			fail_msg("not wanted: %s", t[i]);
}

static void
test_not_wanted(void **state)
{
	static const char *const t[] = {
	    "",
	    ",",
	    ";",
	    "identity",
	    "gzipped",
	    "gzip2, x-gzip-9, agzip",
	    "gzip x",
	    "gzip;q=0",
	    "gzip; q=0.000, br",
	    "gzip;q=0.",
	    "*;q=0",
	    "br, *;q=0",
	    /* by its name counts before "*", in whatever order */
	    "*, gzip;q=0",
	    "gzip;q=0, *",
	    "*;q=1.0, x-gzip;q=0.0",
	    "*\ngzip;q=0",
	    "gzip;q=0\n*",
	    /* said twice */
	    "gzip, gzip;q=0",
	    "gzip;q=0\ngzip",
	    "gzip, x-gzip;q=0",
	    "*, *;q=0",
	    /* what is no weight */
	    "gzip;",
	    "gzip;q",
	    "gzip;q=",
	    "gzip;q=2",
	    "gzip;q=1.001",
	    "gzip;q=0.0001",
	    "gzip;q=1.0000",
	    "gzip;q=-1",
	    "gzip;q=.5",
	    "gzip;q =1",
	    "gzip;q=1;x=y",
	    "gzip;x=y",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (takes(t[i]))
			fail_msg("wanted: %s", t[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_wanted),
	    cmocka_unit_test(test_not_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
