/*
 * rms-connector.conf as its writer sees it: what is taken, and that every
 * fault is told with its line.
 */
#include "tests/unit/conf/conf_file_fixture.h"

static void
test_good_file(void **state)
{
	(void)state;
	assert_int_equal(parse("# a comment with \"quotes\" and ${HOME}\n"
			       "workers = 3  // another\r\n"
			       "/* two\n lines */ log_level = 'debug'\n"
			       "idle_timeout_ms = \"90s\" body_bytes_max=8M\n"
			       "keytab = /etc/krb5.keytab\n"
			       "listener http { }\n"
			       "listener \"https\" {\n\tport = \"443\"\n"
			       "\taddress = \"::1\"\n\ttls = true }"),
			 0);
	assert_int_equal(e.n, 0);
	assert_int_equal(c.workers, 3);
	assert_string_equal(c.log_level.s, "debug");
	assert_int_equal(c.idle_timeout_ms, 90000);
	assert_int_equal(c.body_bytes_max, 8 << 20);
	assert_string_equal(c.keytab.s, "/etc/krb5.keytab");
	assert_int_equal(c.nlisteners, 2);
	assert_string_equal(c.listener[0].name, "http");
	assert_int_equal(c.listener[0].port, 80);
	assert_string_equal(c.listener[1].name, "https");
	assert_int_equal(c.listener[1].port, 443);
	assert_string_equal(c.listener[1].address.s, "::1");
	assert_true(c.listener[1].tls);
	assert_false(c.listener[0].tls);
	assert_int_equal(parse(""), 0);
	assert_int_equal(parse("\n\n# nothing\n#"), 0);
	assert_int_equal(c.nlisteners, 0);
}

static void
test_all_errors_with_their_lines(void **state)
{
	(void)state;
	REFUSED(
	    "# one\nworkrs = 3\n/* three\nfour */\nworkers = 99\n"
	    "log_level = loud\nworkers = 4\nbanana = 1\n"
	    "listener a {\n  prot = 80\n  port = 0\n  workers = 2 }\n"
	    "port = 80\ntenant_url = \"https://x\"\ninclude = \"/x\"\n",
	    "x.conf:2: workrs: not known, no directive has this name, did you "
	    "mean workers?",
	    "x.conf:5: workers = 99: too large, choose 0 to 64",
	    "x.conf:6: log_level = loud: not one of the choices, write info",
	    "x.conf:7: workers: set twice, line 5 sets it already, remove one",
	    "x.conf:8: banana: not known, no directive has this name, remove",
	    "x.conf:10: prot: not known, no directive has this name, did you "
	    "mean port?",
	    "x.conf:11: port = 0: too small, choose 1 to 65535",
	    "x.conf:12: workers: not known in a listener, it belongs to the "
	    "node, move it out",
	    "x.conf:13: port: not known here, it belongs to a listener, move",
	    "x.conf:14: tenant_url: not known here, all nodes share it, use "
	    "rmsctl set",
	    "x.conf:15: include: not known, one file holds all");
}

static void
test_structure(void **state)
{
	(void)state;
	REFUSED("workers 3\n", "x.conf:1: workers: no = follows it");
	REFUSED("\nworkers = { }\n", "x.conf:2: {: not expected here");
	REFUSED("workers =\n", "x.conf:2: the file ends within");
	REFUSED("\nlistener a {\n", "x.conf:2: section without an end");
	REFUSED("listener a { }\n}\n", "x.conf:2: } closes nothing");
	REFUSED("listener { }\n", "x.conf:1: listener: it has no name");
	REFUSED("listener a port = 3\n", "x.conf:1: listener: no { follows");
	REFUSED("listener a { }\nlistener a { }\n",
		"x.conf:2: a: a listener of this name exists already");
	REFUSED("listener a { port = 1\nport = 2 }\n",
		"x.conf:2: port: set twice, line 1");
	REFUSED("\n\"\" = 3\n", "x.conf:2: the parser cannot read on");
	REFUSED("listener \"a b\" { }\n", "x.conf:1: listener a b: not a name");
	REFUSED("listener \"\" { }\n", "x.conf:1: listener : not a name");
	REFUSED("server a { }\n", "x.conf:1: server: not known");
	REFUSED("workers = 3\nlistener a {\n listener b { } }\n",
		"x.conf:3: listener: not known");
	REFUSED("include(\"/etc/passwd\")\n", "x.conf:1: character that only");
}

/* What libconfuse would take in its own way. */
static void
test_surprises(void **state)
{
	(void)state;
	setenv("TEST_CONF", "7", 1);
	REFUSED("\nworkers = \"${TEST_CONF}\"\n",
		"x.conf:2: ${...}, variables");
	REFUSED("workers = ${TEST_CONF}\n", "x.conf:1: character that only");
	REFUSED("keytab = \"/a\\x41\"\n", "x.conf:1: backslash");
	REFUSED("keytab = \"/a\nworkers = 3\n",
		"x.conf:1: text without an end");
	REFUSED("\n\n/* never closed\nworkers = 3\n",
		"x.conf:3: comment without an end");
	/* A scanner left in the middle of a string would show here. */
	assert_int_equal(parse("workers = 5\n"), 0);
	assert_int_equal(c.workers, 5);
	REFUSED("cloud_addresses += 127.0.0.1\n",
		"x.conf:1: character that only");
	REFUSED("cloud_addresses = 127.0.0.1,127.0.0.2\n",
		"x.conf:1: character that only");
	REFUSED("user = a#b\n", "x.conf:1: comment or quote within a word");
	REFUSED("node_name = http://x\n", "x.conf:1: comment or quote within");
	REFUSED("user = a\"b\"\n", "x.conf:1: comment or quote within a word");
	REFUSED("workers = 3;\n", "x.conf:1: character that has no place");
	REFUSED("user = \x01\n", "x.conf:1: character that has no place");
	REFUSED("user = \"\x01\"\n", "x.conf:1: control character");
	REFUSED("user = b\xc3\xbc\n", "x.conf:1: character that only");
	REFUSED("\"listener=a|port\" = 3\n", "x.conf:1: no sub-section");
	REFUSED("listener a { }\n\"listener=a|port\" = 3\n", "x.conf:2: port:");
}

static void
test_many_errors_are_counted(void **state)
{
	char text[4096], *p = text;

	(void)state;
	for (int i = 0; i < 40; i++)
		p += snprintf(p, 32, "workers = x%d\n", i);
	assert_int_equal(parse(text), -EINVAL);
	assert_int_equal(e.n, 40 + 39); /* each wrong, all but one twice */
	assert_true(strncmp(e.text[15], "x.conf:8:", 9) == 0 ||
		    strncmp(e.text[15], "x.conf:9:", 9) == 0);
	for (p = text; p < text + 3000;)
		p += snprintf(p, 64, "unknown%d = 1\n", (int)(p - text));
	assert_int_equal(parse(text), -EINVAL);
	assert_int_equal(e.n, 17);
	for (p = text; p < text + 2000;)
		p += snprintf(p, 64, "listener l%d { }\n", (int)(p - text));
	assert_int_equal(parse(text), -EINVAL);
	assert_int_equal(c.nlisteners, CONF_LISTENERS_MAX);
}

/* --- files ------------------------------------------------------------ */

static void
test_load(void **state)
{
	const char *path = write_file("c", "workers = 2\n", 12, 0644);

	(void)state;
	assert_int_equal(conf_file_load(path, &c, &e), 0);
	assert_int_equal(c.workers, 2);
	assert_int_equal(conf_file_load(path_of("none"), &c, &e), -ENOENT);
	assert_int_equal(e.n, 1);
	assert_non_null(strstr(e.text[0], "none: cannot be read, No such"));
	assert_int_equal(conf_file_load(dir, &c, &e), -EINVAL);
	path = write_file("nul", "workers = 2\0\n", 13, 0644);
	assert_int_equal(conf_file_load(path, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text[0], "NUL byte"));
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	assert_int_equal(conf_file_load(path_of("fifo"), &c, &e), -EINVAL);
}

static void
test_sample_parses(void **state)
{
	static char text[65536];
	FILE *f = fmemopen(text, sizeof(text), "w");
	struct conf d;
	char *p;

	(void)state;
	conf_print_sample(f);
	fclose(f);
	assert_int_equal(parse(text), 0);
	assert_int_equal(c.nlisteners, 1);
	/* With every default uncommented it means the same. */
	d = c;
	for (p = text; (p = strstr(p, "\n#")) != NULL; p++)
		if (p[2] >= 'a' && p[2] <= 'z' &&
		    strncmp(p + 2, "listener", 8) != 0 &&
		    p < strstr(text, "\n# ---- Listeners"))
			p[1] = ' ';
	assert_int_equal(parse(text), 0);
	assert_memory_equal(&c, &d, sizeof(c));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good_file),
	    cmocka_unit_test(test_all_errors_with_their_lines),
	    cmocka_unit_test(test_structure),
	    cmocka_unit_test(test_surprises),
	    cmocka_unit_test(test_many_errors_are_counted),
	    cmocka_unit_test(test_load),
	    cmocka_unit_test(test_sample_parses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
