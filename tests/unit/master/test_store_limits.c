/* store: a map that grows, a disk that is full, an organisation that is large.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "shm/base/clock.h"
#include "tests/unit/master/store_fixture.h"

/* Closes the store and opens it with a map of that size. */
static void
with_map(size_t size, size_t max)
{
	fx->map_size = size;
	fx->map_max = max;
	assert_int_equal(store_reopen(fx, fx_err), 0);
}

static int
add_long(unsigned i)
{
	struct store_server s = {.role = SERVER_FCI};
	uint32_t id;
	int n;

	n = snprintf(s.subject, sizeof(s.subject), "s%06u.", i);
	assert_true(n > 0);
	memset(s.subject + n, 'x', 400);
	memcpy(s.subject + n + 400, "@LAB.TEST", 10);
	memset(s.name, 'n', sizeof(s.name) - 1);
	memset(s.note, 'o', sizeof(s.note) - 1);
	return store_server_add(fx, &s, &fx_who, &id, fx_err);
}

static void
map_grows_by_itself(void **state)
{
	uint64_t used, size, first;
	unsigned n = 0;

	(void)state;
	with_map(256U << 10, (size_t)64 << 20);
	store_space(fx, &used, &first);
	assert_true(first <= 256U << 10);
	do {
		assert_int_equal(add_long(n++), 0);
		store_space(fx, &used, &size);
		assert_true(used <= size);
	} while (size < (size_t)16 << 20);
	assert_int_equal(store_servers_count(fx), n);
	assert_int_equal(store_generation(fx), n);
	fx_reopen();
	assert_int_equal(store_servers_count(fx), n);
	assert_int_equal(fx_agrees(fx, 0), n);
}

/* At the largest size the change is refused whole; room makes it go again. */
static void
largest_map_refuses_and_recovers(void **state)
{
	struct conf *c = malloc(sizeof(*c));
	unsigned n = 0;
	size_t kept;
	int r;

	(void)state;
	fx->history_max = 4;
	with_map(256U << 10, (size_t)1 << 20);
	while ((r = add_long(n)) == 0)
		n++;
	assert_int_equal(r, -ENOSPC);
	fx_says("largest size, 1 MiB");
	assert_true(n > 100);
	assert_int_equal(store_generation(fx), n);
	assert_int_equal(store_servers_count(fx), n);
	assert_int_equal(add_long(n), -ENOSPC);
	conf_defaults(c);
	assert_int_equal(store_settings_get(fx, c), 0);
	free(c);
	/* More room, as a later version might give. */
	fx->map_max *= 4;
	assert_int_equal(add_long(n), 0);
	kept = fx_agrees(fx, 1);
	assert_int_equal(kept, 4);
	fx_reopen();
	assert_int_equal(store_servers_count(fx), n + 1);
}

static void
limit_address_space(rlim_t bytes)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_AS, &rl), 0);
	rl.rlim_cur = bytes == 0 ? rl.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_AS, &rl), 0);
}

/* The map cannot grow for want of address space: the old one is back. */
static void
failed_growth_keeps_the_store(void **state)
{
	unsigned n = 0;
	int r;

	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	print_message("skipped: the sanitizer's own memory is larger than any "
		      "limit of address space\n");
	skip();
#endif
	with_map(256U << 10, (size_t)1 << 40);
	limit_address_space((rlim_t)256 << 20);
	fx->map_size = (size_t)8 << 30; /* the next one is far too large */
	while ((r = add_long(n)) == 0)
		n++;
	fx->map_size = 256U << 10;
	limit_address_space(0);
	assert_int_equal(r, -ENOMEM);
	fx_says("cannot grow");
	/* Whatever became of the map, the next call opens what is there. */
	assert_int_equal(store_servers_count(fx), n);
	assert_int_equal(add_long(n), 0);
	/* A change finds the way back as well as a reader does. */
	mdb_env_close(fx->env);
	fx->env = NULL;
	assert_int_equal(add_long(n + 1), 0);
	assert_int_equal(fx_agrees(fx, 0), n + 2);
}

static void
limit_file(rlim_t bytes)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &rl), 0);
	rl.rlim_cur = bytes == 0 ? rl.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
}

/* A disk that fills up: the limit of file sizes stands for it (no root). */
static void
full_disk_changes_nothing(void **state)
{
	char path[160];
	struct stat st;
	unsigned n = 0, refused = 0;
	int r;

	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	for (; n < 20; n++)
		assert_int_equal(add_long(n), 0);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	assert_int_equal(stat(path, &st), 0);
	/* At page ends and in the middle of them, several times over. */
	for (rlim_t room = 0; room < 12 * 4096; room += 1500) {
		limit_file((rlim_t)st.st_size + room);
		r = add_long(n);
		while (r == 0) /* free pages are used up first */
			r = add_long(++n);
		/* LMDB says EIO for a page that was written in part. */
		assert_true(r == -ENOSPC || r == -EIO);
		fx_says("nothing was changed");
		refused++;
		assert_int_equal(store_generation(fx), n);
		assert_int_equal(store_servers_count(fx), n);
		limit_file(0);
		assert_int_equal(fx_agrees(fx, 0), n);
	}
	assert_true(refused > 20);
	assert_int_equal(add_long(n), 0);
	fx_reopen();
	assert_int_equal(store_generation(fx), n + 1);
	assert_int_equal(fx_agrees(fx, 0), n + 1);
}

static void
full_disk_at_the_start_is_said(void **state)
{
	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	store_close(&fx);
	(void)snprintf(fx_dir, sizeof(fx_dir), "%s/second", fx_top);
	for (rlim_t limit = 4096; limit < 9 * 4096; limit += 4096) {
		struct store *st;

		limit_file(limit);
		if (store_open(&st, fx_dir, fx_seal, fx_err) == 0)
			store_close(&st);
		else
			fx_says("store ");
		limit_file(0);
	}
	fx_open(); /* what was begun is no obstacle */
	assert_int_equal(add_long(1), 0);
}

/* --- many
 * ---------------------------------------------------------------------- */

#define MANY 100000U

struct batch {
	unsigned from, to;
};

static int
add_batch(struct store_tx *tx, void *arg)
{
	struct store_server s = {.role = SERVER_EXCHANGE};
	struct batch *b = arg;
	uint32_t id;
	int r = 0;

	for (unsigned i = b->from; r == 0 && i < b->to; i++) {
		(void)snprintf(s.subject, sizeof(s.subject),
			       "S-1-5-21-1004336348-1177238915-682003330-%u",
			       i);
		(void)snprintf(s.name, sizeof(s.name), "EXCH%u", i);
		r = store_server_add_tx(tx, &s, &id);
	}
	tx->what.len = 0;
	sbuf_fmt(&tx->what, "add %u servers", b->to - b->from);
	return r;
}

/* In one transaction, with history in many rows, and taken back in one. */
static void
hundred_thousand_servers(void **state)
{
	struct batch b = {1, 1 + MANY};
	uint64_t start = clock_mono_ns();
	struct store_change h[2];
	struct store_server s;
	const char *why;
	struct table *t;
	int fd;

	(void)state;
	assert_int_equal(store_change(fx, &fx_who, add_batch, &b, fx_err), 0);
	print_message(
	    "added in %llu ms\n",
	    (unsigned long long)((clock_mono_ns() - start) / NS_PER_MS));
	assert_int_equal(store_generation(fx), 1);
	assert_int_equal(store_servers_count(fx), MANY);
	assert_int_equal(store_history(fx, h, 2), 1);
	assert_string_equal(h[0].what, "add 100000 servers");
	fx_reopen();
	start = clock_mono_ns();
	fd = store_table_build(fx);
	assert_true(fd >= 0);
	print_message(
	    "table in %llu ms\n",
	    (unsigned long long)((clock_mono_ns() - start) / NS_PER_MS));
	t = table_map(fd, &why);
	assert_non_null(t);
	assert_int_equal(table_len(t), MANY);
	table_unmap(&t);
	close(fd);
	assert_int_equal(
	    store_server_find(
		fx, "S-1-5-21-1004336348-1177238915-682003330-77777", &s),
	    0);
	assert_string_equal(s.name, "EXCH77777");
	/* One more as anybody adds it: no slower for the many. */
	start = clock_mono_ns();
	assert_int_equal(fx_add("one@LAB.TEST", SERVER_FCI), MANY + 1);
	print_message(
	    "one more in %llu us\n",
	    (unsigned long long)((clock_mono_ns() - start) / NS_PER_US));
	assert_int_equal(fx_agrees(fx, 0), 2);
}

/* One bad entry at the end of a batch, and none of it is there. */
static void
a_batch_is_all_or_nothing(void **state)
{
	struct batch b = {4000, 6000};

	(void)state;
	assert_int_equal(
	    fx_add("S-1-5-21-1004336348-1177238915-682003330-5999", SERVER_FCI),
	    1);
	assert_int_equal(store_change(fx, &fx_who, add_batch, &b, fx_err),
			 -EEXIST);
	fx_says("server 1 already");
	assert_int_equal(store_servers_count(fx), 1);
	assert_int_equal(store_generation(fx), 1);
	assert_int_equal(fx_agrees(fx, 0), 1);
}

static size_t
history_rows(void)
{
	struct store_read rd;
	MDB_stat ms;

	assert_int_equal(store_read_begin(fx, &rd), 0);
	assert_int_equal(mdb_stat(rd.txn, fx->db[DB_HISTORY], &ms), 0);
	store_read_end(&rd);
	return ms.ms_entries;
}

/* A large generation is cut out of the history whole, not in part. */
static void
history_is_cut_by_generations(void **state)
{
	struct batch b = {1, 3000};
	struct store_change h[20];

	(void)state;
	fx->history_max = 8;
	assert_int_equal(store_change(fx, &fx_who, add_batch, &b, fx_err), 0);
	assert_int_equal(fx_agrees(fx, 1), 1); /* larger than the limit */
	assert_true(history_rows() > 8);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(
		    fx_set("tenant_id", i % 2 ? "a.test" : "b.test"), 0);
		assert_int_equal(fx_agrees(fx, 1), i + 1);
		assert_int_equal(history_rows(), i + 1);
	}
	assert_int_equal(store_history(fx, h, 20), 5);
	assert_int_equal(h[4].generation, 2);
}

static int
take_back(struct store_tx *tx, void *arg)
{
	(void)arg;
	return store_history_revert(tx, 1);
}

static void
cut(off_t bytes)
{
	char path[160];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - bytes), 0);
}

static int
count_one(void *arg, const struct store_server *s)
{
	(void)s;
	++*(size_t *)arg;
	return 0;
}

/* What an open does not look at is missed all the same: cut anywhere, the
 * file is refused and left as it is, or everything can be read. */
static void
a_cut_off_record_is_missed(void **state)
{
	struct batch b = {1, 5001};
	struct store *st;
	char path[160];
	struct stat sb;
	unsigned refused = 0;
	size_t n;

	(void)state;
	fx->history_max = 1;
	assert_int_equal(store_change(fx, &fx_who, add_batch, &b, fx_err), 0);
	for (int i = 0; i < 9; i++) /* the roots move to what is free now */
		assert_int_equal(
		    fx_set("tenant_id", i % 2 ? "a.test" : "b.test"), 0);
	store_close(&fx);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	assert_int_equal(stat(path, &sb), 0);
	for (off_t len = sb.st_size - 4096; refused < 5; len -= 16 * 4096) {
		assert_true(len > 0);
		assert_int_equal(truncate(path, len), 0);
		if (store_open(&st, fx_dir, fx_seal, fx_err) == 0) {
			n = 0;
			assert_int_equal(store_servers_each(st, count_one, &n),
					 0);
			assert_int_equal(n, 5000);
			store_close(&st);
			continue;
		}
		refused++;
		fx_says("restore it from a backup");
		assert_int_equal(stat(path, &sb), 0);
		assert_int_equal(sb.st_size, len);
	}
}

/* LMDB leaves such a file when the last pages were taken and given back. */
static void
a_missing_free_page_is_no_loss(void **state)
{
	struct batch b = {1, 5000};

	(void)state;
	fx->history_max = 1;
	assert_int_equal(store_change(fx, &fx_who, add_batch, &b, fx_err), 0);
	assert_int_equal(store_change(fx, &fx_who, take_back, NULL, fx_err), 0);
	for (int i = 0; i < 9; i++)
		assert_int_equal(
		    fx_set("tenant_id", i % 2 ? "a.test" : "b.test"), 0);
	store_close(&fx);
	cut(2 * 4096);
	fx_open();
	assert_int_equal(store_servers_count(fx), 0);
	assert_int_equal(store_change(fx, &fx_who, add_batch, &b, fx_err), 0);
	fx_reopen();
	assert_int_equal(store_servers_count(fx), 4999);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FX_TEST(map_grows_by_itself),
	    FX_TEST(largest_map_refuses_and_recovers),
	    FX_TEST(failed_growth_keeps_the_store),
	    FX_TEST(full_disk_changes_nothing),
	    FX_TEST(full_disk_at_the_start_is_said),
	    FX_TEST(hundred_thousand_servers),
	    FX_TEST(a_batch_is_all_or_nothing),
	    FX_TEST(history_is_cut_by_generations),
	    FX_TEST(a_cut_off_record_is_missed),
	    FX_TEST(a_missing_free_page_is_no_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
