/*
 * alog: the access log: one JSON line per request, written in batches to a
 * descriptor that the master opened for appending.
 */
#ifndef RMS_ALOG_H
#define RMS_ALOG_H

#include "shm/base/bug.h"

struct alog;
struct client;
struct relay;

/* Longest time that a line waits. */
#define ALOG_FLUSH_MS 200

MUST_USE struct alog *alog_new(struct relay *w);
/* Takes fd (-1: no log from now on). */
void alog_set_fd(struct alog *a, int fd);
/* The request of c has ended. */
void alog_write(struct alog *a, struct client *c);
void alog_flush(struct alog *a);

#endif
