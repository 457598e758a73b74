/*
 * Purpose: speaks with the master over the control socket.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody: what answers may be half dead, or not the connector.
 * Touches: the control socket.
 * Failure: one line for people; the request is wiped in any case, it may
 *          hold a secret.
 */
#include "tools/ctl/conn.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "master/control_proto.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/str.h"

#include "shm/base/log.h"

struct conn {
	int fd;
	int give;  /* descriptor to send along, borrowed; -1 none */
	bool full; /* the request did not fit */
	size_t args;
	size_t len; /* of the request, without its length */
	char head[4];
	char request[CONTROL_REQUEST_MAX];
};

PRINTF(3, 4)
static int
fail(char *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, CONN_ERR_MAX, fmt, ap);
	va_end(ap);
	return code;
}

static void
put(struct conn *c, const char *data, size_t len)
{
	if (len > sizeof(c->request) - c->len) {
		c->full = true;
		return;
	}
	memcpy(c->request + c->len, data, len);
	c->len += len;
}

struct conn *
conn_new(const char *verb)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->fd = c->give = -1;
	c->args = 1;
	put(c, verb, strlen(verb) + 1);
	return c;
}

void
conn_free(struct conn **c)
{
	if (*c == NULL)
		return;
	fd_close(&(*c)->fd);
	str_wipe(*c, sizeof(**c));
	free(*c);
	*c = NULL;
}

void
conn_arg(struct conn *c, const char *name, const char *value)
{
	if (value == NULL)
		return;
	if (++c->args > CONTROL_ARGS_MAX)
		c->full = true;
	put(c, name, strlen(name));
	put(c, "=", 1);
	put(c, value, strlen(value) + 1);
}

static int
connect_failed(int e, const char *path, char *err)
{
	if (e == ENOENT)
		return fail(
		    err, -e,
		    "there is no control socket %s: is the connector running? "
		    "If it is, name its control_socket with -s",
		    path);
	if (e == ECONNREFUSED)
		return fail(
		    err, -e,
		    "nobody answers at %s: the connector has ended without "
		    "removing its socket; start it",
		    path);
	if (e == EACCES || e == EPERM)
		return fail(
		    err, -e,
		    "%s: permission denied: run rmsctl as root, as the "
		    "connector's own account, or as a member of control_group",
		    path);
	if (e == EAGAIN)
		return fail(
		    err, -e,
		    "%s: too many rmsctl wait for the connector; try again",
		    path);
	return fail(err, -e, "cannot connect to %s: %s", path, strerror(e));
}

static int
open_socket(struct conn *c, const char *path, char *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = CONN_REPLY_MS / 1000};

	if (str_copy(sa.sun_path, sizeof(sa.sun_path), slice_of(path)) < 0)
		return fail(
		    err, -ENAMETOOLONG,
		    "the path of the control socket is longer than %zu bytes",
		    sizeof(sa.sun_path) - 1);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return fail(err, -errno, "socket: %s", strerror(errno));
	/* Also bounds connect() when the connector's backlog is full. */
	(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return connect_failed(errno, path, err);
	return 0;
}

void
conn_fd(struct conn *c, int fd)
{
	c->give = fd;
}

/* One send, with the descriptor beside its first byte. */
static ssize_t
send_with(int fd, const char *data, size_t len, int give)
{
	union {
		struct cmsghdr head;
		char mem[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data,
			    .iov_len = len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (give >= 0) {
		memcpy(CMSG_DATA(&control.head), &give, sizeof(give));
		m.msg_control = control.mem;
		m.msg_controllen = sizeof(control.mem);
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static int
send_all(int fd, const char *data, size_t len, int give)
{
	while (len > 0) {
		ssize_t n = send_with(fd, data, len, give);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		give = -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int
conn_send(struct conn *c, const char *path, char err[CONN_ERR_MAX])
{
	uint32_t le = htole32((uint32_t)c->len);
	int r;

	if (c->full)
		return fail(
		    err, -E2BIG,
		    "the request is longer than the connector takes (%d bytes)",
		    CONTROL_REQUEST_MAX);
	r = open_socket(c, path, err);
	if (r == 0) {
		memcpy(c->head, &le, sizeof(le));
		/* head and request are neighbours: one packet */
		_Static_assert(offsetof(struct conn, request) ==
				   offsetof(struct conn, head) + 4,
			       "one run of bytes");
		r = send_all(c->fd, (char *)c + offsetof(struct conn, head),
			     sizeof(le) + c->len, c->give);
		/* EPIPE: refused before it was read; the reply tells why. */
		if (r == -EPIPE || r == -ECONNRESET)
			r = 0;
		if (r < 0)
			fail(err, r, "cannot send to the connector: %s",
			     strerror(-r));
	}
	str_wipe(c->request, c->len);
	return r;
}

/* Waits until there is something to read, or until deadline (0: for ever). */
static int
wait_readable(int fd, uint64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int ms, n;

	do {
		ms = -1;
		if (deadline != 0) {
			uint64_t now = clock_mono_ns();

			if (now >= deadline)
				return -ETIMEDOUT;
			ms = (int)((deadline - now) / NS_PER_MS) + 1;
		}
		n = poll(&p, 1, ms);
	} while (n == 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

/* Fills data.  Bytes read: less than len only at the end of the stream. */
static ssize_t
read_full(int fd, void *data, size_t len, uint64_t deadline)
{
	size_t got = 0;

	while (got < len) {
		int r = wait_readable(fd, deadline);
		ssize_t n;

		if (r < 0)
			return r;
		n = recv(fd, (char *)data + got, len - got, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0 && errno == ECONNRESET)
			n = 0;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int
read_failed(ssize_t n, char *err)
{
	if (n == -ETIMEDOUT)
		return fail(
		    err, -ETIMEDOUT,
		    "the connector has not answered in time: see its log; "
		    "whether a change was made is shown by `rmsctl events`");
	if (n < 0)
		return fail(err, (int)n, "cannot read the answer: %s",
			    strerror((int)-n));
	return fail(
	    err, -EPROTO,
	    "the connector closed in the middle of its answer: see its log");
}

static int
parse(const char *body, size_t len, json_t **reply_r, char *err)
{
	json_error_t e;
	json_t *v = json_loadb(body, len, JSON_REJECT_DUPLICATES, &e);

	if (v == NULL)
		return fail(err, -EPROTO,
			    "the answer is not JSON (%s): is this socket a "
			    "connector's, and of the same version?",
			    e.text);
	if (!json_is_object(v) || !json_is_boolean(json_object_get(v, "ok"))) {
		json_decref(v);
		return fail(
		    err, -EPROTO,
		    "the answer is not one of a connector (no \"ok\"): is this "
		    "socket a connector's, and of the same version?");
	}
	*reply_r = v;
	return 1;
}

int
conn_reply(struct conn *c, int timeout_ms, json_t **reply_r,
	   char err[CONN_ERR_MAX])
{
	uint64_t deadline =
	    timeout_ms < 0 ? 0
			   : clock_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	uint32_t len;
	char *body;
	ssize_t n;
	int r;

	n = read_full(c->fd, &len, sizeof(len), deadline);
	if (n == 0)
		return 0;
	if (n != (ssize_t)sizeof(len))
		return read_failed(n, err);
	len = le32toh(len);
	if (len > CONTROL_REPLY_MAX)
		return fail(
		    err, -EPROTO,
		    "the answer claims %u bytes, more than any answer has: is "
		    "this socket a connector's, and of the same version?",
		    len);
	body = malloc((size_t)len + 1);
	if (body == NULL)
		return fail(err, -ENOMEM, "out of memory for the answer");
	n = read_full(c->fd, body, len, deadline);
	if (n == (ssize_t)len)
		r = parse(body, len, reply_r, err);
	else
		r = read_failed(n, err);
	free(body);
	return r;
}
