/*
 * Fields of messages: written, read, and refused when they are not there.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/pack.h"
#include "shm/base/log.h"

static uint8_t mem[256];

static void
fields_come_back_in_order(void **state)
{
	struct pack k;
	struct unpack u;
	char text[16];

	(void)state;
	pack_init(&k, mem, sizeof(mem));
	pack_u8(&k, 0xfe);
	pack_u16(&k, 0x1234);
	pack_u32(&k, 0xdeadbeef);
	pack_u64(&k, UINT64_C(0x0123456789abcdef));
	pack_str(&k, "text");
	pack_str(&k, NULL);
	pack_slice(&k, SLICE_LIT("sl\0ice"));
	pack_blob(&k, "\1\2", 2);
	assert_false(k.full);
	assert_memory_equal(mem + 1, "\x34\x12\xef\xbe\xad\xde", 6);

	unpack_init(&u, mem, k.len);
	assert_int_equal(unpack_u8(&u), 0xfe);
	assert_int_equal(unpack_u16(&u), 0x1234);
	assert_true(unpack_u32(&u) == 0xdeadbeef);
	assert_true(unpack_u64(&u) == UINT64_C(0x0123456789abcdef));
	unpack_str(&u, text, sizeof(text));
	assert_string_equal(text, "text");
	unpack_str(&u, text, sizeof(text));
	assert_string_equal(text, "");
	assert_true(slice_eq(unpack_slice(&u), SLICE_LIT("sl\0ice")));
	assert_false(unpack_done(&u)); /* something is left */
	assert_int_equal(unpack_slice(&u).len, 2);
	assert_true(unpack_done(&u));
}

static void
a_full_packer_stays_full_and_writes_no_further(void **state)
{
	struct pack k;

	(void)state;
	memset(mem, 0x55, sizeof(mem));
	pack_init(&k, mem, 10);
	pack_u64(&k, 1);
	pack_u32(&k, 2); /* does not fit */
	assert_true(k.full);
	pack_u8(&k, 3); /* would, but comes too late */
	assert_int_equal(k.len, 8);
	assert_int_equal(mem[8], 0x55);
	pack_init(&k, mem, 10);
	pack_blob(&k, mem + 50, 7);
	assert_true(k.full);
	assert_int_equal(mem[10], 0x55);
	pack_init(&k, mem, 10);
	pack_blob(&k, mem + 50, SIZE_MAX);
	assert_true(k.full);
}

static void
after_the_first_missing_field_all_read_as_nothing(void **state)
{
	struct unpack u;
	char text[8] = "old";

	(void)state;
	memset(mem, 0x11, sizeof(mem));
	unpack_init(&u, mem, 3);
	assert_int_equal(unpack_u32(&u), 0);
	assert_int_equal(unpack_u8(&u), 0); /* although one byte is there */
	assert_int_equal(unpack_slice(&u).len, 0);
	assert_non_null(unpack_slice(&u).p);
	unpack_str(&u, text, sizeof(text));
	assert_string_equal(text, "");
	assert_false(unpack_done(&u));
}

static void
lengths_beyond_the_end_are_refused(void **state)
{
	struct unpack u;

	(void)state;
	memcpy(mem,
	       "\xff\xff\xff\xff"
	       "abcdefgh",
	       12);
	unpack_init(&u, mem, 12);
	assert_int_equal(unpack_slice(&u).len, 0);
	assert_true(u.bad);
	memcpy(mem,
	       "\x09\0\0\0"
	       "abcdefgh",
	       12);
	unpack_init(&u, mem, 12);
	assert_int_equal(unpack_slice(&u).len, 0);
	assert_true(u.bad);
	mem[0] = 8;
	unpack_init(&u, mem, 12);
	assert_int_equal(unpack_slice(&u).len, 8);
	assert_true(unpack_done(&u));
}

static void
text_that_does_not_fit_or_holds_a_nul_is_refused(void **state)
{
	struct unpack u;
	char text[4];

	(void)state;
	memcpy(mem,
	       "\4\0\0\0"
	       "abcd",
	       8);
	unpack_init(&u, mem, 8);
	unpack_str(&u, text, sizeof(text));
	assert_true(u.bad);
	assert_string_equal(text, "");
	memcpy(mem,
	       "\3\0\0\0"
	       "a\0c",
	       7);
	unpack_init(&u, mem, 7);
	unpack_str(&u, text, sizeof(text));
	assert_true(u.bad);
	assert_string_equal(text, "");
	mem[5] = 'b';
	unpack_init(&u, mem, 7);
	unpack_str(&u, text, sizeof(text));
	assert_true(unpack_done(&u));
	assert_string_equal(text, "abc");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_come_back_in_order),
	    cmocka_unit_test(a_full_packer_stays_full_and_writes_no_further),
	    cmocka_unit_test(after_the_first_missing_field_all_read_as_nothing),
	    cmocka_unit_test(lengths_beyond_the_end_are_refused),
	    cmocka_unit_test(text_that_does_not_fit_or_holds_a_nul_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
