/*
 * Purpose: make the listening sockets.
 *
 * Runs in: the master, which never accepts from them nor reads a byte.
 * Trusts:  the configuration, checked.
 * Touches: TCP sockets.
 * Failure: -errno with a line; nothing half-open stays.
 */
#include "master/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/role.h"

/* Three seconds: children end within two of their master. */
#define LISTEN_PAUSE_NS 20000000
#define LISTEN_TRIES	150

struct listen_addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

struct listen {
	size_t n;
	unsigned slots;
	struct listen_addr addr[CONF_LISTENERS_MAX];
	int backlog[CONF_LISTENERS_MAX];
	int fd[CONF_LISTENERS_MAX][RELAY_MAX];
};

static int
listen_addr_of(const struct conf_listener *c, struct listen_addr *a)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a->ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->ss;

	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, c->address.s, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)c->port);
		a->len = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, c->address.s, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)c->port);
		a->len = sizeof(*v6);
		return 0;
	}
	return -EINVAL;
}

static int
listen_option(int fd, int level, int name)
{
	int on = 1;

	return setsockopt(fd, level, name, &on, sizeof(on)) != 0 ? -errno : 0;
}

/* A bound socket or -errno.  shared: with SO_REUSEPORT. */
static int
listen_bind(const struct listen_addr *a, bool shared)
{
	int fd = socket(a->ss.ss_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	/* At once: no relay shall attach a program to the group of sockets,
	 * which would choose for the other relays who gets what. */
	r = listen_option(fd, SOL_SOCKET, SO_LOCK_FILTER);
	if (r == 0)
		r = listen_option(fd, SOL_SOCKET, SO_REUSEADDR);
	if (r == 0 && a->ss.ss_family == AF_INET6)
		r = listen_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (r == 0 && shared)
		r = listen_option(fd, SOL_SOCKET, SO_REUSEPORT);
	if (r == 0 && bind(fd, (const struct sockaddr *)&a->ss, a->len) != 0)
		r = -errno;
	if (r != 0) {
		fd_close(&fd);
		return r;
	}
	return fd;
}

/*
 * SO_REUSEPORT lets any process of our user share the port without a word,
 * a forgotten second connector for one, and half of the clients would end
 * there.  So the port must be free for a socket that does not share.
 */
static int
listen_is_free(const struct listen_addr *a)
{
	int fd = listen_bind(a, false);
	int r = fd < 0 ? fd : 0;

	if (fd >= 0 && listen(fd, 1) != 0)
		r = -errno;
	fd_close(&fd);
	return r;
}

/* At the start: the relays of a master that was killed are about to end, and
 * have the port until then. */
static int
listen_wait_free(const struct listen_addr *a)
{
	const struct timespec pause = {.tv_nsec = LISTEN_PAUSE_NS};
	int r = listen_is_free(a);

	for (int i = 0; r == -EADDRINUSE && i < LISTEN_TRIES; i++) {
		nanosleep(&pause, NULL);
		r = listen_is_free(a);
	}
	return r;
}

/* The sockets of old on this address, or NULL. */
static const int *
listen_old_fds(const struct listen *old, const struct listen_addr *a)
{
	for (size_t i = 0; old != NULL && i < old->n; i++) {
		if (old->addr[i].len == a->len &&
		    memcmp(&old->addr[i].ss, &a->ss, a->len) == 0)
			return old->fd[i];
	}
	return NULL;
}

/* A socket that listens, or -errno. */
static int
listen_new(const struct listen_addr *a, int backlog)
{
	int fd = listen_bind(a, true);

	if (fd >= 0 && listen(fd, backlog) != 0) {
		int e = errno;

		fd_close(&fd);
		return -e;
	}
	return fd;
}

/* One that stands already.  Should it not listen any more, listen_fd() mends
 * it: a relay must not be able to make a reload fail. */
static int
listen_again(int old_fd, int backlog)
{
	int fd = fcntl(old_fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (listen(fd, backlog) != 0) /* of one that listens: the backlog */
		log_debug("listen on a socket that stands: %s",
			  strerror(errno));
	return fd;
}

static int
listen_all_slots(struct listen *l, const struct conf_listener *c,
		 const struct listen *old)
{
	size_t i = l->n;
	const int *fds;
	int r = listen_addr_of(c, &l->addr[i]);

	if (r != 0)
		return r;
	fds = listen_old_fds(old, &l->addr[i]);
	if (fds == NULL)
		r = old == NULL ? listen_wait_free(&l->addr[i])
				: listen_is_free(&l->addr[i]);
	l->n++;
	l->backlog[i] = (int)c->backlog;
	for (unsigned s = 0; r == 0 && s < l->slots; s++) {
		if (fds != NULL && fds[s] >= 0)
			l->fd[i][s] = listen_again(fds[s], l->backlog[i]);
		else
			l->fd[i][s] = listen_new(&l->addr[i], l->backlog[i]);
		if (l->fd[i][s] < 0)
			r = l->fd[i][s];
	}
	return r;
}

static const char *
listen_advice(int e)
{
	switch (e) {
	case EADDRINUSE:
		return "another process has the port: stop it, or choose "
		       "another port";
	case EACCES:
		return "ports below 1024 need root or CAP_NET_BIND_SERVICE";
	case EADDRNOTAVAIL:
		return "the address is not one of this host's";
	default:
		return "correct the listener's address and port";
	}
}

int
listen_open(struct listen **l_r, const struct conf *conf, unsigned slots,
	    const struct listen *old, char *err, size_t err_size)
{
	struct listen *l = calloc(1, sizeof(*l));
	int r = 0;

	BUG_ON(slots == 0 || slots > RELAY_MAX);
	BUG_ON(old != NULL && old->slots != slots);
	if (l == NULL) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	l->slots = slots;
	memset(l->fd, 0xff, sizeof(l->fd)); /* all -1 */
	for (size_t i = 0; r == 0 && i < conf->nlisteners; i++) {
		const struct conf_listener *c = &conf->listener[i];

		r = listen_all_slots(l, c, old);
		if (r != 0)
			snprintf(
			    err, err_size,
			    "listener %s: cannot listen on %s port %lld: %s; "
			    "%s",
			    c->name, c->address.s, (long long)c->port,
			    strerror(-r), listen_advice(-r));
	}
	if (r != 0) {
		listen_free(&l);
		return r;
	}
	*l_r = l;
	return 0;
}

void
listen_free(struct listen **lp)
{
	struct listen *l = *lp;

	if (l == NULL)
		return;
	for (size_t i = 0; i < l->n; i++) {
		for (unsigned s = 0; s < l->slots; s++)
			fd_close(&l->fd[i][s]);
	}
	free(l);
	*lp = NULL;
}

size_t
listen_count(const struct listen *l)
{
	return l->n;
}

/* Is it still what was made for that address? */
static bool
listen_is_whole(int fd, const struct listen_addr *a)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss), on_len = sizeof(int);
	int on = 0;

	return fd >= 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &on_len) == 0 &&
	       on == 1 && getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
	       len == a->len && memcmp(&ss, &a->ss, len) == 0;
}

int
listen_fd(struct listen *l, size_t listener, unsigned slot)
{
	int *fd;

	BUG_ON(listener >= l->n || slot >= l->slots);
	fd = &l->fd[listener][slot];
	if (listen_is_whole(*fd, &l->addr[listener]))
		return *fd;
	log_warn("listener %zu of relay %u does not listen any more, a relay "
		 "may have shut it down: made anew",
		 listener, slot);
	fd_close(fd);
	*fd = listen_new(&l->addr[listener], l->backlog[listener]);
	if (*fd < 0) {
		log_err("listener %zu of relay %u: cannot listen: %s", listener,
			slot, strerror(-*fd));
		*fd = -1;
	}
	return *fd;
}
