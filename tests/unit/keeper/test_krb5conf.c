/* The copy of krb5.conf that krb5 reads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <krb5/krb5.h>
#include <profile.h>
#include <unistd.h>

#include "worker/keeper/krb5conf.h"
#include "shm/base/log.h"

static char path[64], why[300];

static void
write_file(const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* The realm that krb5 would take for its own. */
static void
check_realm(const char *realm)
{
	krb5_context ctx;
	char *got;

	assert_int_equal(krb5_init_context(&ctx), 0);
	assert_int_equal(krb5_get_default_realm(ctx, &got), 0);
	assert_string_equal(got, realm);
	krb5_free_default_realm(ctx, got);
	krb5_free_context(ctx);
}

static void
test_include_lines(void **state)
{
	static const char *const other[] = {"",
					    "include",
					    "includedir",
					    "includedir ",
					    "include relative",
					    "includedirx /a",
					    " include /a",
					    "# include /a",
					    "[libdefaults]",
					    "module /a.so"};

	(void)state;
	assert_true(
	    slice_is(krb5conf_include(SLICE_LIT("include /a/b")), "/a/b"));
	assert_true(slice_is(
	    krb5conf_include(SLICE_LIT("includedir\t /a/b.d \r")), "/a/b.d"));
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		assert_int_equal(krb5conf_include(slice_of(other[i])).len, 0);
}

static void
test_use_keep_and_refuse(void **state)
{
	(void)state;
	write_file("include /dev/null\n"
		   "[libdefaults]\n default_realm = ONE.TEST");
	assert_int_equal(krb5conf_use(path, why, sizeof(why)), 0);
	check_realm("ONE.TEST");
	assert_string_equal(krb5conf_includes()[0], "/dev/null");
	assert_null(krb5conf_includes()[1]);
	/* A copy: what happens to the file is of no matter. */
	unlink(path);
	check_realm("ONE.TEST");
	assert_int_equal(krb5conf_use(path, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, path));
	check_realm("ONE.TEST");
	write_file("[libdefaults\n default_realm TWO.TEST\n");
	assert_int_equal(krb5conf_use(path, why, sizeof(why)), -EINVAL);
	check_realm("ONE.TEST");
	write_file("[libdefaults]\n default_realm = TWO.TEST\n");
	assert_int_equal(krb5conf_use(path, why, sizeof(why)), 0);
	check_realm("TWO.TEST");
	assert_null(krb5conf_includes()[0]);
}

/* What krb5 goes by, and what we say that it does. */
static void
check_skew(int want)
{
	krb5_context ctx;
	profile_t p;
	int got = -1;

	assert_int_equal(krb5_init_context(&ctx), 0);
	assert_int_equal(krb5_get_profile(ctx, &p), 0);
	assert_int_equal(
	    profile_get_integer(p, "libdefaults", "clockskew", NULL, 300, &got),
	    0);
	profile_release(p);
	krb5_free_context(ctx);
	assert_int_equal(got, want);
	assert_int_equal(krb5conf_skew_s(), want);
}

static void
test_clockskew(void **state)
{
	static const struct {
		const char *text;
		int skew;
	} c[] = {
	    {"[libdefaults]\n clockskew = 900\n", 900},
	    {"[libdefaults]\n clockskew = 0\n", 0},
	    {"[libdefaults]\n default_realm = ONE.TEST\n", 300},
	    {"[libdefaults]\n clockskew = 3600\n", 3600},
	    /* krb5 would allow more than can be remembered. */
	    {"[libdefaults]\n clockskew = 3601\n", 3600},
	    {"[libdefaults]\n clockskew = 2147483647\n", 3600},
	    {"[libdefaults]\n clockskew = -5\n", 0},
	    {"[libdefaults]\n clockskew = 5m\n", 300},
	    {"[libdefaults]\n clockskew = 99999999999\n", 300},
	    {"[realms]\n[libdefaults]\n clockskew = 60\n clockskew = 70\n", 60},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		write_file(c[i].text);
		assert_int_equal(krb5conf_use(path, why, sizeof(why)), 0);
		check_skew(c[i].skew);
	}
	/* One that is refused changes nothing. */
	write_file("[libdefaults\n clockskew = 7\n");
	assert_int_equal(krb5conf_use(path, why, sizeof(why)), -EINVAL);
	check_skew(60);
}

/* krb5 reads an included file anew each time: of no matter until we do. */
static void
test_clockskew_of_an_included_file(void **state)
{
	char part[80], text[200];

	(void)state;
	write_file("[libdefaults]\n clockskew = 400\n");
	snprintf(part, sizeof(part), "%s.part", path);
	assert_int_equal(rename(path, part), 0);
	snprintf(text, sizeof(text), "include %s\n", part);
	write_file(text);
	assert_int_equal(krb5conf_use(path, why, sizeof(why)), 0);
	check_skew(400);
	write_file("[libdefaults]\n clockskew = 500\n");
	assert_int_equal(rename(path, part), 0);
	check_skew(400);
	write_file(text);
	assert_int_equal(krb5conf_use(path, why, sizeof(why)), 0);
	check_skew(500);
	unlink(part);
}

static void
test_system(void **state)
{
	char list[200];

	(void)state;
	/* As krb5 itself: a list, of which some may be missing. */
	write_file("[libdefaults]\n default_realm = SYS.TEST\n");
	snprintf(list, sizeof(list), "/nonexistent:%s", path);
	setenv("KRB5_CONFIG", list, 1);
	setenv("KRB5_TRACE", "/tmp/x", 1);
	krb5conf_environment();
	assert_null(getenv("KRB5_TRACE"));
	assert_int_equal(krb5conf_use("", why, sizeof(why)), 0);
	check_realm("SYS.TEST");
	unlink(path);
	assert_int_equal(krb5conf_use("", why, sizeof(why)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_include_lines),
	    cmocka_unit_test(test_use_keep_and_refuse),
	    cmocka_unit_test(test_clockskew),
	    cmocka_unit_test(test_clockskew_of_an_included_file),
	    cmocka_unit_test(test_system),
	};
	int r;

	snprintf(path, sizeof(path), "/tmp/test_krb5conf.%d", (int)getpid());
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return r;
}
