/*
 * control_socket: the control socket as a file, and who is at its other end.
 * For control.c and control_client.c alone.
 */
#ifndef RMS_CONTROL_SOCKET_H
#define RMS_CONTROL_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "shm/base/bug.h"

/*
 * Makes and listens on path, with mode 0600.  A socket that nobody answers on
 * is replaced.  Descriptor (caller's, who removes the path in the end) or
 * -errno with a line in err: -EBUSY when a process answers there.
 */
MUST_USE int control_socket_bind(const char *path, char *err, size_t err_size);

/*
 * Mode 0660 for the group of that name, 0600 when it is "" or not there.  The
 * group, (gid_t)-1 none.
 */
gid_t control_socket_regroup(const char *path, const char *name);

/* Is the peer of fd a member, by its own or another group of its? */
bool control_socket_peer_in(int fd, const struct ucred *peer, gid_t group);

#endif
