/*
 * Whole runs of rmsctl: who came, and who is denied or listed twice.
 */
#include "tests/unit/ctl/ctl_fixture.h"

#define ACCOUNT                                                                \
	"{\"account\":\"a\\u0007@B\",\"entry\":7,\"role\":\"fci\",\"last\":"   \
	"\"2026-11-22T14:17:00.000Z\",\"asked\":"                              \
	"\"2026-11-20T01:02:03.000Z\",\"first\":\"2026-11-01T00:00:00.000Z\"," \
	"\"address\":\"10.0.0.5\",\"mech\":\"kerberos\",\"enctype_name\":"     \
	"\"arcfour-hmac\",\"weak\":true,\"tls\":true,\"bound\":false,"         \
	"\"allowed\":3,\"refused\":0}"

static void
test_servers_seen(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"since\":\"2026-10-01T00:00:00.000Z\","
		"\"accounts_total\":9,\"counts\":{\"http\":4,\"unbound\":3,"
		"\"ntlm\":2,\"rc4\":1,\"certificate\":0},\"accounts\":[" ACCOUNT
		"],\"entries\":[],\"entries_total\":5,"
		"\"entries_unused\":2,\"entries_left_off\":0}",
		"servers", "seen"),
	    CTL_OK);
	assert_sent("servers seen|");
	assert_string_equal(
	    out_text,
	    "ACCOUNT  ENTRY  ROLE  LAST (UTC)           FROM      WITH        "
	    "                  OVER   LET IN  REFUSED  FIRST (UTC)\n"
	    "a\\x07@B      7  fci   2026-11-22T14:17:00  10.0.0.5  kerberos "
	    "arcfour-hmac (WEAK)  HTTPS       3        -  "
	    "2026-11-01T00:00:00\n"
	    "\n9 accounts are remembered, since 2026-10-01T00:00:00 UTC.\n"
	    "Of them came over HTTP 4, unbound over TLS 3, with NTLM 2, with "
	    "RC4 or DES 1, with a certificate 0.\n"
	    "2 of 5 entries let nobody in: rmsctl servers seen --never\n");
	assert_int_equal(RUN("{\"ok\":true,\"accounts\":[" ACCOUNT "]}",
			     "servers", "seen", "--unbound", "--since",
			     "2026-11-01"),
			 CTL_OK);
	assert_sent("servers seen|way=unbound|since=2026-11-01T00:00:00Z|");
	assert_says(out_text, "LAST UNBOUND (UTC)");
	assert_says(out_text, "2026-11-20T01:02:03");
	assert_int_equal(
	    RUN("{\"ok\":true,\"accounts\":[]}", "servers", "seen", "--rc4"),
	    CTL_OK);
	assert_string_equal(
	    out_text, "No account is known to have come with RC4 or DES.\n");
}

static void
test_servers_seen_by_entry(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"since\":\"2026-10-01T00:00:00.000Z\","
		"\"entries\":[{\"entry\":3,\"subject\":\"S-1-5-21\",\"role\":"
		"\"fci\",\"name\":\"X\\u001b\",\"added\":"
		"\"2026-09-01T00:00:00.000Z\",\"last\":null,\"accounts\":0,"
		"\"expired\":true}],\"entries_left_off\":4}",
		"servers", "seen", "--never"),
	    CTL_OK);
	assert_sent("servers seen|never=1|");
	assert_string_equal(
	    out_text,
	    "ENTRY  ROLE  SUBJECT   NAME   LAST USED (UTC)  ACCOUNTS  ADDED "
	    "(UTC)          \n"
	    "    3  fci   S-1-5-21  X\\x1b  never                   -  "
	    "2026-09-01T00:00:00  EXPIRED\n"
	    "and 4 more\n"
	    "\nRemembered since 2026-10-01T00:00:00 UTC, on this node.\n");
	assert_int_equal(run("servers", "seen", "--never", "--http", NULL),
			 CTL_USAGE);
	assert_says(err_text, "one thing at a time");
	assert_int_equal(run("servers", "seen", "--since", "9q", NULL),
			 CTL_USAGE);
	assert_says(err_text, "90d");
}

static void
test_servers_conflicts(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"accounts\":[{\"account\":\"a\\u0007@B\","
		"\"conflict\":true,\"decided_why\":\"its number is the "
		"lowest\",\"matches\":[{\"entry\":3,\"role\":\"fci\",\"name\":"
		"\"\",\"subject\":\"S-1-5\",\"by_source\":\"group\","
		"\"expired\":false},{\"entry\":9,\"role\":\"exchange\","
		"\"name\":\"N\",\"subject\":\"S-1-6\",\"by_source\":\"extra\","
		"\"expired\":false},{\"entry\":1,\"role\":\"fci\",\"expired\":"
		"true}]}],\"conflicts\":1,\"overlaps\":0,\"accounts_total\":4,"
		"\"groups_unknown\":2,\"requests\":17}",
		"servers", "conflicts"),
	    CTL_OK);
	assert_sent("servers conflicts|");
	assert_string_equal(
	    out_text,
	    "ACCOUNT            ENTRY  ROLE      NAME   MATCHES BY  \n"
	    "a\\x07@B  CONFLICT      3  fci       S-1-5  group       "
	    "decides: its number is the lowest\n"
	    "                       9  exchange  N      extra        \n"
	    "\nOf 4 accounts 1 match entries of different roles, 0 several of "
	    "one role.\n"
	    "17 requests were decided among entries that disagree, since the "
	    "start.\n"
	    "The groups of 2 accounts are not known until they connect "
	    "again.\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_servers_seen),
	    cmocka_unit_test(test_servers_seen_by_entry),
	    cmocka_unit_test(test_servers_conflicts),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
