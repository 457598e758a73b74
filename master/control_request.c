/*
 * Purpose: read one request of the control socket, strictly.
 *
 * Runs in: the master.
 * Trusts:  nobody: the peer may be any local user that may connect.
 * Touches: nothing.
 * Failure: -EPROTO or -EINVAL with a line.
 */
#include "master/control_request.h"

#include <errno.h>
#include <stdio.h>

#include "shm/base/log.h"

#define READ   false
#define CHANGE true
static const struct control_verb verbs[] = {
#define VERB(ident, verb, level, args, text) \
	{CONTROL_##ident, verb, level, args},
#include "master/control_verbs.def"
#undef VERB
};
#undef READ
#undef CHANGE

/* The words of a verb's argument list, one after the other. */
static struct slice
next_word(const char **p, bool *needed_r)
{
	struct slice w;

	*p += strspn(*p, " ");
	w = (struct slice){*p, strcspn(*p, " ")};
	*p += w.len;
	*needed_r = w.len > 0 && w.p[w.len - 1] == '*';
	if (*needed_r)
		w.len--;
	return w;
}

static bool
verb_takes(const struct control_verb *v, struct slice name)
{
	const char *p = v->args;
	struct slice w;
	bool needed;

	while ((w = next_word(&p, &needed)).len > 0) {
		if (slice_eq(w, name))
			return true;
	}
	return false;
}

static const char *
arg_get(const struct control_request *req, struct slice name)
{
	for (size_t i = 0; i < req->n; i++) {
		if (slice_eq(req->arg[i].name, name))
			return req->arg[i].value;
	}
	return NULL;
}

static int
check_needed(const struct control_request *req, char *err, size_t err_size)
{
	const char *p = req->verb->args;
	struct slice w;
	bool needed;

	while ((w = next_word(&p, &needed)).len > 0) {
		if (!needed || arg_get(req, w) != NULL)
			continue;
		snprintf(err, err_size, "%s needs %.*s", req->verb->name,
			 (int)w.len, w.p);
		return -EINVAL;
	}
	return 0;
}

static int
add_arg(struct control_request *req, const char *text, char *err,
	size_t err_size)
{
	struct slice name = {text, strcspn(text, "=")};
	int shown = (int)MIN(name.len, (size_t)64);

	if (text[name.len] != '=' || name.len == 0) {
		snprintf(err, err_size,
			 "an argument is not name=value: \"%.*s\"", shown,
			 text);
		return -EPROTO;
	}
	if (!verb_takes(req->verb, name)) {
		snprintf(err, err_size,
			 "%s takes no argument %.*s; it takes: "
			 "%s",
			 req->verb->name, shown, text,
			 req->verb->args[0] != '\0' ? req->verb->args : "none");
		return -EINVAL;
	}
	if (arg_get(req, name) != NULL) {
		snprintf(err, err_size, "%.*s is given twice", shown, text);
		return -EINVAL;
	}
	if (req->n == CONTROL_ARGS_MAX) {
		snprintf(err, err_size, "more than %d arguments",
			 CONTROL_ARGS_MAX);
		return -EPROTO;
	}
	req->arg[req->n++] =
	    (struct control_arg){.name = name, .value = text + name.len + 1};
	return 0;
}

static int
find_verb(struct control_request *req, const char *name, char *err,
	  size_t err_size)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(verbs[i].name, name) == 0) {
			req->verb = &verbs[i];
			return 0;
		}
	}
	snprintf(
	    err, err_size,
	    "there is no verb \"%.64s\"; rmsctl and rms-connectord may be of "
	    "different versions",
	    name);
	return -EINVAL;
}

int
control_request_parse(struct control_request *req_r, const char *data,
		      size_t len, char *err, size_t err_size)
{
	const char *p = data, *end = data + len;
	int r;

	*req_r = (struct control_request){0};
	if (len == 0 || data[len - 1] != '\0') {
		snprintf(err, err_size, "not a request: its end is missing");
		return -EPROTO;
	}
	r = find_verb(req_r, p, err, err_size);
	/* Every step ends at a NUL, the last of which is the last byte. */
	for (p += strlen(p) + 1; r == 0 && p < end; p += strlen(p) + 1)
		r = add_arg(req_r, p, err, err_size);
	if (r == 0)
		r = check_needed(req_r, err, err_size);
	return r;
}

const char *
control_request_arg(const struct control_request *req, const char *name)
{
	return arg_get(req, slice_of(name));
}

bool
control_request_flag(const struct control_request *req, const char *name)
{
	const char *v = control_request_arg(req, name);

	return v != NULL && strcmp(v, "1") == 0;
}
