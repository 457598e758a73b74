/*
 * control_proto: what rmsctl and the master say to each other over the
 * control socket (SOCK_STREAM, Unix), one request per connection.
 *
 * Request:	u32 (little-endian) length of the rest, at most
 *		CONTROL_REQUEST_MAX; then the arguments, each NUL-terminated:
 *		the verb ("servers add"), then its own, as "name=value".
 * Reply:	u32 length of the rest, at most CONTROL_REPLY_MAX; then one
 *		JSON object: {"ok":true, ...} or {"ok":false,
 *		"error":"what, why, what would do", "code":"ENOENT"}.
 *
 * The request of `servers import` brings one descriptor (SCM_RIGHTS) with its
 * bytes, see control_bulk.h; no other does.
 *
 * `events` with follow=1 goes on sending replies, one per event, until the
 * client closes.  The verbs and their arguments are in control_verbs.def; the
 * members of each reply are in docs/CONTROL.md.
 */
#ifndef RMS_CONTROL_PROTO_H
#define RMS_CONTROL_PROTO_H

#define CONTROL_REQUEST_MAX (256 * 1024)
#define CONTROL_REPLY_MAX   (64 * 1024 * 1024)
#define CONTROL_ARGS_MAX    64

#endif
