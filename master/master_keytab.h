/*
 * master_keytab: the keytab's file is watched; a good new one goes to the
 * keeper by itself, a bad one is event 3109.
 */
#ifndef RMS_MASTER_KEYTAB_H
#define RMS_MASTER_KEYTAB_H

#include "master/master.h"

/* With the loop, publish and supervise made.  0 or -ENOMEM. */
MUST_USE int master_keytab_start(struct master *m);
void master_keytab_stop(struct master *m);

#endif
