/*
 * What the control socket relies on: a request is exactly what
 * control_verbs.def says or it is refused with a line; dates and wide groups.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "master/control_request.h"
#include "master/date.h"
#include "master/wide.h"

static struct control_request req;
static char err[256];

/* A literal with NULs; its own last NUL ends the last argument. */
#define PARSE(s) control_request_parse(&req, s, sizeof(s), err, sizeof(err))

static void
a_verb_without_arguments(void **state)
{
	(void)state;
	assert_int_equal(PARSE("status"), 0);
	assert_int_equal(req.verb->id, CONTROL_status);
	assert_false(req.verb->change);
	assert_int_equal(req.n, 0);
	assert_null(control_request_arg(&req, "name"));
}

static void
arguments_by_name(void **state)
{
	(void)state;
	assert_int_equal(
	    PARSE("servers add\0subject=a=b$@R\0role=fci\0note=\0force=1"), 0);
	assert_int_equal(req.verb->id, CONTROL_servers_add);
	assert_true(req.verb->change);
	assert_string_equal(control_request_arg(&req, "subject"), "a=b$@R");
	assert_string_equal(control_request_arg(&req, "note"), "");
	assert_null(control_request_arg(&req, "expires"));
	assert_true(control_request_flag(&req, "force"));
	assert_int_equal(PARSE("servers remove\0subject=1\0force=0"), 0);
	assert_false(control_request_flag(&req, "force"));
}

static void
refused_with_a_line(void **state)
{
	(void)state;
	assert_int_equal(PARSE("nonsense"), -EINVAL);
	assert_non_null(strstr(err, "no verb \"nonsense\""));
	assert_int_equal(PARSE(""), -EINVAL);
	assert_int_equal(PARSE("status\0verbose=1"), -EINVAL);
	assert_non_null(strstr(err, "takes no argument verbose"));
	assert_int_equal(PARSE("servers add\0role=fci"), -EINVAL);
	assert_non_null(strstr(err, "needs subject"));
	assert_int_equal(PARSE("servers remove\0subject"), -EPROTO);
	assert_int_equal(PARSE("servers remove\0=x"), -EPROTO);
	assert_int_equal(PARSE("servers remove\0subject=1\0subject=2"),
			 -EINVAL);
	assert_non_null(strstr(err, "twice"));
	/* the star of the table is no part of the name */
	assert_int_equal(PARSE("servers remove\0subject*=1"), -EINVAL);
	/* an empty argument is none */
	assert_int_equal(PARSE("status\0"), -EPROTO);
}

static void
an_end_that_is_missing(void **state)
{
	(void)state;
	assert_int_equal(
	    control_request_parse(&req, "status", 6, err, sizeof(err)),
	    -EPROTO);
	assert_int_equal(control_request_parse(&req, "", 0, err, sizeof(err)),
			 -EPROTO);
}

static uint64_t
date(const char *s)
{
	uint64_t v = 1;

	return date_parse(slice_of(s), &v) == 0 ? v : 1;
}

static void
dates(void **state)
{
	static const char *const bad[] = {"",
					  "2027",
					  "2027-1-31",
					  "2027-02-30",
					  "2027-01-31T",
					  "2027-01-31T18:00:00",
					  "2027-01-31T18:00:00+01:00",
					  "2027-01-31T24:00:00Z",
					  "2027-13-01",
					  "1969-12-31",
					  "2027-01-31 ",
					  " 2027-01-31",
					  "2027-01-31T18:60:00Z",
					  "2027-01-31x"};

	(void)state;
	assert_int_equal(date("1970-01-01"), 0);
	assert_int_equal(date("2027-01-31"), 1801353600);
	assert_int_equal(date("2027-01-31T18:00:01Z"), 1801353600 + 64801);
	assert_int_equal(date("2028-02-29"), 1835395200);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(date(bad[i]), 1);
}

static const char *
wide(const char *sid)
{
	const struct wide_group *g = wide_group(slice_of(sid));

	return g == NULL ? "" : g->name;
}

static void
wide_groups(void **state)
{
	(void)state;
	assert_string_equal(wide("S-1-1-0"), "Everyone");
	assert_string_equal(wide("s-1-5-11"), "Authenticated Users");
	assert_string_equal(wide("S-1-5-2"), "Network");
	assert_string_equal(wide("S-1-5-32-545"), "Users");
	assert_string_equal(wide("S-1-5-21-1-2-3-512"), "Domain Admins");
	assert_string_equal(wide("S-1-5-21-1-2-3-513"), "Domain Users");
	assert_string_equal(wide("S-1-5-21-1-2-3-514"), "Domain Guests");
	assert_string_equal(wide("S-1-5-21-1-2-3-515"), "Domain Computers");
	assert_string_equal(wide("S-1-5-21-1-2-3-516"), "Domain Controllers");
	assert_string_equal(wide("S-1-5-21-1-2-3-519"), "Enterprise Admins");
	assert_string_equal(wide("S-1-18-1"),
			    "Authentication Authority Asserted Identity");
	assert_true(wide_group(SLICE_LIT("S-1-5-21-1-2-3-513"))->everybody);
	assert_false(wide_group(SLICE_LIT("S-1-5-21-1-2-3-512"))->everybody);
	assert_string_equal(wide("S-1-5-21-1-2-3-1513"), "");
	assert_string_equal(wide("S-1-5-21-1-2-3-1104"), "");
	/* the domain itself, and what is below an account */
	assert_string_equal(wide("S-1-5-21-1-2-513"), "");
	assert_string_equal(wide("S-1-5-21-1-2-3-4-513"), "");
	assert_string_equal(wide("S-1-5-32-555"), "");
	assert_string_equal(wide("exch01$@R"), "");
	assert_string_equal(wide("Domain Users@R"), "");
	assert_string_equal(wide(""), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_verb_without_arguments),
	    cmocka_unit_test(arguments_by_name),
	    cmocka_unit_test(refused_with_a_line),
	    cmocka_unit_test(an_end_that_is_missing),
	    cmocka_unit_test(dates),
	    cmocka_unit_test(wide_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
