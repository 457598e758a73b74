/* store: opening it, who may, and what is no store of ours. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "tests/unit/master/store_fixture.h"

/* All of a file of the store; caller frees. */
static char *
slurp(const char *name, size_t *len_r)
{
	char path[160], *data;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", fx_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fd_read_all(fd, 1U << 28, &data, len_r), 0);
	close(fd);
	return data;
}

/* --- opening
 * ------------------------------------------------------------------- */

static void
new_store_is_private_and_empty(void **state)
{
	struct stat st;
	char path[160];

	(void)state;
	assert_int_equal(stat(fx_dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(store_generation(fx), 0);
	assert_int_equal(store_servers_count(fx), 0);
	fx_reopen();
	assert_int_equal(store_generation(fx), 0);
}

/* Children must not inherit it, and it must be as durable as LMDB can be. */
static void
environment_is_safe(void **state)
{
	unsigned flags;
	struct dirent *e;
	DIR *d;

	(void)state;
	assert_int_equal(mdb_env_get_flags(fx->env, &flags), 0);
	assert_int_equal(flags & (MDB_NOSYNC | MDB_NOMETASYNC | MDB_WRITEMAP |
				  MDB_MAPASYNC | MDB_NOMEMINIT | MDB_NOLOCK),
			 0);
	d = opendir("/proc/self/fd");
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		char link[300], target[300] = "";
		uint64_t fd;

		if (str_u64(slice_of(e->d_name), 1 << 20, &fd) != 0)
			continue;
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%s",
			       e->d_name);
		(void)!readlink(link, target, sizeof(target) - 1);
		if (strstr(target, fx_dir) != NULL &&
		    (fcntl((int)fd, F_GETFD) & FD_CLOEXEC) == 0)
			fail_msg("%s is inherited", target);
	}
	closedir(d);
}

static void
open_directory_is_refused(void **state)
{
	(void)state;
	store_close(&fx);
	assert_int_equal(chmod(fx_dir, 0750), 0);
	fx_refused(-EACCES, "mode 750");
	assert_int_equal(chmod(fx_dir, 0701), 0);
	fx_refused(-EACCES, "open to others");
	assert_int_equal(chmod(fx_dir, 0700), 0);
	fx_open();
}

static void
odd_directories_are_refused(void **state)
{
	(void)state;
	store_close(&fx);
	(void)snprintf(fx_dir, sizeof(fx_dir), "%s/no/such", fx_top);
	fx_refused(-ENOENT, "cannot be made");
	(void)snprintf(fx_dir, sizeof(fx_dir), "%s", fx_key);
	fx_refused(-ENOTDIR, "cannot be opened");
}

static void
second_opener_is_told_who_has_it(void **state)
{
	char pid[32];
	int status;
	pid_t child;

	(void)state;
	(void)snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	fx_refused(-EBUSY, pid); /* in the same process */
	child = fork();
	assert_true(child >= 0);
	if (child == 0) { /* and in another; it touches no key */
		struct store *st;
		int r = store_open(&st, fx_dir, NULL, fx_err);

		_exit(r == -EBUSY && strstr(fx_err, pid) != NULL ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* The first one works on, and leaves no lock behind. */
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	fx_reopen();
}

static void
wrong_key_is_refused(void **state)
{
	char *a, *b;
	size_t alen, blen;

	(void)state;
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	store_close(&fx);
	seal_free(&fx_seal);
	assert_int_equal(unlink(fx_key), 0);
	assert_int_equal(
	    seal_load(&fx_seal, fx_key, true, fx_err, sizeof(fx_err)), 0);
	a = slurp("data.mdb", &alen);
	fx_refused(-EBADMSG, "sealing key is not the one");
	b = slurp("data.mdb", &blen);
	assert_int_equal(alen, blen);
	assert_memory_equal(a, b, alen);
	free(a);
	free(b);
}

static void
meta_write(const char *name, const void *data, size_t len)
{
	MDB_val k = {strlen(name), (void *)(uintptr_t)name};
	MDB_val v = {len, (void *)(uintptr_t)data};
	MDB_txn *txn;

	assert_int_equal(mdb_txn_begin(fx->env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_put(txn, fx->db[DB_META], &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
}

static void
newer_schema_is_left_alone(void **state)
{
	static const uint8_t newer[4] = {STORE_SCHEMA + 1, 0, 0, 0};
	char *a, *b;
	size_t alen, blen;

	(void)state;
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	meta_write("schema", newer, sizeof(newer));
	/* Another sealing as well: the schema is what is said. */
	meta_write("canary", "?", 1);
	store_close(&fx);
	a = slurp("data.mdb", &alen);
	fx_refused(-EPROTO, "newer version (schema 2");
	b = slurp("data.mdb", &blen);
	assert_int_equal(alen, blen);
	assert_memory_equal(a, b, alen);
	free(a);
	free(b);
}

static void
damaged_meta_is_refused(void **state)
{
	(void)state;
	meta_write("generation", "1234567", 7);
	store_close(&fx);
	fx_refused(-EUCLEAN, "generation");
}

static void
damaged_schema_is_refused(void **state)
{
	(void)state;
	meta_write("schema", "\1\0\0", 3);
	store_close(&fx);
	fx_refused(-EUCLEAN, "schema");
}

static void
moved_canary_is_refused(void **state)
{
	uint8_t sealed[64];
	ssize_t n = seal_close(fx_seal, SLICE_LIT("credential/1"),
			       "rms-connector store", 19, sealed);

	(void)state;
	assert_true(n > 0);
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	meta_write("canary", sealed, (size_t)n);
	store_close(&fx);
	fx_refused(-EBADMSG, "sealing key");
}

/* With nothing sealed there is nothing to protect: any key will do. */
static void
key_of_a_store_without_secrets_may_change(void **state)
{
	(void)state;
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	store_close(&fx);
	seal_free(&fx_seal);
	assert_int_equal(unlink(fx_key), 0);
	assert_int_equal(
	    seal_load(&fx_seal, fx_key, true, fx_err, sizeof(fx_err)), 0);
	fx_open();
	assert_int_equal(store_generation(fx), 1);
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	fx_reopen(); /* it is the store's own now */
}

static void
store_opens_without_the_key(void **state)
{
	struct store_cred list[MSG_CREDS_MAX];
	char path[160];

	(void)state;
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	store_close(&fx);
	assert_int_equal(store_open(&fx, fx_dir, NULL, fx_err), 0);
	assert_int_equal(store_creds_list(fx, list), 1);
	assert_string_equal(list[0].name, "default");
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	fx_reopen(); /* and the key is still the right one */
	/* Where no store is, none is made. */
	store_close(&fx);
	(void)snprintf(fx_dir, sizeof(fx_dir), "%s/other", fx_top);
	assert_int_equal(store_open(&fx, fx_dir, NULL, fx_err), -ENOENT);
	fx_says("no store");
	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	assert_int_equal(access(path, F_OK), -1);
}

/* --- a store that was here
 * -------------------------------------------------- */

static void
data_path(char path[160])
{
	(void)snprintf(path, 160, "%s/data.mdb", fx_dir);
}

static void
lost_store_is_not_made_anew(void **state)
{
	char path[160], aside[200], *none;
	size_t len;

	(void)state;
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	store_close(&fx);
	data_path(path);
	(void)snprintf(aside, sizeof(aside), "%s.aside", path);
	assert_int_equal(rename(path, aside), 0);
	for (int i = 0; i < 2; i++) { /* a refused start changes nothing */
		fx_refused(-EUCLEAN, "data.mdb is missing");
		fx_says("restore it from a backup");
		fx_says("remove the directory to start anew");
		fx_says(fx_dir);
		assert_int_equal(access(path, F_OK), -1);
	}
	assert_int_equal(close(creat(path, 0600)), 0);
	for (int i = 0; i < 2; i++) {
		fx_refused(-EUCLEAN, "data.mdb is empty");
		none = slurp("data.mdb", &len);
		assert_int_equal(len, 0);
		free(none);
	}
	assert_int_equal(rename(aside, path), 0);
	fx_open();
	assert_int_equal(store_generation(fx), 1);
}

/* LMDB's own first pages, and no store of ours in them. */
static void
hollow_store_is_not_made_anew(void **state)
{
	char path[160];
	MDB_env *env;

	(void)state;
	store_close(&fx);
	data_path(path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, fx_dir, 0, 0600), 0);
	mdb_env_close(env);
	fx_refused(-EUCLEAN, "holds nothing");
}

static int
remove_in_store(const char *name)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", fx_dir, name);
	return unlink(path);
}

/* On a host that never had one: a copy that failed is no new store. */
static void
empty_copy_is_not_a_new_store(void **state)
{
	char path[160];

	(void)state;
	store_close(&fx);
	data_path(path);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(remove_in_store("made"), 0);
	assert_int_equal(remove_in_store("lock.mdb"), 0);
	fx_refused(-EUCLEAN, "data.mdb is empty");
}

/* A first start that was broken off at any point is no obstacle. */
static void
half_made_store_is_made(void **state)
{
	char path[160];

	(void)state;
	store_close(&fx);
	data_path(path);
	assert_int_equal(remove_in_store("made"), 0);
	assert_int_equal(truncate(path, 0), 0);
	fx_open();
	store_close(&fx);
	assert_int_equal(remove_in_store("made"), 0);
	assert_int_equal(unlink(path), 0);
	fx_open();
}

/* One from before the mark, or restored without it. */
static void
restored_store_is_marked_again(void **state)
{
	char path[160];

	(void)state;
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	store_close(&fx);
	assert_int_equal(remove_in_store("made"), 0);
	assert_int_equal(remove_in_store("lock.mdb"), 0);
	fx_open();
	assert_int_equal(store_generation(fx), 1);
	store_close(&fx);
	data_path(path);
	assert_int_equal(truncate(path, 0), 0);
	fx_refused(-EUCLEAN, "data.mdb is empty");
}

static void
foreign_file_is_refused(void **state)
{
	char path[160];
	FILE *f;

	(void)state;
	store_close(&fx);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	f = fopen(path, "w");
	assert_non_null(f);
	for (int i = 0; i < 10000; i++)
		fputs("not a database\n", f);
	assert_int_equal(fclose(f), 0);
	fx_refused(-EUCLEAN, "cannot be opened");
	fx_says("restore it from a backup");
	fx_says("remove the directory to start anew");
}

static void
foreign_database_is_refused(void **state)
{
	char path[160];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	(void)state;
	store_close(&fx);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 2), 0);
	assert_int_equal(mdb_env_open(env, fx_dir, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "mail", MDB_CREATE, &dbi), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	fx_refused(-EUCLEAN, "not a store of ours");
}

/* Cut anywhere, it is refused; or what was lost was free, and all is there. */
static void
cut_file_is_refused(void **state)
{
	char path[160], name[64], err[STORE_ERR];
	unsigned refused = 0;
	struct stat st;
	struct store *s;

	(void)state;
	for (int i = 1; i <= 200; i++) {
		(void)snprintf(name, sizeof(name), "s%d$@CONTOSO.TEST", i);
		assert_true(fx_add(name, SERVER_FCI) > 0);
	}
	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	assert_int_equal(stat(path, &st), 0);
	store_close(&fx);
	for (off_t len = st.st_size - 100; len > 0; len -= 4096) {
		assert_int_equal(truncate(path, len), 0);
		if (store_open(&s, fx_dir, fx_seal, err) == 0) {
			assert_int_equal(store_servers_count(s), 200);
			assert_int_equal(fx_agrees(s, 0), 200);
			store_close(&s);
		} else {
			refused++;
		}
	}
	assert_true(refused > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FX_TEST(new_store_is_private_and_empty),
	    FX_TEST(environment_is_safe),
	    FX_TEST(open_directory_is_refused),
	    FX_TEST(odd_directories_are_refused),
	    FX_TEST(second_opener_is_told_who_has_it),
	    FX_TEST(wrong_key_is_refused),
	    FX_TEST(newer_schema_is_left_alone),
	    FX_TEST(damaged_meta_is_refused),
	    FX_TEST(damaged_schema_is_refused),
	    FX_TEST(moved_canary_is_refused),
	    FX_TEST(key_of_a_store_without_secrets_may_change),
	    FX_TEST(store_opens_without_the_key),
	    FX_TEST(lost_store_is_not_made_anew),
	    FX_TEST(hollow_store_is_not_made_anew),
	    FX_TEST(empty_copy_is_not_a_new_store),
	    FX_TEST(half_made_store_is_made),
	    FX_TEST(restored_store_is_marked_again),
	    FX_TEST(foreign_file_is_refused),
	    FX_TEST(foreign_database_is_refused),
	    FX_TEST(cut_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
