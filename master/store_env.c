/*
 * Purpose: the files under the store: directory, lock, LMDB's environment.
 *
 * Runs in: the master, in its one thread.
 * Trusts:  nobody but the master's account may enter the directory; that is
 *          checked.  A file that was cut short is seen, other damage is found
 *          where it is read.
 * Touches: the store's directory.
 * Failure: -errno and a line that says what would do; the files stay as they
 *          were found.
 */
#include "master/store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"

/* --- directory and lock ------------------------------------------------ */

/* A new directory is on disk only when its parent is. */
static int
parent_sync(int dir_fd)
{
	int fd = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) != 0 ? -errno : 0;

	fd_close(&fd);
	return r;
}

int
store_dir_open(struct store *st, char *err)
{
	bool made = mkdir(st->dir, 0700) == 0;
	struct stat sb;

	if (!made && errno != EEXIST)
		return store_fail(err, -errno,
				  "store directory %s cannot be made: %s",
				  st->dir, strerror(errno));
	st->dir_fd = open(st->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->dir_fd < 0 || fstat(st->dir_fd, &sb) != 0)
		return store_fail(err, -errno,
				  "store directory %s cannot be opened: %s",
				  st->dir, strerror(errno));
	if (sb.st_uid != geteuid())
		return store_fail(
		    err, -EACCES,
		    "store directory %s belongs to uid %u, not to us (uid "
		    "%u); chown it, with what is in it",
		    st->dir, sb.st_uid, geteuid());
	if ((sb.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return store_fail(
		    err, -EACCES,
		    "store directory %s is open to others (mode %03o); chmod "
		    "700 it",
		    st->dir, sb.st_mode & 0777U);
	if (made && parent_sync(st->dir_fd) != 0)
		log_warn("store directory %s may be lost by a power failure: "
			 "%s",
			 st->dir, strerror(errno));
	return 0;
}

/* Who has the lock, as far as its file tells. */
static void
lock_holder(int fd, char who[32])
{
	ssize_t n = pread(fd, who, 31, 0);
	uint64_t pid;

	while (n > 0 && who[n - 1] == '\n')
		n--;
	if (n <= 0 ||
	    str_u64((struct slice){who, (size_t)n}, INT32_MAX, &pid) != 0)
		(void)snprintf(who, 32, "unknown pid");
	else
		(void)snprintf(who, 32, "pid %u", (unsigned)pid);
}

/*
 * A master that was killed may leave a child between fork and exec, which
 * holds the lock until it execs or ends: so the next one tries a little.
 */
static int
lock_wait(int fd)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	int r = -1;

	for (int i = 0; i < 100; i++) {
		r = flock(fd, LOCK_EX | LOCK_NB);
		if (r == 0 || errno != EWOULDBLOCK)
			break;
		(void)nanosleep(&pause, NULL);
		errno = EWOULDBLOCK;
	}
	return r;
}

/*
 * flock(), because LMDB's own fcntl locks are the process's and vanish with
 * any close of the file, and because this one ends with the process however
 * it ends.  The file stays: removing it would let two holders in.
 */
int
store_lock_take(struct store *st, char *err)
{
	char who[32];
	int n;

	st->lock_fd = openat(st->dir_fd, "master.lock",
			     O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (st->lock_fd < 0)
		return store_fail(err, -errno, "%s/master.lock: %s", st->dir,
				  strerror(errno));
	if (lock_wait(st->lock_fd) != 0) {
		if (errno != EWOULDBLOCK)
			return store_fail(err, -errno, "%s/master.lock: %s",
					  st->dir, strerror(errno));
		lock_holder(st->lock_fd, who);
		return store_fail(
		    err, -EBUSY,
		    "store %s is in use by another master (%s); stop that one "
		    "first, or give this one a store of its own",
		    st->dir, who);
	}
	n = snprintf(who, sizeof(who), "%d\n", (int)getpid());
	/* Only a help for people: a full disk must not keep us from reading. */
	if (ftruncate(st->lock_fd, 0) != 0 ||
	    pwrite(st->lock_fd, who, (size_t)n, 0) != n)
		log_warn("%s/master.lock: pid not written: %s", st->dir,
			 strerror(errno));
	return 0;
}

/* --- is there a store, was there one ---------------------------------------
 */

/*
 * An empty data.mdb is what LMDB makes a new one of.  It is also what is left
 * when a copy ran out of disk or a file system was repaired: taken for new,
 * the connector would refuse everybody and say nothing of what was lost.  So a
 * file of its own remembers that a store was made.
 */
#define MADE_FILE "made"

/* For those who have no backup. */
#define START_ANEW                                                       \
	"remove the directory to start anew (settings, credentials and " \
	"servers have to be given again then)"

static const char made_text[] =
    "A store was made here: data.mdb, when missing or empty, was lost.\n";

static bool
file_is(struct store *st, const char *name)
{
	return faccessat(st->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int
file_lost(struct store *st, const char *what, char *err)
{
	return store_fail(
	    err, -EUCLEAN,
	    "store %s: data.mdb %s, but a store was made here before; restore "
	    "it from a backup, or " START_ANEW,
	    st->dir, what);
}

int
store_file_look(struct store *st, char *err)
{
	struct stat sb;
	bool there = fstatat(st->dir_fd, "data.mdb", &sb, 0) == 0;

	if (!there && errno != ENOENT)
		return store_fail(err, -errno, "%s/data.mdb: %s", st->dir,
				  strerror(errno));
	if (there && sb.st_size > 0)
		return 0;
	/* LMDB makes lock.mdb first: without it, an empty file is not what a
	 * first start left that was broken off, but a copy that failed. */
	if (file_is(st, MADE_FILE) || (there && !file_is(st, "lock.mdb")))
		return file_lost(st, there ? "is empty" : "is missing", err);
	return -ENOENT;
}

int
store_file_hollow(struct store *st, char *err)
{
	return file_is(st, MADE_FILE) ? file_lost(st, "holds nothing", err)
				      : -ENOENT;
}

void
store_file_made(struct store *st)
{
	int fd, r;

	if (file_is(st, MADE_FILE))
		return;
	fd = openat(st->dir_fd, MADE_FILE,
		    O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = fd < 0 ? -errno
		   : fd_write_all(fd, made_text, sizeof(made_text) - 1);
	if (fd >= 0 && (fsync(fd) != 0 || fsync(st->dir_fd) != 0))
		r = -errno;
	fd_close(&fd);
	/* What it is for is lost, the store is not. */
	if (r != 0)
		log_warn("%s/" MADE_FILE ": %s; should data.mdb be lost, the "
			 "next start would not notice",
			 st->dir, strerror(-r));
}

/* --- LMDB --------------------------------------------------------------- */

/* How many pages from `first` on are on LMDB's list of free ones, which is
 * its database 0: the values are a count and that many page numbers. */
static int
free_from(MDB_env *env, size_t first, size_t *n_r)
{
	MDB_cursor *c = NULL;
	MDB_val k, v;
	MDB_txn *txn;
	size_t id;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	*n_r = 0;
	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(txn, 0, &c);
	while (rc == 0 && (rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0)
		for (size_t i = sizeof(id); i < v.mv_size; i += sizeof(id)) {
			memcpy(&id, (char *)v.mv_data + i, sizeof(id));
			*n_r += id >= first;
		}
	if (c != NULL)
		mdb_cursor_close(c);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/*
 * A file that was cut short (a copy that ran out of disk) would end the
 * process with SIGBUS at the first page beyond its end, so it is refused.  It
 * may be short by right only of free pages: LMDB does not write those that a
 * transaction took and gave back.  To look at the list of free pages, which
 * may itself be beyond the end, the file is made long again with a hole.
 */
static int
file_check(MDB_env *env, int fd)
{
	MDB_envinfo info;
	MDB_stat ms;
	struct stat sb;
	size_t have, need, unused;
	int rc = mdb_env_info(env, &info);

	if (rc == 0)
		rc = mdb_env_stat(env, &ms);
	if (rc != 0)
		return rc;
	if (fstat(fd, &sb) != 0)
		return errno;
	have = (size_t)sb.st_size / ms.ms_psize;
	need = info.me_last_pgno + 1;
	if (have >= need)
		return 0;
	if (ftruncate(fd, (off_t)(need * ms.ms_psize)) != 0)
		return errno;
	rc = free_from(env, have, &unused);
	if (rc == 0 && unused < need - have)
		rc = MDB_CORRUPTED;
	/* As we found it, for whoever wants to rescue something. */
	if (rc != 0 && ftruncate(fd, sb.st_size) != 0)
		log_warn("a cut store could not be left as it was: %s",
			 strerror(errno));
	return rc;
}

/* LMDB ends the process after this. */
static void
on_assert(MDB_env *env, const char *what)
{
	(void)env;
	log_err("the store is damaged; restore it from a backup (%s)", what);
}

static int
env_settle(struct store *st, MDB_env *env)
{
	MDB_envinfo info;
	int fd, dead, rc = mdb_env_set_assert(env, on_assert);

	if (rc == 0)
		rc = mdb_env_get_fd(env, &fd);
	if (rc == 0 && fd_cloexec(fd, true) != 0)
		rc = EBADF;
	/* Readers that were killed hold pages for ever. */
	if (rc == 0)
		rc = mdb_reader_check(env, &dead);
	if (rc == 0)
		rc = file_check(env, fd);
	if (rc == 0)
		rc = mdb_env_info(env, &info);
	if (rc == 0)
		st->map_size = info.me_mapsize; /* at least what is used */
	return rc;
}

/*
 * Durable as LMDB can be: no NOSYNC, NOMETASYNC, WRITEMAP or MAPASYNC, and
 * fresh pages are zeroed.  NOTLS lets the one thread have several readers.
 */
int
store_env_open(struct store *st, char *err)
{
	MDB_env *env = NULL;
	int rc;

	rc = mdb_env_create(&env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(env, DB_MAX + 2);
	if (rc == 0)
		rc = mdb_env_set_mapsize(env, st->map_size);
	if (rc == 0)
		rc = mdb_env_open(env, st->dir, MDB_NOTLS, 0600);
	if (rc == 0) {
		BUG_ON(mdb_env_get_maxkeysize(env) < SUBJECT_MAX + 1);
		rc = env_settle(st, env);
	}
	if (rc != 0) {
		if (env != NULL)
			mdb_env_close(env);
		return store_fail(
		    err, store_errno(rc), "store %s cannot be opened: %s%s",
		    st->dir, mdb_strerror(rc),
		    store_errno(rc) == -EUCLEAN
			? "; restore it from a backup, or " START_ANEW
			: "");
	}
	st->env = env;
	return 0;
}
