/*
 * conn: one request to the connector over its control socket
 * (master/control_proto.h).
 *
 * Errors are one line in err: what, why, what would do.  The connector's
 * answers are bounded and checked like any input.
 */
#ifndef RMS_CTL_CONN_H
#define RMS_CTL_CONN_H

#include <jansson.h>

#include "shm/base/bug.h"

#define CONN_ERR_MAX 512
/* A reload checks files and waits for every process. */
#define CONN_REPLY_MS 60000

struct conn;

/* A request in the making.  NULL when out of memory. */
MUST_USE struct conn *conn_new(const char *verb);
/* Closes and wipes. */
void conn_free(struct conn **c);
/* Adds "name=value"; NULL values are left out.  What does not fit is an error
 * of conn_send(). */
void conn_arg(struct conn *c, const char *name, const char *value);

/* Sends fd along, borrowed until conn_send() has returned. */
void conn_fd(struct conn *c, int fd);

/* Connects and sends, then wipes the request.  0 or -errno. */
MUST_USE int conn_send(struct conn *c, const char *path,
		       char err[CONN_ERR_MAX]);

/*
 * The next reply, an object, the caller's.  timeout_ms < 0: no limit.
 * 1; 0 when the connector closed between replies; -errno: -ETIMEDOUT,
 * -EPROTO (cut, too long, not an object) ...
 */
MUST_USE int conn_reply(struct conn *c, int timeout_ms, json_t **reply_r,
			char err[CONN_ERR_MAX]);

#endif
