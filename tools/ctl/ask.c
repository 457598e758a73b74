/*
 * Purpose: the way of every verb to the connector and back.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: the control socket.
 * Failure: exit status and a line.
 */
#include "tools/ctl/ask.h"

#include "tools/ctl/jget.h"

#include "shm/base/log.h"

int
ask(struct ctl *c, struct conn **k, json_t **reply_r)
{
	char err[CONN_ERR_MAX];
	int r;

	if (*k == NULL)
		return ctl_fail(c, CTL_REFUSED, "out of memory");
	r = conn_send(*k, c->socket, err);
	if (r == 0) {
		r = conn_reply(*k, CONN_REPLY_MS, reply_r, err);
		if (r == 0)
			snprintf(
			    err, sizeof(err),
			    "the connector closed without an answer: see its "
			    "log");
	}
	conn_free(k);
	if (r <= 0)
		return ctl_fail(c, CTL_UNREACHABLE, "%s", err);
	if (jget_bool(*reply_r, "ok"))
		return CTL_OK;
	r = ctl_refused(c, *reply_r);
	json_decref(*reply_r);
	return r;
}

int
ask_show(struct ctl *c, struct conn *k,
	 void (*render)(struct ctl *c, const json_t *reply))
{
	json_t *reply;
	int status = ask(c, &k, &reply);

	if (status != CTL_OK)
		return status;
	if (c->json)
		ctl_print_json(c, reply);
	else
		render(c, reply);
	json_decref(reply);
	return CTL_OK;
}
