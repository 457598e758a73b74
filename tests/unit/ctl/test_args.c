/*
 * Purpose: the command line of rmsctl, as somebody who types it relies on it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tools/ctl/args.h"

#define ARGV_MAX 16

static struct ctl_args args;
static char err[CTL_ERR_MAX];

/* Parses "rmsctl" and the words up to NULL. */
static int
parse(const char *first, ...)
{
	static char storage[ARGV_MAX][256];
	char *argv[ARGV_MAX];
	int argc = 0;
	va_list ap;

	va_start(ap, first);
	snprintf(storage[argc], sizeof(storage[0]), "rmsctl");
	argv[argc] = storage[argc];
	argc++;
	for (const char *w = first; w != NULL; w = va_arg(ap, const char *)) {
		assert_true(argc < ARGV_MAX);
		snprintf(storage[argc], sizeof(storage[0]), "%s", w);
		argv[argc] = storage[argc];
		argc++;
	}
	va_end(ap);
	err[0] = '\0';
	return args_parse(&args, argc, argv, err);
}

static void
assert_refused(int r, const char *why)
{
	assert_int_equal(r, -EINVAL);
	if (strstr(err, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err, why);
}

static void
test_two_word_verb_with_options_anywhere(void **state)
{
	(void)state;
	assert_int_equal(parse("--json", "servers", "add", "--role", "fci",
			       "S-1-5-32", "-s/run/x", "--name=a b", NULL),
			 0);
	assert_int_equal(args.verb, CTL_V_servers_add);
	assert_string_equal(args.opt[CTL_O_servers_add_role], "fci");
	assert_string_equal(args.opt[CTL_O_servers_add_name], "a b");
	assert_null(args.opt[CTL_O_servers_add_note]);
	assert_string_equal(args.global[CTL_G_socket], "/run/x");
	assert_non_null(args.global[CTL_G_json]);
	assert_int_equal(args.npos, 1);
	assert_string_equal(args.pos[0], "S-1-5-32");
}

static void
test_options_before_the_verb_is_known(void **state)
{
	(void)state;
	assert_refused(parse("--role", "fci", "servers", "add", "x", NULL),
		       "verb has to come before --role");
}

static void
test_letters_and_flags(void **state)
{
	(void)state;
	assert_int_equal(parse("events", "-f", "-n", "7", NULL), 0);
	assert_string_equal(args.opt[CTL_O_events_count], "7");
	assert_non_null(args.opt[CTL_O_events_follow]);
	assert_int_equal(parse("events", "-n7", NULL), 0);
	assert_string_equal(args.opt[CTL_O_events_count], "7");
	assert_refused(parse("events", "--follow=yes", NULL), "no value");
	assert_refused(parse("events", "-n", NULL), "needs a value");
	assert_refused(parse("events", "-n", "1", "-n", "2", NULL), "twice");
	assert_int_equal(parse("-s", "/a", "status", "-s", "/b", NULL), 0);
	assert_string_equal(args.global[CTL_G_socket], "/b");
	assert_refused(parse("events", "--bogus", NULL), "no option --bogus");
	assert_refused(parse("events", "-x", NULL), "no option -x");
}

static void
test_double_dash_ends_options(void **state)
{
	(void)state;
	assert_int_equal(parse("set", "--", "tenant_url", "-x", NULL), 0);
	assert_int_equal(args.npos, 2);
	assert_string_equal(args.pos[1], "-x");
	assert_int_equal(parse("set", "tenant_url", "", NULL), 0);
	assert_string_equal(args.pos[1], "");
}

static void
test_verbs_that_are_none(void **state)
{
	(void)state;
	assert_refused(parse(NULL), "which verb");
	assert_refused(parse("frobnicate", NULL), "no verb `frobnicate`");
	assert_refused(parse("servers", NULL), "needs one of its verbs");
	assert_refused(parse("servers", "frob", NULL), "one of its verbs");
	assert_refused(parse("serv", "list", NULL), "no verb `serv`");
}

static void
test_number_of_arguments(void **state)
{
	(void)state;
	assert_refused(parse("set", "a", NULL), "usage: rmsctl set");
	assert_refused(parse("status", "now", NULL), "usage: rmsctl status");
	assert_refused(parse("get", "a", "b", NULL), "usage: rmsctl get");
	assert_refused(parse("get", "a", "b", "c", "d", "e", "f", "g", NULL),
		       "too many");
}

static void
test_needed_option(void **state)
{
	(void)state;
	assert_refused(parse("servers", "add", "x", NULL), "needs --role");
	assert_refused(parse("credentials", "add", "x", NULL),
		       "needs --client-id");
}

static void
test_secret_on_the_command_line_is_refused_with_the_reason(void **state)
{
	(void)state;
	assert_refused(parse("credentials", "add", "x", "--client-id", "i",
			     "--secret=hunter2", NULL),
		       "can be read by every user");
	assert_null(strstr(err, "hunter2"));
	assert_refused(
	    parse("credentials", "add", "--secret", "hunter2", "x", NULL),
	    "--secret-file");
	assert_int_equal(parse("credentials", "add", "x", "--client-id", "i",
			       "--secret-file", "f", NULL),
			 0);
}

static void
test_help_is_never_an_error(void **state)
{
	(void)state;
	assert_int_equal(parse("--help", NULL), 0);
	assert_int_equal(args.verb, CTL_V_MAX);
	assert_int_equal(parse("servers", "add", "-h", NULL), 0);
	assert_int_equal(args.verb, CTL_V_servers_add);
	assert_int_equal(parse("servers", "--help", NULL), 0);
	assert_string_equal(args.word, "servers");
}

static void
test_an_endless_word_does_not_overflow_the_line(void **state)
{
	char word[200];

	(void)state;
	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	assert_refused(parse(word, NULL), "no verb `xxx");
	memcpy(word, "--", 2);
	assert_refused(parse("events", word, NULL), "no option --xxx");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_two_word_verb_with_options_anywhere),
	    cmocka_unit_test(test_options_before_the_verb_is_known),
	    cmocka_unit_test(test_letters_and_flags),
	    cmocka_unit_test(test_double_dash_ends_options),
	    cmocka_unit_test(test_verbs_that_are_none),
	    cmocka_unit_test(test_number_of_arguments),
	    cmocka_unit_test(test_needed_option),
	    cmocka_unit_test(
		test_secret_on_the_command_line_is_refused_with_the_reason),
	    cmocka_unit_test(test_help_is_never_an_error),
	    cmocka_unit_test(test_an_endless_word_does_not_overflow_the_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
