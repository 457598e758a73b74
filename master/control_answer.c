/*
 * Purpose: what a request of the control socket is answered.
 *
 * Runs in: the master.
 * Trusts:  the kernel's word on who the peer is; nothing that the peer sends.
 * Touches: what the verbs do.
 * Failure: a reply that says why and what would do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/control_call.h"
#include "master/control_client.h"
#include "master/supervise.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

#define CONTROL_FOLLOWERS_MAX 16
#define CONTROL_REPLY_FIRST   65536

/* --- a refusal --------------------------------------------------------- */

/* more: further lines, JSON strings with commas between; NULL none. */
static void
put_error(struct client *c, int e, const char *text,
	  const struct conf_errors *errors, const char *more)
{
	char mem[32768 + CONTROL_LINES_MAX];
	struct sbuf b;
	struct json j;
	const char *name = strerrorname_np(e);

	sbuf_init(&b, mem, sizeof(mem));
	json_init(&j, &b);
	json_object(&j, NULL);
	json_bool(&j, "ok", false);
	json_str(&j, "error", text);
	json_str(&j, "code", name != NULL ? name : "EIO");
	if (errors != NULL) {
		json_array(&j, "lines");
		for (size_t i = 0;
		     i < MIN(errors->n, ARRAY_LEN(errors->text)) &&
		     b.len + 6 * sizeof(errors->text[0]) < sizeof(mem);
		     i++)
			json_str(&j, NULL, errors->text[i]);
		json_array_end(&j);
	} else if (more != NULL) {
		json_array(&j, "lines");
		sbuf_str(&b, more);
		json_array_end(&j);
	}
	json_object_end(&j);
	BUG_ON(b.cut);
	client_put_reply(c, b.p, b.len);
}

void
client_put_error(struct client *c, int e, const char *text,
		 const struct conf_errors *errors)
{
	put_error(c, e, text, errors, NULL);
}

/* --- the verbs --------------------------------------------------------- */

static int
call_verb(struct control_call *c)
{
	static int (*const verb[])(struct control_call *) = {
#define VERB(ident, name, level, args, text) \
	[CONTROL_##ident] = control_do_##ident,
#include "master/control_verbs.def"
#undef VERB
	};

	return verb[c->req->verb->id](c);
}

/* Runs the verb into mem; -E2BIG when the reply did not fit. */
static int
run_verb(struct control_call *call, char *mem, size_t size, size_t *len_r)
{
	struct sbuf b;
	int r;

	sbuf_init(&b, mem, size);
	json_init(&call->json, &b);
	json_object(&call->json, NULL);
	json_bool(&call->json, "ok", true);
	r = call_verb(call);
	json_object_end(&call->json);
	*len_r = b.len;
	return r == 0 && b.cut ? -E2BIG : r;
}

static void
client_answer_call(struct client *c, struct control_call *call)
{
	size_t size = CONTROL_REPLY_FIRST, len = 0;
	char *mem = NULL;
	int r;

	/* A change is made once; its reply is always small. */
	do {
		free(mem);
		mem = malloc(size);
		if (mem == NULL) {
			r = -ENOMEM;
			snprintf(call->err, sizeof(call->err),
				 "out of memory; try again");
			break;
		}
		r = run_verb(call, mem, size, &len);
		if (r == -E2BIG)
			snprintf(call->err, sizeof(call->err),
				 "the reply is larger than %d bytes",
				 CONTROL_REPLY_MAX);
		size *= 8;
	} while (r == -E2BIG && !call->req->verb->change &&
		 size <= CONTROL_REPLY_MAX);
	if (r == 0 && call->wait) {
		c->held = mem;
		c->held_len = len;
		return;
	}
	if (r == 0)
		client_put_reply(c, mem, len);
	else
		put_error(c, -r, call->err, call->errors, call->lines);
	free(mem);
}

static void
name_author(const struct client *c, struct store_author *a)
{
	/* No getpwuid() here: a directory that hangs must not hang us. */
	if (c->peer.uid == 0)
		snprintf(a->name, sizeof(a->name), "uid 0 (root)");
	else if (c->peer.uid == geteuid())
		snprintf(a->name, sizeof(a->name), "uid %u (%s)",
			 (unsigned)c->peer.uid, c->owner->m->user);
	else
		snprintf(a->name, sizeof(a->name), "uid %u",
			 (unsigned)c->peer.uid);
}

static void
client_run(struct client *c, const struct control_request *req)
{
	struct control *o = c->owner;
	struct control_call *call = calloc(1, sizeof(*call));

	if (call == NULL) {
		client_end(c);
		return;
	}
	call->m = o->m;
	call->req = req;
	call->fd = c->given;
	name_author(c, &call->author);
	client_answer_call(c, call);
	if (call->follow && !c->dead) {
		c->following = true;
		o->nfollowers++;
	}
	free(call->errors);
	free(call->lines);
	free(call);
}

void
client_answer(struct client *c)
{
	struct control_request req;
	char err[256];
	int r =
	    control_request_parse(&req, c->req, c->req_len, err, sizeof(err));

	c->answered = true;
	if (r != 0)
		client_put_error(c, -r, err, NULL);
	else if (req.verb->change && !c->may_change)
		client_put_error(
		    c, EACCES,
		    "this needs root, the connector's own account or a "
		    "member of control_group",
		    NULL);
	else if (req.verb->change &&
		 supervise_is_draining(c->owner->m->supervise))
		client_put_error(c, EBUSY, "the connector is stopping", NULL);
	else if (c->given >= 0 && req.verb->id != CONTROL_servers_import)
		client_put_error(c, EPROTO, "this verb takes no descriptor",
				 NULL);
	else if (control_request_flag(&req, "follow") &&
		 c->owner->nfollowers >= CONTROL_FOLLOWERS_MAX)
		client_put_error(
		    c, EBUSY,
		    "too many others follow the events; end one of them", NULL);
	else
		client_run(c, &req);
	str_wipe(c->req, c->req_len);
	fd_close(&c->given); /* it may be large, and a peer slow to read */
	if (!c->dead)
		client_send(c);
}

/* --- a reply that waited ----------------------------------------------- */

void
client_settle(struct client *c, const struct conf_errors *wrong)
{
	if (supervise_is_draining(c->owner->m->supervise))
		client_put_error(c, EBUSY, "the connector is stopping", NULL);
	else if (wrong->n > 0)
		client_put_error(
		    c, EIO,
		    "the new configuration is in force, but not in "
		    "every process; mend what the lines say and "
		    "reload, or end such a process: it starts with "
		    "the new one",
		    wrong);
	else
		client_put_reply(c, c->held, c->held_len);
	free(c->held);
	c->held = NULL;
	if (!c->dead)
		client_send(c);
}
