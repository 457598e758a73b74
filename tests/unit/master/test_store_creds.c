/* store: credentials: sealed on disk, opened for the cloud agent, in bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "tests/unit/master/store_fixture.h"

#define SECRET "Tq8~plain-text-of-the-secret"

static bool
file_holds(const char *needle)
{
	char path[160], *data;
	size_t len;
	bool found;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", fx_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fd_read_all(fd, 1U << 28, &data, &len), 0);
	close(fd);
	found = memmem(data, len, needle, strlen(needle)) != NULL;
	free(data);
	return found;
}

static void
sealed_on_disk_and_opened_for_use(void **state)
{
	struct store_cred list[MSG_CREDS_MAX];
	struct msg_creds c;

	(void)state;
	assert_int_equal(store_creds_list(fx, list), 0);
	assert_int_equal(store_creds_open(fx, &c), 0);
	assert_int_equal(c.n, 0);
	assert_int_equal(fx_cred("default", "client-1", SECRET), 0);
	assert_int_equal(fx_cred("exchange", "client-2", "other"), 0);
	fx_reopen();
	assert_int_equal(store_creds_list(fx, list), 2);
	assert_int_equal(list[0].id, 1);
	assert_string_equal(list[0].name, "default");
	assert_string_equal(list[0].client_id, "client-1");
	assert_true(list[0].changed > 1500000000000000000);
	assert_int_equal(store_creds_open(fx, &c), 0);
	assert_int_equal(c.n, 2);
	assert_int_equal(c.cred[0].id, 1);
	assert_string_equal(c.cred[0].name, "default");
	assert_string_equal(c.cred[0].client_id, "client-1");
	assert_string_equal(c.cred[0].secret, SECRET);
	assert_string_equal(c.cred[1].secret, "other");
	assert_true(file_holds("client-1")); /* the search works */
	assert_false(file_holds("plain-text-of-the"));
}

static void
replacing_keeps_the_number(void **state)
{
	struct store_change h[4];
	struct msg_creds c;

	(void)state;
	assert_int_equal(fx_cred("a", "one", "first-secret"), 0);
	assert_int_equal(fx_cred("b", "two", "s"), 0);
	assert_int_equal(fx_cred("a", "three", SECRET), 0);
	assert_int_equal(store_creds_open(fx, &c), 0);
	assert_int_equal(c.n, 2);
	assert_int_equal(c.cred[0].id, 1);
	assert_string_equal(c.cred[0].client_id, "three");
	assert_string_equal(c.cred[0].secret, SECRET);
	/* The history names everything but the secrets. */
	assert_int_equal(store_history(fx, h, 4), 3);
	assert_string_equal(
	    h[0].what,
	    "replace credential a: client id \"one\" -> \"three\", a new "
	    "secret");
	assert_string_equal(h[2].what, "add credential a: client id \"one\"");
	assert_false(file_holds("first-secret"));
	/* The same again is a change: of the secret, perhaps. */
	assert_int_equal(fx_cred("a", "three", SECRET), 0);
	assert_int_equal(store_generation(fx), 4);
}

static void
removing(void **state)
{
	struct store_cred list[MSG_CREDS_MAX];

	(void)state;
	assert_int_equal(fx_cred("a", "one", "s"), 0);
	assert_int_equal(store_cred_remove(fx, "b", &fx_who, fx_err), -ENOENT);
	fx_says("no credential \"b\"");
	assert_int_equal(store_cred_remove(fx, "a", &fx_who, fx_err), 0);
	assert_int_equal(store_creds_list(fx, list), 0);
	/* Its number is not given again. */
	assert_int_equal(fx_cred("a", "one", "s"), 0);
	assert_int_equal(store_creds_list(fx, list), 1);
	assert_int_equal(list[0].id, 2);
}

static void
roles_get_their_numbers(void **state)
{
	struct conf *c = malloc(sizeof(*c));

	(void)state;
	conf_defaults(c);
	c->role_credential[SERVER_FCI] = 77;
	assert_int_equal(store_settings_get(fx, c), 0);
	assert_int_equal(c->role_credential[SERVER_FCI], 0);
	assert_int_equal(fx_cred("default", "one", "s"), 0);
	assert_int_equal(fx_cred("super", "two", "s"), 0);
	assert_int_equal(fx_set("credential_exchange", "super"), 0);
	assert_int_equal(fx_set("credential_sharepoint", "none-yet"), 0);
	assert_int_equal(store_settings_get(fx, c), 0);
	assert_int_equal(c->role_credential[SERVER_NONE], 0);
	assert_int_equal(c->role_credential[SERVER_EXCHANGE], 2);
	assert_int_equal(c->role_credential[SERVER_SHAREPOINT], 0);
	assert_int_equal(c->role_credential[SERVER_FCI], 1);
	free(c);
}

static void
bounds(void **state)
{
	struct store_cred list[MSG_CREDS_MAX];
	char big[1100], name[16];
	struct msg_creds c;

	(void)state;
	memset(big, 'x', sizeof(big));
	big[1024] = '\0';
	assert_int_equal(fx_cred("a", "id", big), -EINVAL);
	fx_says("1024 bytes, not 1 to 1023");
	big[1023] = '\0';
	assert_int_equal(fx_cred("a", "id", big), 0);
	assert_int_equal(store_creds_open(fx, &c), 0);
	assert_string_equal(c.cred[0].secret, big);
	big[256] = '\0';
	assert_int_equal(fx_cred("a", big, "s"), -EINVAL);
	fx_says("256 characters");
	big[255] = '\0';
	assert_int_equal(fx_cred("a", big, "s"), 0);
	big[64] = '\0';
	assert_int_equal(fx_cred(big, "id", "s"), -EINVAL);
	big[63] = '\0';
	assert_int_equal(fx_cred(big, "id", "s"), 0);
	for (int i = 2; i < MSG_CREDS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(fx_cred(name, "id", "s"), 0);
	}
	assert_int_equal(fx_cred("more", "id", "s"), -ENOSPC);
	fx_says("remove one first");
	assert_int_equal(fx_cred("a", "id", "s"), 0); /* replaced */
	assert_int_equal(store_creds_list(fx, list), MSG_CREDS_MAX);
}

static void
bad_input_is_refused(void **state)
{
	(void)state;
	assert_int_equal(fx_cred("", "id", "s"), -EINVAL);
	assert_int_equal(fx_cred("a b", "id", "s"), -EINVAL);
	assert_int_equal(fx_cred("a", "", "s"), -EINVAL);
	assert_int_equal(fx_cred("a", "i d", "s"), -EINVAL);
	assert_int_equal(fx_cred("a", "i\nd", "s"), -EINVAL);
	assert_int_equal(fx_cred("a", "id", ""), -EINVAL);
	assert_int_equal(fx_cred("a", "id", SECRET "\n"), -EINVAL);
	fx_says("line break");
	assert_null(strstr(fx_err, "plain-text"));
	assert_int_equal(store_cred_put(fx, CRED_CLOUD, "a", "id",
					SLICE_LIT("a\0b"), &fx_who, fx_err),
			 -EINVAL);
	assert_int_equal(store_generation(fx), 0);
}

/* Every byte of a record changed in the file: refused or harmless, and no
 * part of a secret is handed out. */
static void
tampered_records_do_not_open(void **state)
{
	static const uint8_t zeros[sizeof(struct msg_creds)];
	struct store_id_key mem;
	struct slice key = store_id_slice(1, &mem);
	MDB_val k = {key.len, (void *)(uintptr_t)key.p}, v;
	uint8_t rec[512];
	struct msg_creds c;
	unsigned opened = 0;
	MDB_txn *txn;
	size_t len;

	(void)state;
	log_set_level((enum log_level)0);
	assert_int_equal(fx_cred("default", "client-1", SECRET), 0);
	for (size_t i = 0; i == 0 || i < len; i++) {
		assert_int_equal(mdb_txn_begin(fx->env, NULL, 0, &txn), 0);
		assert_int_equal(mdb_get(txn, fx->db[DB_CREDS], &k, &v), 0);
		len = v.mv_size;
		assert_true(len <= sizeof(rec));
		memcpy(rec, v.mv_data, len);
		rec[i] ^= 0x11;
		v.mv_data = rec;
		assert_int_equal(mdb_put(txn, fx->db[DB_CREDS], &k, &v, 0), 0);
		assert_int_equal(mdb_txn_commit(txn), 0);
		memset(&c, 0xee, sizeof(c));
		if (store_creds_open(fx, &c) == 0) {
			/* Only the parts that are not secret. */
			assert_string_equal(c.cred[0].secret, SECRET);
			opened++;
		} else {
			assert_memory_equal(&c, zeros, sizeof(c));
		}
		rec[i] ^= 0x11;
		assert_int_equal(mdb_txn_begin(fx->env, NULL, 0, &txn), 0);
		v.mv_data = rec;
		assert_int_equal(mdb_put(txn, fx->db[DB_CREDS], &k, &v, 0), 0);
		assert_int_equal(mdb_txn_commit(txn), 0);
	}
	/* name (7), client id (8) and time (8) are not under the seal */
	assert_true(opened <= 7 + 8 + 8);
	assert_int_equal(store_creds_open(fx, &c), 0);
}

/* A record copied over another one's: its secret does not open there. */
static void
moved_secret_does_not_open(void **state)
{
	struct store_id_key m1, m2;
	struct slice k1 = store_id_slice(1, &m1), k2 = store_id_slice(2, &m2);
	MDB_val a = {k1.len, m1.p}, b = {k2.len, m2.p}, v;
	uint8_t rec[512];
	struct msg_creds c;
	MDB_txn *txn;

	(void)state;
	log_set_level((enum log_level)0);
	assert_int_equal(fx_cred("super", "client-1", SECRET), 0);
	assert_int_equal(fx_cred("small", "client-2", "s"), 0);
	(void)k2;
	assert_int_equal(mdb_txn_begin(fx->env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_get(txn, fx->db[DB_CREDS], &a, &v), 0);
	assert_true(v.mv_size <= sizeof(rec));
	memcpy(rec, v.mv_data, v.mv_size);
	v.mv_data = rec;
	assert_int_equal(mdb_put(txn, fx->db[DB_CREDS], &b, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	assert_int_equal(store_creds_open(fx, &c), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FX_TEST(sealed_on_disk_and_opened_for_use),
	    FX_TEST(replacing_keeps_the_number),
	    FX_TEST(removing),
	    FX_TEST(roles_get_their_numbers),
	    FX_TEST(bounds),
	    FX_TEST(bad_input_is_refused),
	    FX_TEST(tampered_records_do_not_open),
	    FX_TEST(moved_secret_does_not_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
