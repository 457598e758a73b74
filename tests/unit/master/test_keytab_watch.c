/*
 * The keytab's file changes in every way that files change.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/keytab_watch.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

static char dir[64], path[128], why[512];
static struct keytab_watch *w;
static int force;

/* A keytab of one key, the last byte of which is `key`. */
static size_t
make(uint8_t out[64], uint8_t key)
{
	static const uint8_t head[] = {
	    5, 2, 0, 0, 0, 36, 0, 1,  0, 1, 'R', 0,   1,   's', 0,   0,	  0,
	    1, 0, 0, 0, 9, 3,  0, 18, 0, 8, 'k', 'k', 'k', 'k', 'k', 'k', 'k'};

	memcpy(out, head, sizeof(head));
	out[sizeof(head)] = key;
	memset(out + sizeof(head) + 1, 0, 6);
	out[5] = (uint8_t)(sizeof(head) + 1 - 6);
	return sizeof(head) + 1;
}

static void
put(const char *to, const void *data, size_t len)
{
	int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, data, len), 0);
	close(fd);
}

static void
put_key(const char *to, uint8_t key)
{
	uint8_t mem[64];
	size_t len = make(mem, key);

	put(to, mem, len);
}

/* One look; what is new comes into force. */
static enum keytab_look
look(void)
{
	int fd;
	enum keytab_look l = keytab_watch_look(w, path, force, clock_real_ns(),
					       &fd, why, sizeof(why));

	assert_int_equal(fd >= 0, l == KEYTAB_NEW);
	if (fd >= 0) {
		fd_close(&force);
		force = fd;
	}
	return l;
}

/* The last byte of the keytab in force. */
static uint8_t
key_in_force(void)
{
	char *data;
	size_t len;
	uint8_t key;

	assert_int_equal(fd_read_all(force, 4096, &data, &len), 0);
	key = (uint8_t)data[len - 1];
	free(data);
	return key;
}

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_watch.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/keytab", dir);
	w = keytab_watch_new();
	assert_non_null(w);
	force = -1;
	put_key(path, 1);
	assert_int_equal(look(), KEYTAB_NEW);
	assert_int_equal(look(), KEYTAB_SAME);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	keytab_watch_free(&w);
	fd_close(&force);
	unlink(path);
	rmdir(dir);
	return 0;
}

static void
test_in_place(void **state)
{
	(void)state;
	put_key(path, 2);
	assert_int_equal(look(), KEYTAB_NEW);
	assert_int_equal(key_in_force(), 2);
	assert_int_equal(look(), KEYTAB_SAME);
}

/* Same size, same times, same file: what the grain of a clock can hide.  Here
 * by a page that is written to again, of which no time tells. */
static void
test_without_a_new_time(void **state)
{
	uint8_t mem[64];
	size_t len = make(mem, 2);
	int fd = open(path, O_RDWR);
	uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)state;
	assert_true(p != MAP_FAILED);
	for (uint8_t key = 2; key < 10; key++) {
		p[len - 1] = key;
		assert_int_equal(look(), KEYTAB_NEW);
		assert_int_equal(key_in_force(), key);
	}
	munmap(p, len);
	close(fd);
}

static void
test_rename(void **state)
{
	char other[160];

	(void)state;
	snprintf(other, sizeof(other), "%s/new", dir);
	put_key(other, 3);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(look(), KEYTAB_NEW);
	assert_int_equal(key_in_force(), 3);
}

/* As volumes of secrets do it: a link to a directory is turned. */
static void
test_link_of_the_way(void **state)
{
	char one[96], two[96], link[96], file[160];

	(void)state;
	snprintf(one, sizeof(one), "%s/one", dir);
	snprintf(two, sizeof(two), "%s/two", dir);
	snprintf(link, sizeof(link), "%s/now", dir);
	for (int i = 0; i < 2; i++) {
		const char *d = i == 0 ? one : two;

		assert_int_equal(mkdir(d, 0700), 0);
		snprintf(file, sizeof(file), "%s/keytab", d);
		put_key(file, (uint8_t)(10 + i));
	}
	assert_int_equal(symlink(one, link), 0);
	unlink(path);
	snprintf(path, sizeof(path), "%s/now/keytab", dir);
	assert_int_equal(look(), KEYTAB_NEW);
	assert_int_equal(key_in_force(), 10);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(look(), KEYTAB_SAME); /* not yet a fault */
	assert_int_equal(symlink(two, link), 0);
	assert_int_equal(look(), KEYTAB_NEW);
	assert_int_equal(key_in_force(), 11);
	for (int i = 0; i < 2; i++) {
		const char *d = i == 0 ? one : two;

		snprintf(file, sizeof(file), "%s/keytab", d);
		unlink(file);
		rmdir(d);
	}
	unlink(link);
}

/* Two looks in a row, then told once, whatever the number of looks. */
static void
bad(const char *word)
{
	assert_int_equal(look(), KEYTAB_SAME); /* perhaps it is being written */
	assert_int_equal(look(), KEYTAB_BAD);
	assert_non_null(strstr(why, word));
	assert_string_equal(keytab_watch_fault(w), why);
	for (int i = 0; i < 5; i++)
		assert_int_equal(look(), KEYTAB_SAME);
	assert_int_equal(key_in_force(), 1);
}

/* The same bytes as before. */
static void
good(void)
{
	assert_int_equal(look(), KEYTAB_GOOD);
	assert_string_equal(keytab_watch_fault(w), "");
	assert_int_equal(look(), KEYTAB_SAME);
}

static void
test_gone(void **state)
{
	(void)state;
	unlink(path);
	bad("No such file");
	put_key(path, 1);
	good();
}

static void
test_directory_that_comes_later(void **state)
{
	char away[160];

	(void)state;
	snprintf(away, sizeof(away), "%s.away", dir);
	assert_int_equal(rename(dir, away), 0);
	bad("No such file");
	assert_int_equal(rename(away, dir), 0);
	put_key(path, 4);
	assert_int_equal(look(), KEYTAB_NEW);
	assert_int_equal(key_in_force(), 4);
}

static void
test_readable_by_others(void **state)
{
	(void)state;
	assert_int_equal(chmod(path, 0640), 0);
	bad("chmod 600");
	assert_int_equal(chmod(path, 0600), 0);
	good();
}

static void
test_not_a_keytab(void **state)
{
	uint8_t mem[64];
	size_t len = make(mem, 5);

	(void)state;
	put(path, mem, 0);
	bad("not a keytab");
	put(path, mem, len - 3); /* another state: told again */
	bad("cut short");
	put(path, mem, len);
	assert_int_equal(look(), KEYTAB_NEW);
	assert_int_equal(key_in_force(), 5);
	assert_string_equal(keytab_watch_fault(w), "");
}

/* kadmin writes entry by entry: what is half there is no fault yet. */
static void
test_writer_at_work(void **state)
{
	uint8_t mem[64];
	size_t len = make(mem, 6);
	int fd = open(path, O_WRONLY | O_TRUNC);

	(void)state;
	assert_int_equal(fd_write_all(fd, mem, len - 3), 0);
	assert_int_equal(look(), KEYTAB_SAME);
	assert_int_equal(fd_write_all(fd, mem + len - 3, 3), 0);
	assert_int_equal(look(), KEYTAB_NEW);
	assert_int_equal(key_in_force(), 6);
	close(fd);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_in_place),
	    TEST(test_without_a_new_time),
	    TEST(test_rename),
	    TEST(test_link_of_the_way),
	    TEST(test_gone),
	    TEST(test_directory_that_comes_later),
	    TEST(test_readable_by_others),
	    TEST(test_not_a_keytab),
	    TEST(test_writer_at_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
