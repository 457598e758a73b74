/*
 * Purpose: the settings of conf/settings.def, kept for the organisation.
 *
 * A record is: version u8 (1), text in the form of conf_setting_get().  Only
 * what somebody has set is there; the rest has its default.
 *
 * Runs in: the master, in its one thread.
 * Trusts:  nobody: what is stored is checked again when it is read, because
 *          another version of the program may have stored it.
 * Touches: LMDB.
 * Failure: a stored value that is not acceptable here is logged and keeps its
 *          default; refusing to start would leave no way to correct it.
 */
#include "master/store_priv.h"

#include <errno.h>

#include "shm/base/log.h"

#define RECORD_VERSION 1

static bool
record_unpack(struct slice value, char text_r[CONF_TEXT_MAX])
{
	struct unpack u;
	uint8_t version;

	unpack_init(&u, value.p, value.len);
	version = unpack_u8(&u);
	unpack_str(&u, text_r, CONF_TEXT_MAX);
	return unpack_done(&u) && version == RECORD_VERSION;
}

static int
setting_load(void *arg, struct slice key, struct slice value)
{
	char name[64], text[CONF_TEXT_MAX], why[STORE_ERR];

	if (str_copy(name, sizeof(name), key) != 0 ||
	    !record_unpack(value, text)) {
		log_err("store: a setting is damaged and left at its default");
		return 0;
	}
	if (conf_setting_set(arg, name, text, why, sizeof(why)) != 0)
		log_err("store: %s is left at its default: %s", name, why);
	return 0;
}

static int
roles_load(struct store_read *rd, struct conf *c)
{
	char name[64], cred[CONF_TEXT_MAX];
	int r;

	c->role_credential[SERVER_NONE] = 0;
	for (unsigned role = SERVER_NONE + 1; role < SERVER_ROLE_MAX; role++) {
		(void)snprintf(name, sizeof(name), "credential_%s",
			       server_role_name(role));
		r = conf_setting_get(c, name, cred);
		BUG_ON(r != 0); /* settings.def has one for each role */
		r = store_cred_number(rd, cred, &c->role_credential[role]);
		if (r != 0)
			return r;
	}
	return 0;
}

int
store_settings_get(struct store *st, struct conf *c)
{
	struct store_read rd;
	int r = store_read_begin(st, &rd);

	if (r != 0)
		return r;
	r = store_read_each(&rd, DB_SETTINGS, setting_load, c);
	if (r == 0)
		r = roles_load(&rd, c);
	store_read_end(&rd);
	return r;
}

struct set_args {
	const char *name;
	const char *before; /* default, when nothing is stored */
	const char *text;
};

static int
setting_put(struct store_tx *tx, void *arg)
{
	const struct set_args *a = arg;
	uint8_t mem[CONF_TEXT_MAX + 16];
	char old[CONF_TEXT_MAX];
	struct slice value;
	struct pack k;
	int r = store_tx_get(tx, DB_SETTINGS, slice_of(a->name), &value);

	if (r != 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT)
		(void)snprintf(old, sizeof(old), "%s", a->before);
	else if (!record_unpack(value, old))
		(void)snprintf(old, sizeof(old), "(damaged)");
	sbuf_fmt(&tx->what, "set %s: ", a->name);
	store_quote(&tx->what, slice_of(old));
	sbuf_str(&tx->what, " -> ");
	store_quote(&tx->what, slice_of(a->text));
	pack_init(&k, mem, sizeof(mem));
	pack_u8(&k, RECORD_VERSION);
	pack_str(&k, a->text);
	BUG_ON(k.full);
	return store_tx_put(tx, DB_SETTINGS, slice_of(a->name),
			    (struct slice){(char *)k.p, k.len});
}

int
store_setting_set(struct store *st, const char *name, const char *text,
		  const struct store_author *who, char err[STORE_ERR])
{
	char before[CONF_TEXT_MAX], after[CONF_TEXT_MAX];
	struct conf *c = malloc(sizeof(*c)); /* large for a stack */
	struct set_args a = {.name = name, .before = before, .text = after};
	int r;

	err[0] = '\0';
	if (c == NULL)
		return store_fail(err, -ENOMEM, "out of memory");
	conf_defaults(c);
	r = conf_setting_get(c, name, before);
	if (r != 0)
		before[0] = '\0';
	/* Says what is wrong with the name, too. */
	r = conf_setting_set(c, name, text, err, STORE_ERR);
	if (r == 0)
		r = conf_setting_get(c, name, after);
	free(c);
	return r != 0 ? r : store_change(st, who, setting_put, &a, err);
}
