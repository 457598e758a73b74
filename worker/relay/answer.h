/*
 * answer: the cloud's reply on its way to the client; and what forward.c
 * offers to it.
 */
#ifndef RMS_ANSWER_H
#define RMS_ANSWER_H

#include <stdbool.h>

#include "worker/relay/reason.h"

struct client;

/* Moves the reply as far as it goes.  false: the exchange has ended, or has
 * changed its connection. */
bool answer_pump(struct client *c);

/* --- forward.c, for answer.c ------------------------------------------ */
/* The cloud's connection ended before the reply was complete: one retry when
 * that is safe, else a refusal. */
void forward_up_lost(struct client *c, enum reason why, const char *detail);
/* The cloud said 401. */
void forward_unauthorized(struct client *c);
/* CLIENT_TOKEN: goes on when a newer token is there. */
void forward_try_token(struct client *c);

#endif
