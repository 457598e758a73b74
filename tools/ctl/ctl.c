/*
 * Purpose: rmsctl from its arguments to the verb that does the work.
 *
 * Runs in: rmsctl, as the user who types it.
 * Trusts:  nobody; the connector's answers are checked like any input.
 * Touches: standard output and error.
 * Failure: exit status and a line; see verbs.def.
 */
#include "tools/ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "master/version.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

static int (*const verb_fn[])(struct ctl *) = {
#define CTL_VERB(ident, verb, min, max, args, text, more) verb_##ident,
#include "tools/ctl/verbs.def"
};

int
ctl_fail(struct ctl *c, int status, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fflush(c->out);
	fputs("rmsctl: ", c->err);
	text_put(c->err, line);
	fputc('\n', c->err);
	return status;
}

/* A refused file: its errors one below the other, as a compiler does. */
static void
say_lines(struct ctl *c, const json_t *lines)
{
	const json_t *l;
	size_t i;

	json_array_foreach(lines, i, l)
	{
		if (!json_is_string(l))
			continue;
		text_put(c->err, json_string_value(l));
		fputc('\n', c->err);
	}
}

int
ctl_refused(struct ctl *c, const json_t *reply)
{
	const char *why = jget_str(reply, "error");

	if (c->json) {
		ctl_print_json(c, reply);
		return CTL_REFUSED;
	}
	say_lines(c, json_object_get(reply, "lines"));
	return ctl_fail(c, CTL_REFUSED, "%s",
			why[0] != '\0' ? why : "refused, without a reason");
}

void
ctl_print_json(struct ctl *c, const json_t *v)
{
	if (json_dumpf(v, c->out, JSON_INDENT(2)) != 0)
		fputs("null", c->out); /* out of memory: still valid JSON */
	fputc('\n', c->out);
}

static const char *
socket_path(const struct ctl_args *a)
{
	const char *env = getenv("RMSCTL_SOCKET");

	if (a->global[CTL_G_socket] != NULL)
		return a->global[CTL_G_socket];
	return env != NULL && env[0] != '\0' ? env : CTL_SOCKET_DEFAULT;
}

/* A full disk behind `rmsctl ... >file` must not look like success. */
static int
flush_out(struct ctl *c, int status)
{
	if (fflush(c->out) == 0 && !ferror(c->out))
		return status;
	if (status != CTL_OK)
		return status;
	return ctl_fail(c, CTL_REFUSED, "the output could not be written");
}

int
ctl_main(int argc, char **argv, FILE *out, FILE *err)
{
	struct ctl_args args;
	struct ctl c = {.out = out, .err = err, .args = &args};
	char line[CTL_ERR_MAX];

	if (args_parse(&args, argc, argv, line) < 0)
		return ctl_fail(&c, CTL_USAGE, "%s", line);
	if (args.global[CTL_G_version] != NULL)
		fprintf(out, "rmsctl %s\n", RMS_VERSION);
	else if (args.global[CTL_G_help] != NULL && args.verb != CTL_V_MAX)
		args_help_verb(out, args.verb);
	else if (args.global[CTL_G_help] != NULL)
		args_help(out, args.word);
	else {
		c.socket = socket_path(&args);
		c.json = args.global[CTL_G_json] != NULL;
		return flush_out(&c, verb_fn[args.verb](&c));
	}
	return flush_out(&c, CTL_OK);
}
