/*
 * ask: a verb's request and the connector's answer to it.
 */
#ifndef RMS_CTL_ASK_H
#define RMS_CTL_ASK_H

#include <jansson.h>

#include "tools/ctl/conn.h"
#include "tools/ctl/ctl.h"

/*
 * Sends the request and waits.  Takes *k (NULL: out of memory) and frees it.
 * CTL_OK with the caller's object in *reply_r; else the exit status, said
 * already.
 */
MUST_USE int ask(struct ctl *c, struct conn **k, json_t **reply_r);

/* The same, and then the object as JSON or, for people, by render(). */
MUST_USE int ask_show(struct ctl *c, struct conn *k,
		      void (*render)(struct ctl *c, const json_t *reply));

#endif
