/*
 * Whole runs of rmsctl: what became of an account, a request or an address.
 */
#include "tests/unit/ctl/ctl_fixture.h"

static void
test_explain(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"about\":\"account\",\"account\":\"sp01$@LAB."
		"TEST\",\"verdict\":"
		"\"allow\",\"verdict_text\":\"allowed\",\"role\":"
		"\"sharepoint\",\"entry\":2,\"conflict\":false,\"overlap\":"
		"true,\"decided_why\":\"its number is the lowest\","
		"\"matches\":["
		"{\"entry\":2,\"subject\":\"sp01$@LAB.TEST\",\"kind\":"
		"\"principal\",\"role\":\"sharepoint\",\"name\":\"\","
		"\"by_source\":\"name\","
		"\"expires\":null,\"expired\":false,\"decides\":true}],"
		"\"credential\":{\"name\":\"default\",\"credential\":null},"
		"\"table\":{\"generation\":3,\"entries\":2,\"age_s\":61},"
		"\"seen\":null,\"groups_known\":false,\"advice\":\"Add it.\"}",
		"explain", "sp01$@LAB.TEST"),
	    CTL_OK);
	assert_sent("explain|account=sp01$@LAB.TEST|");
	assert_string_equal(
	    out_text,
	    "Account:     sp01$@LAB.TEST\n"
	    "Now:         let in: allowed\n"
	    "Decided by:  entry 2, role sharepoint: its number is the "
	    "lowest\n"
	    "Overlap:     several entries of this role match\n"
	    "Credential:  default (NOT STORED: rmsctl credentials add)\n"
	    "List:        3, 2 entries, in force for 1 min 1 s\n"
	    "\nEntries that match:\n"
	    "ENTRY  ROLE        SUBJECT         NAME  MATCHES BY  EXPIRES "
	    "(UTC)  \n"
	    "    2  sharepoint  sp01$@LAB.TEST  -     name        -            "
	    " "
	    " decides\n"
	    "\nNo connection of it is known.\n"
	    "\nWhat to do:  Add it.\n");
}

static void
test_explain_of_a_request(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"about\":\"account\",\"account\":\"a@B\","
		"\"verdict\":\"no_match\",\"verdict_text\":\"no entry\","
		"\"then\":\"let in by entry 2\",\"now\":\"REFUSED: gone\","
		"\"matches\":[],\"credential\":null,\"table\":null,"
		"\"seen\":null,\"advice\":\"Add it.\"}",
		"explain", "00ff-1"),
	    CTL_OK);
	assert_string_equal(out_text, "Account:     a@B\n"
				      "Then:        let in by entry 2\n"
				      "Now:         REFUSED: gone\n"
				      "\nNo connection of it is known.\n"
				      "\nWhat to do:  Add it.\n");
}

static void
test_explain_of_an_account_that_came(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"about\":\"account\",\"account\":\"a@B\","
		"\"verdict\":\"no_match\","
		"\"verdict_text\":\"no entry\",\"matches\":[],\"credential\":"
		"null,\"table\":null,\"seen\":{\"account\":\"a@B\",\"sid\":"
		"\"S-1-5-21\",\"first\":\"T0\",\"last\":\"T1\",\"allowed\":0,"
		"\"refused\":2,\"verdict_text\":\"no entry\",\"generation\":7,"
		"\"address\":\"10.0.0.5\",\"mech\":\"kerberos\",\"tls\":false,"
		"\"bound\":false,\"spn\":\"HTTP/x@B\",\"request_id\":\"i-1\","
		"\"listener\":\"plain\",\"enctype_name\":\"arcfour-hmac\","
		"\"weak\":true,\"kvno\":3},\"sids\":{\"count\":2,\"lack\":"
		"null,\"age_s\":61,\"later_s\":5,\"list\":[{\"sid\":\"S-1-5-"
		"21\",\"source\":"
		"\"user\",\"entry\":null},{\"sid\":\"S-1-5-32\",\"source\":"
		"\"group\",\"entry\":4}]},"
		"\"groups_known\":true,\"advice\":\"Add it.\"}",
		"explain", "a@B"),
	    CTL_OK);
	assert_string_equal(
	    out_text,
	    "Account:     a@B\n"
	    "Now:         REFUSED: no entry\n"
	    "\nIts last connection:\n"
	    "  at         T1\n"
	    "  as         a@B\n"
	    "  SID        S-1-5-21\n"
	    "  from       10.0.0.5 to listener plain, HTTP (not secure): give "
	    "the server the https URL\n"
	    "  with       kerberos HTTP/x@B\n"
	    "  key        kvno 3, arcfour-hmac (WEAK: let its service account "
	    "use AES)\n"
	    "  outcome    no entry (list 7)\n"
	    "  request    i-1\n"
	    "  reported   let in 0 times, refused 2 times, since T0 (repeats "
	    "within a minute may be left out)\n"
	    "\nIts 2 SIDs, as of 1 min 1 s ago:\n"
	    "(So it was with a later connection, 5 s after the request, which "
	    "may have come with others.)\n"
	    "  SID       SOURCE  ENTRY\n"
	    "  S-1-5-32  group       4\n"
	    "  S-1-5-21  user        -\n"
	    "\nWhat to do:  Add it.\n");
}

static void
test_explain_of_an_address(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"about\":\"address\",\"requests\":[{"
		"\"request_id\":\"00ff-1\",\"time\":"
		"\"2026-11-22T14:17:00.000Z\",\"address\":\"10.0.0.5\",\"tls\":"
		"true,\"account\":null,\"detail\":\"skew\\u0007\",\"status\":"
		"401,\"end\":\"AUTH_FAILED\",\"cause_text\":\"clocks "
		"differ\",\"op\":null},{\"request_id\":\"00ff-0\",\"time\":"
		"\"2026-11-22T14:16:00.000Z\",\"address\":\"10.0.0.5\",\"tls\":"
		"false,\"account\":\"a\\u001b@B\",\"status\":403,\"end\":"
		"\"AUTH_DENIED\",\"cause_text\":null,\"op\":\"Certify\"}],"
		"\"advice\":\"Set the clock.\"}",
		"explain", "10.0.0.5"),
	    CTL_OK);
	assert_sent("explain|account=10.0.0.5|");
	assert_says(out_text, "clocks differ: skew\\x07\n");
	assert_says(out_text, "a\\x1b@B");
	assert_says(out_text, "the account is not in the authorization table");
	assert_says(out_text, "\nWhat to do:  Set the clock.\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_explain),
	    cmocka_unit_test(test_explain_of_a_request),
	    cmocka_unit_test(test_explain_of_an_account_that_came),
	    cmocka_unit_test(test_explain_of_an_address),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
