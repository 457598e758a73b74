/*
 * await: CLIENT_TOKEN, in which a request waits for a token: for its first
 * one, or for a fresh one after the cloud has refused what it had.
 *
 * It waits as long as there is something to wait for, and not longer than
 * token_wait_ms.  It has its place by then (admit.h), so that no more wait
 * than may run.
 */
#ifndef RMS_AWAIT_H
#define RMS_AWAIT_H

#include <stdbool.h>

struct client;
struct relay;

/* Will there be a token for the request, which has found none?  So it is when
 * the cloud agent fetches the first one, or is at another tenant than we: one
 * of both has not taken the newest set yet. */
bool await_is_due(const struct client *c);
/* The request waits, unless there is a token by now. */
void await_token(struct client *c);
/* The cloud said 401: the agent is told, and the request is repeated with a
 * fresh token when it can be; else it is refused. */
void await_unauthorized(struct client *c);

/* The token segment has news, or ours is another tenant. */
void await_on_news(struct relay *w);
void await_on_timeout(struct client *c);

#endif
