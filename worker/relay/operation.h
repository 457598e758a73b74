/*
 * operation: which operation a request asks for, by its head and by its body,
 * how many items it has, and how many of them failed.
 *
 * For log, counters and event 2113; nothing is refused or delayed for it.
 */
#ifndef RMS_OPERATION_H
#define RMS_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/relay/service.h"
#include "worker/relay/soap.h"

struct client;
struct exchange;
struct http_reply;

/* Of an exchange. */
struct operation {
	enum op op;   /* by the head, else by the body */
	enum op body; /* by the body */
	bool other;   /* the body has something else, or another's operation */
	bool begun;   /* request is in use */
	enum op answers; /* reply is, and is of this; else OP_UNKNOWN */
	/* once the exchange is over */
	bool items_known, failed_known;
	uint32_t items, failed;
	struct soap request, reply;
};

/* The head is read, and some of the body may be in the client's block. */
void operation_begin(struct client *c);
/* The next bytes of the body, on their way to the cloud. */
void operation_request(struct exchange *x, const char *p, size_t n);
/* The body will be sent once more, from its start. */
void operation_rewind(struct exchange *x);
/* The cloud's head is read; coded: its body passes in a coding. */
void operation_reply_begin(struct exchange *x, bool coded);
void operation_reply(struct exchange *x, const char *p, size_t n);

/* Which of the two could not be read, and why; SOAP_READ when neither. */
enum soap_unread operation_unread(const struct operation *o);
/* Head and body say different things. */
bool operation_differs(const struct operation *o);
/* An operation of Exchange, and the account is listed as something else. */
bool operation_is_as_exchange(const struct exchange *x);
/* The exchange is over: counts, and tells. */
void operation_end(struct client *c);

#endif
