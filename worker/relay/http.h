/*
 * http: heads of HTTP/1.x requests and replies, read strictly (RFC 9110,
 * 9112).  Whatever two readers could understand in two ways is refused.
 *
 * Pure: bytes in, slices into the same bytes out, no I/O, no allocation.
 */
#ifndef RMS_HTTP_H
#define RMS_HTTP_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "worker/relay/reason.h"

#define HTTP_FIELDS_MAX 250
/* Most options in all Connection fields of a head; real ones have three. */
#define HTTP_HOPS_MAX 32

enum http_field_id {
#define FIELD(ident, name, request, reply) FIELD_##ident,
#include "worker/relay/fields.def"
#undef FIELD
	FIELD_OTHER
};

enum field_fate { FATE_PASS, FATE_OURS, FATE_DROP };

struct http_field {
	struct slice name;
	struct slice value; /* without white space around it */
	enum http_field_id id;
	bool hop; /* named in Connection */
};

/*
 * RFC 9112 2.2: one empty line before a request is ignored.  Of p[0..len), all
 * that came so far, *len_r bytes are one: 0 or 2.  false: a CR is all that
 * there is, and the next byte decides.
 */
MUST_USE bool http_empty_line(const char *p, size_t len, size_t *len_r);

/* Without the blanks around it (OWS, RFC 9110 5.6.3). */
struct slice http_trim(struct slice s);
/*
 * Takes the next element of a comma-separated list, trimmed, off rest; false
 * at its end.  Empty elements are skipped (RFC 9110 5.6.1.2).
 */
bool http_list_next(struct slice *rest, struct slice *item_r);

/*
 * Finds the end of a head in bytes that arrive piece by piece.  Zeroed at the
 * start of a head.
 */
struct http_scan {
	size_t pos;  /* bytes looked at */
	size_t line; /* start of the line that pos is in */
};

enum http_scan_result {
	HTTP_MORE,     /* the head is not complete */
	HTTP_DONE,     /* *len_r bytes, the empty line included */
	HTTP_BAD_LINE, /* a line without CR LF, or a CR within one */
};

/* p[0..len): all of the head so far; len only grows from call to call. */
enum http_scan_result http_scan(struct http_scan *s, const char *p, size_t len,
				size_t *len_r);

/* Longest request target: RFC 9112 3 recommends lines of 8000 at the least. */
#define HTTP_TARGET_MAX 8192

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_OTHER,   /* another one of the IANA's common ones: 405 */
	HTTP_UNKNOWN, /* 501 */
};

enum http_framing {
	HTTP_NO_BODY,
	HTTP_LENGTH, /* `length` bytes */
	HTTP_CHUNKED,
	HTTP_CLOSE, /* replies only: until the end of the connection */
};

struct http_req {
	enum http_method method;
	int minor; /* HTTP/1.minor: 0 or 1 */
	struct slice method_text;
	struct slice target; /* as sent */
	struct slice path;   /* of it, still encoded, "/..." */
	struct slice query;  /* without "?", may be empty */
	enum http_framing framing;
	uint64_t length;
	bool has_length; /* Content-Length was there, maybe 0 */
	bool keep_alive;
	bool expect_continue;
	bool intermediary; /* Via, Forwarded or X-Forwarded-For was there */
	struct slice host;
	struct slice authorization; /* p NULL when absent */
	struct slice soap_action;
	struct slice content_type;
	size_t nfields;
	struct http_field field[HTTP_FIELDS_MAX];
};

struct http_limits {
	size_t fields_max;
	size_t head_max; /* without Authorization's value */
	size_t auth_max;
	uint64_t body_max;
};

/*
 * Parses one complete head of len bytes (as http_scan found it).  REASON_OK,
 * or why it is refused (reasons.def, 4xx or 505).
 */
MUST_USE enum reason http_parse_req(struct http_req *r, const char *p,
				    size_t len, const struct http_limits *lim);

/* Does its sender take a SOAP fault?  A POST with a SOAPAction or the media
 * type of an envelope. */
bool http_req_is_soap(const struct http_req *r);

struct http_reply {
	int minor;
	int status;	     /* 100..599 */
	struct slice phrase; /* reason phrase, may be empty */
	enum http_framing framing;
	uint64_t length;
	bool keep_alive;
	struct slice content_type;
	size_t nfields;
	struct http_field field[HTTP_FIELDS_MAX];
};

/*
 * The same for a reply to a POST.  REASON_OK or REASON_CLOUD_BAD_REPLY, with
 * a word for the log in *why_r.
 */
MUST_USE enum reason http_parse_reply(struct http_reply *r, const char *p,
				      size_t len, size_t fields_max,
				      const char **why_r);

enum field_fate http_fate_req(const struct http_field *f);
enum field_fate http_fate_reply(const struct http_field *f);

/* RFC 9110 5.6.2. */
bool http_is_token(struct slice s);

#endif
