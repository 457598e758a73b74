/* A list of servers in a descriptor: what the master reads, what it refuses
 * to touch. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "master/bulk.h"
#include "master/control_bulk.h"

#include "shm/base/log.h"

static uint8_t mem[65536];
static struct pack k;
static struct bulk b;
static char err[STORE_ERR];

static void
head(uint32_t count)
{
	pack_init(&k, mem, sizeof(mem));
	pack_u32(&k, BULK_MAGIC);
	pack_u32(&k, BULK_VERSION);
	pack_u32(&k, count);
}

static void
record(uint32_t line, const char *subject, const char *role)
{
	pack_u32(&k, line);
	pack_str(&k, subject);
	pack_str(&k, role);
	pack_u64(&k, 77);
	pack_str(&k, "name");
	pack_str(&k, "note");
}

static int
file(unsigned seals)
{
	int fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, k.p, k.len), k.len);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void
refused(int fd, const char *says)
{
	assert_int_equal(bulk_map(&b, fd, err), -EPROTO);
	if (strstr(err, says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err, says);
	close(fd);
}

static void
two_records(void **state)
{
	struct store_server s;
	uint32_t line;
	int fd;

	(void)state;
	head(2);
	record(2, "a$@R", "fci");
	record(9, "S-1-5-32-544", "exchange");
	fd = file(BULK_SEALS);
	assert_int_equal(bulk_map(&b, fd, err), 0);
	close(fd);
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(bulk_next(&b, &s, &line), 1);
		assert_int_equal(line, 2);
		assert_string_equal(s.subject, "a$@R");
		assert_int_equal(s.role, SERVER_FCI);
		assert_int_equal(s.expires, 77);
		assert_string_equal(s.name, "name");
		assert_string_equal(s.note, "note");
		assert_int_equal(bulk_next(&b, &s, &line), 1);
		assert_int_equal(line, 9);
		assert_int_equal(s.role, SERVER_EXCHANGE);
		assert_int_equal(bulk_next(&b, &s, &line), 0);
		bulk_rewind(&b);
	}
	bulk_unmap(&b);
	head(0);
	assert_int_equal(bulk_open(&b, k.p, k.len, err), 0);
	assert_int_equal(bulk_next(&b, &s, &line), 0);
}

/* A file that can shrink would end the master in the middle of it. */
static void
files_that_can_change(void **state)
{
	int p[2];

	(void)state;
	head(1);
	record(2, "a$@R", "fci");
	refused(file(0), "not sealed");
	refused(file(F_SEAL_WRITE | F_SEAL_GROW), "not sealed");
	refused(file(F_SEAL_GROW | F_SEAL_SHRINK), "not sealed");
	refused(open("/dev/zero", O_RDONLY | O_CLOEXEC), "not sealed");
	refused(open("/etc/passwd", O_RDONLY | O_CLOEXEC), "not sealed");
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	close(p[1]);
	refused(p[0], "not sealed");
	k.len = BULK_HEAD - 1;
	refused(file(BULK_SEALS), "too short");
}

static void
files_that_are_too_long(void **state)
{
	int fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	(void)state;
	/* a hole costs nothing */
	assert_int_equal(ftruncate(fd, (off_t)BULK_BYTES_MAX + 1), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, BULK_SEALS), 0);
	refused(fd, "too long");
}

static void
heads_that_lie(void **state)
{
	(void)state;
	head(1);
	record(2, "a$@R", "fci");
	mem[0] ^= 1;
	assert_int_equal(bulk_open(&b, k.p, k.len, err), -EPROTO);
	mem[0] ^= 1;
	mem[4] ^= 1;
	assert_int_equal(bulk_open(&b, k.p, k.len, err), -EPROTO);
	mem[4] ^= 1;
	assert_int_equal(bulk_open(&b, k.p, k.len, err), 0);
	head(TABLE_ENTRIES_MAX + 1);
	assert_int_equal(bulk_open(&b, k.p, sizeof(mem), err), -EPROTO);
	head(3);
	record(2, "a$@R", "fci");
	/* more than could be there */
	assert_int_equal(bulk_open(&b, k.p, k.len, err), -EPROTO);
	assert_int_equal(bulk_open(&b, k.p, 11, err), -EPROTO);
}

static int
one_record(void)
{
	struct store_server s;
	uint32_t line;

	assert_int_equal(bulk_open(&b, k.p, k.len, err), 0);
	return bulk_next(&b, &s, &line);
}

static void
records_that_are_none(void **state)
{
	struct store_server s;
	uint32_t line;
	char big[TABLE_KEY_MAX + 1];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	head(1);
	record(2, big, "fci");
	assert_int_equal(one_record(), -EPROTO);
	big[BULK_SUBJECT_MAX] = '\0';
	head(1);
	record(2, big, "fci");
	assert_int_equal(one_record(), 1);
	head(1);
	record(2, "a$@R", "king");
	assert_int_equal(one_record(), -EPROTO);
	head(1);
	record(2, "a$@R", "fci");
	mem[BULK_HEAD + 8 + 1] = '\0'; /* in the subject */
	assert_int_equal(one_record(), -EPROTO);
	head(1);
	record(2, "a$@R", "fci");
	k.len--;
	assert_int_equal(one_record(), -EPROTO);
	head(1);
	record(2, "a$@R", "fci");
	record(3, "b$@R", "fci");
	assert_int_equal(one_record(), 1);
	/* what is behind the last one is no part of the list */
	assert_int_equal(bulk_next(&b, &s, &line), -EPROTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_records),
	    cmocka_unit_test(files_that_can_change),
	    cmocka_unit_test(files_that_are_too_long),
	    cmocka_unit_test(heads_that_lie),
	    cmocka_unit_test(records_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
