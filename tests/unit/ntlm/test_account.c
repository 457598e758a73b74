/* The list of SIDs that winbind gives by way of the mechanism. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "shm/base/log.h"
#include "worker/ntlm/account.h"

static void
shown(const struct identity *id, size_t i, enum sid_source source,
      const char *text)
{
	char sid[SID_TEXT_MAX];

	assert_true(i < id->nsids);
	assert_int_equal(id->sids[i].source, source);
	assert_int_equal(sid_text(id->sids[i].bytes, id->sids[i].len, sid), 0);
	assert_string_equal(sid, text);
}

static void
the_account_comes_first(void **state)
{
	struct identity *id = identity_new();

	(void)state;
	assert_int_equal(account_sids(id, SLICE_LIT("S-1-5-21-1-2-3-1103,"
						    "S-1-5-21-1-2-3-515,"
						    "S-1-5-21-1-2-3-1200,"
						    "S-1-5-21-1-2-3-515,"
						    "S-1-18-1\0")),
			 0);
	assert_int_equal(id->nsids, 4);
	shown(id, 0, SID_USER, "S-1-5-21-1-2-3-1103");
	shown(id, 1, SID_PRIMARY_GROUP, "S-1-5-21-1-2-3-515");
	shown(id, 2, SID_WINBIND, "S-1-5-21-1-2-3-1200");
	shown(id, 3, SID_WINBIND, "S-1-18-1");
	identity_free(&id);
}

static void
a_list_that_is_not_one_gives_none(void **state)
{
	static const struct slice wrong[] = {
	    SLICE_LIT(""),
	    SLICE_LIT("\0"),
	    SLICE_LIT("S-1-5-21-1-2-3-4,"),
	    SLICE_LIT(",S-1-5-21-1-2-3-4"),
	    SLICE_LIT("S-1-5-21-1-2-3-4,x"),
	    SLICE_LIT("S-1-5-21-1-2-3-4\0,S-1-5-21-1-2-3-5"),
	    SLICE_LIT("S-1-5-21-1-2-3-4 S-1-5-21-1-2-3-5"),
	};
	struct identity *id = identity_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(account_sids(id, wrong[i]), -EINVAL);
		assert_int_equal(id->nsids, 0);
		assert_null(id->sids);
	}
	identity_free(&id);
}

/* "S-1-5-21-1-2-3-1000,..." */
static char *
many(size_t n)
{
	char *text = malloc(n * 32);
	size_t len = 0;

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, 32, "%sS-1-5-21-1-2-3-%zu",
					i > 0 ? "," : "", 1000 + i);
	return text;
}

static void
so_many_and_no_more(void **state)
{
	struct identity *id = identity_new();
	char *text = many(IDENTITY_SIDS_MAX);

	(void)state;
	assert_int_equal(account_sids(id, slice_of(text)), 0);
	assert_int_equal(id->nsids, IDENTITY_SIDS_MAX);
	free(text);
	identity_free(&id);
	id = identity_new();
	text = many(IDENTITY_SIDS_MAX + 1);
	assert_int_equal(account_sids(id, slice_of(text)), -E2BIG);
	assert_int_equal(id->nsids, 0);
	free(text);
	identity_free(&id);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_account_comes_first),
	    cmocka_unit_test(a_list_that_is_not_one_gives_none),
	    cmocka_unit_test(so_many_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
