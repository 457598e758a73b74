/*
 * Purpose: ask the KDCs what they issue today for the names of a keytab, and
 *          what time it is there.
 *
 * Runs in: rmsctl.
 * Trusts:  the caller's krb5.conf; a KDC as far as libkrb5 does.  The time of
 *          a KRB-ERROR is not protected: it is shown, nothing is set by it.
 * Touches: the network, the caller's credential cache (read only), the keytab
 *          when the caller may read it.
 * Failure: told in the facts; what could be asked stays.
 */
#include <krb5/krb5.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/ctl/jget.h"
#include "tools/ctl/keytab.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/base/str.h"

/* Nobody has this name, so every KDC answers with an error that has its time;
 * the KDC's log tells who asked. */
#define CLOCK_NAME "rmsctl-keytab-clock"

struct ask {
	krb5_context ctx;
	json_t *facts;
	json_t *realms, *issued; /* in facts */
	/* Of one realm. */
	krb5_ccache cc; /* in memory: a TGT and nothing else; NULL none */
	char realm[256];
	char error[400];
	krb5_keytab kt; /* NULL: the caller may not read it */
};

static void
say_error(struct ask *a, const char *what, krb5_error_code code)
{
	const char *msg = krb5_get_error_message(a->ctx, code);

	snprintf(a->error, sizeof(a->error), "%s%s%s", what,
		 what[0] != '\0' ? ": " : "", msg);
	krb5_free_error_message(a->ctx, msg);
}

/* --- the KDC's clock --------------------------------------------------------
 */

/*
 * The moment that the error names lies between question and answer.  Of its
 * fraction only this is sure: it is not later than the true one, for a MIT KDC
 * that answers several times within a second counts on from the first.  So the
 * difference lies between two bounds; told is the middle, and how far they are.
 */
static void
put_clock(json_t *r, const krb5_error *e, uint64_t asked_ns, uint64_t got_ns)
{
	int64_t second = (int64_t)(uint32_t)e->stime * 1000;
	int64_t least =
	    second + e->susec / 1000 - (int64_t)(got_ns / NS_PER_MS);
	int64_t most = second + 1000 - (int64_t)(asked_ns / NS_PER_MS);

	json_object_set_new(r, "clock_ahead_ms",
			    json_integer((least + most) / 2));
	json_object_set_new(r, "clock_within_ms",
			    json_integer((most - least) / 2 + 1));
}

/* 0 when the KDC was reached. */
static krb5_error_code
ask_clock(struct ask *a, json_t *r)
{
	krb5_principal nobody = NULL;
	krb5_init_creds_context icc = NULL;
	krb5_error *e = NULL;
	krb5_error_code code;
	uint64_t asked_ns;

	code = krb5_build_principal(a->ctx, &nobody, (unsigned)strlen(a->realm),
				    a->realm, CLOCK_NAME, (char *)NULL);
	if (code == 0)
		code = krb5_init_creds_init(a->ctx, nobody, NULL, NULL, 0, NULL,
					    &icc);
	if (code == 0) {
		asked_ns = clock_real_ns();
		code = krb5_init_creds_get(a->ctx, icc);
		if (krb5_init_creds_get_error(a->ctx, icc, &e) == 0 &&
		    e != NULL) {
			put_clock(r, e, asked_ns, clock_real_ns());
			code = 0;
		}
	}
	if (code != 0)
		say_error(a, "", code);
	krb5_free_error(a->ctx, e);
	if (icc != NULL)
		krb5_init_creds_free(a->ctx, icc);
	krb5_free_principal(a->ctx, nobody);
	return code;
}

/* --- whose tickets we use ----------------------------------------------------
 */

static bool
is_good_tgt(const krb5_creds *c, krb5_timestamp now)
{
	return c->server != NULL && c->server->length == 2 &&
	       c->server->data[0].length == 6 &&
	       memcmp(c->server->data[0].data, "krbtgt", 6) == 0 &&
	       (uint32_t)c->times.endtime > (uint32_t)now;
}

static krb5_error_code
new_cache(struct ask *a, krb5_principal who)
{
	krb5_error_code code =
	    krb5_cc_new_unique(a->ctx, "MEMORY", NULL, &a->cc);

	if (code == 0)
		code = krb5_cc_initialize(a->ctx, a->cc, who);
	return code;
}

static void
drop_cache(struct ask *a)
{
	if (a->cc != NULL)
		krb5_cc_destroy(a->ctx, a->cc);
	a->cc = NULL;
}

/* Only TGTs: a service's ticket in the cache may be older than its key. */
static krb5_error_code
copy_tgts(struct ask *a, krb5_ccache from, size_t *n_r)
{
	krb5_timestamp now;
	krb5_cc_cursor cur;
	krb5_creds c;
	krb5_error_code code = krb5_timeofday(a->ctx, &now);

	if (code == 0)
		code = krb5_cc_start_seq_get(a->ctx, from, &cur);
	if (code != 0)
		return code;
	while (krb5_cc_next_cred(a->ctx, from, &cur, &c) == 0) {
		if (is_good_tgt(&c, now) &&
		    krb5_cc_store_cred(a->ctx, a->cc, &c) == 0)
			(*n_r)++;
		krb5_free_cred_contents(a->ctx, &c);
	}
	krb5_cc_end_seq_get(a->ctx, from, &cur);
	return 0;
}

static void
put_name(struct ask *a, json_t *r, krb5_principal who)
{
	char *text;

	if (krb5_unparse_name(a->ctx, who, &text) != 0)
		return;
	json_object_set_new(r, "asked_as", json_string(text));
	krb5_free_unparsed_name(a->ctx, text);
}

static bool
as_caller(struct ask *a, json_t *r)
{
	krb5_ccache from = NULL;
	krb5_principal who = NULL;
	krb5_error_code code;
	size_t n = 0;

	code = krb5_cc_default(a->ctx, &from);
	if (code == 0)
		code = krb5_cc_get_principal(a->ctx, from, &who);
	if (code == 0)
		code = new_cache(a, who);
	if (code == 0)
		code = copy_tgts(a, from, &n);
	if (code == 0 && n > 0)
		put_name(a, r, who);
	else
		drop_cache(a);
	krb5_free_principal(a->ctx, who);
	if (from != NULL)
		krb5_cc_close(a->ctx, from);
	return a->cc != NULL;
}

static krb5_error_code
log_on(struct ask *a, json_t *r, const char *principal)
{
	krb5_get_init_creds_opt *opt = NULL;
	krb5_principal who = NULL;
	krb5_creds c = {0};
	krb5_error_code code = krb5_parse_name(a->ctx, principal, &who);

	if (code == 0)
		code = krb5_get_init_creds_opt_alloc(a->ctx, &opt);
	if (code == 0)
		code = krb5_get_init_creds_keytab(a->ctx, &c, who, a->kt, 0,
						  NULL, opt);
	if (code == 0)
		code = new_cache(a, who);
	if (code == 0)
		code = krb5_cc_store_cred(a->ctx, a->cc, &c);
	if (code == 0)
		put_name(a, r, who);
	else
		drop_cache(a);
	krb5_free_cred_contents(a->ctx, &c);
	krb5_get_init_creds_opt_free(a->ctx, opt);
	krb5_free_principal(a->ctx, who);
	return code;
}

/*
 * With a key of the keytab.  In MIT Kerberos a service is an account like any
 * other; in Active Directory the account's own name is, where it is among the
 * entries: so names without a host come first.
 */
static bool
as_keytab(struct ask *a, json_t *r)
{
	const json_t *list = json_object_get(a->facts, "entries"), *e;
	krb5_error_code code;
	size_t i;

	if (a->kt == NULL)
		return false;
	for (int host = 0; host < 2 && a->cc == NULL; host++) {
		const char *last = "";

		json_array_foreach(list, i, e)
		{
			const char *p = jget_str(e, "principal");

			if (strcmp(keytab_realm(p), a->realm) != 0 ||
			    (strchr(p, '/') != NULL) != (host == 1) ||
			    strcmp(p, last) == 0)
				continue;
			last = p;
			code = log_on(a, r, p);
			if (code == 0)
				break;
			say_error(a, p, code);
		}
	}
	return a->cc != NULL;
}

static void
open_keytab(struct ask *a)
{
	char name[600];

	snprintf(name, sizeof(name), "FILE:%s", jget_str(a->facts, "file"));
	if (access(name + 5, R_OK) != 0 ||
	    krb5_kt_resolve(a->ctx, name, &a->kt) != 0)
		a->kt = NULL;
}

/* --- what it issues ----------------------------------------------------------
 */

static krb5_error_code
fetch(struct ask *a, const char *principal, krb5_ticket **t_r)
{
	krb5_creds in = {0}, *out = NULL;
	krb5_error_code code;

	code = krb5_cc_get_principal(a->ctx, a->cc, &in.client);
	if (code == 0)
		code = krb5_parse_name(a->ctx, principal, &in.server);
	if (code == 0)
		code = krb5_get_credentials(a->ctx, KRB5_GC_NO_STORE, a->cc,
					    &in, &out);
	if (code == 0)
		code = krb5_decode_ticket(&out->ticket, t_r);
	if (out != NULL)
		krb5_free_creds(a->ctx, out);
	krb5_free_cred_contents(a->ctx, &in);
	return code;
}

/* An error of the KDC about that name; not of the way to it. */
static bool
is_about_name(krb5_error_code code)
{
	return code == KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN ||
	       code == KRB5KDC_ERR_MUST_USE_USER2USER ||
	       code == KRB5KDC_ERR_POLICY ||
	       code == KRB5KDC_ERR_SVC_UNAVAILABLE ||
	       code == KRB5KDC_ERR_ETYPE_NOSUPP || code == KRB5KDC_ERR_NULL_KEY;
}

/* Is the key of that version and type the right one?  As a service would find
 * out, if the caller may read the keytab. */
static void
put_opens(struct ask *a, json_t *o, krb5_ticket *t)
{
	krb5_error_code code;

	if (a->kt == NULL)
		return;
	code = krb5_server_decrypt_ticket_keytab(a->ctx, a->kt, t);
	json_object_set_new(o, "opens", json_boolean(code == 0));
}

/* False when asking further is of no use. */
static bool
ask_issued(struct ask *a, const char *principal)
{
	krb5_ticket *t = NULL;
	krb5_error_code code = fetch(a, principal, &t);
	json_t *o;

	if (code != 0 && !is_about_name(code)) {
		say_error(a, principal, code);
		return false;
	}
	o = json_pack("{s:s}", "principal", principal);
	if (code != 0) {
		say_error(a, "", code);
		json_object_set_new(o, "error", json_string(a->error));
		a->error[0] = '\0';
	} else {
		json_object_set_new(o, "kvno", json_integer(t->enc_part.kvno));
		json_object_set_new(o, "enctype",
				    json_integer(t->enc_part.enctype));
		put_opens(a, o, t);
		krb5_free_ticket(a->ctx, t);
	}
	json_array_append_new(a->issued, o);
	return true;
}

static void
ask_services(struct ask *a)
{
	const json_t *list = json_object_get(a->facts, "entries"), *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		const char *p = jget_str(e, "principal");

		if (strchr(p, '/') == NULL ||
		    strcmp(keytab_realm(p), a->realm) != 0 ||
		    keytab_issued(a->facts, p) != NULL)
			continue;
		if (!ask_issued(a, p))
			return;
	}
}

/* False when that gives no tickets, or none that the KDC takes: then somebody
 * else may ask. */
static bool
ask_as(struct ask *a, json_t *r, bool (*log_on_as)(struct ask *a, json_t *r))
{
	if (log_on_as(a, r)) {
		a->error[0] = '\0';
		ask_services(a);
		if (a->error[0] != '\0')
			json_object_set_new(r, "asked_as", json_null());
		drop_cache(a);
		return a->error[0] == '\0';
	}
	return false;
}

static void
ask_realm(struct ask *a)
{
	json_t *r =
	    json_pack("{s:s, s:n, s:n, s:n, s:n}", "realm", a->realm,
		      "asked_as", "clock_ahead_ms", "clock_within_ms", "error");

	a->error[0] = '\0';
	json_array_append_new(a->realms, r);
	if (ask_clock(a, r) == 0 && !ask_as(a, r, as_caller) &&
	    !ask_as(a, r, as_keytab) && a->error[0] == '\0')
		snprintf(a->error, sizeof(a->error),
			 "no tickets: run kinit, or run as who may read the "
			 "keytab");
	if (a->error[0] != '\0')
		json_object_set_new(r, "error", json_string(a->error));
}

/* Has it been asked already? */
static bool
is_asked(const struct ask *a, const char *realm)
{
	const json_t *o;
	size_t i;

	json_array_foreach(a->realms, i, o) if (strcmp(jget_str(o, "realm"),
						       realm) == 0) return true;
	return false;
}

void
keytab_ask_kdc(json_t *facts)
{
	struct ask a = {
	    .facts = facts, .realms = json_array(), .issued = json_array()};
	const char *config = jget_str(facts, "krb5_config");
	const json_t *e;
	size_t i;

	json_object_set_new(facts, "realms", a.realms);
	json_object_set_new(facts, "issued", a.issued);
	/* As the connector, unless the caller has one of their own. */
	if (config[0] != '\0')
		(void)!setenv("KRB5_CONFIG", config, 0);
	if (krb5_init_context(&a.ctx) != 0) {
		json_array_append_new(
		    a.realms, json_pack("{s:s, s:s}", "realm", "Kerberos",
					"error", "krb5.conf cannot be used"));
		return;
	}
	open_keytab(&a);
	json_array_foreach(json_object_get(facts, "entries"), i, e)
	{
		const char *realm = keytab_realm(jget_str(e, "principal"));

		if (realm[0] == '\0' || is_asked(&a, realm))
			continue;
		if (str_copy(a.realm, sizeof(a.realm), slice_of(realm)) == 0)
			ask_realm(&a);
	}
	if (a.kt != NULL)
		krb5_kt_close(a.ctx, a.kt);
	krb5_free_context(a.ctx);
}
