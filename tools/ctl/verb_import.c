/*
 * Purpose: servers import.
 *
 * The file is read to its end whatever is wrong in it, so that all of it is
 * told at once: when some of it is no server, the connector is only asked what
 * it thinks of the rest.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the file, a memfd, the control socket, standard output.
 * Failure: exit status and a line, and one for each of the first faults.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/bulk_out.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/listfile.h"
#include "tools/ctl/render.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

#define FAULTS_SHOWN 50

struct import {
	struct ctl *c;
	const char *from; /* the file, for people */
	struct bulk_out out;
	size_t nbad;
	size_t single; /* accounts with the role exchange */
};

static int
on_row(void *arg, const struct bulk_row *row)
{
	struct import *i = arg;

	if (strcmp(row->role, "exchange") == 0 &&
	    strncmp(row->subject, "S-1-", 4) != 0 &&
	    strncmp(row->subject, "cert:", 5) != 0)
		i->single++;
	return bulk_out_put(&i->out, row);
}

static void
on_bad(void *arg, uint32_t line, const char *why)
{
	struct import *i = arg;

	if (i->nbad++ >= FAULTS_SHOWN)
		return;
	text_put(i->c->err, i->from);
	fprintf(i->c->err, ":%" PRIu32 ": ", line);
	text_put(i->c->err, why);
	fputc('\n', i->c->err);
}

/* --- the file ---------------------------------------------------------------
 */

static int
read_format(struct ctl *c, enum listfile_format *f_r)
{
	const char *f = c->args->opt[CTL_O_servers_import_format];

	*f_r = LISTFILE_AUTO;
	if (f == NULL)
		return CTL_OK;
	if (strcmp(f, "csv") == 0)
		*f_r = LISTFILE_CSV;
	else if (strcmp(f, "json") == 0)
		*f_r = LISTFILE_JSON;
	else
		return ctl_fail(c, CTL_USAGE,
				"there is no format %.40s: csv or json", f);
	return CTL_OK;
}

static int
read_file(struct import *i, FILE *in, enum listfile_format format)
{
	struct listfile l = {
	    .in = in, .format = format, .row = on_row, .bad = on_bad, .arg = i};
	int r = bulk_out_open(&i->out);

	if (r == 0)
		r = listfile_read(&l);
	if (r == 0)
		r = bulk_out_seal(&i->out);
	if (r >= 0)
		return CTL_OK;
	return ctl_fail(i->c, CTL_REFUSED,
			r == -EFBIG ? "%s has more than the connector takes at "
				      "once: import it in parts (%s)"
				    : "%s cannot be taken: %s",
			i->from, strerror(-r));
}

/* --- the connector
 * ------------------------------------------------------------
 */

/* The name for history and messages: its end, as far as it fits. */
static void
put_from(struct conn *k, const char *from)
{
	const char *slash = strrchr(from, '/');
	char name[100];
	struct sbuf b;

	if (slash != NULL && slash[1] != '\0')
		from = slash + 1;
	sbuf_init(&b, name, sizeof(name));
	for (; *from != '\0'; from++) {
		unsigned char ch = (unsigned char)*from;

		/* Other bytes could be cut in the middle of a character. */
		sbuf_char(&b, ch > 0x20 && ch < 0x7f ? *from : '_');
	}
	conn_arg(k, "from", name);
}

static struct conn *
request(const struct import *i, bool dry_run)
{
	const char *const *o = i->c->args->opt;
	struct conn *k = conn_new("servers import");

	if (k == NULL)
		return NULL;
	conn_arg(k, "mode",
		 o[CTL_O_servers_import_replace] != NULL  ? "replace"
		 : o[CTL_O_servers_import_update] != NULL ? "update"
							  : "add");
	put_from(k, i->from);
	if (dry_run)
		conn_arg(k, "dry_run", "1");
	if (o[CTL_O_servers_import_force] != NULL)
		conn_arg(k, "force", "1");
	conn_fd(k, fileno(i->out.f));
	return k;
}

/* Bad rows of our own: what does the connector think of the others? */
static int
ask_about_rest(struct import *i)
{
	struct conn *k = request(i, true);
	json_t *reply = NULL;

	if (ask(i->c, &k, &reply) == CTL_OK)
		json_decref(reply);
	return ctl_fail(i->c, CTL_REFUSED,
			"%s: %zu of its lines cannot be read%s; nothing was "
			"changed",
			i->from, i->nbad,
			i->nbad > FAULTS_SHOWN ? ", the first ones are above"
					       : "");
}

static void
warn_single(const struct import *i)
{
	if (i->single > 0)
		fprintf(i->c->err,
			"rmsctl: note: %zu entries give the role exchange to "
			"a single account; Microsoft asks for a group there, "
			"because servers under different entries may not be "
			"able to read each other's content\n",
			i->single);
}

static int
import(struct import *i, FILE *in)
{
	enum listfile_format format;
	int r = read_format(i->c, &format);

	if (r == CTL_OK)
		r = read_file(i, in, format);
	if (r != CTL_OK)
		return r;
	if (i->nbad > 0)
		return ask_about_rest(i);
	r = ask_show(
	    i->c,
	    request(i, i->c->args->opt[CTL_O_servers_import_dry_run] != NULL),
	    render_servers_import);
	if (r == CTL_OK)
		warn_single(i);
	return r;
}

int
verb_servers_import(struct ctl *c)
{
	const char *path = c->args->pos[0];
	bool is_stdin = strcmp(path, "-") == 0;
	struct import i = {.c = c, .from = is_stdin ? "stdin" : path};
	FILE *in = is_stdin ? stdin : fopen(path, "re");
	int r;

	if (in == NULL)
		return ctl_fail(c, CTL_USAGE, "%s: %s", path, strerror(errno));
	r = import(&i, in);
	bulk_out_close(&i.out);
	if (!is_stdin)
		fclose(in);
	return r;
}

/* --- for people
 * ----------------------------------------------------------------
 */

static void
put_state(struct ctl *c, const json_t *s)
{
	const char *name = jget_str(s, "name"), *note = jget_str(s, "note");
	const char *expires = jget_str(s, "expires");

	fprintf(c->out, " %s", jget_str(s, "role"));
	if (name[0] != '\0') {
		fputs(", name ", c->out);
		text_put(c->out, name);
	}
	if (note[0] != '\0') {
		fputs(", note ", c->out);
		text_put(c->out, note);
	}
	if (expires[0] != '\0')
		fprintf(c->out, ", until %.19s", expires);
}

static void
put_change(struct ctl *c, const json_t *ch)
{
	const json_t *was = json_object_get(ch, "was");
	const json_t *now = json_object_get(ch, "now");
	bool has_was = json_is_object(was), has_now = json_is_object(now);

	fputs(!has_was ? "+ " : has_now ? "~ " : "- ", c->out);
	text_put(c->out, jget_str(ch, "subject"));
	fputc(':', c->out);
	if (has_was)
		put_state(c, was);
	if (has_was && has_now)
		fputs(" ->", c->out);
	if (has_now)
		put_state(c, now);
	fputc('\n', c->out);
}

static void
put_changes(struct ctl *c, const json_t *reply)
{
	uint64_t left = jget_u64(reply, "changes_left");
	const json_t *ch;
	size_t i;

	json_array_foreach(json_object_get(reply, "changes"), i, ch)
	    put_change(c, ch);
	if (left > 0)
		fprintf(c->out, "and %" PRIu64 " more\n", left);
}

void
render_servers_import(struct ctl *c, const json_t *reply)
{
	bool dry = jget_bool(reply, "dry_run");
	const char *danger = jget_str(reply, "danger");
	uint64_t expired = jget_u64(reply, "expired");
	uint64_t changes = jget_u64(reply, "added") +
			   jget_u64(reply, "changed") +
			   jget_u64(reply, "removed");

	if (dry)
		put_changes(c, reply);
	fprintf(c->out,
		"%s%" PRIu64 " added, %" PRIu64 " changed, %" PRIu64
		" removed, %" PRIu64 " as they were; %" PRIu64
		" servers on the list%s.\n",
		dry ? "Would be: " : "", jget_u64(reply, "added"),
		jget_u64(reply, "changed"), jget_u64(reply, "removed"),
		jget_u64(reply, "same"), jget_u64(reply, "servers"),
		dry ? " then" : "");
	if (expired > 0)
		fprintf(c->out,
			"%" PRIu64 " of the file's entries have expired and "
			"let nobody in.\n",
			expired);
	if (danger[0] != '\0') {
		fputs(dry ? "Would need --force: " : "Forced: ", c->out);
		text_put(c->out, danger);
		fputc('\n', c->out);
	}
	if (!dry && changes > 0)
		render_reach(c, reply);
}
