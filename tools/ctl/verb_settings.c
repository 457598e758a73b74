/*
 * Purpose: set, get, reload.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket, standard output.
 * Failure: exit status and a line.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ask.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/render.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

static void
put_value(struct ctl *c, const char *v)
{
	if (v[0] == '\0')
		fputs("(not set)", c->out);
	else
		text_put(c->out, v);
}

void
render_set(struct ctl *c, const json_t *reply)
{
	const char *warning = jget_str(reply, "warning");

	text_put(c->out, jget_str(reply, "name"));
	fputs(": ", c->out);
	put_value(c, jget_str(reply, "old"));
	fputs(" -> ", c->out);
	put_value(c, jget_str(reply, "value"));
	fputc('\n', c->out);
	if (warning[0] != '\0') {
		fputs("Warning: ", c->out);
		text_put(c->out, warning);
		fputc('\n', c->out);
	}
}

int
verb_set(struct ctl *c)
{
	struct conn *k = conn_new("set");

	if (k != NULL) {
		conn_arg(k, "name", c->args->pos[0]);
		conn_arg(k, "value", c->args->pos[1]);
	}
	return ask_show(c, k, render_set);
}

/* One setting is asked for by scripts too: the bare value. */
static void
render_get_one(struct ctl *c, const json_t *s)
{
	text_put(c->out, jget_str(s, "value"));
	fputc('\n', c->out);
}

void
render_get(struct ctl *c, const json_t *reply)
{
	const json_t *list = json_object_get(reply, "settings"), *s;
	struct cols *t;
	size_t i;

	if (c->args->npos == 1) {
		render_get_one(c, json_array_get(list, 0));
		return;
	}
	t = cols_new("SETTING|VALUE|MEANING");
	if (t == NULL)
		return;
	json_array_foreach(list, i, s)
	{
		cols_put(t, jget_str(s, "name"));
		cols_put(t, jget_str(s, "value"));
		cols_put(t, jget_str(s, "text"));
	}
	cols_print(t, c->out);
	cols_free(&t);
}

int
verb_get(struct ctl *c)
{
	struct conn *k = conn_new("get");

	if (k != NULL)
		conn_arg(k, "name", c->args->pos[0]);
	return ask_show(c, k, render_get);
}

void
render_reload(struct ctl *c, const json_t *reply)
{
	const json_t *names = json_object_get(reply, "restart_needed"), *n;
	size_t i;

	fprintf(c->out, "The configuration is in force (set %" PRIu64 ").\n",
		jget_u64(reply, "set"));
	if (json_array_size(names) == 0)
		return;
	fputs("Changed, but in force only after a restart:", c->out);
	json_array_foreach(names, i, n)
	{
		fputs(i == 0 ? " " : ", ", c->out);
		text_put(c->out,
			 json_is_string(n) ? json_string_value(n) : "?");
	}
	fputc('\n', c->out);
}

int
verb_reload(struct ctl *c)
{
	return ask_show(c, conn_new("reload"), render_reload);
}
