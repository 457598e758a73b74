/*
 * Purpose: credentials list, add, proxy.
 *
 * Runs in: rmsctl.
 * Trusts:  the person or the file that gives the secret.
 * Touches: the secret file or standard input, the control socket.
 * Failure: exit status and a line; the secret is wiped in any case.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/render.h"
#include "tools/ctl/secret.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

/* "valid, 58 min 3 s", or why there is none. */
static void
put_token(struct cols *t, const json_t *cred)
{
	uint64_t left = jget_u64(cred, "expires_in_s");
	char d[TEXT_MAX];

	if (strcmp(jget_str(cred, "kind"), "proxy") == 0) {
		cols_put(t, "(for a web proxy)");
		return;
	}
	if (left == 0) {
		cols_put(t, jget_str(cred, "state"));
		return;
	}
	text_duration(d, left);
	cols_fmt(t, "%s, for %s",
		 strcmp(jget_str(cred, "state"), "ok") == 0
		     ? "valid"
		     : "valid, not renewed",
		 d);
}

static void
put_roles(struct cols *t, const json_t *roles)
{
	char text[128];
	struct sbuf b;
	const json_t *r;
	size_t i;

	sbuf_init(&b, text, sizeof(text));
	json_array_foreach(roles, i, r)
	{
		if (i > 0)
			sbuf_str(&b, ", ");
		if (json_is_string(r))
			sbuf_str(&b, json_string_value(r));
	}
	cols_put(t, text);
}

void
render_credentials_list(struct ctl *c, const json_t *reply)
{
	const json_t *list = json_object_get(reply, "credentials"), *k;
	struct cols *t;
	size_t i;

	if (json_array_size(list) == 0) {
		fputs("There is no credential, so no request can be sent to "
		      "the cloud.\nrmsctl credentials add NAME --client-id ID "
		      "--secret-file FILE\n",
		      c->out);
		return;
	}
	t = cols_new("NAME|CLIENT ID|USED FOR|CHANGED (UTC)|TOKEN|LAST ERROR");
	if (t == NULL)
		return;
	json_array_foreach(list, i, k)
	{
		cols_put(t, jget_str(k, "name"));
		cols_put(t, jget_str(k, "client_id"));
		put_roles(t, json_object_get(k, "roles"));
		cols_fmt(t, "%.19s", jget_str(k, "changed"));
		put_token(t, k);
		cols_put(t, jget_str(k, "error"));
	}
	cols_print(t, c->out);
	cols_free(&t);
}

int
verb_credentials_list(struct ctl *c)
{
	return ask_show(c, conn_new("credentials list"),
			render_credentials_list);
}

void
render_credentials_add(struct ctl *c, const json_t *reply)
{
	fputs("Credential ", c->out);
	text_put(c->out, jget_str(reply, "name"));
	fprintf(c->out,
		" is %s, its secret sealed in the store.\n"
		"Whether the token service takes it is shown by: rmsctl "
		"credentials list\n",
		jget_bool(reply, "replaced") ? "replaced" : "stored");
}

static int
take_secret(struct ctl *c, const char *file, const char *prompt,
	    struct secret *s)
{
	char err[SECRET_ERR];
	int r;

	/* No core, no debugger of the same user, from here on. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (file != NULL)
		r = secret_from_file(s, file, err);
	else
		r = secret_from_fd(s, STDIN_FILENO, prompt, err);
	return r == 0 ? CTL_OK : ctl_fail(c, CTL_USAGE, "%s", err);
}

int
verb_credentials_add(struct ctl *c)
{
	struct secret s;
	struct conn *k;
	int r = take_secret(c, c->args->opt[CTL_O_credentials_add_secret_file],
			    "Client secret: ", &s);

	if (r != CTL_OK)
		return r;
	k = conn_new("credentials add");
	if (k != NULL) {
		conn_arg(k, "name", c->args->pos[0]);
		conn_arg(k, "client_id",
			 c->args->opt[CTL_O_credentials_add_client_id]);
		conn_arg(k, "secret", s.s);
	}
	secret_wipe(&s);
	return ask_show(c, k, render_credentials_add);
}

void
render_credentials_proxy(struct ctl *c, const json_t *reply)
{
	fputs("Proxy credential ", c->out);
	text_put(c->out, jget_str(reply, "name"));
	fprintf(c->out,
		" is %s, its password sealed in the store.\n"
		"It is used by nodes whose file says: proxy_credential = ",
		jget_bool(reply, "replaced") ? "replaced" : "stored");
	text_put(c->out, jget_str(reply, "name"));
	fputc('\n', c->out);
}

int
verb_credentials_proxy(struct ctl *c)
{
	struct secret s;
	struct conn *k;
	int r =
	    take_secret(c, c->args->opt[CTL_O_credentials_proxy_secret_file],
			"Password for the proxy: ", &s);

	if (r != CTL_OK)
		return r;
	k = conn_new("credentials proxy");
	if (k != NULL) {
		conn_arg(k, "name", c->args->pos[0]);
		conn_arg(k, "user", c->args->opt[CTL_O_credentials_proxy_user]);
		conn_arg(k, "secret", s.s);
	}
	secret_wipe(&s);
	return ask_show(c, k, render_credentials_proxy);
}
