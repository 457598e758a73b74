/*
 * Purpose: the tables of directives and settings, and what is asked of a
 * whole configuration.
 *
 * Runs in: every process.
 * Trusts:  the .def files.
 * Touches: the struct conf of its caller.
 * Failure: -errno with a line for the person who wrote the text.
 */
#include "conf/conf.h"

#include <errno.h>

#include "conf/check.h"
#include "shm/base/log.h"

/* Defaults as text; BOOL by its value because stdbool.h makes true a 1. */
#define DEF_INT(d)  #d
#define DEF_SIZE(d) #d
#define DEF_TIME(d) #d
#define DEF_BOOL(d) ((d) ? "true" : "false")
#define DEF_STR(d)  d
#define DEF_PATH(d) d
#define DEF_ENUM(d) d

#define CHECK_NONE	      NULL
#define CHECK_HTTPS_URL	      check_https_url
#define CHECK_PATH_PREFIX     check_path_prefix
#define CHECK_TOKEN	      check_token
#define CHECK_HEADER	      check_header
#define CHECK_CREDENTIAL_NAME check_credential_name
#define CHECK_ADDRESS	      check_address
#define CHECK_ADDRESSES	      check_addresses
#define CHECK_SERVERS	      check_servers
#define CHECK_ACCOUNT	      check_account
#define CHECK_NODE_NAME	      check_node_name
#define CHECK_ISSUERS	      check_issuers
#define CHECK_PROXY_URL	      check_proxy_url
#define CHECK_NO_PROXY	      check_no_proxy
#define CHECK_NETWORKS	      check_networks
#define CHECK_PATHS	      check_paths

#define M ROLE_BIT(ROLE_MASTER)
#define R ROLE_BIT(ROLE_RELAY)
#define K ROLE_BIT(ROLE_KEEPER)
#define C ROLE_BIT(ROLE_CLOUD)
#define N ROLE_BIT(ROLE_NTLM)

/* The place of each directive in its table, for the checks by name. */
enum {
#define CONF(name, ...) ROW_##name,
#include "conf/conf.def"
	NROWS
};
enum {
#define LCONF(name, ...) LROW_##name,
#include "conf/conf.def"
	NLROWS
};
enum {
#define SETTING(name, ...) SET_##name,
#include "conf/settings.def"
	NSETTINGS
};

/* .check is left out: a later line of the same table may give it. */
#define ROW(n, t, d, lo, hi, who, when, txt, in)                   \
	{                                                          \
		.name = #n, .type = CONF_T_##t, .def = DEF_##t(d), \
		.min = (lo), .max = (hi), .roles = (who),          \
		.reload = CONF_##when, .text = (txt),              \
		.offset = offsetof(struct in, n)                   \
	}

static const struct conf_row rows[NROWS] = {
#define CONF(name, type, def, min, max, roles, reload, text) \
	[ROW_##name] =                                       \
	    ROW(name, type, def, min, max, roles, reload, text, conf),
#define CONF_CHECK(name, fn) [ROW_##name].check = CHECK_##fn,
#include "conf/conf.def"
};

static const struct conf_row listener_rows[NLROWS] = {
#define LCONF(name, type, def, min, max, text) \
	[LROW_##name] =                        \
	    ROW(name, type, def, min, max, M | R, LIVE, text, conf_listener),
#define LCONF_CHECK(name, fn) [LROW_##name].check = CHECK_##fn,
#include "conf/conf.def"
};

static const struct conf_row settings[NSETTINGS] = {
#define SETTING(name, type, def, min, max, roles, fn, text) \
	[SET_##name] = ROW(name, type, def, min, max, roles, LIVE, text, conf),
#include "conf/settings.def"
#define SETTING(name, type, def, min, max, roles, fn, text) \
	[SET_##name].check = CHECK_##fn,
#include "conf/settings.def"
};

#undef M
#undef R
#undef K
#undef C
#undef N

const struct conf_row *
conf_rows(size_t *n_r)
{
	*n_r = NROWS;
	return rows;
}

const struct conf_row *
conf_listener_rows(size_t *n_r)
{
	*n_r = NLROWS;
	return listener_rows;
}

const struct conf_row *
conf_settings(size_t *n_r)
{
	*n_r = NSETTINGS;
	return settings;
}

static void
set_defaults(const struct conf_row *table, size_t n, void *base)
{
	char def[CONF_TEXT_MAX], err[256];

	for (size_t i = 0; i < n; i++) {
		conf_row_default(&table[i], def);
		BUG_ON(conf_row_set(&table[i], base, def, err, sizeof(err)) !=
		       0);
	}
}

void
conf_listener_defaults(struct conf_listener *l)
{
	memset(l, 0, sizeof(*l));
	set_defaults(listener_rows, NLROWS, l);
}

void
conf_defaults(struct conf *c)
{
	memset(c, 0, sizeof(*c));
	set_defaults(rows, NROWS, c);
	set_defaults(settings, NSETTINGS, c);
}

int
conf_setting_set(struct conf *c, const char *name, const char *text, char *err,
		 size_t err_size)
{
	const struct conf_row *row = conf_row_find(settings, NSETTINGS, name);
	const char *near;
	struct sbuf b;

	if (row != NULL)
		return conf_row_set(row, c, text, err, err_size);
	sbuf_init(&b, err, err_size);
	near = conf_row_nearest(settings, NSETTINGS, name);
	if (conf_row_find(rows, NROWS, name) != NULL)
		sbuf_fmt(
		    &b,
		    "%.64s: a directive of the node, not a setting, change it "
		    "in rms-connector.conf",
		    name);
	else if (near != NULL)
		sbuf_fmt(&b, "%.64s: no such setting, did you mean %s?", name,
			 near);
	else
		sbuf_fmt(
		    &b,
		    "%.64s: no such setting, rmsctl get shows those there are",
		    name);
	return -ENOENT;
}

int
conf_setting_get(const struct conf *c, const char *name,
		 char out_r[CONF_TEXT_MAX])
{
	const struct conf_row *row = conf_row_find(settings, NSETTINGS, name);

	out_r[0] = '\0';
	if (row == NULL)
		return -ENOENT;
	conf_row_get(row, c, out_r);
	return 0;
}

size_t
conf_restart_diff(const struct conf *a, const struct conf *b, char *out,
		  size_t size)
{
	char ta[CONF_TEXT_MAX], tb[CONF_TEXT_MAX];
	struct sbuf list;
	size_t n = 0;

	sbuf_init(&list, out, size);
	for (size_t i = 0; i < NROWS; i++) {
		if (rows[i].reload != CONF_RESTART)
			continue;
		conf_row_get(&rows[i], a, ta);
		conf_row_get(&rows[i], b, tb);
		if (strcmp(ta, tb) == 0)
			continue;
		if (!list.cut)
			sbuf_fmt(&list, "%s%s", n > 0 ? ", " : "",
				 rows[i].name);
		n++;
	}
	return n;
}

bool
conf_token_url(const struct conf *c, char *out, size_t size)
{
	/* The token authorities of the clouds that have their own; the
	 * choices of `cloud` leave only AzureCloud besides. */
	static const struct {
		const char *cloud, *host;
	} authority[] = {
	    {"AzureChinaCloud", "login.partner.microsoftonline.cn"},
	    {"AzureUSGovernment", "login.microsoftonline.us"},
	};
	const char *host = "login.microsoftonline.com";
	struct sbuf b;

	sbuf_init(&b, out, size);
	for (size_t i = 0; i < ARRAY_LEN(authority); i++)
		if (strcmp(c->cloud.s, authority[i].cloud) == 0)
			host = authority[i].host;
	if (c->token_url.s[0] != '\0')
		sbuf_str(&b, c->token_url.s);
	else if (c->tenant_id.s[0] != '\0')
		sbuf_fmt(&b, "https://%s/%s/oauth2/v2.0/token", host,
			 c->tenant_id.s);
	if (b.cut)
		out[0] = '\0';
	return out[0] != '\0';
}

bool
conf_tenant_base(const struct conf *c, char *out, size_t size)
{
	struct slice url = slice_of(c->tenant_url.s);

	if (url.len > 0 && url.p[url.len - 1] == '/')
		url.len--;
	if (str_copy(out, size, url) != 0)
		out[0] = '\0';
	return out[0] != '\0';
}
