/* master_state: a key and a store that belong together, or a start that says
 * what is missing and leaves everything as it was. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "master/master_state.h"

#include "tests/unit/master/store_fixture.h"

static struct master m;
static char line[MASTER_ERR];

/* The fixture's store and key as a master would have them. */
static int
setup(void **state)
{
	int r = fx_setup(state);

	m = (struct master){.event_fd = -1};
	conf_defaults(&m.conf);
	(void)snprintf(m.conf_path, sizeof(m.conf_path), "/etc/my.conf");
	(void)snprintf(m.conf.state_dir.s, sizeof(m.conf.state_dir.s), "%s",
		       fx_top);
	(void)snprintf(m.conf.sealing_key_file.s,
		       sizeof(m.conf.sealing_key_file.s), "%s", fx_key);
	return r;
}

static int
teardown(void **state)
{
	master_state_close(&m);
	return fx_teardown(state);
}

static void
opens(void)
{
	int r = master_state_open(&m, line);

	if (r != 0)
		print_error("%s\n", line);
	assert_int_equal(r, 0);
}

static void
refused(int e, const char *says)
{
	line[0] = '\0';
	assert_int_equal(master_state_open(&m, line), e);
	if (strstr(line, says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", line, says);
	master_state_close(&m);
}

static void
first_start_makes_both(void **state)
{
	char cmd[256];

	(void)state;
	store_close(&fx);
	(void)snprintf(cmd, sizeof(cmd), "rm -r %s %s", fx_dir, fx_key);
	assert_int_equal(system(cmd), 0);
	opens();
	assert_int_equal(access(fx_key, F_OK), 0);
	assert_int_equal(store_generation(m.store), 0);
	master_state_close(&m);
	opens(); /* and the next one uses them */
}

/* What is missing is said, and nothing takes its place. */
static void
missing_key_is_not_replaced(void **state)
{
	(void)state;
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	assert_int_equal(fx_cred("super", "id-2", "secret"), 0);
	store_close(&fx);
	assert_int_equal(unlink(fx_key), 0);
	for (int i = 0; i < 2; i++) { /* also not the second time */
		refused(-ENOENT, "missing");
		assert_non_null(strstr(line, fx_key));
		assert_non_null(strstr(line, fx_dir));
		assert_non_null(strstr(line, "backup"));
		assert_non_null(strstr(line, "2 credentials"));
		assert_non_null(strstr(
		    line,
		    "rms-connectord -c /etc/my.conf --forget-credentials"));
		assert_int_equal(access(fx_key, F_OK), -1);
	}
}

static void
missing_key_of_no_secret_is_made(void **state)
{
	(void)state;
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	assert_true(fx_add("S-1-5-21-1-2-3-500", SERVER_EXCHANGE) > 0);
	/* One that was, and is no more, keeps nobody from a new key. */
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	assert_int_equal(store_cred_remove(fx, "default", &fx_who, fx_err), 0);
	store_close(&fx);
	assert_int_equal(unlink(fx_key), 0);
	opens();
	assert_int_equal(access(fx_key, F_OK), 0);
	assert_string_equal(m.conf.tenant_id.s, "contoso.test");
	assert_int_equal(store_servers_count(m.store), 1);
	master_state_close(&m);
	opens(); /* sealed under the new one for good */
}

/* No key is made for a store that is refused anyway. */
static void
refused_store_makes_no_key(void **state)
{
	(void)state;
	store_close(&fx);
	assert_int_equal(unlink(fx_key), 0);
	assert_int_equal(chmod(fx_dir, 0755), 0);
	refused(-EACCES, "open to others");
	assert_int_equal(access(fx_key, F_OK), -1);
	assert_int_equal(chmod(fx_dir, 0700), 0);
}

static void
wrong_key_says_what_would_do(void **state)
{
	(void)state;
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	store_close(&fx);
	seal_free(&fx_seal);
	assert_int_equal(unlink(fx_key), 0);
	assert_int_equal(
	    seal_load(&fx_seal, fx_key, true, fx_err, sizeof(fx_err)), 0);
	refused(-EBADMSG, "not the one");
	assert_non_null(strstr(line, "--forget-credentials"));
}

static void
forgetting_makes_way_for_a_new_key(void **state)
{
	struct store_change h[4];
	struct msg_creds creds;

	(void)state;
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	assert_int_equal(fx_cred("super", "id-2", "secret"), 0);
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	store_close(&fx);
	assert_int_equal(unlink(fx_key), 0);
	assert_int_equal(master_state_forget(&m.conf, line), 2);
	assert_int_equal(access(fx_key, F_OK), -1);
	assert_int_equal(master_state_forget(&m.conf, line), 0);
	opens();
	assert_string_equal(m.conf.tenant_id.s, "contoso.test");
	assert_int_equal(store_creds_open(m.store, &creds), 0);
	assert_int_equal(creds.n, 0);
	assert_int_equal(store_history(m.store, h, 4), 4);
	assert_string_equal(h[0].what,
			    "remove credential super: client id \"id-2\"");
	assert_non_null(strstr(h[0].author, "--forget-credentials"));
	/* Given again, they open. */
	assert_int_equal(store_cred_put(m.store, CRED_CLOUD, "default", "id-3",
					slice_of("other"), &fx_who, fx_err),
			 0);
	master_state_close(&m);
	opens();
	assert_int_equal(store_creds_open(m.store, &creds), 0);
	assert_string_equal(creds.cred[0].secret, "other");
}

/* Never under a master that runs, and never where no store is. */
static void
forgetting_needs_a_store_of_its_own(void **state)
{
	char cmd[256];

	(void)state;
	assert_int_equal(fx_cred("default", "id-1", "secret"), 0);
	assert_int_equal(master_state_forget(&m.conf, line), -EBUSY);
	assert_non_null(strstr(line, "in use"));
	store_close(&fx);
	(void)snprintf(cmd, sizeof(cmd), "rm -r %s", fx_dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(master_state_forget(&m.conf, line), -ENOENT);
	assert_non_null(strstr(line, "no store"));
	assert_int_equal(access(fx_dir, F_OK), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(first_start_makes_both),
	    T(missing_key_is_not_replaced),
	    T(missing_key_of_no_secret_is_made),
	    T(refused_store_makes_no_key),
	    T(wrong_key_says_what_would_do),
	    T(forgetting_makes_way_for_a_new_key),
	    T(forgetting_needs_a_store_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
