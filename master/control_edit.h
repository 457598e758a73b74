/*
 * control_edit: a change of the list of servers, from the check whether it is
 * dangerous to the table in force.  For control_servers.c and
 * control_import.c alone.
 *
 * Dangerous is what leaves no server that may use the connector while there
 * was one, and what gives the role exchange (super user) to a well-known wide
 * group (wide.h), or for longer.  Without force=1 it is refused (-EAGAIN, event
 * 2120); with it, it is done (event 2121).
 */
#ifndef RMS_CONTROL_EDIT_H
#define RMS_CONTROL_EDIT_H

#include "master/control_call.h"
#include "master/store.h"

/*
 * Makes the edit (judge and arg are ours to set) and brings it into force;
 * *relays_r is how many relays have the table.  A dry run is never refused as
 * dangerous and tells no event.  0, or -errno with a line in c->err.
 */
MUST_USE int control_edit(struct control_call *c, struct store_edit *e,
			  unsigned *relays_r);
/* What is dangerous about an edit, "" when nothing is. */
void control_edit_danger(const struct store_edit *e, char text_r[STORE_ERR]);
/* Of the table in force; 0: none. */
uint64_t control_generation(struct master *m);

#endif
