/*
 * Purpose: the verb `keytab`: the keys that are handed to the keeper, and who
 *          used which.
 *
 * Runs in: the master.
 * Trusts:  its own copy of the keytab, which was read whole; of the keeper's
 *          numbers nothing, they are only shown.
 * Touches: nothing; the keys are wiped after the walk.
 * Failure: none but a reply that does not fit.
 */
#include <stdlib.h>

#include "conf/conf_keytab.h"
#include "master/control_call.h"
#include "master/keytab_watch.h"
#include "master/keyuse.h"
#include "master/publish.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

static void
show_entry(void *arg, const struct conf_keytab_entry *e)
{
	struct json *j = arg;
	char key[24];

	json_object(j, NULL);
	json_str(j, "principal", e->principal);
	json_u64(j, "kvno", e->kvno);
	json_i64(j, "enctype", e->enctype);
	control_json_time(j, "added", (uint64_t)e->added * NS_PER_S);
	/* Text: a program may lose digits of such a number. */
	snprintf(key, sizeof(key), "%016llx", (unsigned long long)e->key);
	json_str(j, "key", key);
	json_object_end(j);
}

static void
show_entries(struct control_call *c)
{
	int fd = publish_keytab_now(c->m->publish);
	const char *why;
	char *data = NULL;
	size_t len = 0;

	json_array(&c->json, "entries");
	if (fd >= 0 &&
	    fd_read_all(fd, CONF_KEYTAB_BYTES_MAX, &data, &len) == 0) {
		(void)!conf_keytab_walk(data, len, show_entry, &c->json, &why);
		str_wipe(data, len);
		free(data);
	}
	json_array_end(&c->json);
}

static void
show_use(void *arg, const struct msg_key_use *row)
{
	struct json *j = arg;

	json_object(j, NULL);
	json_str(j, "principal", row->principal);
	json_u64(j, "kvno", row->kvno);
	json_i64(j, "enctype", row->enctype);
	json_u64(j, "tickets", row->count);
	control_json_time(j, "first", row->first_ns);
	control_json_time(j, "last", row->last_ns);
	json_u64(j, "longest_life_s", row->life_s);
	json_object_end(j);
}

static void
show_certificates(struct control_call *c)
{
	const struct conf *conf = &c->m->conf;
	char path[CONF_TEXT_MAX];

	json_array(&c->json, "certificates");
	for (size_t i = 0; i < conf->nlisteners; i++) {
		const struct conf_listener *l = &conf->listener[i];

		for (size_t k = 0;
		     l->tls && conf_path_at(&l->certificate, k, path); k++)
			json_str(&c->json, NULL, path);
	}
	json_array_end(&c->json);
}

int
control_do_keytab(struct control_call *c)
{
	struct master *m = c->m;

	control_json_text(&c->json, "file", m->conf.keytab.s);
	control_json_text(&c->json, "fault",
			  keytab_watch_fault(m->keytab_watch));
	control_json_text(&c->json, "krb5_config", m->conf.krb5_config.s);
	json_u64(&c->json, "keeper_entries", m->keeper_entries);
	show_entries(c);
	control_json_time(&c->json, "use_since", keyuse_since(m->keyuse));
	json_array(&c->json, "use");
	keyuse_each(m->keyuse, show_use, &c->json);
	json_array_end(&c->json);
	show_certificates(c);
	return 0;
}
