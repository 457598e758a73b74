/*
 * note: a note of each request where the master can find it (shm/trail.h).
 */
#ifndef RMS_NOTE_H
#define RMS_NOTE_H

struct client;
struct relay;

/* c->x has ended. */
void note_request(struct relay *w, const struct client *c);

#endif
