/* seal: what is sealed opens under its key and context, and nothing else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/seal.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

#define SECRET "s3cret of the cloud, never on disk"

static char dir[64];
static char path[96];
static char err[512];

static int
setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/test_seal.XXXXXX");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/sealing.key", dir);
	err[0] = '\0';
	return 0;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static struct seal *
load(void)
{
	struct seal *s;

	assert_int_equal(seal_load(&s, path, true, err, sizeof(err)), 0);
	return s;
}

static void
write_key(size_t len, mode_t mode, int fill)
{
	char data[64];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0 && len <= sizeof(data));
	memset(data, fill, sizeof(data));
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
refused(int e, const char *says)
{
	struct seal *s = (struct seal *)(uintptr_t)1;

	err[0] = '\0';
	assert_int_equal(seal_load(&s, path, false, err, sizeof(err)), e);
	assert_null(s);
	assert_non_null(strstr(err, path));
	assert_non_null(strstr(err, says));
}

static void
round_trip(void **state)
{
	static const size_t lens[] = {0, 1, 15, 16, 17, 1023, SEAL_PLAIN_MAX};
	char *in = calloc(1, SEAL_PLAIN_MAX), *out = calloc(1, SEAL_PLAIN_MAX);
	uint8_t *sealed = calloc(1, SEAL_PLAIN_MAX + SEAL_OVERHEAD);
	struct seal *s = load();
	ssize_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		memset(in, (int)i + 1, SEAL_PLAIN_MAX);
		n = seal_close(s, SLICE_LIT("a"), in, lens[i], sealed);
		assert_int_equal(n, (ssize_t)(lens[i] + SEAL_OVERHEAD));
		n = seal_open(s, SLICE_LIT("a"), sealed, (size_t)n, out);
		assert_int_equal(n, (ssize_t)lens[i]);
		assert_memory_equal(in, out, lens[i]);
	}
	assert_int_equal(seal_close(s, SLICE_LIT("a"), in,
				    (size_t)SEAL_PLAIN_MAX + 1, sealed),
			 -EMSGSIZE);
	free(in);
	free(out);
	free(sealed);
	seal_free(&s);
	assert_null(s);
	seal_free(&s);
}

static void
hides_and_never_repeats(void **state)
{
	uint8_t a[sizeof(SECRET) + SEAL_OVERHEAD];
	uint8_t b[sizeof(SECRET) + SEAL_OVERHEAD];
	struct seal *s = load();

	(void)state;
	assert_true(seal_close(s, SLICE_LIT("x"), SECRET, sizeof(SECRET), a) >
		    0);
	assert_true(seal_close(s, SLICE_LIT("x"), SECRET, sizeof(SECRET), b) >
		    0);
	assert_null(memmem(a, sizeof(a), SECRET, 4));
	assert_memory_not_equal(a + 1, b + 1, 12);
	assert_memory_not_equal(a + 13, b + 13, sizeof(SECRET));
	seal_free(&s);
}

/* Every bit of every byte, every length but the right one. */
static void
tampering_is_seen(void **state)
{
	uint8_t sealed[sizeof(SECRET) + SEAL_OVERHEAD + 1] = {0};
	uint8_t out[sizeof(sealed)], zeros[sizeof(sealed)] = {0};
	struct slice ctx = SLICE_LIT("credential/1");
	struct seal *s = load();
	ssize_t n = seal_close(s, ctx, SECRET, sizeof(SECRET), sealed);

	(void)state;
	assert_true(n > 0);
	for (size_t i = 0; i < (size_t)n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			sealed[i] ^= (uint8_t)(1U << bit);
			memset(out, 0, sizeof(out));
			assert_int_equal(
			    seal_open(s, ctx, sealed, (size_t)n, out),
			    -EBADMSG);
			assert_memory_equal(out, zeros, sizeof(out));
			sealed[i] ^= (uint8_t)(1U << bit);
		}
	for (size_t len = 0; len <= sizeof(sealed); len++)
		if (len != (size_t)n)
			assert_int_equal(seal_open(s, ctx, sealed, len, out),
					 -EBADMSG);
	assert_int_equal(seal_open(s, ctx, sealed, (size_t)n, out),
			 (ssize_t)sizeof(SECRET));
	seal_free(&s);
}

static void
opens_in_its_place_only(void **state)
{
	uint8_t sealed[sizeof(SECRET) + SEAL_OVERHEAD], out[sizeof(SECRET)];
	struct seal *s = load();

	(void)state;
	assert_true(seal_close(s, SLICE_LIT("credential/1"), SECRET,
			       sizeof(SECRET), sealed) > 0);
	assert_int_equal(seal_open(s, SLICE_LIT("credential/2"), sealed,
				   sizeof(sealed), out),
			 -EBADMSG);
	assert_int_equal(
	    seal_open(s, SLICE_LIT("credential/"), sealed, sizeof(sealed), out),
	    -EBADMSG);
	assert_int_equal(
	    seal_open(s, SLICE_LIT(""), sealed, sizeof(sealed), out), -EBADMSG);
	seal_free(&s);
}

static void
another_key_does_not_open(void **state)
{
	uint8_t sealed[sizeof(SECRET) + SEAL_OVERHEAD], out[sizeof(SECRET)];
	struct seal *a = load(), *b;

	(void)state;
	assert_true(
	    seal_close(a, SLICE_LIT("x"), SECRET, sizeof(SECRET), sealed) > 0);
	assert_int_equal(unlink(path), 0);
	b = load();
	assert_int_equal(
	    seal_open(b, SLICE_LIT("x"), sealed, sizeof(sealed), out),
	    -EBADMSG);
	seal_free(&a);
	seal_free(&b);
}

/* What was sealed by a run of this program opens in the next one. */
static void
key_file_is_made_once(void **state)
{
	uint8_t sealed[sizeof(SECRET) + SEAL_OVERHEAD], out[sizeof(SECRET)];
	struct seal *s = load();
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SEAL_KEY_BYTES);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_nlink, 1); /* no other name is left */
	assert_true(
	    seal_close(s, SLICE_LIT("x"), SECRET, sizeof(SECRET), sealed) > 0);
	seal_free(&s);
	s = load();
	assert_int_equal(
	    seal_open(s, SLICE_LIT("x"), sealed, sizeof(sealed), out),
	    (ssize_t)sizeof(SECRET));
	seal_free(&s);
}

static void
bad_key_files_are_refused(void **state)
{
	(void)state;
	refused(-ENOENT, "No such file");
	write_key(31, 0600, 7);
	refused(-EINVAL, "31 bytes");
	write_key(33, 0600, 7);
	refused(-EINVAL, "33 bytes");
	write_key(0, 0600, 7);
	refused(-EINVAL, "0 bytes");
	write_key(32, 0640, 7);
	refused(-EACCES, "mode 640");
	write_key(32, 0604, 7);
	refused(-EACCES, "open to others");
	write_key(32, 0600, 0);
	refused(-EINVAL, "all zeros");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	refused(-EINVAL, "not a regular file");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0); /* and does not block */
	refused(-EINVAL, "not a regular file");
}

static void
foreign_key_file_is_refused(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: needs root\n");
		skip();
	}
	write_key(32, 0600, 7);
	assert_int_equal(chown(path, 12345, 0), 0);
	refused(-EACCES, "uid 12345");
}

static void
key_cannot_be_made_without_directory(void **state)
{
	struct seal *s;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/nowhere/sealing.key", dir);
	assert_int_equal(seal_load(&s, path, true, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "could not be made"));
}

/* A child that was forked has no key to leak, or to seal wrongly with. */
static void
child_has_no_key(void **state)
{
	struct seal *s = load();
	uint8_t sealed[64];
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
		(void)!seal_close(s, SLICE_LIT("x"), "a", 1, sealed);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	seal_free(&s);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(round_trip),
	    TEST(hides_and_never_repeats),
	    TEST(tampering_is_seen),
	    TEST(opens_in_its_place_only),
	    TEST(another_key_does_not_open),
	    TEST(key_file_is_made_once),
	    TEST(bad_key_files_are_refused),
	    TEST(foreign_key_file_is_refused),
	    TEST(key_cannot_be_made_without_directory),
	    TEST(child_has_no_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
