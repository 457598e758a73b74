/*
 * store_fixture: a store of its own for each test, in a scratch folder.
 */
#ifndef RMS_TESTS_STORE_FIXTURE_H
#define RMS_TESTS_STORE_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/seal.h"
#include "master/store_priv.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

static char fx_top[64]; /* scratch folder */
static char fx_dir[96]; /* the store in it */
static char fx_key[96]; /* its sealing key */
static char fx_err[STORE_ERR];
static struct seal *fx_seal;
static struct store *fx;
static const struct store_author fx_who = {"uid 4711 (tester)"};

static inline void
fx_open(void)
{
	int r = store_open(&fx, fx_dir, fx_seal, fx_err);

	if (r != 0)
		print_error("%s\n", fx_err);
	assert_int_equal(r, 0);
}

static inline void
fx_reopen(void)
{
	store_close(&fx);
	fx_open();
}

/* The open is refused with that errno and a line that says all of `says`. */
static inline void
fx_refused(int e, const char *says)
{
	struct store *st = (struct store *)(uintptr_t)1;

	fx_err[0] = '\0';
	assert_int_equal(store_open(&st, fx_dir, fx_seal, fx_err), e);
	assert_null(st);
	if (strstr(fx_err, says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", fx_err, says);
}

static inline int
fx_setup(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERR);
	(void)snprintf(fx_top, sizeof(fx_top), "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(fx_top));
	(void)snprintf(fx_dir, sizeof(fx_dir), "%s/store", fx_top);
	(void)snprintf(fx_key, sizeof(fx_key), "%s/key", fx_top);
	assert_int_equal(
	    seal_load(&fx_seal, fx_key, true, fx_err, sizeof(fx_err)), 0);
	fx_open();
	return 0;
}

static inline int
fx_teardown(void **state)
{
	char cmd[128];

	(void)state;
	store_close(&fx);
	seal_free(&fx_seal);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", fx_top);
	return system(cmd);
}

#define FX_TEST(f) cmocka_unit_test_setup_teardown(f, fx_setup, fx_teardown)

static inline int
fx_add(const char *subject, enum server_role role)
{
	struct store_server s = {.role = role};
	uint32_t id;
	int r;

	(void)snprintf(s.subject, sizeof(s.subject), "%s", subject);
	(void)snprintf(s.name, sizeof(s.name), "name of %.100s", subject);
	r = store_server_add(fx, &s, &fx_who, &id, fx_err);
	return r != 0 ? r : (int)id;
}

static inline int
fx_set(const char *name, const char *text)
{
	return store_setting_set(fx, name, text, &fx_who, fx_err);
}

static inline int
fx_cred(const char *name, const char *client_id, const char *secret)
{
	return store_cred_put(fx, CRED_CLOUD, name, client_id, slice_of(secret),
			      &fx_who, fx_err);
}

static inline void
fx_says(const char *says)
{
	if (strstr(fx_err, says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", fx_err, says);
}

/* --- the store agrees with itself ------------------------------------------
 */

static inline size_t
fx_rows(struct store_tx *tx, enum store_db db)
{
	MDB_stat ms;

	assert_int_equal(mdb_stat(tx->txn, tx->st->db[db], &ms), 0);
	return ms.ms_entries;
}

/*
 * Takes every generation back, newest first; each must find what it left.  In
 * the end nothing may be left when the history goes back to the start.  The
 * transaction is given up then.
 */
static inline int
fx_unwind(struct store_tx *tx, void *arg)
{
	size_t *kept = arg;
	uint64_t g = tx->st->generation;

	assert_int_equal(fx_rows(tx, DB_SERVERS), fx_rows(tx, DB_SUBJECTS));
	for (; g > 0; g--) {
		int r = store_history_revert(tx, g);

		if (tx->map_full)
			return r; /* again, with a larger map */
		if (r == -ENOENT && *kept > 0)
			break; /* older than what is kept */
		if (r != 0)
			fail_msg("%s", tx->err);
	}
	*kept = (size_t)(tx->st->generation - g);
	if (g == 0) {
		assert_int_equal(fx_rows(tx, DB_SETTINGS), 0);
		assert_int_equal(fx_rows(tx, DB_CREDS), 0);
		assert_int_equal(fx_rows(tx, DB_SERVERS), 0);
		assert_int_equal(fx_rows(tx, DB_SUBJECTS), 0);
	}
	return -ECANCELED;
}

/* kept > 0: the history may have been cut.  Number of generations in it. */
static inline size_t
fx_agrees(struct store *st, size_t kept)
{
	char err[STORE_ERR];

	assert_int_equal(store_change(st, &fx_who, fx_unwind, &kept, err),
			 -ECANCELED);
	return kept;
}

#endif
