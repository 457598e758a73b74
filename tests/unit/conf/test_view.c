/*
 * The view: a role gets its members and no other; a body that is not exactly
 * one is refused and leaves the defaults.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "conf/conf.h"
#include "shm/base/log.h"

static struct conf a, b, defaults;
static uint8_t body[65536];

static int
fill(void **state)
{
	(void)state;
	conf_defaults(&defaults);
	conf_defaults(&a);
	a.idle_timeout_ms = 5000;		   /* R */
	a.keeper_queue_max = 7;			   /* K */
	a.token_timeout_ms = 1234;		   /* C */
	a.connection_auth = true;		   /* R */
	memcpy(a.krb5_config.s, "/krb5.conf", 11); /* M K */
	memcpy(a.keytab.s, "/secret.keytab", 15);  /* M */
	memcpy(a.tenant_url.s, "https://t", 10);   /* M R C */
	memcpy(a.tenant_id.s, "contoso", 8);	   /* M C */
	a.nlisteners = 2;
	for (size_t i = 0; i < 2; i++) {
		conf_listener_defaults(&a.listener[i]);
		a.listener[i].name[0] = (char)('a' + i);
		a.listener[i].port = (int64_t)(8000 + i);
	}
	a.listener[1].tls = true;
	memcpy(a.listener[1].connection_auth.s, "true", 5);
	memcpy(a.listener[1].key.s, "/secret.key", 12);
	a.role_credential[SERVER_EXCHANGE] = 3;
	a.role_credential[SERVER_FCI] = 9;
	return 0;
}

static void
test_relay(void **state)
{
	size_t len = conf_view_pack(&a, ROLE_RELAY, body, sizeof(body));

	(void)state;
	assert_true(len > 0 && len <= sizeof(body));
	assert_int_equal(conf_view_unpack(&b, ROLE_RELAY, body, len), 0);
	assert_int_equal(b.idle_timeout_ms, 5000);
	assert_true(b.connection_auth);
	assert_string_equal(b.listener[0].connection_auth.s, "node");
	assert_string_equal(b.listener[1].connection_auth.s, "true");
	assert_string_equal(b.tenant_url.s, "https://t");
	assert_int_equal(b.nlisteners, 2);
	assert_string_equal(b.listener[1].name, "b");
	assert_int_equal(b.listener[1].port, 8001);
	assert_true(b.listener[1].tls);
	assert_memory_equal(b.role_credential, a.role_credential,
			    sizeof(b.role_credential));
	/* What is not a relay's business is not in the message at all. */
	assert_string_equal(b.keytab.s, "");
	assert_string_equal(b.tenant_id.s, "");
	assert_string_equal(b.listener[1].key.s, "");
	assert_int_equal(b.keeper_queue_max, defaults.keeper_queue_max);
	assert_null(memmem(body, len, "secret", 6));
	assert_null(memmem(body, len, "contoso", 7));
}

static void
test_others(void **state)
{
	size_t len = conf_view_pack(&a, ROLE_KEEPER, body, sizeof(body));

	(void)state;
	assert_int_equal(conf_view_unpack(&b, ROLE_KEEPER, body, len), 0);
	assert_int_equal(b.keeper_queue_max, 7);
	assert_string_equal(b.krb5_config.s, "/krb5.conf");
	assert_int_equal(b.nlisteners, 0);
	assert_string_equal(b.tenant_url.s, "");
	/* Nor is that of a build with other members. */
	body[0] ^= 1;
	assert_int_equal(conf_view_unpack(&b, ROLE_KEEPER, body, len), -EPROTO);
	body[0] ^= 1;
	/* One role's view is not another's. */
	assert_int_equal(conf_view_unpack(&b, ROLE_CLOUD, body, len), -EPROTO);
	len = conf_view_pack(&a, ROLE_CLOUD, body, sizeof(body));
	assert_int_equal(conf_view_unpack(&b, ROLE_CLOUD, body, len), 0);
	assert_int_equal(b.token_timeout_ms, 1234);
	assert_string_equal(b.tenant_id.s, "contoso");
}

static void
test_room(void **state)
{
	size_t len = conf_view_pack(&a, ROLE_RELAY, body, sizeof(body));

	(void)state;
	for (size_t i = 0; i < len; i++)
		assert_int_equal(conf_view_pack(&a, ROLE_RELAY, body, i), 0);
	assert_int_equal(conf_view_pack(&a, ROLE_RELAY, body, len), len);
}

static void
test_cut_or_longer(void **state)
{
	size_t len = conf_view_pack(&a, ROLE_RELAY, body, sizeof(body));

	(void)state;
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(conf_view_unpack(&b, ROLE_RELAY, body, i),
				 -EPROTO);
		assert_memory_equal(&b, &defaults, sizeof(b));
	}
	body[len] = 0;
	assert_int_equal(conf_view_unpack(&b, ROLE_RELAY, body, len + 1),
			 -EPROTO);
}

/* The sender is checked too: a value out of bounds is not taken. */
static void
test_bounds(void **state)
{
	size_t len;

	(void)state;
	a.idle_timeout_ms = -1;
	len = conf_view_pack(&a, ROLE_RELAY, body, sizeof(body));
	assert_int_equal(conf_view_unpack(&b, ROLE_RELAY, body, len), -EPROTO);
	fill(NULL);
	memcpy(a.log_level.s, "loud", 5);
	len = conf_view_pack(&a, ROLE_RELAY, body, sizeof(body));
	assert_int_equal(conf_view_unpack(&b, ROLE_RELAY, body, len), -EPROTO);
	fill(NULL);
	a.listener[0].port = 65536;
	len = conf_view_pack(&a, ROLE_RELAY, body, sizeof(body));
	assert_int_equal(conf_view_unpack(&b, ROLE_RELAY, body, len), -EPROTO);
	assert_int_equal(b.nlisteners, 0);
	fill(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_relay, fill),
	    cmocka_unit_test_setup(test_others, fill),
	    cmocka_unit_test_setup(test_room, fill),
	    cmocka_unit_test_setup(test_cut_or_longer, fill),
	    cmocka_unit_test_setup(test_bounds, fill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
