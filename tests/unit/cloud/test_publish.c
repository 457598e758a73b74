/*
 * What relays read of what the agent writes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "worker/cloud/publish.h"

static struct token_value v;

static struct publish *
open_new(int *fd_r)
{
	const char *why = "";
	struct publish *p;

	*fd_r = pub_create("token", sizeof(v), TOKEN_LAYOUT);
	assert_true(*fd_r >= 0);
	p = publish_new(*fd_r, &why);
	if (p == NULL)
		fail_msg("%s", why);
	return p;
}

static uint64_t
reader(int fd)
{
	const char *why;
	struct pub *r = pub_map(fd, sizeof(v), TOKEN_LAYOUT, false, &why);
	uint64_t seq;

	assert_non_null(r);
	seq = pub_read(r, &v);
	pub_unmap(&r);
	return seq;
}

static void
test_write_only_changes(void **state)
{
	int fd;
	struct publish *p = open_new(&fd);
	uint64_t seq;

	(void)state;
	assert_false(publish_write(p));
	assert_int_equal(reader(fd), 0);
	publish_value(p)->slot[0].credential = 7;
	assert_true(publish_write(p));
	assert_false(publish_write(p));
	seq = reader(fd);
	assert_true(seq > 0);
	assert_int_equal(v.slot[0].credential, 7);
	publish_free(&p);
	close(fd);
}

static void
test_addresses(void **state)
{
	static const struct addr_set none;
	struct addr_set one;
	int fd;
	struct publish *p = open_new(&fd);

	(void)state;
	assert_int_equal(addr_set_parse(&one, "10.0.0.1,2001:db8::1"), 0);
	publish_addrs(p, "a.test", &one, false);
	publish_write(p);
	reader(fd);
	assert_int_equal(v.naddr, 2);
	assert_int_equal(v.addr_serial, 1);
	assert_string_equal(v.host, "a.test");
	/* A failed look-up keeps them; the same again is no news. */
	publish_addrs(p, "a.test", &none, true);
	publish_addrs(p, "a.test", &one, true);
	publish_write(p);
	reader(fd);
	assert_int_equal(v.naddr, 2);
	assert_int_equal(v.dns_failed, 1);
	assert_int_equal(v.addr_serial, 1);
	/* Another host: the old ones are not its. */
	publish_addrs(p, "b.test", &none, false);
	publish_write(p);
	reader(fd);
	assert_int_equal(v.naddr, 0);
	assert_int_equal(v.addr_serial, 2);
	assert_string_equal(v.host, "b.test");
	publish_free(&p);
	close(fd);
}

/* What relays reported of an address goes where the address goes. */
static void
test_bad_addresses_stay_bad(void **state)
{
	struct addr_set one, two;
	int fd;
	struct publish *p = open_new(&fd);

	(void)state;
	assert_int_equal(addr_set_parse(&one, "10.0.0.1,10.0.0.2,10.0.0.3"), 0);
	assert_int_equal(addr_set_parse(&two, "10.0.0.3,10.0.0.4,10.0.0.1"), 0);
	publish_addrs(p, "a.test", &one, false);
	publish_value(p)->health.bad[1] = 7;
	publish_value(p)->health.bad[2] = 8;
	publish_addrs(p, "a.test", &two, false);
	publish_write(p);
	reader(fd);
	for (uint32_t i = 0; i < TOKEN_ADDRS_MAX; i++)
		assert_int_equal(v.health.bad[i],
				 i < 3 && v.addr[i].bytes[3] == 3 ? 8 : 0);
	/* They say nothing of another host there. */
	publish_addrs(p, "b.test", &two, false);
	publish_write(p);
	reader(fd);
	for (uint32_t i = 0; i < TOKEN_ADDRS_MAX; i++)
		assert_int_equal(v.health.bad[i], 0);
	publish_free(&p);
	close(fd);
}

static void
test_next_writer_goes_on(void **state)
{
	struct addr_set one;
	const char *why;
	int fd;
	struct publish *p = open_new(&fd);

	(void)state;
	assert_int_equal(addr_set_parse(&one, "10.0.0.1"), 0);
	publish_addrs(p, "a.test", &one, false);
	publish_value(p)->slot[2].serial = 41;
	publish_write(p);
	publish_free(&p);
	assert_null(p);
	p = publish_new(fd, &why);
	assert_non_null(p);
	assert_int_equal(publish_value(p)->slot[2].serial, 41);
	assert_int_equal(publish_value(p)->naddr, 1);
	assert_false(publish_write(p));
	publish_free(&p);
	close(fd);
}

static void
test_refuses_another_shape(void **state)
{
	const char *why = NULL;
	int fd = pub_create("token", 64, TOKEN_LAYOUT);

	(void)state;
	assert_true(fd >= 0);
	assert_null(publish_new(fd, &why));
	assert_non_null(why);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_write_only_changes),
	    cmocka_unit_test(test_addresses),
	    cmocka_unit_test(test_bad_addresses_stay_bad),
	    cmocka_unit_test(test_next_writer_goes_on),
	    cmocka_unit_test(test_refuses_another_shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
