/*
 * master_state: the sealing key and the store, opened as what belongs together.
 */
#ifndef RMS_MASTER_STATE_H
#define RMS_MASTER_STATE_H

#include "master/master.h"

/*
 * m->seal and m->store, and the store's settings into m->conf.  A key that is
 * not there is made, unless the store holds secrets that it would not open:
 * then nothing is, and the line says what is missing.  0 or -errno; what was
 * opened stays so until master_state_close().
 */
MUST_USE int master_state_open(struct master *m, char err[MASTER_ERR]);
void master_state_close(struct master *m);

/*
 * For a key that is lost: removes the credentials, which nobody can open any
 * more, from the store of a master that does not run.  All else stays.  The
 * number of them, or -errno with a line: -ENOENT no store, -EBUSY.
 */
MUST_USE int master_state_forget(const struct conf *c, char err[MASTER_ERR]);

#endif
