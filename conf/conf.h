/*
 * conf: the configuration of a node and of its organisation, as one struct.
 *
 * The master fills it from rms-connector.conf (conf_file.h) and from the
 * store's settings, and sends each child the members that the .def files give
 * its role (conf_view_pack); in a child the others hold their defaults.
 * Texts live inside the struct, so a struct conf may be copied and compared;
 * it holds no secret.
 */
#ifndef RMS_CONF_H
#define RMS_CONF_H

#include <stdbool.h>
#include <stdio.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/role.h"
#include "shm/table.h"

#define CONF_TEXT_MAX	   512 /* any text or path with its NUL */
#define CONF_LISTENERS_MAX 16
#define CONF_NETS_MAX	   32 /* of a list of networks */
#define CONF_CERTS_MAX	   8  /* certificates of a listener */

#define CONF_C_INT  int64_t
#define CONF_C_SIZE int64_t
#define CONF_C_TIME int64_t
#define CONF_C_BOOL bool
#define CONF_C_STR  struct conf_text
#define CONF_C_PATH struct conf_text
#define CONF_C_ENUM struct conf_text

struct conf_text {
	char s[CONF_TEXT_MAX];
};

struct conf_listener {
	char name[64];
#define LCONF(name, type, def, min, max, text) CONF_C_##type name;
#include "conf/conf.def"
};

struct conf {
#define CONF(name, type, def, min, max, roles, reload, text) CONF_C_##type name;
#include "conf/conf.def"
#define SETTING(name, type, def, min, max, roles, check, text) \
	CONF_C_##type name;
#include "conf/settings.def"

	size_t nlisteners;
	struct conf_listener listener[CONF_LISTENERS_MAX];

	/* Filled by the master from the store, sent to relays: the number of
	 * the credential for each role, 0 when there is none. */
	uint32_t role_credential[SERVER_ROLE_MAX];
};

enum conf_type {
	CONF_T_INT,
	CONF_T_SIZE,
	CONF_T_TIME,
	CONF_T_BOOL,
	CONF_T_STR,
	CONF_T_PATH,
	CONF_T_ENUM,
};

enum conf_reload { CONF_LIVE, CONF_RESTART };

/* One directive or setting, as data. */
struct conf_row {
	const char *name;
	enum conf_type type;
	const char *def; /* as text; for ENUM all choices, the first is it */
	int64_t min, max;
	unsigned roles; /* ROLE_BIT mask */
	enum conf_reload reload;
	const char *text;
	size_t offset; /* in struct conf (or struct conf_listener) */
	/* A further check of a text that is not empty (check.h), or NULL. */
	const char *(*check)(const char *text);
};

/* Tables; *n_r is their length. */
const struct conf_row *conf_rows(size_t *n_r);
const struct conf_row *conf_listener_rows(size_t *n_r);
const struct conf_row *conf_settings(size_t *n_r);

/* By exact name, NULL when there is none. */
const struct conf_row *conf_row_find(const struct conf_row *rows, size_t n,
				     const char *name);
/* The name most like `name`, or NULL when none is near enough. */
const char *conf_row_nearest(const struct conf_row *rows, size_t n,
			     const char *name);

/* The file at this place (from 0) of a directive that check_paths() found
 * good; false, and "", behind the last. */
bool conf_path_at(const struct conf_text *list, size_t place,
		  char path_r[CONF_TEXT_MAX]);
/* How many there are. */
size_t conf_paths(const struct conf_text *list);

/* Every member at its default, no listener. */
void conf_defaults(struct conf *c);
void conf_listener_defaults(struct conf_listener *l);
/* The default as a person writes it: the first choice, "16M", "15s". */
void conf_row_default(const struct conf_row *row, char out_r[CONF_TEXT_MAX]);
/* What it may be, for people: "1k to 1M", "info, err or debug", "true or
 * false", "a path". */
void conf_row_bounds(const struct conf_row *row, char out_r[CONF_TEXT_MAX]);

/*
 * Checks text and stores it in the member at base + row->offset.  0; else
 * -EINVAL or -ERANGE with one line in err: "what, why, what would do".
 */
MUST_USE int conf_row_set(const struct conf_row *row, void *base,
			  const char *text, char *err, size_t err_size);
/* The bounds of row->type without a text: what a received value must meet. */
MUST_USE bool conf_row_ok(const struct conf_row *row, const void *base);
/* The member as text that conf_row_set() takes; always fits CONF_TEXT_MAX. */
void conf_row_get(const struct conf_row *row, const void *base,
		  char out_r[CONF_TEXT_MAX]);

/*
 * One setting of the organisation by name.  0; -ENOENT for an unknown name
 * (err suggests the nearest one), -EINVAL, -ERANGE.
 */
MUST_USE int conf_setting_set(struct conf *c, const char *name,
			      const char *text, char *err, size_t err_size);
MUST_USE int conf_setting_get(const struct conf *c, const char *name,
			      char out_r[CONF_TEXT_MAX]);

/*
 * The role's members, for CONF_VIEW.  Relays also get the listeners, without
 * their files (PATH members), and role_credential.  Bytes written, 0 when
 * they do not fit.
 */
MUST_USE size_t conf_view_pack(const struct conf *c, enum role role, void *body,
			       size_t size);
/* 0, or -EPROTO with *c_r at its defaults. */
MUST_USE int conf_view_unpack(struct conf *c_r, enum role role,
			      const void *body, size_t len);

/*
 * Names of RESTART directives that differ between a and b, separated by
 * commas, in out (cut at a whole name when it is too small); the number of
 * them.  Listeners are not looked at: what of them can change while running
 * is for the one who holds the sockets to say.
 */
size_t conf_restart_diff(const struct conf *a, const struct conf *b, char *out,
			 size_t size);

/* Token endpoint in force: token_url, else made from cloud and tenant_id.
 * false, with out empty, when neither is set. */
bool conf_token_url(const struct conf *c, char *out, size_t size);

/* The tenant's name, for all who have to agree whether it is the same one:
 * tenant_url without a slash at its end.  false, with out empty, when it is
 * not set, or does not fit. */
bool conf_tenant_base(const struct conf *c, char *out, size_t size);

#endif
