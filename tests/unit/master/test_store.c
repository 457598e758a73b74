/* store: settings, history, undo. */
#include "tests/unit/master/store_fixture.h"

/* --- settings
 * ------------------------------------------------------------------ */

static void
settings_last(void **state)
{
	struct conf *c = malloc(sizeof(*c));

	(void)state;
	assert_int_equal(fx_set("tenant_url", "https://a.rms.eu.aadrm.com"), 0);
	assert_int_equal(fx_set("cloud_path_prefix", "/_wmcs/oauth2"), 0);
	assert_int_equal(store_generation(fx), 2);
	fx_reopen();
	assert_int_equal(store_generation(fx), 2);
	conf_defaults(c);
	assert_int_equal(store_settings_get(fx, c), 0);
	assert_string_equal(c->tenant_url.s, "https://a.rms.eu.aadrm.com");
	assert_string_equal(c->cloud_path_prefix.s, "/_wmcs/oauth2");
	assert_string_equal(c->cloud.s, "AzureCloud"); /* default */
	/* "" is a value too. */
	assert_int_equal(fx_set("tenant_url", ""), 0);
	conf_defaults(c);
	assert_int_equal(store_settings_get(fx, c), 0);
	assert_string_equal(c->tenant_url.s, "");
	free(c);
}

static void
bad_settings_change_nothing(void **state)
{
	(void)state;
	assert_int_equal(fx_set("tenant_urll", "https://a.test"), -ENOENT);
	fx_says("tenant_url");
	assert_int_equal(fx_set("tenant_url", "http://a.test"), -EINVAL);
	assert_true(fx_err[0] != '\0');
	assert_true(fx_set("cloud", "MyCloud") < 0);
	assert_int_equal(store_generation(fx), 0);
	assert_int_equal(fx_agrees(fx, 0), 0);
}

static void
same_value_is_no_change(void **state)
{
	(void)state;
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	assert_int_equal(store_generation(fx), 1);
}

static void
row_write(enum store_db db, const char *key, const void *data, size_t len)
{
	MDB_val k = {strlen(key), (void *)(uintptr_t)key};
	MDB_val v = {len, (void *)(uintptr_t)data};
	MDB_txn *txn;

	assert_int_equal(mdb_txn_begin(fx->env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_put(txn, fx->db[db], &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
}

/* Of another version of the program, or damaged: the others count. */
static void
unacceptable_stored_settings_keep_defaults(void **state)
{
	struct conf *c = malloc(sizeof(*c));

	(void)state;
	assert_int_equal(fx_set("tenant_id", "contoso.test"), 0);
	row_write(DB_SETTINGS, "gone", "\1\1\0\0\0x", 6);
	row_write(DB_SETTINGS, "cloud", "\1\1\0\0\0x", 6);
	row_write(DB_SETTINGS, "token_scope", "\1\377\0\0\0x", 6);
	row_write(DB_SETTINGS, "header_role", "", 0);
	log_set_level((enum log_level)0);
	conf_defaults(c);
	assert_int_equal(store_settings_get(fx, c), 0);
	assert_string_equal(c->tenant_id.s, "contoso.test");
	assert_string_equal(c->cloud.s, "AzureCloud");
	assert_string_equal(c->token_scope.s, "https://aadrm.com/.default");
	assert_string_equal(c->header_role.s, "");
	/* and can be set right */
	assert_int_equal(fx_set("cloud", "AzureChinaCloud"), 0);
	conf_defaults(c);
	assert_int_equal(store_settings_get(fx, c), 0);
	assert_string_equal(c->cloud.s, "AzureChinaCloud");
	free(c);
}

/* --- history
 * ------------------------------------------------------------------- */

static void
history_tells_who_and_what(void **state)
{
	struct store_change h[8];

	(void)state;
	assert_int_equal(store_history(fx, h, 8), 0);
	assert_int_equal(fx_set("tenant_url", "https://a.test"), 0);
	assert_int_equal(fx_set("tenant_url", "https://b.test"), 0);
	assert_int_equal(fx_add("S-1-5-21-1-2-3-500", SERVER_EXCHANGE), 1);
	fx_reopen();
	assert_int_equal(store_history(fx, h, 8), 3);
	assert_int_equal(h[0].generation, 3);
	assert_int_equal(h[2].generation, 1);
	assert_string_equal(h[2].what,
			    "set tenant_url: \"\" -> \"https://a.test\"");
	assert_string_equal(
	    h[1].what,
	    "set tenant_url: \"https://a.test\" -> \"https://b.test\"");
	assert_string_equal(
	    h[0].what, "add server 1: S-1-5-21-1-2-3-500 role exchange name "
		       "\"name of S-1-5-21-1-2-3-500\"");
	for (int i = 0; i < 3; i++)
		assert_string_equal(h[i].author, fx_who.name);
	assert_true(h[0].when >= h[1].when && h[2].when > 1500000000000000000);
	assert_int_equal(store_history(fx, h, 2), 2);
	assert_int_equal(h[1].generation, 2);
	assert_int_equal(store_history(fx, h, 0), 0);
}

static void
history_is_bounded(void **state)
{
	struct store_change h[40];
	char text[32];

	(void)state;
	fx->history_max = 20;
	for (int i = 0; i < 50; i++) {
		(void)snprintf(text, sizeof(text), "t%d.test", i);
		assert_int_equal(fx_set("tenant_id", text), 0);
	}
	assert_int_equal(store_history(fx, h, 40), 20);
	assert_int_equal(h[0].generation, 50);
	assert_int_equal(h[19].generation, 31);
	assert_int_equal(fx_agrees(fx, 1), 20);
}

static int
undo(struct store_tx *tx, void *arg)
{
	uint64_t *g = arg;

	return store_history_revert(tx, *g);
}

static int
undo_of(uint64_t g)
{
	return store_change(fx, &fx_who, undo, &g, fx_err);
}

/* What the history holds is enough to go back, and forward again. */
static void
every_kind_of_change_can_be_taken_back(void **state)
{
	struct store_server s;
	struct msg_creds creds;
	struct conf *c = malloc(sizeof(*c));

	(void)state;
	assert_int_equal(fx_set("tenant_id", "one.test"), 0);	       /* 1 */
	assert_int_equal(fx_set("tenant_id", "two.test"), 0);	       /* 2 */
	assert_int_equal(fx_cred("default", "id-1", "old secret"), 0); /* 3 */
	assert_int_equal(fx_cred("default", "id-2", "new secret"), 0); /* 4 */
	assert_int_equal(fx_add("a@B.TEST", SERVER_FCI), 1);	       /* 5 */
	assert_int_equal(store_server_remove(fx, "1", &fx_who, fx_err),
			 0); /* 6 */
	assert_int_equal(store_cred_remove(fx, "default", &fx_who, fx_err),
			 0); /* 7 */
	assert_int_equal(fx_agrees(fx, 0), 7);

	assert_int_equal(undo_of(7), 0); /* 8 */
	assert_int_equal(store_generation(fx), 8);
	assert_int_equal(store_creds_open(fx, &creds), 0);
	assert_string_equal(creds.cred[0].secret, "new secret");
	assert_int_equal(undo_of(4), 0);
	assert_int_equal(store_creds_open(fx, &creds), 0);
	assert_string_equal(creds.cred[0].secret, "old secret");
	assert_string_equal(creds.cred[0].client_id, "id-1");
	assert_int_equal(undo_of(6), 0);
	assert_int_equal(store_server_find(fx, "a@B.TEST", &s), 0);
	assert_int_equal(s.id, 1);
	/* Not over what has changed since, and then not half. */
	assert_int_equal(undo_of(1), -EUCLEAN);
	fx_says("changed since");
	assert_int_equal(undo_of(99), -ENOENT);
	assert_int_equal(undo_of(2), 0);
	conf_defaults(c);
	assert_int_equal(store_settings_get(fx, c), 0);
	assert_string_equal(c->tenant_id.s, "one.test");
	/* An undo can be undone. */
	assert_int_equal(undo_of(store_generation(fx)), 0);
	conf_defaults(c);
	assert_int_equal(store_settings_get(fx, c), 0);
	assert_string_equal(c->tenant_id.s, "two.test");
	assert_int_equal(fx_agrees(fx, 0), (int)store_generation(fx));
	free(c);
}

static void
author_and_text_cannot_break_a_line(void **state)
{
	char mem[64];
	struct sbuf b;

	(void)state;
	sbuf_init(&b, mem, sizeof(mem));
	store_quote(&b, SLICE_LIT("a\nb\"c\\d\x7f"));
	assert_string_equal(mem, "\"a\\x0Ab\\x22c\\x5Cd\\x7F\"");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FX_TEST(settings_last),
	    FX_TEST(bad_settings_change_nothing),
	    FX_TEST(same_value_is_no_change),
	    FX_TEST(unacceptable_stored_settings_keep_defaults),
	    FX_TEST(history_tells_who_and_what),
	    FX_TEST(history_is_bounded),
	    FX_TEST(every_kind_of_change_can_be_taken_back),
	    FX_TEST(author_and_text_cannot_break_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
