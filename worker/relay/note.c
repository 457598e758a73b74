/*
 * Purpose: a note of each request where the master can find it.
 *
 * Runs in: relay.
 * Trusts:  nobody: texts are cut, and are the reader's to escape.
 * Touches: this relay's trail.
 * Failure: none: without a trail nothing is noted.
 */
#include "worker/relay/note.h"

#include "shm/trail.h"
#include "worker/relay/client.h"

#include "shm/base/log.h"

/* The rest of to is zero already. */
static void
note_text(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);

	memcpy(to, from, MIN(n, size));
}

static void
note_who(struct trail_note *n, const struct exchange *x)
{
	if (x->ident != NULL) {
		n->flags |= TRAIL_ACCOUNT | (x->ident->bound ? TRAIL_BOUND : 0);
		n->mech = (uint8_t)x->ident->mech;
		note_text(n->who, sizeof(n->who), x->ident->principal);
	} else if (x->auth_cause != CAUSE_NONE) {
		note_text(n->who, sizeof(n->who), x->auth_detail);
	}
}

void
note_request(struct relay *w, const struct client *c)
{
	const struct exchange *x = c->x;
	struct trail_note n = {
	    .when = x->t_reply_end,
	    .boot = w->boot_id,
	    .number = x->number,
	    .generation = x->generation,
	    .entry = x->entry,
	    .took_us = (uint32_t)((x->t_reply_end - x->t_start) / 1000),
	    .status = (uint16_t)x->status,
	    .cause = (uint8_t)x->auth_cause,
	    .role = (uint8_t)x->role,
	    .flags = c->wire.ssl != NULL ? TRAIL_TLS : 0,
	};

	note_text(n.address, sizeof(n.address), c->address);
	note_text(n.end, sizeof(n.end), reason_row(x->reason)->name);
	note_text(n.op, sizeof(n.op), op_name(x->op));
	note_who(&n, x);
	trail_put(w->trail, &n);
}
