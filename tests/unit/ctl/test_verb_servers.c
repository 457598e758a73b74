/*
 * Whole runs of rmsctl: the list of servers.
 */
#include "tests/unit/ctl/ctl_fixture.h"

static void
test_servers_add(void **state)
{
	static const char reply[] =
	    "{\"ok\":true,\"entry\":3,\"subject\":\"S-1-5-21-1-2-3-1105\","
	    "\"kind\":\"sid\",\"role\":\"fci\",\"generation\":9,\"relays\":2,"
	    "\"warning\":null}";

	(void)state;
	assert_int_equal(RUN(reply, "servers", "add", "-r", "fci", "--note",
			     "file server", "--expires",
			     "2999-01-31T01:00:00+01:00",
			     "S-1-5-21-1-2-3-1105"),
			 CTL_OK);
	assert_sent("servers add|subject=S-1-5-21-1-2-3-1105|role=fci|"
		    "note=file server|expires=2999-01-31T00:00:00Z|");
	assert_string_equal(out_text,
			    "Entry 3: S-1-5-21-1-2-3-1105 may use the "
			    "connector with the role fci.\n"
			    "In force in 2 relays (list 9).\n");
	assert_string_equal(err_text, "");
}

static void
test_servers_add_checks_before_it_sends(void **state)
{
	(void)state;
	(void)unlink(sock);
	assert_int_equal(run("servers", "add", "-r", "boss", "x", NULL),
			 CTL_USAGE);
	assert_says(err_text, "no role boss");
	assert_int_equal(
	    run("servers", "add", "-r", "fci", "--expires", "soon", "x", NULL),
	    CTL_USAGE);
	assert_says(err_text, "YYYY-MM-DD");
	assert_int_equal(run("servers", "add", "-r", "fci", "--expires",
			     "2020-01-01", "x", NULL),
			 CTL_USAGE);
	assert_says(err_text, "in the past");
}

static void
test_exchange_for_a_single_account_warns_and_is_done(void **state)
{
	static const char reply[] =
	    "{\"ok\":true,\"entry\":1,\"subject\":\"exch01$@LAB.TEST\","
	    "\"role\":\"exchange\",\"generation\":2,\"relays\":0,"
	    "\"warning\":\"look\"}";

	(void)state;
	assert_int_equal(RUN(reply, "servers", "add", "--role", "exchange",
			     "exch01$@LAB.TEST"),
			 CTL_OK);
	assert_says(err_text, "Microsoft asks for a group");
	assert_says(out_text, "Warning: look\n");
	assert_says(out_text, "No relay runs at the moment");
	assert_int_equal(RUN(reply, "servers", "add", "--role", "exchange",
			     "S-1-5-21-1-2-3-1105"),
			 CTL_OK);
	assert_string_equal(err_text, "");
}

static void
test_servers_list(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"generation\":4,\"servers\":["
		"{\"entry\":1,\"subject\":\"exch01$@LAB.TEST\",\"role\":"
		"\"exchange\",\"name\":\"Größe\",\"note\":\"\",\"expires\":"
		"null,\"expired\":false,\"last_seen\":"
		"\"2026-11-22T14:17:00.000Z\"},"
		"{\"entry\":12,\"subject\":\"S-1-5-32\",\"role\":\"fci\","
		"\"name\":\"\",\"note\":\"old\",\"expires\":"
		"\"2026-01-01T00:00:00.000Z\",\"expired\":true,"
		"\"last_seen\":null}]}",
		"servers", "list"),
	    CTL_OK);
	assert_string_equal(
	    out_text,
	    "ENTRY  ROLE      SUBJECT           NAME   EXPIRES (UTC)  LAST "
	    "SEEN (UTC)      NOTE\n"
	    "    1  exchange  exch01$@LAB.TEST  Größe  -              "
	    "2026-11-22T14:17:00  -\n"
	    "   12  fci       S-1-5-32          -      EXPIRED        -       "
	    "             old\n");
	assert_int_equal(RUN("{\"ok\":true,\"servers\":[]}", "servers", "list"),
			 CTL_OK);
	assert_says(out_text, "No server is authorized");
}

static void
test_servers_remove(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"entry\":1,\"subject\":\"a@B\",\"role\":\"fci\","
		"\"generation\":5,\"servers_left\":0,\"relays\":1}",
		"servers", "remove", "--force", "1"),
	    CTL_OK);
	assert_sent("servers remove|subject=1|force=1|");
	assert_string_equal(out_text,
			    "Entry 1 (a@B, fci) is removed; its next request "
			    "is refused.\nIn force in 1 relay (list 5).\n"
			    "The list is empty now: no server can use the "
			    "connector.\n");
}

static void
test_servers_update(void **state)
{
	static const char reply[] =
	    "{\"ok\":true,\"entry\":4,\"subject\":\"a@R\",\"role\":\"fci\","
	    "\"changed\":true,\"relays\":2,\"generation\":8,\"expires\":null}";

	(void)state;
	assert_int_equal(RUN(reply, "servers", "update", "4", "-r", "fci",
			     "--expires", "never", "--note", ""),
			 CTL_OK);
	assert_sent("servers update|subject=4|role=fci|note=|expires=|");
	assert_says(out_text, "Entry 4: a@R has the role fci.\n");
	assert_int_equal(run("servers", "update", "4", NULL), CTL_USAGE);
}

/* --- the list in pages --------------------------------------------------- */

/* Serves one request after the other from a single socket. */
static pid_t
serve_all(const char *const *json, size_t n)
{
	static char bytes[8192];
	int fd = listen_at(sock), c;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		for (size_t i = 0; i < n; i++) {
			c = accept(fd, NULL, NULL);
			if (c < 0)
				_exit(1);
			read_request(c);
			if (send(c, bytes, frame(bytes, json[i]),
				 MSG_NOSIGNAL) < 0)
				_exit(1);
			close(c);
		}
		_exit(0);
	}
	close(fd);
	return pid;
}

#define PAGE1                                                                 \
	"{\"ok\":true,\"generation\":7,\"next\":3,\"servers\":[{\"entry\":3," \
	"\"subject\":\"a@R\",\"role\":\"fci\"}]}"
#define PAGE2                                                        \
	"{\"ok\":true,\"generation\":7,\"next\":null,\"servers\":[{" \
	"\"entry\":9,\"subject\":\"b@R\",\"role\":\"exchange\"}]}"

static int
run_pages(const char *const *json, size_t n, const char *format)
{
	pid_t pid = serve_all(json, n);
	int r = format != NULL ? run(format, "servers", "list", NULL)
			       : run("servers", "list", NULL);

	waitpid(pid, NULL, 0);
	return r;
}

static void
test_list_in_pages(void **state)
{
	static const char *const two[] = {PAGE1, PAGE2};
	json_t *v;

	(void)state;
	assert_int_equal(run_pages(two, 2, NULL), CTL_OK);
	assert_sent("servers list|after=3|limit=2000|");
	assert_says(out_text, "a@R");
	assert_says(out_text, "b@R");
	assert_int_equal(run_pages(two, 2, "--json"), CTL_OK);
	v = json_loads(out_text, 0, NULL);
	assert_non_null(v);
	assert_int_equal(json_integer_value(json_object_get(v, "generation")),
			 7);
	assert_int_equal(json_array_size(json_object_get(v, "servers")), 2);
	json_decref(v);
}

static void
test_list_that_goes_in_circles(void **state)
{
	static const char *const circle[] = {PAGE1, PAGE1};

	(void)state;
	assert_int_equal(run_pages(circle, 2, NULL), CTL_UNREACHABLE);
	assert_says(err_text, "in circles");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_servers_add),
	    cmocka_unit_test(test_servers_add_checks_before_it_sends),
	    cmocka_unit_test(
		test_exchange_for_a_single_account_warns_and_is_done),
	    cmocka_unit_test(test_servers_list),
	    cmocka_unit_test(test_servers_remove),
	    cmocka_unit_test(test_list_in_pages),
	    cmocka_unit_test(test_list_that_goes_in_circles),
	    cmocka_unit_test(test_servers_update),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
