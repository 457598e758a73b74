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

#define NOTE_ROOM(field) sizeof(((struct trail_note *)NULL)->field)

/* Names of ours are never cut. */
#define REASON(name, status, text, fault, retry) \
	_Static_assert(sizeof(#name) - 1 <= NOTE_ROOM(end), "room for it");
#include "worker/relay/reasons.def"
#undef REASON
#define SERVICE(ident, path, title, kind, ns)
#define OP(kind, name, who) \
	_Static_assert(sizeof(#name) - 1 <= NOTE_ROOM(op), "room for it");
#include "worker/relay/services.def"
#undef SERVICE
#undef OP

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
	const struct identity *id = x->ident;

	if (id != NULL) {
		n->flags |= TRAIL_ACCOUNT | (id->bound ? TRAIL_BOUND : 0);
		n->mech = (uint8_t)id->mech;
		n->kvno = id->kvno;
		if (id->enctype >= INT8_MIN && id->enctype <= INT8_MAX)
			n->enctype = (int8_t)id->enctype;
		n->whole = trail_hash(slice_of(id->principal));
		note_text(n->who, sizeof(n->who), id->principal);
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
	    .decided = x->decided,
	    .flags = c->wire.ssl != NULL ? TRAIL_TLS : 0,
	};

	note_text(n.address, sizeof(n.address), c->address);
	note_text(n.end, sizeof(n.end), reason_row(x->reason)->name);
	note_text(n.op, sizeof(n.op), op_name(x->operation.op));
	note_who(&n, x);
	trail_put(w->trail, &n);
}
