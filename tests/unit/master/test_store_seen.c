/* store: rows about accounts that were seen are nobody's change. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "master/seen.h"
#include "tests/unit/master/store_fixture.h"

static struct {
	unsigned first, n;
	int fail; /* after the last row */
	unsigned runs;
} batch;

static char big[SEEN_RECORD_MAX];

static int
fill(void *arg, struct store_seen *w)
{
	(void)arg;
	batch.runs++;
	for (unsigned i = 0; i < batch.n; i++) {
		struct seen_key key = {SEEN_ACCOUNT, batch.first + i};
		int r =
		    store_seen_row(w, key, (struct slice){big, sizeof(big)});

		if (r != 0)
			return r;
	}
	return batch.fail;
}

static int
put(unsigned first, unsigned n, int fail)
{
	batch.first = first;
	batch.n = n;
	batch.fail = fail;
	batch.runs = 0;
	return store_seen_put(fx, fill, NULL, fx_err);
}

static unsigned rows;

static int
count(void *arg, struct seen_key key, struct slice record)
{
	(void)arg;
	assert_int_equal(key.kind, SEEN_ACCOUNT);
	assert_int_equal(key.slot, rows); /* in order */
	assert_int_equal(record.len, sizeof(big));
	assert_memory_equal(record.p, big, sizeof(big));
	rows++;
	return 0;
}

static unsigned
there(void)
{
	rows = 0;
	assert_int_equal(store_seen_each(fx, count, NULL), 0);
	return rows;
}

static void
rows_make_no_generation_and_no_history(void **state)
{
	struct store_change c[4];

	(void)state;
	memset(big, 'r', sizeof(big));
	assert_int_equal(there(), 0);
	assert_int_equal(store_setting_set(fx, "tenant_url",
					   "https://a.example", &fx_who,
					   fx_err),
			 0);
	assert_int_equal(put(0, 300, 0), 0);
	assert_int_equal(there(), 300);
	assert_int_equal(put(299, 2, 0), 0); /* one takes another's place */
	assert_int_equal(there(), 301);
	assert_int_equal(store_generation(fx), 1);
	assert_int_equal(store_history(fx, c, 4), 1);
	fx_reopen();
	assert_int_equal(there(), 301);
	assert_int_equal(store_generation(fx), 1);
	/* and a change goes on where it was */
	assert_int_equal(store_setting_set(fx, "tenant_url",
					   "https://b.example", &fx_who,
					   fx_err),
			 0);
	assert_int_equal(store_generation(fx), 2);
	assert_int_equal(there(), 301);
}

static void
a_batch_that_fails_leaves_no_row(void **state)
{
	(void)state;
	memset(big, 'r', sizeof(big));
	/* also the first, with which the database would have come */
	assert_int_equal(put(0, 5, -EIO), -EIO);
	assert_int_equal(there(), 0);
	assert_int_equal(put(0, 5, 0), 0);
	assert_int_equal(put(5, 5, -EIO), -EIO);
	assert_int_equal(there(), 5);
	fx_reopen();
	assert_int_equal(there(), 5);
}

static void
the_map_grows_for_rows_too(void **state)
{
	(void)state;
	memset(big, 'r', sizeof(big));
	fx->map_size = 256U << 10;
	fx->map_max = (size_t)32 << 20;
	assert_int_equal(store_reopen(fx, fx_err), 0);
	assert_int_equal(put(0, 200, 0), 0);
	assert_true(batch.runs > 1);
	assert_int_equal(there(), 200);
	/* at its largest size the rows are refused, and nothing else is lost */
	assert_int_equal(put(200, 400, 0), -ENOSPC);
	assert_non_null(strstr(fx_err, "largest size, 32 MiB"));
	assert_int_equal(there(), 200);
	assert_int_equal(store_setting_set(fx, "tenant_url",
					   "https://a.example", &fx_who,
					   fx_err),
			 0);
}

/* A store of before there were such rows, and a tool without the key. */
static void
a_store_without_them_is_read(void **state)
{
	struct store *st;

	(void)state;
	store_close(&fx);
	assert_int_equal(store_open(&st, fx_dir, NULL, fx_err), 0);
	fx = st;
	assert_int_equal(there(), 0);
	fx_reopen();
	assert_int_equal(there(), 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
	    T(rows_make_no_generation_and_no_history),
	    T(a_batch_that_fails_leaves_no_row),
	    T(the_map_grows_for_rows_too),
	    T(a_store_without_them_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
