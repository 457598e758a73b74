/*
 * reply: what the connector itself says: refusals, pages, health.
 */
#ifndef RMS_REPLY_H
#define RMS_REPLY_H

#include "shm/base/str.h"
#include "worker/relay/reason.h"

struct client;

/*
 * Sends a refusal: SOAP 1.1 Fault for SOAP callers, else plain text.  detail
 * (may be NULL) is added to the reason's text.  401 carries the challenge.
 * Closes after when keep is false.
 */
void reply_refuse(struct client *c, enum reason why, const char *detail,
		  bool keep);

/* Sends a small local answer with status 200. */
void reply_local(struct client *c, const char *type, struct slice body,
		 bool keep);

#endif
