/*
 * control: the Unix socket that rmsctl talks to (control_proto.h).
 *
 * The kernel says who the peer is; a verb of level CHANGE is for root, the
 * connector's own account and control_group.  A request is bounded in size
 * and time, a reply that the peer does not take ends the connection, and the
 * number of connections is bounded: no peer holds up the master.
 */
#ifndef RMS_CONTROL_H
#define RMS_CONTROL_H

#include "conf/conf_file.h"
#include "shm/base/bug.h"

struct control;
struct master;

/*
 * Opens m->conf.control_socket (its directory is made when missing; a socket
 * that nobody listens on is replaced) and serves it on m->loop.  m is
 * borrowed.  0 or -errno with a line in err: -EBUSY when another process
 * answers there.
 */
MUST_USE int control_open(struct control **c_r, struct master *m, char *err,
			  size_t err_size);
/* Closes every connection and removes the socket. */
void control_free(struct control **c);
/*
 * Answers those whose verb waited for the rollout of a set; wrong has a line
 * for each process that does not have it in force.
 */
void control_settle(struct control *c, const struct conf_errors *wrong);
/* Gives the socket to m->conf.control_group, which may have changed. */
void control_regroup(struct control *c);

#endif
