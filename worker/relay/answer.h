/*
 * answer: the cloud's reply on its way to the client; and what forward.c
 * offers to it and to await.c.
 */
#ifndef RMS_ANSWER_H
#define RMS_ANSWER_H

#include <stdbool.h>

#include "worker/relay/reason.h"

struct client;

/* Moves the reply as far as it goes.  false: the exchange has ended, or has
 * changed its connection. */
bool answer_pump(struct client *c);

/* --- forward.c, for answer.c and await.c ------------------------------ */
/* The cloud's connection ended before the reply was complete: one retry when
 * that is safe, else a refusal. */
void forward_up_lost(struct client *c, enum reason why, const char *detail);
/* The request's turn has come. */
void forward_go(struct client *c);
/* Once more, with what is held of the request; then it is to be connected. */
void forward_again(struct client *c);
void forward_connect(struct client *c, bool fresh);
/* The cloud is not asked. */
void forward_refuse(struct client *c, enum reason why);

#endif
