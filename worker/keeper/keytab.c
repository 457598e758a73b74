/*
 * Purpose: load a keytab into memory and say what is in it.
 *
 * Runs in: the keeper.
 * Trusts:  the administrator who made the keytab, but not that it is whole.
 * Touches: a descriptor from the master, a memfd that lives for the load,
 *          krb5's MEMORY keytabs of this process, krb5.conf (through krb5).
 * Failure: NULL with the reason; the caller keeps the old one.
 */
#include "worker/keeper/keytab.h"

#include <errno.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf_keytab.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

/* A principal as text; longer ones do not occur in Active Directory (SPNs are
 * at most 260 characters). */
#define NAME_MAX_BYTES 512

struct entry { /* what is public of a key */
	char *name;
	const char *realm; /* in name, behind its last '@' */
	uint32_t kvno;
	krb5_enctype enctype;
};

struct keytab {
	krb5_context krb5;
	krb5_keytab mem; /* holds the keys */
	gss_cred_id_t cred;
	size_t n;
	struct entry entry[];
};

/* --- loading ------------------------------------------------------------- */

static void
say(char *why, size_t size, const char *what, const char *detail)
{
	snprintf(why, size, "%s%s%s", what, detail[0] == '\0' ? "" : ": ",
		 detail);
}

static void
say_krb5(char *why, size_t size, krb5_context ctx, krb5_error_code code,
	 const char *what)
{
	const char *msg = krb5_get_error_message(ctx, code);

	say(why, size, what, msg);
	krb5_free_error_message(ctx, msg);
}

/*
 * The keytab's bytes in a memfd of our own, checked to the last one: krb5
 * takes a file that was cut short for one with fewer keys.  Descriptor or -1.
 */
static int
copy_file(int fd, size_t *n_r, char *why, size_t why_size)
{
	const char *fault = NULL;
	char *data;
	size_t len;
	int r, n, copy;

	r = fd_read_all(fd, CONF_KEYTAB_BYTES_MAX, &data, &len);
	if (r != 0) {
		say(why, why_size, "it cannot be read", strerror(-r));
		return -1;
	}
	n = conf_keytab_walk(data, len, NULL, NULL, &fault);
	if (n < 0) {
		say(why, why_size, fault, "");
		copy = -1;
	} else {
		copy = fd_memfd_sealed("rms-keytab", data, len);
		if (copy < 0)
			say(why, why_size, "no memory for it", strerror(-copy));
	}
	*n_r = n < 0 ? 0 : (size_t)n;
	str_wipe(data, len);
	free(data);
	return copy;
}

static krb5_error_code
entry_set(struct entry *e, krb5_context ctx, const krb5_keytab_entry *from)
{
	krb5_error_code code;
	char *text;

	code = krb5_unparse_name(ctx, from->principal, &text);
	if (code != 0)
		return code;
	e->name = strdup(text);
	krb5_free_unparsed_name(ctx, text);
	if (e->name == NULL)
		return ENOMEM;
	e->realm = strrchr(e->name, '@');
	e->realm = e->realm == NULL ? "" : e->realm + 1;
	e->kvno = from->vno;
	e->enctype = from->key.enctype;
	return 0;
}

/* Copies at most `room` entries; kt->n counts those whose name is ours. */
static krb5_error_code
copy_entries(struct keytab *kt, krb5_keytab file, size_t room)
{
	krb5_keytab_entry e;
	krb5_error_code code;
	krb5_kt_cursor cur;

	code = krb5_kt_start_seq_get(kt->krb5, file, &cur);
	if (code != 0)
		return code;
	while (kt->n < room &&
	       (code = krb5_kt_next_entry(kt->krb5, file, &e, &cur)) == 0) {
		code = entry_set(&kt->entry[kt->n], kt->krb5, &e);
		if (code == 0) {
			kt->n++;
			code = krb5_kt_add_entry(kt->krb5, kt->mem, &e);
		}
		krb5_free_keytab_entry_contents(kt->krb5, &e);
		if (code != 0)
			break;
	}
	krb5_kt_end_seq_get(kt->krb5, file, &cur);
	return code == KRB5_KT_END ? 0 : code;
}

/* Opens the memfd as krb5 does, and moves its keys to kt->mem. */
static struct keytab *
read_keys(krb5_context ctx, int fd, size_t n, char *why, size_t why_size)
{
	static unsigned generation; /* MEMORY keytabs are shared by name */
	krb5_keytab file = NULL;
	krb5_error_code code;
	struct keytab *kt = NULL;
	char name[64];

	snprintf(name, sizeof(name), "FILE:/proc/self/fd/%d", fd);
	code = krb5_kt_resolve(ctx, name, &file);
	if (code != 0)
		goto fail;
	kt = calloc(1, sizeof(*kt) + n * sizeof(kt->entry[0]));
	code = ENOMEM;
	if (kt == NULL)
		goto fail;
	kt->krb5 = ctx;
	snprintf(name, sizeof(name), "MEMORY:keeper.%u", generation++);
	code = krb5_kt_resolve(ctx, name, &kt->mem);
	if (code == 0)
		code = copy_entries(kt, file, n);
	if (code == 0 && kt->n < n)
		code = KRB5_KT_FORMAT; /* two readers, two opinions */
	if (code != 0)
		goto fail;
	krb5_kt_close(ctx, file);
	return kt;
fail:
	say_krb5(why, why_size, ctx, code, "krb5 cannot read it");
	if (file != NULL)
		krb5_kt_close(ctx, file);
	if (kt == NULL || kt->krb5 == NULL) {
		free(kt);
		krb5_free_context(ctx);
	} else {
		keytab_free(&kt);
	}
	return NULL;
}

/* Credentials that accept with any key of kt->mem, and keep no replay cache:
 * see replay.h. */
static OM_uint32
make_cred(struct keytab *kt)
{
	char name[64];
	gss_key_value_element_desc kv[] = {{"keytab", name},
					   {"rcache", "none:"}};
	gss_key_value_set_desc store = {ARRAY_LEN(kv), kv};
	/* 1.3.6.1.5.5.2; the library has no symbol for it. */
	static char spnego[] = "\x2b\x06\x01\x05\x05\x02";
	gss_OID_desc mech[] = {*gss_mech_krb5, {6, spnego}};
	gss_OID_set_desc both = {ARRAY_LEN(mech), mech};
	gss_OID_set_desc krb5_only = {1, mech};
	OM_uint32 major, minor;

	if (krb5_kt_get_name(kt->krb5, kt->mem, name, sizeof(name)) != 0)
		return GSS_S_FAILURE;
	major = gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE,
				      &both, GSS_C_ACCEPT, &store, &kt->cred,
				      NULL, NULL);
	if (major == GSS_S_COMPLETE)
		major = gss_set_neg_mechs(&minor, kt->cred, &krb5_only);
	return major;
}

struct keytab *
keytab_load(int fd, char *why, size_t why_size)
{
	struct keytab *kt = NULL;
	krb5_context ctx;
	size_t n;
	int copy;

	copy = copy_file(fd, &n, why, why_size);
	if (copy < 0)
		return NULL;
	if (krb5_init_context(&ctx) != 0)
		say(why, why_size, "krb5.conf cannot be used",
		    "correct it, or krb5_config");
	else
		kt = read_keys(ctx, copy, n, why, why_size);
	close(copy);
	if (kt != NULL && make_cred(kt) != GSS_S_COMPLETE) {
		say(why, why_size, "GSSAPI cannot use its keys",
		    "look for permitted_enctypes in krb5.conf");
		keytab_free(&kt);
	}
	return kt;
}

void
keytab_free(struct keytab **ktp)
{
	struct keytab *kt = *ktp;
	OM_uint32 minor;

	if (kt == NULL)
		return;
	*ktp = NULL;
	gss_release_cred(&minor, &kt->cred);
	for (size_t i = 0; i < kt->n; i++)
		free(kt->entry[i].name);
	/* The last handle of a MEMORY keytab wipes its keys. */
	if (kt->mem != NULL)
		krb5_kt_close(kt->krb5, kt->mem);
	krb5_free_context(kt->krb5);
	free(kt);
}

/* --- what is in it ------------------------------------------------------- */

gss_cred_id_t
keytab_cred(const struct keytab *kt)
{
	return kt->cred;
}

size_t
keytab_entries(const struct keytab *kt)
{
	return kt->n;
}

static void
put_enctype(char *out, size_t size, krb5_enctype e)
{
	if (krb5_enctype_to_name(e, FALSE, out, size) != 0)
		snprintf(out, size, "%d", e);
}

void
keytab_text(const struct keytab *kt, char *out, size_t size)
{
	static const char more[] = "...\n";
	char enctype[64];
	struct sbuf b;

	/* Room for the last line is kept back. */
	BUG_ON(size < sizeof(more));
	sbuf_init(&b, out, size - (sizeof(more) - 1));
	for (size_t i = 0; i < kt->n && !b.cut; i++) {
		const struct entry *e = &kt->entry[i];

		put_enctype(enctype, sizeof(enctype), e->enctype);
		sbuf_fmt(&b, "%s %u %s\n", e->name, e->kvno, enctype);
	}
	if (b.cut)
		memcpy(out + b.len, more, sizeof(more));
}

static bool
has_entry(const struct keytab *kt, const struct entry *e)
{
	for (size_t i = 0; kt != NULL && i < kt->n; i++)
		if (kt->entry[i].kvno == e->kvno &&
		    kt->entry[i].enctype == e->enctype &&
		    strcmp(kt->entry[i].name, e->name) == 0)
			return true;
	return false;
}

/* Those of `of` that `in` lacks; the number of them. */
static size_t
put_missing(struct sbuf *b, const char *word, const struct keytab *of,
	    const struct keytab *in)
{
	char enctype[64];
	size_t n = 0;

	for (size_t i = 0; of != NULL && i < of->n; i++) {
		const struct entry *e = &of->entry[i];

		if (has_entry(in, e))
			continue;
		put_enctype(enctype, sizeof(enctype), e->enctype);
		sbuf_fmt(b, "%s%s %s kvno %u %s", b->len > 0 ? ", " : "",
			 n == 0 ? word : "and", e->name, e->kvno, enctype);
		n++;
	}
	return n;
}

bool
keytab_diff(const struct keytab *old, const struct keytab *now, char *out,
	    size_t size)
{
	static const char more[] = ", ...";
	struct sbuf b;
	size_t n;

	BUG_ON(size < sizeof(more));
	out[0] = '\0';
	sbuf_init(&b, out, size - (sizeof(more) - 1));
	n = put_missing(&b, "new:", now, old);
	n += put_missing(&b, "gone:", old, now);
	if (b.cut)
		memcpy(out + b.len, more, sizeof(more));
	return n > 0;
}

bool
keytab_has_http(const struct keytab *kt)
{
	for (size_t i = 0; i < kt->n; i++)
		if (strncasecmp(kt->entry[i].name, "HTTP/", 5) == 0)
			return true;
	return false;
}

void
keytab_match(const struct keytab *kt, const struct apreq *req,
	     struct keytab_match *m_r)
{
	char name[NAME_MAX_BYTES];
	const char *realm;

	memset(m_r, 0, sizeof(*m_r));
	if (apreq_principal(req, name, sizeof(name)) != 0)
		return;
	realm = strrchr(name, '@') + 1;
	for (size_t i = 0; i < kt->n; i++) {
		const struct entry *e = &kt->entry[i];
		bool vno, type;

		if (strcmp(e->realm, realm) == 0)
			m_r->realm = true;
		/* Active Directory does not tell SPNs apart by case. */
		if (strcasecmp(e->name, name) != 0)
			continue;
		vno = !req->has_kvno || e->kvno == req->kvno;
		type = e->enctype == req->enctype;
		m_r->principal = true;
		m_r->kvno |= vno;
		m_r->enctype |= type;
		m_r->exact |= vno && type;
		m_r->newest_kvno = MAX(m_r->newest_kvno, e->kvno);
	}
}

/* krb5 takes a ticket whose PAC has a bad signature or bad parts, but not one
 * with something else in its place. */
static bool
pac_is_bad(krb5_context krb5, krb5_authdata *const *all)
{
	krb5_authdata **found = NULL;
	bool bad = false;
	krb5_pac pac;

	if (krb5_find_authdata(krb5, all, NULL, KRB5_AUTHDATA_WIN2K_PAC,
			       &found) != 0)
		return false;
	for (size_t i = 0; found != NULL && found[i] != NULL; i++) {
		if (krb5_pac_parse(krb5, found[i]->contents, found[i]->length,
				   &pac) == 0)
			krb5_pac_free(krb5, pac);
		else
			bad = true;
	}
	krb5_free_authdata(krb5, found);
	return bad;
}

static void
look_into(krb5_context krb5, const krb5_enc_tkt_part *part,
	  struct keytab_ticket *t)
{
	char *name;

	t->pac_bad = pac_is_bad(krb5, part->authorization_data);
	if (krb5_unparse_name(krb5, part->client, &name) != 0)
		return;
	if (str_copy(t->client, sizeof(t->client), slice_of(name)) != 0)
		t->client[0] = '\0';
	krb5_free_unparsed_name(krb5, name);
}

void
keytab_open(const struct keytab *kt, const struct apreq *req,
	    struct keytab_ticket *t_r)
{
	krb5_data der = {.length = (unsigned)req->ticket.len};
	krb5_ticket *t;

	memset(t_r, 0, sizeof(*t_r));
	/* krb5_data is not const; decoding does not write. */
	memcpy(&der.data, &req->ticket.p, sizeof(der.data));
	if (krb5_decode_ticket(&der, &t) != 0)
		return;
	t_r->opens =
	    krb5_server_decrypt_ticket_keytab(kt->krb5, kt->mem, t) == 0;
	if (t_r->opens && t->enc_part2 != NULL)
		look_into(kt->krb5, t->enc_part2, t_r);
	krb5_free_ticket(kt->krb5, t);
}

krb5_error_code
keytab_try(const struct keytab *kt, const struct apreq *req, char *why,
	   size_t why_size)
{
	krb5_data der = {.length = (unsigned)req->whole.len};
	krb5_auth_context ac = NULL;
	krb5_error_code code;
	const char *msg;

	memcpy(&der.data, &req->whole.p, sizeof(der.data));
	why[0] = '\0';
	code = krb5_rd_req(kt->krb5, &ac, &der, NULL, kt->mem, NULL, NULL);
	if (code != 0) {
		msg = krb5_get_error_message(kt->krb5, code);
		snprintf(why, why_size, "%s", msg);
		krb5_free_error_message(kt->krb5, msg);
	}
	krb5_auth_con_free(kt->krb5, ac);
	return code;
}
