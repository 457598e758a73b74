/*
 * local: what a request is for: a service of the cloud, or something that the
 * connector answers itself.
 */
#ifndef RMS_LOCAL_H
#define RMS_LOCAL_H

struct client;

/* A head has been read: refuse, answer, authenticate or forward. */
void local_dispatch(struct client *c);
/* The caller is known (x->ident): go on. */
void local_authenticated(struct client *c);

#endif
