/*
 * store: every write and sync of a change fails once, in every way.
 *
 * This program's own pwrite(), writev() and fdatasync() stand before the C
 * library's for LMDB, too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "tests/unit/master/store_fixture.h"

enum fault {
	FAULT_NONE,
	FAULT_NOTHING, /* nothing is written */
	FAULT_HALF,    /* a part is, and said so */
	FAULT_ALL,     /* all is, and an error reported */
};

static enum fault fault;
static unsigned fault_at; /* the n-th call ... */
static bool fault_stays;  /* ... and those after it */
static int fault_errno;
static unsigned calls;
static bool armed; /* within a change: others write, too */

/* What was called since the start of a change, in order. */
enum call { CALL_PAGE, CALL_META, CALL_META_SYNCED, CALL_SYNC };
static enum call order[64];

static enum fault
next_call(enum call c)
{
	if (calls < ARRAY_LEN(order))
		order[calls] = c;
	calls++;
	if (fault == FAULT_NONE || calls < fault_at)
		return FAULT_NONE;
	if (calls == fault_at)
		return fault;
	return fault_stays ? FAULT_NOTHING : FAULT_NONE;
}

static ssize_t
do_write(int fd, const struct iovec *v, int n, off_t off)
{
	struct iovec half = {v[0].iov_base, v[0].iov_len / 2};
	enum call c = off >= 2 * 4096			    ? CALL_PAGE
		      : (fcntl(fd, F_GETFL) & O_DSYNC) != 0 ? CALL_META_SYNCED
							    : CALL_META;

	switch (next_call(c)) {
	case FAULT_NOTHING:
		errno = fault_errno;
		return -1;
	case FAULT_HALF:
		return syscall(SYS_pwritev, fd, &half, 1, off, 0);
	case FAULT_ALL:
		(void)syscall(SYS_pwritev, fd, v, n, off, 0);
		errno = fault_errno;
		return -1;
	case FAULT_NONE:
		break;
	}
	return syscall(SYS_pwritev, fd, v, n, off, 0);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t off)
{
	struct iovec v = {(void *)(uintptr_t)data, len};

	return do_write(fd, &v, 1, off);
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off_t off)
{
	return pwrite(fd, data, len, off);
}

/* LMDB writes runs of pages with lseek() and writev(). */
ssize_t
writev(int fd, const struct iovec *v, int n)
{
	off_t off = lseek(fd, 0, SEEK_CUR);

	if (!armed || off < 0)
		return syscall(SYS_writev, fd, v, n);
	return do_write(fd, v, n, off);
}

int
fdatasync(int fd)
{
	enum fault f = next_call(CALL_SYNC);

	if (f == FAULT_NOTHING || f == FAULT_HALF) {
		errno = fault_errno;
		return -1;
	}
	if (syscall(SYS_fdatasync, fd) != 0)
		return -1;
	errno = fault_errno;
	return f == FAULT_ALL ? -1 : 0;
}

static int
change(unsigned i)
{
	char subject[64];
	int r;

	(void)snprintf(subject, sizeof(subject), "s%u@LAB.TEST", i);
	armed = true;
	r = fx_add(subject, SERVER_FCI);
	armed = false;
	return r;
}

/* Pages, then a sync, then the meta page through a synchronous descriptor:
 * what was acknowledged survives a power failure. */
static void
on_disk_before_it_is_acknowledged(void **state)
{
	unsigned i = 0;

	(void)state;
	calls = 0;
	assert_true(change(1) > 0);
	assert_true(calls >= 3 && calls <= ARRAY_LEN(order));
	while (order[i] == CALL_PAGE)
		i++;
	assert_true(i > 0);
	assert_int_equal(order[i], CALL_SYNC);
	assert_int_equal(order[i + 1], CALL_META_SYNCED);
	assert_int_equal(calls, i + 2);
}

/* All of it or nothing, and the next change succeeds. */
static void
one_fault(enum fault f, unsigned at, bool stays, int e, unsigned *n)
{
	uint64_t before = store_generation(fx);
	struct store_server s;
	char subject[64];
	int r;

	fault = f;
	fault_at = at;
	fault_stays = stays;
	fault_errno = e;
	calls = 0;
	++*n;
	r = change(*n);
	fault = FAULT_NONE;
	(void)snprintf(subject, sizeof(subject), "s%u@LAB.TEST", *n);
	if (r > 0) {
		assert_int_equal(store_generation(fx), before + 1);
		assert_int_equal(store_server_find(fx, subject, &s), 0);
	} else {
		assert_true(r == -e || r == -EIO);
		fx_says("nothing was changed");
		assert_int_equal(store_generation(fx), before);
		assert_int_equal(store_server_find(fx, subject, &s), -ENOENT);
	}
	++*n;
	assert_true(change(*n) > 0);
	fx_agrees(fx, 0);
	/* Another master sees the same. */
	before = store_generation(fx);
	fx_reopen();
	assert_int_equal(store_generation(fx), before);
}

static void
every_write_fails_once(void **state)
{
	static const enum fault kinds[] = {FAULT_NOTHING, FAULT_HALF,
					   FAULT_ALL};
	unsigned n = 0, fired = 0;

	(void)state;
	log_set_level((enum log_level)0);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (unsigned stays = 0; stays < 2; stays++) {
			unsigned at = 1;

			do {
				one_fault(kinds[k], at, stays == 1,
					  k == 0 ? ENOSPC : EIO, &n);
				fired += calls >= at;
			} while (calls >= at++);
		}
	assert_true(fired >= 3 * 2 * 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FX_TEST(on_disk_before_it_is_acknowledged),
	    FX_TEST(every_write_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
