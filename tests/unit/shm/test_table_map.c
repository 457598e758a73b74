/*
 * The authorization table: what is built, and what it refuses to map.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shm/base/fd.h"
#include "tests/unit/shm/table_fixture.h"

/* --- building
 * ---------------------------------------------------------------------- */

static void
duplicates_are_refused(void **state)
{
	struct table_in in[] = {
	    BY_SID(1, USER, SERVER_EXCHANGE),
	    BY_NAME(2, "a@R", SERVER_FCI),
	    BY_SID(3, USER, SERVER_FCI),
	};
	struct table *t;

	(void)state;
	assert_int_equal(table_build(in, 3, 1), -EEXIST);
	in[2] = BY_NAME(3, "a@R", SERVER_EXCHANGE);
	assert_int_equal(table_build(in, 3, 1), -EEXIST);
	/* The same text as another kind is another key. */
	in[2] = BY_CERT(3, "a@R", SERVER_EXCHANGE);
	t = build(in, 3);
	assert_int_equal(table_len(t), 3);
	table_unmap(&t);
}

static void
entries_out_of_bounds_are_refused(void **state)
{
	static char big[TABLE_KEY_MAX + 1];
	const struct table_in good = BY_NAME(1, "a@R", SERVER_FCI);
	struct table_in in = good;

	(void)state;
	memset(big, 'x', sizeof(big));
	in.id = 0;
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	in = good;
	in.role = SERVER_NONE;
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	in.role = SERVER_ROLE_MAX;
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	in = good;
	in.kind = (enum subject_kind)0;
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	in.kind = SUBJECT_CERT + 1;
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	in = good;
	in.key.len = 0;
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	in.key = (struct slice){big, TABLE_KEY_MAX + 1};
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	in = good;
	in.name = (struct slice){big, TABLE_NAME_MAX + 1};
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	in = good;
	in.kind = SUBJECT_SID; /* "a@R" is none */
	assert_int_equal(table_build(&in, 1, 1), -EINVAL);
	assert_int_equal(table_build(&good, TABLE_ENTRIES_MAX + 1UL, 1),
			 -E2BIG);
	/* The largest of both are fine. */
	in = good;
	in.key = (struct slice){big, TABLE_KEY_MAX};
	in.name = (struct slice){big, TABLE_NAME_MAX};
	{
		struct table *t = build(&in, 1);

		table_unmap(&t);
	}
}

static void
the_snapshot_is_sealed_and_read_only(void **state)
{
	struct table_in in[] = {BY_SID(1, USER, SERVER_EXCHANGE)};
	int fd = table_build(in, 1, 1), rw;
	char path[64];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS) & 15, 15);
	assert_ptr_equal(
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
	    MAP_FAILED);
	/* Nor after opening it again for writing, which Linux lets one do. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rw = open(path, O_RDWR | O_CLOEXEC);
	if (rw >= 0) {
		assert_ptr_equal(
		    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0),
		    MAP_FAILED);
		assert_int_equal(pwrite(rw, "x", 1, 0), -1);
		assert_int_equal(ftruncate(rw, 0), -1);
		close(rw);
	}
	close(fd);
}

/* --- a snapshot that is not one
 * --------------------------------------------------- */

static _Alignas(8) uint8_t good[4096], bad[4096];
static size_t good_len;

static void
load_good(void)
{
	struct table_in in[] = {
	    BY_SID(1, USER, SERVER_EXCHANGE),
	    BY_NAME(2, "a@R", SERVER_FCI),
	    BY_SID(3, GROUP_A, SERVER_FCI),
	};
	int fd = table_build(in, 3, 1);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	good_len = (size_t)st.st_size;
	assert_true(good_len <= sizeof(good));
	assert_int_equal(pread(fd, good, good_len, 0), good_len);
	memcpy(bad, good, good_len);
	close(fd);
}

/* Maps `bad`; with a fresh checksum when asked. */
static struct table *
map_bad(size_t len, bool sum, const char **why_r)
{
	uint64_t c;
	struct table *t;
	int rw, ro;

	if (sum) {
		c = table_checksum(bad, len);
		memcpy(bad + offsetof(struct table_head, checksum), &c, 8);
	}
	rw = fd_memfd_sealed("bad", bad, len);
	assert_true(rw >= 0);
	ro = fd_reopen_ro(rw);
	close(rw);
	assert_true(ro >= 0);
	*why_r = NULL;
	t = table_map(ro, why_r);
	close(ro);
	assert_true((t == NULL) == (*why_r != NULL));
	return t;
}

static void
every_head_field_is_checked_and_not_only_by_the_checksum(void **state)
{
	static const struct {
		size_t off, len;
	} fields[] = {
#define F(f) \
	{offsetof(struct table_head, f), sizeof(((struct table_head *)0)->f)}
	    F(magic),	    F(layout),	 F(size), F(slots_off), F(filter_off),
	    F(entries_off), F(text_off), F(n),	  F(nslots),
	};
	const char *why;
	struct table *t;

	(void)state;
	load_good();
	t = map_bad(good_len, true, &why);
	assert_non_null(t);
	table_unmap(&t);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		for (size_t bit = 0; bit < 8 * fields[i].len; bit++) {
			memcpy(bad, good, good_len);
			bad[fields[i].off + bit / 8] ^=
			    (uint8_t)(1U << (bit % 8));
			assert_null(map_bad(good_len, true, &why));
		}
	}
}

/* It would be an account that is refused without a word. */
static void
a_filter_that_leaves_an_entry_out_is_refused(void **state)
{
	struct table_head h;
	const char *why;
	size_t cleared = 0;

	(void)state;
	load_good();
	memcpy(&h, good, sizeof(h));
	for (size_t i = 0; i < 8 * (size_t)h.nslots; i++) {
		uint8_t bit = (uint8_t)(1U << i % 8);

		if ((good[h.filter_off + i / 8] & bit) == 0)
			continue;
		memcpy(bad, good, good_len);
		bad[h.filter_off + i / 8] &= (uint8_t)~bit;
		assert_null(map_bad(good_len, true, &why));
		assert_string_equal(why,
				    "table entry that the filter leaves out");
		cleared++;
	}
	assert_true(cleared > 0 && cleared <= h.n);
}

static void
a_flipped_bit_anywhere_is_refused(void **state)
{
	const char *why;

	(void)state;
	load_good();
	for (size_t i = 0; i < good_len; i++) {
		memcpy(bad, good, good_len);
		bad[i] ^= 0x10;
		assert_null(map_bad(good_len, false, &why));
	}
	memcpy(bad, good, good_len);
	for (size_t len = 0; len < good_len; len += 3)
		assert_null(map_bad(len, false, &why));
	assert_null(map_bad(good_len + 8, true, &why));
}

/* Whatever the body says behind a good checksum: refused, or harmless. */
static void
a_wrong_body_never_leads_outside(void **state)
{
	uint32_t rnd = 12345;
	size_t refused = 0;
	const char *why;

	(void)state;
	load_good();
	for (int i = 0; i < 4000; i++) {
		struct table *t;

		memcpy(bad, good, good_len);
		for (int k = 0; k < 3; k++) {
			rnd = rnd * 1664525 + 1013904223;
			bad[sizeof(struct table_head) +
			    (rnd >> 8) %
				(good_len - sizeof(struct table_head))] =
			    (uint8_t)(rnd >> 24);
		}
		t = map_bad(good_len, true, &why);
		if (t == NULL) {
			refused++;
			continue;
		}
		person(MECH_KERBEROS, "a@R");
		has_sid(SID_USER, USER);
		has_sid(SID_GROUP, GROUP_A);
		has_sid(SID_GROUP, STRANGER);
		(void)decide(t);
		table_unmap(&t);
	}
	assert_true(refused > 1000);
}

/* An entry that nobody can find, and slots that leave a probe no end. */
static void
slots_that_do_not_match_the_entries_are_refused(void **state)
{
	struct table_slot *slots = (void *)(bad + sizeof(struct table_head));
	struct table_head h;
	const char *why;

	(void)state;
	load_good();
	memcpy(&h, good, sizeof(h));
	for (uint32_t i = 0; i < h.nslots; i++)
		if (slots[i].entry == 2)
			slots[i].entry = 0;
	assert_null(map_bad(good_len, true, &why));
	memcpy(bad, good, good_len);
	for (uint32_t i = 0; i < h.nslots; i++)
		slots[i].entry = 1;
	assert_null(map_bad(good_len, true, &why));
	memcpy(bad, good, good_len);
	for (uint32_t i = 0; i < h.nslots; i++)
		if (slots[i].entry == 3)
			slots[i].entry = 4;
	assert_null(map_bad(good_len, true, &why));
}

static void
an_unsealed_snapshot_is_refused(void **state)
{
	const char *why = NULL;
	int fd;

	(void)state;
	load_good();
	fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(write(fd, good, good_len), good_len);
	assert_null(table_map(fd, &why));
	assert_string_equal(why, "table is not sealed");
	/* Size sealed, contents not: the writer could change its mind. */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK),
			 0);
	assert_null(table_map(fd, &why));
	close(fd);
	assert_null(table_map(-1, &why));
	assert_null(table_map(STDIN_FILENO, &why));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(duplicates_are_refused),
	    cmocka_unit_test(entries_out_of_bounds_are_refused),
	    cmocka_unit_test(the_snapshot_is_sealed_and_read_only),
	    cmocka_unit_test(
		every_head_field_is_checked_and_not_only_by_the_checksum),
	    cmocka_unit_test(a_filter_that_leaves_an_entry_out_is_refused),
	    cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
	    cmocka_unit_test(a_wrong_body_never_leads_outside),
	    cmocka_unit_test(slots_that_do_not_match_the_entries_are_refused),
	    cmocka_unit_test(an_unsealed_snapshot_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
