/*
 * The tables of reasons and statuses fit each other, so that the document made
 * of both leaves none out.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "shm/base/log.h"
#include "shm/base/str.h"
#include "worker/relay/reason.h"

static const int statuses[] = {
#define STATUS(code, phrase, what) code,
#include "worker/relay/statuses.def"
#undef STATUS
};

static bool
is_one_of(const char *s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(s, words[i]) == 0)
			return true;
	return false;
}

static void
test_each_reason_has_its_status(void **state)
{
	static const char *const faults[] = {"none", "client", "connector",
					     "network", "cloud"};
	static const char *const retries[] = {"yes", "no", "later"};

	(void)state;
	for (int r = 0; r < REASON_MAX; r++) {
		const struct reason_row *row = reason_row((enum reason)r);
		size_t n = 0;

		assert_true(is_one_of(row->fault, faults, ARRAY_LEN(faults)));
		assert_true(is_one_of(row->retry, retries, ARRAY_LEN(retries)));
		for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
			n += statuses[i] == row->status;
		if (n != (row->status != 0))
			fail_msg("%s: %d is not in statuses.def", row->name,
				 row->status);
		/* these are sent with Retry-After, by what they mean */
		if (row->status == 503 || row->status == 429)
			assert_string_equal(row->retry, "later");
	}
}

/* The advice of a status is for all of its reasons. */
static void
test_advice_fits_each_reason(void **state)
{
	static const struct {
		int code;
		const char *advice;
	} row[] = {
#define STATUS(code, phrase, advice) {code, advice},
#include "worker/relay/statuses.def"
#undef STATUS
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		bool no = false, later = false, again;

		for (int r = 0; r < REASON_MAX; r++) {
			const struct reason_row *why =
			    reason_row((enum reason)r);

			if (why->status != row[i].code)
				continue;
			no |= strcmp(why->retry, "no") == 0;
			later |= strcmp(why->retry, "later") == 0;
		}
		again = strstr(row[i].advice, "try again") != NULL;
		if (no && again &&
		    strstr(row[i].advice, "where the reason says no") == NULL)
			fail_msg("%d: not always", row[i].code);
		if (later != (strstr(row[i].advice, "Retry-After") != NULL))
			fail_msg("%d: Retry-After", row[i].code);
	}
}

static void
test_each_status_has_a_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		bool used = statuses[i] == 200;

		for (int r = 0; r < REASON_MAX; r++)
			used |=
			    reason_row((enum reason)r)->status == statuses[i];
		if (!used)
			fail_msg("%d has no reason", statuses[i]);
		assert_true(strlen(reason_phrase(statuses[i])) > 1);
		assert_true(i == 0 || statuses[i - 1] < statuses[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_reason_has_its_status),
	    cmocka_unit_test(test_advice_fits_each_reason),
	    cmocka_unit_test(test_each_status_has_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
