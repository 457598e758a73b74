/*
 * Purpose: the verbs about settings and credentials, `reload` and `events`.
 *
 * Runs in: the master.
 * Trusts:  nobody for the arguments: store and conf check them.
 * Touches: the store; the configuration in force.
 * Failure: -errno with a line; nothing was changed unless the line says so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/control_call.h"
#include "master/event.h"
#include "master/publish.h"
#include "shm/base/log.h"

/* --- get, set ---------------------------------------------------------- */

static void
get_one(struct control_call *c, const struct conf_row *row,
	const struct conf *defaults)
{
	char text[CONF_TEXT_MAX];

	json_object(&c->json, NULL);
	json_str(&c->json, "name", row->name);
	conf_row_get(row, &c->m->conf, text);
	json_str(&c->json, "value", text);
	conf_row_get(row, defaults, text);
	json_str(&c->json, "default", text);
	json_str(&c->json, "text", row->text);
	json_object_end(&c->json);
}

static int
no_such_setting(struct control_call *c, const char *name)
{
	snprintf(c->err, sizeof(c->err),
		 "there is no setting \"%.64s\"; `rmsctl get` shows them all; "
		 "what this node alone is, is in %s",
		 name, c->m->conf_path);
	return -ENOENT;
}

int
control_do_get(struct control_call *c)
{
	const char *name = control_request_arg(c->req, "name");
	size_t n, shown = 0;
	const struct conf_row *row = conf_settings(&n);
	struct conf *defaults = malloc(sizeof(*defaults));

	if (defaults == NULL) {
		snprintf(c->err, sizeof(c->err), "out of memory");
		return -ENOMEM;
	}
	conf_defaults(defaults);
	json_array(&c->json, "settings");
	for (size_t i = 0; i < n; i++) {
		if (name != NULL && strcmp(name, row[i].name) != 0)
			continue;
		get_one(c, &row[i], defaults);
		shown++;
	}
	json_array_end(&c->json);
	free(defaults);
	return name != NULL && shown == 0 ? no_such_setting(c, name) : 0;
}

/* A credential that is named but not stored is allowed, and a trap. */
static const char *
set_warning(struct control_call *c, const char *name)
{
	static const struct {
		const char *setting;
		enum server_role role;
	} map[] = {
	    {"credential_exchange", SERVER_EXCHANGE},
	    {"credential_sharepoint", SERVER_SHAREPOINT},
	    {"credential_fci", SERVER_FCI},
	};

	for (size_t i = 0; i < ARRAY_LEN(map); i++) {
		if (strcmp(name, map[i].setting) == 0 &&
		    c->m->conf.role_credential[map[i].role] == 0)
			return "no credential of this name is stored: the "
			       "role's requests are refused until `rmsctl "
			       "credentials add`";
	}
	return NULL;
}

int
control_do_set(struct control_call *c)
{
	const char *name = control_request_arg(c->req, "name");
	const char *value = control_request_arg(c->req, "value");
	char old[CONF_TEXT_MAX], now[CONF_TEXT_MAX];
	char what[2 * CONF_TEXT_MAX + 128];
	int r = conf_setting_get(&c->m->conf, name, old);

	if (r != 0) {
		char text[STORE_ERR] = "";

		/* The checker suggests the nearest name. */
		r = store_setting_set(c->m->store, name, value, &c->author,
				      text);
		if (text[0] == '\0')
			return no_such_setting(c, name);
		snprintf(c->err, sizeof(c->err), "%s", text);
		return r;
	}
	r = store_setting_set(c->m->store, name, value, &c->author, c->err);
	if (r != 0)
		return control_store_failed(c, r);
	snprintf(what, sizeof(what), "%.64s: \"%s\" -> \"%.500s\"", name, old,
		 value);
	r = master_settings_changed(c->m, &c->author, what, c->err);
	if (r == 0)
		r = conf_setting_get(&c->m->conf, name, now);
	if (r != 0)
		return r;
	json_str(&c->json, "name", name);
	json_str(&c->json, "old", old);
	json_str(&c->json, "value", now);
	json_u64(&c->json, "generation", store_generation(c->m->store));
	json_str(&c->json, "warning", set_warning(c, name));
	return 0;
}

/* --- credentials add --------------------------------------------------- */

static uint32_t
credential_number(struct store *st, const char *name)
{
	struct store_cred cred[MSG_CREDS_MAX];
	int n = store_creds_list(st, cred);

	for (int i = 0; i < n; i++) {
		if (strcmp(cred[i].name, name) == 0)
			return cred[i].id;
	}
	return 0;
}

static int
credential_put(struct control_call *c, enum cred_kind kind, const char *user)
{
	const char *name = control_request_arg(c->req, "name");
	const char *secret = control_request_arg(c->req, "secret");
	bool replaced = credential_number(c->m->store, name) != 0;
	char what[512];
	int r = store_cred_put(c->m->store, kind, name, user, slice_of(secret),
			       &c->author, c->err);

	if (r != 0)
		return control_store_failed(c, r);
	snprintf(what, sizeof(what), "%scredential %.63s %s, %s %.255s",
		 kind == CRED_PROXY ? "proxy " : "", name,
		 replaced ? "replaced" : "added",
		 kind == CRED_PROXY ? "user" : "client id", user);
	r = master_settings_changed(c->m, &c->author, what, c->err);
	if (r != 0)
		return r;
	json_u64(&c->json, "credential", credential_number(c->m->store, name));
	json_str(&c->json, "name", name);
	json_bool(&c->json, "replaced", replaced);
	json_u64(&c->json, "generation", store_generation(c->m->store));
	return 0;
}

int
control_do_credentials_add(struct control_call *c)
{
	return credential_put(c, CRED_CLOUD,
			      control_request_arg(c->req, "client_id"));
}

int
control_do_credentials_proxy(struct control_call *c)
{
	return credential_put(c, CRED_PROXY,
			      control_request_arg(c->req, "user"));
}

/* --- reload ------------------------------------------------------------ */

static void
json_names(struct json *j, const char *key, const char *names)
{
	json_array(j, key);
	while (*names != '\0') {
		size_t n;

		names += strspn(names, ", ");
		n = strcspn(names, ", ");
		if (n > 0)
			json_slice(j, NULL, (struct slice){names, n});
		names += n;
	}
	json_array_end(j);
}

int
control_do_reload(struct control_call *c)
{
	int r;

	c->errors = calloc(1, sizeof(*c->errors));
	if (c->errors == NULL) {
		snprintf(c->err, sizeof(c->err), "out of memory");
		return -ENOMEM;
	}
	r = master_reload(c->m, c->author.name, c->errors);
	if (r != 0) {
		snprintf(c->err, sizeof(c->err),
			 "%s was refused: %zu error%s; the old configuration "
			 "stays in force",
			 c->m->conf_path, c->errors->n,
			 c->errors->n == 1 ? "" : "s");
		return r == -EBUSY || r == -ENOMEM ? r : -EINVAL;
	}
	json_u64(&c->json, "set", publish_set_number(c->m->publish));
	json_names(&c->json, "restart_needed", c->m->restart_needed);
	c->wait = true;
	return 0;
}

/* --- events ------------------------------------------------------------ */

static void
add_event(void *arg, struct slice json)
{
	struct json *j = arg;

	/* Rendered already: goes in as it is. */
	if (j->comma)
		sbuf_char(j->out, ',');
	sbuf_slice(j->out, json);
	j->comma = true;
}

int
control_do_events(struct control_call *c)
{
	const char *count = control_request_arg(c->req, "count");
	uint64_t n = 50;

	if (count != NULL && str_u64(slice_of(count), EVENT_RING, &n) != 0) {
		snprintf(c->err, sizeof(c->err),
			 "count \"%.20s\" is not a number up to %d", count,
			 EVENT_RING);
		return -EINVAL;
	}
	json_array(&c->json, "events");
	event_log_last(c->m->events, (size_t)n, add_event, &c->json);
	json_array_end(&c->json);
	c->follow = control_request_flag(c->req, "follow");
	return 0;
}
