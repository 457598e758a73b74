/*
 * Whole runs of rmsctl: the way to the connector and back, and the verbs that
 * have no file of their own here.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/ctl/ctl_fixture.h"

/* --- the way there and back -------------------------------------------- */

static void
test_socket_missing(void **state)
{
	(void)state;
	(void)unlink(sock);
	assert_int_equal(run("status", NULL), CTL_UNREACHABLE);
	assert_says(err_text, "is the connector running?");
	assert_string_equal(out_text, "");
}

static void
test_socket_refuses(void **state)
{
	(void)state;
	close(listen_at(sock));
	assert_int_equal(run("status", NULL), CTL_UNREACHABLE);
	assert_says(err_text, "nobody answers at");
}

static void
test_socket_path_too_long(void **state)
{
	char path[200];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(run("-s", path, "status", NULL), CTL_UNREACHABLE);
	assert_says(err_text, "longer than 107 bytes");
}

static void
test_bad_replies(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *says;
	} bad[] = {
	    {"", 0, "closed without an answer"},
	    {"\x02", 1, "in the middle"},
	    {"\x20\0\0\0{\"ok\":true", 13, "in the middle"},
	    {"\xff\xff\xff\xff", 4, "claims 4294967295 bytes"},
	    {"\x01\0\0\x04", 4, "claims 67108865 bytes"},
	    {"\x04\0\0\0oops", 8, "is not JSON"},
	    {"\0\0\0\0", 4, "is not JSON"},
	    {"\x02\0\0\0[]", 6, "not one of a connector"},
	    {"\x02\0\0\0{}", 6, "not one of a connector"},
	    {"\x0b\0\0\0{\"ok\":true}HTTP", 15, NULL},
	    {"HTTP/1.1 400 Bad Request", 24, "claims 1347703880 bytes"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int r = RUN_RAW(bad[i].bytes, bad[i].len, "reload");

		assert_int_equal(r, bad[i].says == NULL ? CTL_OK
							: CTL_UNREACHABLE);
		if (bad[i].says != NULL)
			assert_says(err_text, bad[i].says);
	}
}

static void
test_deep_json_is_refused(void **state)
{
	char bytes[8192];
	uint32_t le = htole32(8000);

	(void)state;
	memcpy(bytes, &le, 4);
	memset(bytes + 4, '[', 8000);
	assert_int_equal(RUN_RAW(bytes, 8004, "reload"), CTL_UNREACHABLE);
	assert_says(err_text, "is not JSON");
}

static void
test_refused_by_the_connector(void **state)
{
	static const char reply[] =
	    "{\"ok\":false,\"error\":\"no such setting: fo\\u001bo\","
	    "\"code\":\"ENOENT\"}";

	(void)state;
	assert_int_equal(RUN(reply, "get", "foo"), CTL_REFUSED);
	assert_string_equal(err_text, "rmsctl: no such setting: fo\\x1bo\n");
	assert_int_equal(RUN(reply, "get", "foo", "--json"), CTL_REFUSED);
	assert_says(out_text, "\"code\": \"ENOENT\"");
	assert_string_equal(err_text, "");
}

static void
test_json_is_the_object_as_it_came(void **state)
{
	(void)state;
	assert_int_equal(RUN("{\"ok\":true,\"set\":7,\"new\":[1,\"ä\"]}",
			     "--json", "reload"),
			 CTL_OK);
	assert_string_equal(out_text, "{\n  \"ok\": true,\n  \"set\": 7,\n"
				      "  \"new\": [\n    1,\n    \"ä\"\n  ]\n"
				      "}\n");
}

static void
test_output_that_cannot_be_written_is_no_success(void **state)
{
	static char reply[256];
	char *argv[] = {(char[]){"rmsctl"}, (char[]){"get"}, (char[]){"cloud"},
			NULL};
	FILE *full = fopen("/dev/full", "w"), *err = fopen("/dev/null", "w");
	pid_t pid;

	(void)state;
	assert_non_null(full);
	pid = serve(reply, frame(reply, "{\"ok\":true,\"settings\":[{\"value\":"
					"\"x\"}]}"));
	assert_int_equal(ctl_main(3, argv, full, err), CTL_REFUSED);
	waitpid(pid, NULL, 0);
	fclose(full);
	fclose(err);
}

/* --- verbs ------------------------------------------------------------- */

static void
test_credentials_add_sends_the_secret_only_to_the_connector(void **state)
{
	char path[80];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/secret", dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "hunter=2\n", 9), 9);
	close(fd);
	assert_int_equal(RUN("{\"ok\":true,\"credential\":1,\"name\":\"main\","
			     "\"replaced\":true,\"generation\":3}",
			     "credentials", "add", "main", "--client-id", "app",
			     "--secret-file", path),
			 CTL_OK);
	assert_sent("credentials add|name=main|client_id=app|"
		    "secret=hunter=2|");
	assert_says(out_text, "Credential main is replaced");
	assert_null(strstr(out_text, "hunter"));
	(void)unlink(sock);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(run("credentials", "add", "main", "--client-id", "app",
			     "--secret-file", path, NULL),
			 CTL_USAGE);
	assert_says(err_text, "chmod 600");
	(void)unlink(path);
}

static void
test_credentials_list(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"credentials\":["
		"{\"credential\":1,\"name\":\"a\",\"client_id\":\"i\","
		"\"changed\":\"2026-11-22T14:17:00.000Z\",\"roles\":"
		"[\"exchange\",\"fci\"],\"state\":\"ok\",\"expires_in_s\":60,"
		"\"error\":null},"
		"{\"credential\":2,\"name\":\"b\",\"client_id\":\"j\","
		"\"changed\":\"2026-11-22T14:17:00.000Z\",\"roles\":[],"
		"\"state\":\"failed\",\"expires_in_s\":0,\"error\":\"401\"}]}",
		"credentials", "list"),
	    CTL_OK);
	assert_string_equal(
	    out_text,
	    "NAME  CLIENT ID  USED FOR       CHANGED (UTC)        TOKEN       "
	    "          LAST ERROR\n"
	    "a     i          exchange, fci  2026-11-22T14:17:00  valid, for "
	    "1 min 0 s  -\n"
	    "b     j          -              2026-11-22T14:17:00  failed      "
	    "          401\n");
}

static void
test_settings(void **state)
{
	static const char one[] =
	    "{\"ok\":true,\"settings\":[{\"name\":\"cloud\",\"value\":"
	    "\"AzureCloud\",\"default\":\"AzureCloud\",\"text\":\"which\"}]}";

	(void)state;
	assert_int_equal(RUN(one, "get", "cloud"), CTL_OK);
	assert_sent("get|name=cloud|");
	assert_string_equal(out_text, "AzureCloud\n");
	assert_int_equal(RUN(one, "get"), CTL_OK);
	assert_sent("get|");
	assert_string_equal(out_text, "SETTING  VALUE       MEANING\n"
				      "cloud    AzureCloud  which\n");
	assert_int_equal(
	    RUN("{\"ok\":true,\"name\":\"cloud\",\"old\":\"\",\"value\":\"x\","
		"\"generation\":2,\"warning\":null}",
		"set", "cloud", "x"),
	    CTL_OK);
	assert_sent("set|name=cloud|value=x|");
	assert_string_equal(out_text, "cloud: (not set) -> x\n");
}

static void
test_reload(void **state)
{
	(void)state;
	assert_int_equal(RUN("{\"ok\":true,\"set\":4,\"restart_needed\":["
			     "\"workers\",\"user\"]}",
			     "reload"),
			 CTL_OK);
	assert_string_equal(out_text,
			    "The configuration is in force (set 4).\n"
			    "Changed, but in force only after a restart: "
			    "workers, user\n");
	assert_int_equal(
	    RUN("{\"ok\":false,\"error\":\"not reloaded\",\"code\":\"EINVAL\","
		"\"lines\":[\"f:1: a\",\"f:2: b\"]}",
		"reload"),
	    CTL_REFUSED);
	assert_string_equal(err_text, "f:1: a\nf:2: b\nrmsctl: not reloaded\n");
}

static void
test_events(void **state)
{
	static const char past[] =
	    "{\"ok\":true,\"events\":["
	    "{\"time\":\"T1\",\"id\":2001,\"level\":\"warning\",\"text\":"
	    "\"Unauthorized access attempt to the RMS connector.\",\"node\":"
	    "\"n\",\"account\":\"a\\u0007@B\",\"address\":\"10.0.0.1\","
	    "\"reason\":\"no entry\"},"
	    "{\"time\":\"T2\",\"id\":2001,\"level\":\"warning\",\"text\":"
	    "\"U\",\"node\":\"n\",\"count\":3},"
	    "{\"time\":\"T3\",\"id\":1000,\"level\":\"info\",\"text\":\"S\","
	    "\"node\":\"n\"}]}";

	(void)state;
	assert_int_equal(RUN(past, "events", "-n", "3"), CTL_OK);
	assert_sent("events|count=3|");
	assert_string_equal(
	    out_text,
	    "T1 warning 2001 Unauthorized access attempt to the RMS "
	    "connector account=a\\x07@B address=10.0.0.1: no entry\n"
	    "T2 warning 2001 U (and 3 more like it)\n"
	    "    -> If the server should be let in: `rmsctl servers add`; "
	    "`rmsctl explain ACCOUNT` tells why it was refused.\n"
	    "T3 info    1000 S\n");
	assert_int_equal(run("events", "-n", "many", NULL), CTL_USAGE);
}

static void
test_events_follow_until_the_connector_closes(void **state)
{
	char bytes[1024];
	size_t n;

	(void)state;
	n = frame(bytes, "{\"ok\":true,\"events\":[]}");
	n += frame(bytes + n, "{\"ok\":true,\"event\":{\"time\":\"T\",\"id\":"
			      "1000,\"level\":\"info\",\"text\":\"S\"}}");
	assert_int_equal(RUN_RAW(bytes, n, "events", "--follow"),
			 CTL_UNREACHABLE);
	assert_sent("events|follow=1|");
	assert_string_equal(out_text, "T info    1000 S\n");
	assert_int_equal(RUN_RAW(bytes, n, "events", "-f", "--json"),
			 CTL_UNREACHABLE);
	assert_string_equal(out_text, "{\"time\":\"T\",\"id\":1000,\"level\":"
				      "\"info\",\"text\":\"S\"}\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_socket_missing),
	    cmocka_unit_test(test_socket_refuses),
	    cmocka_unit_test(test_socket_path_too_long),
	    cmocka_unit_test(test_bad_replies),
	    cmocka_unit_test(test_deep_json_is_refused),
	    cmocka_unit_test(test_refused_by_the_connector),
	    cmocka_unit_test(test_json_is_the_object_as_it_came),
	    cmocka_unit_test(
		test_credentials_add_sends_the_secret_only_to_the_connector),
	    cmocka_unit_test(test_credentials_list),
	    cmocka_unit_test(test_settings),
	    cmocka_unit_test(test_reload),
	    cmocka_unit_test(test_events),
	    cmocka_unit_test(test_events_follow_until_the_connector_closes),
	    cmocka_unit_test(test_output_that_cannot_be_written_is_no_success),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
