/*
 * What `rmsctl keytab` makes of the facts: which are wrong, which are only
 * worth knowing, and when an old key may go.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/keytab.h"

#include "shm/base/log.h"

#define NOW 1700000000 /* 2023-11-14T22:13:20Z */
#define KEY(name, kvno, type)                                               \
	"{\"principal\":\"" name "\",\"kvno\":" #kvno ",\"enctype\":" #type \
	",\"key\":\"" #kvno "\"}"

static char lines[8192];

static void
keep(void *arg, const char *line)
{
	(void)arg;
	assert_true(strlen(lines) + strlen(line) + 2 < sizeof(lines));
	snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%s\n",
		 line);
}

/* entries, and further members that begin with a comma. */
static json_t *
facts(const char *entries, size_t n, const char *more)
{
	char text[4096];
	json_t *f;

	snprintf(text, sizeof(text),
		 "{\"file\":\"/k\",\"keeper_entries\":%zu,\"entries\":[%s],"
		 "\"use_since\":\"2023-11-01T00:00:00Z\"%s}",
		 n, entries, more);
	f = json_loads(text, 0, NULL);
	assert_non_null(f);
	return f;
}

static size_t
problems(const char *entries, size_t n, const char *more)
{
	json_t *f = facts(entries, n, more);
	size_t found;

	lines[0] = '\0';
	found = keytab_problems(f, keep, NULL);
	json_decref(f);
	return found;
}

static size_t
notes(const char *entries, size_t n, const char *more)
{
	json_t *f = facts(entries, n, more);
	size_t found;

	lines[0] = '\0';
	found = keytab_notes(f, NOW, keep, NULL);
	json_decref(f);
	return found;
}

static bool
said(const char *words)
{
	return strstr(lines, words) != NULL;
}

static void
test_nothing_is_wrong(void **state)
{
	(void)state;
	assert_int_equal(problems(KEY("HTTP/a@R", 2, 18), 1,
				  ",\"names\":[\"A\"],\"realms\":[{\"realm\":"
				  "\"R\",\"clock_ahead_ms\":-59999}],"
				  "\"issued\":[" KEY("HTTP/a@R", 2, 18) "]"),
			 0);
	assert_int_equal(notes(KEY("HTTP/a@R", 2, 18), 1, ""), 0);
}

static void
test_keys_by_themselves(void **state)
{
	(void)state;
	assert_int_equal(
	    problems(KEY("HTTP/a@R", 2, 23) "," KEY("HTTP/a@R", 2, 3), 2, ""),
	    1);
	assert_true(said("HTTP/a@R has RC4 or DES keys only"));
	/* not of the usual ones, and not weak */
	problems(KEY("HTTP/a@R", 1, 26), 1, "");
	assert_false(said("RC4 or DES"));
	/* Beside AES they do no harm that the KDC does not do already. */
	assert_int_equal(
	    problems(KEY("HTTP/a@R", 2, 23) "," KEY("HTTP/a@R", 2, 17), 2, ""),
	    0);
	assert_int_equal(
	    problems(KEY("HTTP/a@R", 2, 18) "," KEY("HTTP/a@R", 2, 18), 2, ""),
	    1);
	assert_true(said("twice, with the same key"));
	assert_int_equal(problems(KEY("host/a@R", 2, 18), 1, ""), 1);
	assert_true(said("no key for any HTTP/<name>"));
	assert_int_equal(problems(KEY("HTTP/ab@R", 2, 18), 1,
				  ",\"names\":[\"a\",\"abc\",\"ab\"]"),
			 2);
	assert_true(said("HTTP/a,") && said("HTTP/abc,"));
	assert_int_equal(problems(KEY("HTTP/a@R", 2, 18), 0, ""), 1);
	assert_true(said("the keeper has 0 of 1 keys"));
	assert_int_equal(
	    problems(KEY("HTTP/a@R", 2, 18), 1, ",\"fault\":\"/k: cut\""), 1);
	assert_true(said("/k: cut; until then"));
}

static void
test_what_the_kdc_issues(void **state)
{
	(void)state;
	assert_int_equal(problems(KEY("HTTP/a@R", 2, 18), 1,
				  ",\"issued\":[" KEY("HTTP/a@R", 3, 18) "]"),
			 1);
	assert_true(said("kvno 3") && said("newest in the keytab is kvno 2"));
	assert_int_equal(problems(KEY("HTTP/a@R", 2, 18), 1,
				  ",\"issued\":[" KEY("HTTP/a@R", 2, 23) "]"),
			 1);
	assert_true(said("with arcfour-hmac") && said("version 2"));
	assert_int_equal(problems(KEY("HTTP/a@R", 2, 18), 1,
				  ",\"issued\":[{\"principal\":\"HTTP/a@R\","
				  "\"error\":\"Server not found\"}]"),
			 1);
	assert_true(said("issues no ticket for HTTP/a@R: Server not found"));
	assert_int_equal(
	    problems(KEY("HTTP/a@R", 2, 18), 1,
		     ",\"issued\":[{\"principal\":\"HTTP/a@R\",\"kvno\":2,"
		     "\"enctype\":18,\"opens\":false}]"),
	    1);
	assert_true(said("does not open the KDC's tickets"));
	/* A key that waits for its day. */
	assert_int_equal(
	    problems(KEY("HTTP/a@R", 2, 18) "," KEY("HTTP/a@R", 3, 18), 2,
		     ",\"issued\":[" KEY("HTTP/a@R", 2, 18) "]"),
	    0);
	assert_int_equal(
	    notes(KEY("HTTP/a@R", 2, 18) "," KEY("HTTP/a@R", 3, 18), 2,
		  ",\"issued\":[" KEY("HTTP/a@R", 2, 18) "]"),
	    0);
}

static void
test_clocks(void **state)
{
	(void)state;
	assert_int_equal(problems(KEY("HTTP/a@R", 2, 18), 1,
				  ",\"realms\":[{\"realm\":\"R\","
				  "\"clock_ahead_ms\":61002}]"),
			 1);
	assert_true(said("61.002 s behind the KDC's of R, at five minutes"));
	assert_int_equal(problems(KEY("HTTP/a@R", 2, 18), 1,
				  ",\"realms\":[{\"realm\":\"R\","
				  "\"clock_ahead_ms\":-300000}]"),
			 1);
	assert_true(said("300.000 s ahead of") && said("CLOCK_SKEW"));
}

#define BOTH KEY("HTTP/a@R", 2, 18) "," KEY("HTTP/a@R", 3, 18)
#define USE(last, life)                                                    \
	",\"use\":[{\"principal\":\"HTTP/A@R\",\"kvno\":2,\"enctype\":18," \
	"\"tickets\":9,\"last\":\"" last "\",\"longest_life_s\":" #life "}]"

static void
test_old_key(void **state)
{
	(void)state;
	/* Used 23 hours ago, and 25 hours ago. */
	assert_int_equal(notes(BOTH, 2, USE("2023-11-13T23:13:20Z", 600)), 1);
	assert_true(said("kvno 2") && said("keep it") && said("1 d 0 h"));
	assert_int_equal(notes(BOTH, 2, USE("2023-11-13T21:13:20Z", 600)), 1);
	assert_true(said("can be removed"));
	/* Some tickets live for a week here. */
	assert_int_equal(notes(BOTH, 2, USE("2023-11-13T21:13:20Z", 604800)),
			 1);
	assert_true(said("keep it") && said("7 d 0 h"));
	/* Not seen for the fortnight that is counted. */
	assert_int_equal(notes(BOTH, 2, ""), 1);
	assert_true(said("not used since counting began") &&
		    said("can be removed"));
}

static void
test_what_could_not_be_asked(void **state)
{
	(void)state;
	assert_int_equal(notes(KEY("HTTP/a@R", 2, 18), 1,
			       ",\"realms\":[{\"realm\":\"R\",\"error\":\"no "
			       "way\"}],\"unread\":[\"/c: gone\"]"),
			 2);
	assert_true(said("not asked: R: no way") && said("not read: /c: gone"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_is_wrong),
	    cmocka_unit_test(test_keys_by_themselves),
	    cmocka_unit_test(test_what_the_kdc_issues),
	    cmocka_unit_test(test_clocks),
	    cmocka_unit_test(test_old_key),
	    cmocka_unit_test(test_what_could_not_be_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
