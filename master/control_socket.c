/*
 * Purpose: the control socket as a file: who may connect to it.
 *
 * Runs in: the master.
 * Trusts:  the configuration's path and group; the kernel's word on a peer.
 * Touches: the socket's path, its directory when that is missing.
 * Failure: -errno with a line; a group that cannot be given the socket is a
 *          line in the log, and the socket stays ours alone.
 */
#include "master/control_socket.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"

static int
socket_fail(char *err, size_t size, const char *path, int e, const char *what)
{
	snprintf(err, size, "control_socket %s: %s: %s", path, what,
		 strerror(e));
	return -e;
}

/* A socket of a dead master is in the way; one that answers is not ours. */
static int
socket_clear_path(const struct sockaddr_un *sa, char *err, size_t err_size)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	struct stat st;
	int fd, r;

	if (lstat(sa->sun_path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return socket_fail(
		    err, err_size, sa->sun_path, EEXIST,
		    "is not a socket; remove it or choose another path");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return socket_fail(err, err_size, sa->sun_path, errno,
				   "socket");
	r = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	if (r == 0)
		r = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	fd_close(&fd);
	if (r == 0) {
		snprintf(
		    err, err_size,
		    "control_socket %s: process %d answers there; stop it or "
		    "choose another path",
		    sa->sun_path, (int)peer.pid);
		return -EBUSY;
	}
	if (unlink(sa->sun_path) != 0)
		return socket_fail(err, err_size, sa->sun_path, errno,
				   "cannot be replaced");
	return 0;
}

static void
socket_make_dir(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL || slash == dir)
		return;
	*slash = '\0';
	/* When this fails bind() says why. */
	if (mkdir(dir, 0755) == 0 && chmod(dir, 0755) != 0)
		log_warn("%s: mode: %s", dir, strerror(errno));
}

int
control_socket_bind(const char *path, char *err, size_t err_size)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	mode_t before;
	int fd, r;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	socket_make_dir(path);
	r = socket_clear_path(&sa, err, err_size);
	if (r != 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return socket_fail(err, err_size, path, errno, "socket");
	before = umask(0177);
	r = bind(fd, (const struct sockaddr *)&sa, sizeof(sa));
	umask(before);
	if (r != 0)
		r = socket_fail(err, err_size, path, errno, "cannot be made");
	else if (listen(fd, 64) != 0)
		r = socket_fail(err, err_size, path, errno, "listen");
	if (r != 0) {
		fd_close(&fd);
		return r;
	}
	return fd;
}

gid_t
control_socket_regroup(const char *path, const char *name)
{
	struct group *g = name[0] == '\0' ? NULL : getgrnam(name);

	if (name[0] != '\0' && g == NULL)
		log_warn("control_group %s: there is no such group", name);
	/* The mode last: at no moment may another group write. */
	if (chmod(path, 0600) != 0)
		log_warn("%s: mode: %s", path, strerror(errno));
	if (g == NULL)
		return (gid_t)-1;
	if (chown(path, (uid_t)-1, g->gr_gid) != 0 || chmod(path, 0660) != 0)
		log_warn("%s: cannot be given to group %s: %s", path, name,
			 strerror(errno));
	return g->gr_gid;
}

bool
control_socket_peer_in(int fd, const struct ucred *peer, gid_t group)
{
	gid_t list[1024];
	socklen_t len = sizeof(list);

	if (group == (gid_t)-1)
		return false;
	if (peer->gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &len) != 0)
		return false; /* more groups than that: not by this way */
	for (size_t i = 0; i < len / sizeof(list[0]); i++) {
		if (list[i] == group)
			return true;
	}
	return false;
}
