/*
 * Purpose: servers lookup, and what servers add shares with it.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody for the arguments.
 * Touches: the directory.
 * Failure: exit status and a line.
 */
#include <string.h>
#include <strings.h>

#include "shm/base/str.h"
#include "tools/ctl/lookup.h"

#include "shm/base/log.h"

#define TIMEOUT_MAX_S 600

struct words {
	const char *server, *keytab, *principal, *cacert, *timeout;
};

static int
read_options(struct ctl *c, const struct words *w, struct dir_options *o_r)
{
	uint64_t seconds = DIR_TIMEOUT_S;

	if (w->timeout != NULL &&
	    (str_u64(slice_of(w->timeout), TIMEOUT_MAX_S, &seconds) != 0 ||
	     seconds == 0))
		return ctl_fail(c, CTL_USAGE,
				"--timeout %.40s is no number of seconds from "
				"1 to %d",
				w->timeout, TIMEOUT_MAX_S);
	if (w->principal != NULL && w->keytab == NULL)
		return ctl_fail(c, CTL_USAGE,
				"--principal names an account of a keytab: "
				"give --keytab FILE, too");
	*o_r = (struct dir_options){
	    .server = w->server,
	    .keytab = w->keytab,
	    .principal = w->principal,
	    .cacert = w->cacert,
	    .timeout_s = (int)seconds,
	};
	return CTL_OK;
}

static bool
never_looked_up(const char *subject)
{
	return strncasecmp(subject, "S-1-", 4) == 0 ||
	       strncasecmp(subject, "cert:", 5) == 0;
}

int
lookup_for_add(struct ctl *c, struct lookup *l_r, bool *found_r)
{
	const char *const *o = c->args->opt;
	const char *subject = c->args->pos[0];
	struct words w = {
	    .server = o[CTL_O_servers_add_server],
	    .keytab = o[CTL_O_servers_add_keytab],
	    .principal = o[CTL_O_servers_add_principal],
	    .cacert = o[CTL_O_servers_add_cacert],
	    .timeout = o[CTL_O_servers_add_timeout],
	};
	bool asked = o[CTL_O_servers_add_lookup] != NULL || w.server != NULL ||
		     w.keytab != NULL;
	struct dir_options options;
	int r;

	*found_r = false;
	if (asked && (o[CTL_O_servers_add_no_lookup] != NULL ||
		      never_looked_up(subject)))
		return ctl_fail(c, CTL_USAGE,
				"%.120s is taken as it stands, so there is "
				"nothing to ask a directory for",
				subject);
	if (o[CTL_O_servers_add_no_lookup] != NULL ||
	    (!asked && dirname_is_plain(subject)))
		return CTL_OK;
	r = read_options(c, &w, &options);
	if (r == CTL_OK)
		r = lookup_name(c, &options, subject, l_r);
	*found_r = r == CTL_OK;
	return r;
}

int
verb_servers_lookup(struct ctl *c)
{
	const char *const *o = c->args->opt;
	struct words w = {
	    .server = o[CTL_O_servers_lookup_server],
	    .keytab = o[CTL_O_servers_lookup_keytab],
	    .principal = o[CTL_O_servers_lookup_principal],
	    .cacert = o[CTL_O_servers_lookup_cacert],
	    .timeout = o[CTL_O_servers_lookup_timeout],
	};
	struct dir_options options;
	struct lookup l;
	int r = read_options(c, &w, &options);
	json_t *v;

	if (r == CTL_OK)
		r = lookup_name(c, &options, c->args->pos[0], &l);
	if (r != CTL_OK)
		return r;
	if (!c->json) {
		lookup_show(c, &l);
		return CTL_OK;
	}
	v = lookup_json(&l);
	if (v == NULL)
		return ctl_fail(c, CTL_REFUSED, "out of memory");
	ctl_print_json(c, v);
	json_decref(v);
	return CTL_OK;
}
