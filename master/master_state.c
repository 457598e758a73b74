/*
 * Purpose: open the sealing key and the store, and never make a new key for
 *          secrets that were sealed under another.
 *
 * Runs in: the master, before its loop.
 * Trusts:  the configuration, which was checked.
 * Touches: state_dir, the sealing key's file.
 * Failure: -errno and a line that says what would do; no new key is left.
 */
#include "master/master_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/seal.h"
#include "master/store.h"
#include "shm/base/log.h"

#define STORE_PATH (CONF_TEXT_MAX + 8)

static void
store_path(const struct conf *c, char path[STORE_PATH])
{
	snprintf(path, STORE_PATH, "%s/store", c->state_dir.s);
}

static int
state_dir_make(const struct conf *c, char err[MASTER_ERR])
{
	int r;

	if (mkdir(c->state_dir.s, 0700) == 0 || errno == EEXIST)
		return 0;
	r = -errno;
	snprintf(err, MASTER_ERR,
		 "%s: cannot be made: %s; make it, or set state_dir",
		 c->state_dir.s, strerror(-r));
	return r;
}

/* The number of credentials in the store, 0 when there is no store; -errno
 * with a line when it is one that we cannot open anyway. */
static int
secrets_count(const char *path, char err[MASTER_ERR])
{
	struct store_cred list[MSG_CREDS_MAX];
	char why[STORE_ERR] = "";
	struct store *st;
	int n;

	if (access(path, F_OK) != 0 && errno == ENOENT)
		return 0;
	n = store_open(&st, path, NULL, why);
	if (n == -ENOENT)
		return 0;
	if (n != 0) {
		snprintf(err, MASTER_ERR, "%s", why);
		return n;
	}
	n = store_creds_list(st, list);
	store_close(&st);
	if (n < 0)
		snprintf(err, MASTER_ERR, "%s: %s", path, strerror(-n));
	return n;
}

/* The key's file is not there: is it the first start, or was it lost? */
static int
key_make(struct master *m, const char *path, char err[MASTER_ERR])
{
	const char *key = m->conf.sealing_key_file.s;
	int n = secrets_count(path, err);

	if (n < 0)
		return n;
	if (n == 0)
		return seal_load(&m->seal, key, true, err, MASTER_ERR);
	snprintf(
	    err, MASTER_ERR,
	    "sealing key %.200s is missing, and store %.210s holds %d "
	    "credential%s "
	    "sealed under it; restore the file from its backup; if there "
	    "is none, run `rms-connectord -c %.350s --forget-credentials`, "
	    "start, and add the credentials again",
	    key, path, n, n == 1 ? "" : "s", m->conf_path);
	return -ENOENT;
}

int
master_state_open(struct master *m, char err[MASTER_ERR])
{
	const char *key = m->conf.sealing_key_file.s;
	char path[STORE_PATH], why[STORE_ERR] = "";
	int r = state_dir_make(&m->conf, err);

	if (r != 0)
		return r;
	store_path(&m->conf, path);
	if (access(key, F_OK) != 0 && errno == ENOENT)
		r = key_make(m, path, err);
	else
		r = seal_load(&m->seal, key, false, err, MASTER_ERR);
	if (r != 0)
		return r;
	r = store_open(&m->store, path, m->seal, why);
	if (r == 0)
		r = store_settings_get(m->store, &m->conf);
	if (r != 0 && why[0] != '\0')
		snprintf(err, MASTER_ERR, "%s", why);
	else if (r != 0)
		snprintf(err, MASTER_ERR, "%s: %s", path, strerror(-r));
	return r;
}

void
master_state_close(struct master *m)
{
	if (m->store != NULL)
		store_close(&m->store);
	if (m->seal != NULL)
		seal_free(&m->seal);
}

static int
forget_all(struct store *st, char why[STORE_ERR])
{
	struct store_cred list[MSG_CREDS_MAX];
	struct store_author who;
	int r, n = store_creds_list(st, list);

	if (n < 0) {
		snprintf(why, STORE_ERR, "the credentials cannot be read: %s",
			 strerror(-n));
		return n;
	}
	snprintf(who.name, sizeof(who.name),
		 "uid %u, rms-connectord --forget-credentials",
		 (unsigned)getuid());
	for (int i = 0; i < n; i++) {
		r = store_cred_remove(st, list[i].name, &who, why);
		if (r != 0)
			return r;
	}
	return n;
}

int
master_state_forget(const struct conf *c, char err[MASTER_ERR])
{
	char path[STORE_PATH], why[STORE_ERR] = "";
	struct store *st;
	int r;

	store_path(c, path);
	if (access(path, F_OK) != 0 && errno == ENOENT) {
		snprintf(err, MASTER_ERR, "there is no store in %s", path);
		return -ENOENT;
	}
	r = store_open(&st, path, NULL, why);
	if (r == 0) {
		r = forget_all(st, why);
		store_close(&st);
	}
	if (r < 0)
		snprintf(err, MASTER_ERR, "%s", why);
	return r;
}
