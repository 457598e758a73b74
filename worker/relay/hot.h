/*
 * hot: which TLS connections keep OpenSSL's buffers from one use to the next.
 *
 * A connection's buffers are 48 kB.  To take and to give them back at each use
 * costs a busy connection three in a hundred of a request's instructions; to
 * leave them with each would cost a relay of 10,000 connections half a
 * gigabyte.  So the last HOT_MAX that were used keep them, until they have not
 * been used for HOT_SWEEPS sweeps.  A connection in its handshake never does.
 */
#ifndef RMS_HOT_H
#define RMS_HOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct relay;
struct wire;

enum {
	HOT_MAX = 96,
	HOT_SWEEPS = 2, /* seconds, nearly */
};

/* Of a relay, the one used longest ago first. */
struct hot_list {
	struct wire *first, *last;
	size_t n;
	uint32_t sweep;
};

/* x, of TLS and past its handshake, was used. */
void hot_used(struct wire *x);
/* x ends, or begins another handshake; any x. */
void hot_leave(struct wire *x);
/* Once a second.  all: as memory is short. */
void hot_sweep(struct relay *w, bool all);

#endif
