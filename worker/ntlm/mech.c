/*
 * Purpose: load the NTLM mechanism, try it, and give it its accounts.
 *
 * Runs in: the NTLM processes.
 * Trusts:  the plug-in that /etc/gss names.
 * Touches: the environment of this process, memfds.
 * Failure: -errno; at the start the process ends.
 */
#include "worker/ntlm/mech.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/base/str.h"

#define ACCOUNTS_BYTES_MAX (1024 * 1024) /* as conf_ntlm.h checks */
#define SELF_LEGS_MAX	   3
/* Messages of one status that are told. */
#define STATUS_LINES_MAX 4

static char ntlm_oid[] = "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";
static char spnego_oid[] = "\x2b\x06\x01\x05\x05\x02"; /* RFC 4178 */
const gss_OID_desc mech_ntlm = {10, ntlm_oid};

static gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
static int accounts = -1;

void
mech_put_status(struct sbuf *b, OM_uint32 major, OM_uint32 minor)
{
	const OM_uint32 status[] = {major, minor};
	const int type[] = {GSS_C_GSS_CODE, GSS_C_MECH_CODE};
	gss_OID_desc mech = mech_ntlm;
	gss_buffer_desc text;
	OM_uint32 ignored, more;

	for (size_t i = 0; i < ARRAY_LEN(status); i++) {
		more = 0;
		for (int n = 0; status[i] != 0 && n < STATUS_LINES_MAX; n++) {
			if (gss_display_status(&ignored, status[i], type[i],
					       &mech, &more,
					       &text) != GSS_S_COMPLETE)
				break;
			if (b->len > 0)
				sbuf_str(b, ": ");
			sbuf_put(b, text.value, text.length);
			gss_release_buffer(&ignored, &text);
			if (more == 0)
				break;
		}
	}
}

static int
fail(const char *what, OM_uint32 major, OM_uint32 minor, char *why, size_t size)
{
	struct sbuf b;

	sbuf_init(&b, why, size);
	sbuf_str(&b, what);
	mech_put_status(&b, major, minor);
	return -ENOTSUP;
}

/* --- accounts ---------------------------------------------------------------
 */

static int
point_at(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return setenv("NTLM_USER_FILE", path, 1) != 0 ? -ENOMEM : 0;
}

/* A sealed memfd with that text is what the plug-in reads. */
static int
use_text(const char *data, size_t len)
{
	int fd = fd_memfd_sealed("ntlm-users", data, len), r;

	if (fd < 0)
		return fd;
	r = point_at(fd);
	if (r != 0) {
		close(fd);
		return r;
	}
	fd_close(&accounts);
	accounts = fd;
	return 0;
}

int
mech_use_accounts(int fd)
{
	char *data = NULL;
	size_t len = 0;
	int r;

	if (fd < 0) {
		unsetenv("NTLM_USER_FILE");
		fd_close(&accounts);
		return 0;
	}
	r = fd_read_all(fd, ACCOUNTS_BYTES_MAX, &data, &len);
	if (r != 0)
		return r;
	r = use_text(data, len);
	str_wipe(data, len);
	free(data);
	return r;
}

/* --- making -------------------------------------------------------------- */

static void
environment(void)
{
	/* Neither side's LM or NTLMv1, MS-NLMP 3.1.1.1. */
	setenv("LM_COMPAT_LEVEL", "5", 1);
	/* Kerberos is not done here. */
	setenv("KRB5_CONFIG", "/dev/null", 1);
	unsetenv("KRB5_KTNAME");
	unsetenv("KRB5_TRACE");
	/* What it writes there would hold secrets. */
	unsetenv("GSSNTLMSSP_DEBUG");
	unsetenv("NTLM_USER_FILE");
	unsetenv("NTLMUSER");
	unsetenv("NETBIOS_COMPUTER_NAME");
	unsetenv("NETBIOS_DOMAIN_NAME");
}

static int
make_cred(char *why, size_t why_size)
{
	gss_OID_desc mech[] = {mech_ntlm, {6, spnego_oid}};
	gss_OID_set_desc both = {ARRAY_LEN(mech), mech};
	gss_OID_set_desc ntlm_only = {1, mech};
	OM_uint32 major, minor;

	major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &both,
				 GSS_C_ACCEPT, &cred, NULL, NULL);
	if (major == GSS_S_COMPLETE)
		major = gss_set_neg_mechs(&minor, cred, &ntlm_only);
	return major == GSS_S_COMPLETE
		   ? 0
		   : fail("no GSSAPI mechanism for NTLM (gss-ntlmssp): ", major,
			  minor, why, why_size);
}

/* --- the trial ------------------------------------------------------------ */

struct trial {
	gss_name_t user, target;
	gss_cred_id_t cred;
	gss_ctx_id_t client, server;
	gss_buffer_desc token; /* the last one; freed by its maker */
};

static OM_uint32
trial_name(const char *text, gss_OID type, gss_name_t *name_r)
{
	gss_buffer_desc b = {strlen(text), NULL};
	OM_uint32 minor;

	memcpy(&b.value, &text, sizeof(b.value)); /* the type lacks const */
	return gss_import_name(&minor, &b, type, name_r);
}

static OM_uint32
trial_begin(struct trial *t, const char *password, OM_uint32 *minor_r)
{
	gss_OID_desc mech = mech_ntlm;
	gss_OID_set_desc set = {1, &mech};
	gss_buffer_desc pw = {strlen(password), NULL};
	OM_uint32 major;

	memcpy(&pw.value, &password, sizeof(pw.value));
	major = trial_name("SELF\\trial", GSS_C_NT_USER_NAME, &t->user);
	if (major == GSS_S_COMPLETE)
		major = trial_name("HTTP@self", GSS_C_NT_HOSTBASED_SERVICE,
				   &t->target);
	if (major == GSS_S_COMPLETE)
		major = gss_acquire_cred_with_password(
		    minor_r, t->user, &pw, GSS_C_INDEFINITE, &set,
		    GSS_C_INITIATE, &t->cred, NULL, NULL);
	return major;
}

/* One leg of each side; GSS_S_COMPLETE when the server says so. */
static OM_uint32
trial_leg(struct trial *t, OM_uint32 *minor_r)
{
	gss_OID_desc mech = mech_ntlm;
	gss_buffer_desc there = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, ignored;

	major = gss_init_sec_context(
	    minor_r, t->cred, &t->client, t->target, &mech, 0, GSS_C_INDEFINITE,
	    GSS_C_NO_CHANNEL_BINDINGS, &t->token, NULL, &there, NULL, NULL);
	gss_release_buffer(&ignored, &t->token);
	if (GSS_ERROR(major))
		return major;
	major = gss_accept_sec_context(minor_r, &t->server, cred, &there,
				       GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL,
				       &t->token, NULL, NULL, NULL);
	gss_release_buffer(&ignored, &there);
	return major;
}

static void
trial_end(struct trial *t)
{
	OM_uint32 ignored;

	gss_release_buffer(&ignored, &t->token);
	gss_delete_sec_context(&ignored, &t->client, GSS_C_NO_BUFFER);
	gss_delete_sec_context(&ignored, &t->server, GSS_C_NO_BUFFER);
	gss_release_cred(&ignored, &t->cred);
	gss_release_name(&ignored, &t->user);
	gss_release_name(&ignored, &t->target);
}

/* A logon of an account that is known to this process alone. */
static int
try_it(const char *password, char *why, size_t why_size)
{
	struct trial t = {.user = GSS_C_NO_NAME};
	OM_uint32 major, minor = 0;

	major = trial_begin(&t, password, &minor);
	if (major == GSS_S_COMPLETE)
		major = GSS_S_CONTINUE_NEEDED;
	for (int n = 0; n < SELF_LEGS_MAX && major == GSS_S_CONTINUE_NEEDED;
	     n++)
		major = trial_leg(&t, &minor);
	trial_end(&t);
	return major == GSS_S_COMPLETE
		   ? 0
		   : fail("the NTLM mechanism fails its trial: ", major, minor,
			  why, why_size);
}

static int
trial(char *why, size_t why_size)
{
	uint8_t random[16];
	char password[40], line[64];
	struct sbuf b;
	int r;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	sbuf_init(&b, password, sizeof(password));
	for (size_t i = 0; i < sizeof(random); i++)
		sbuf_hex(&b, random[i], 2);
	snprintf(line, sizeof(line), "SELF:trial:%s\n", password);
	/* Else it would ask winbind for them. */
	setenv("NETBIOS_COMPUTER_NAME", "SELF", 1);
	setenv("NETBIOS_DOMAIN_NAME", "SELF", 1);
	r = use_text(line, strlen(line));
	if (r == 0)
		r = try_it(password, why, why_size);
	unsetenv("NETBIOS_COMPUTER_NAME");
	unsetenv("NETBIOS_DOMAIN_NAME");
	if (mech_use_accounts(-1) != 0)
		r = -EIO;
	return r;
}

int
mech_open(char *why, size_t why_size)
{
	int r;

	environment();
	snprintf(why, why_size, "no memory");
	r = make_cred(why, why_size);
	return r == 0 ? trial(why, why_size) : r;
}

gss_cred_id_t
mech_cred(void)
{
	return cred;
}
