/*
 * Whole runs of rmsctl: status, and what it says is wrong.
 */
#include "tests/unit/ctl/ctl_fixture.h"

#define STATUS(state, table, url, tokens, cloud, keeper)                       \
	"{\"ok\":true,\"node\":\"n1\",\"version\":\"0.2.0\",\"pid\":7,"        \
	"\"user\":\"rms\",\"state\":\"" state "\",\"uptime_s\":3661,"          \
	"\"configuration\":{\"file\":\"/etc/x.conf\",\"set\":1,\"loaded\":"    \
	"\"T0\",\"restart_needed\":[]},"                                       \
	"\"listeners\":[{\"name\":\"a\",\"address\":\"127.0.0.1\",\"port\":"   \
	"8443,\"tls\":true}],"                                                 \
	"\"processes\":[{\"role\":\"relay\",\"slot\":0,\"pid\":8,\"state\":"   \
	"\"ready\",\"ready\":true,\"uptime_s\":3600,\"restarts\":0,"           \
	"\"heartbeat_age_ms\":4,\"last_end\":null},{\"role\":\"keeper\","      \
	"\"slot\":0,\"pid\":null,\"state\":\"waiting\",\"ready\":false,"       \
	"\"restarts\":2,\"retry_in_ms\":1500,\"last_end\":\"signal 9\"}],"     \
	"\"table\":" table ",\"tenant\":{\"url\":" url "},\"tokens\":[" tokens \
	"],\"cloud\":{" cloud "},\"keeper\":{\"entries\":" keeper              \
	",\"principals\":[\"HTTP/x@R kvno 2 aes\"]},\"counters\":"             \
	"{\"requests\":5,\"bytes_in\":1500},\"store\":{\"generation\":3,"      \
	"\"used_bytes\":4096,\"size_bytes\":1048576}}"

static void
test_status_with_one_thing_wrong(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN(STATUS(
		    "running", "{\"generation\":3,\"entries\":1,\"age_s\":5}",
		    "\"https://t\"",
		    "{\"name\":\"default\",\"state\":\"ok\",\"valid\":true,"
		    "\"expires_in_s\":3000}",
		    "\"addresses\":[\"10.0.0.1\"],\"dns_failed\":false", "2"),
		"status"),
	    CTL_WRONG);
	assert_string_equal(
	    out_text,
	    "Node n1: running for 1 h 1 min, version 0.2.0, pid 7 as rms\n"
	    "Configuration: /etc/x.conf, read T0\n"
	    "Listens on: 127.0.0.1:8443 (HTTPS)\n"
	    "\n"
	    "PROCESS  PID  STATE    UP         RESTARTS  LAST END\n"
	    "relay 0    8  ready    1 h 0 min         0  -\n"
	    "keeper     -  waiting  -                 2  signal 9\n"
	    "\n"
	    "Authorized:  1 entry (list 3, in force for 5 s)\n"
	    "Store:       generation 3, 4.0 kB of 1.0 MB\n"
	    "Cloud:       https://t\n"
	    "  addresses  10.0.0.1\n"
	    "  token      default: valid for 50 min 0 s\n"
	    "Keytab:      HTTP/x@R kvno 2 aes\n"
	    "Requests:    5 (0 relayed, 0 answered here, 0 under way), 1.5 kB "
	    "in, 0 B out\n"
	    "Replies:     0 done (2xx), 0 refused (4xx), 0 failed (5xx)\n"
	    "Items:       0 asked for, 0 failed; 0 batches, 0 of them with "
	    "items "
	    "that failed\n"
	    "Identity:    0 accepted, 0 refused (0 of them replays), 0 too "
	    "busy; by the list 0 "
	    "allowed, 0 refused\n"
	    "Connections: 0 of clients open; to the cloud 0 opened, 0 idle, 0 "
	    "requests failed there\n"
	    "\n"
	    "What is wrong:\n"
	    "  * keeper 0 does not run (signal 9); it is started again in 2 "
	    "s. If it goes on: the log says why\n");
}

static void
test_status_names_everything_that_is_wrong(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN(STATUS("draining", "null", "null",
		       "{\"name\":\"default\",\"state\":\"failed\",\"valid\":"
		       "false,\"expires_in_s\":0,\"retry_in_s\":9,\"error\":"
		       "\"AADSTS7000215\"}",
		       "\"addresses\":[],\"dns_failed\":true,\"dns_error\":"
		       "\"NXDOMAIN\"",
		       "0"),
		"status"),
	    CTL_WRONG);
	assert_says(out_text, "the connector is ending (draining)");
	assert_says(out_text, "no tenant is set: rmsctl set tenant_url");
	assert_says(out_text, "(event 3001)");
	assert_says(out_text, "no key is loaded from the keytab");
	assert_says(out_text, "answered 503 (next try in 9 s): AADSTS7000215");
	assert_says(out_text, "cannot be resolved (NXDOMAIN): check the DNS");
	assert_int_equal(RUN(STATUS("running", "{\"entries\":0}", "\"u\"", "",
				    "\"addresses\":[\"x\"]", "1"),
			     "status", "--json"),
			 CTL_WRONG);
	assert_int_equal(out_text[0], '{');
	/* an answer of another version: nothing is known, so nothing is well */
	assert_int_equal(RUN("{\"ok\":true}", "status"), CTL_WRONG);
}

/* All processes stand, and yet no request gets through. */
static void
test_status_names_what_the_connector_remembers(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"state\":\"running\",\"processes\":[{\"role\":"
		"\"relay\",\"slot\":0,\"state\":\"ready\",\"ready\":true}],"
		"\"tenant\":{\"url\":\"https://t\"},\"table\":{\"entries\":1},"
		"\"keeper\":{\"entries\":1},\"tokens\":[{\"name\":\"d\","
		"\"state\":\"ok\",\"valid\":true}],\"cloud\":{\"addresses\":"
		"[\"10.0.0.1\"]},\"problems\":[{\"event\":3107,\"text\":\"The "
		"cloud cannot be reached.\",\"remedy\":\"Check routes.\","
		"\"processes\":[\"relay 0\",\"relay 3\"],\"first\":\"T1\","
		"\"last\":\"T2\",\"count\":12,\"reason\":\"timed out\"},"
		"{\"event\":3101,\"text\":\"A process ended.\",\"remedy\":"
		"\"Nothing.\",\"processes\":[\"keeper 0\"],\"first\":\"T3\","
		"\"last\":\"T3\",\"count\":1,\"reason\":null}]}",
		"status"),
	    CTL_WRONG);
	assert_says(out_text,
		    "What is wrong:\n"
		    "  * The cloud cannot be reached. Event 3107 of relay 0, "
		    "relay 3, 12 times since T1, last T2: timed out. Check "
		    "routes.\n"
		    "  * A process ended. Event 3101 of keeper 0, 1 time since "
		    "T3, last T3. Nothing.\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_status_with_one_thing_wrong),
	    cmocka_unit_test(test_status_names_everything_that_is_wrong),
	    cmocka_unit_test(test_status_names_what_the_connector_remembers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
