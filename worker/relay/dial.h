/*
 * dial: a TCP connection to the first of several addresses that takes one
 * (Happy Eyeballs, RFC 8305 4 and 5).
 *
 * Addresses are tried in an order that takes the families by turns, those
 * last that were found bad lately (health.h); the next one begins
 * DIAL_STAGGER_MS after the last, or at once when that one has failed.  The
 * first that connects wins, and the others are closed; they are there to be
 * tried again when the winner does not do.  The list is a copy: other
 * addresses that come meanwhile are for the next dial.
 *
 * What was refused, or did not answer in time, or not within a whole head
 * start of DIAL_STAGGER_MS when another one won, is bad.  Whether the winner is
 * good is not known before the caller's handshakes (dial_judge()).
 *
 * What this host lacks says nothing of an address.  Without memory or a
 * descriptor an address stays to be tried: again after DIAL_STAGGER_MS when
 * another one is under way, else all is over.  Without a local port the next
 * one is tried, for which there may be one; when none did, that is what is
 * told: the address without a port might have.
 *
 * Invariants: ntries <= n <= TOKEN_ADDRS_MAX; an open socket has its event.
 */
#ifndef RMS_DIAL_H
#define RMS_DIAL_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/loop.h"
#include "shm/token.h"

/* RFC 8305 8: Connection Attempt Delay, recommended 250 ms. */
#define DIAL_STAGGER_MS 250

struct dial;
struct event;
struct relay;

enum dial_end {
	DIAL_DONE,   /* connected */
	DIAL_FAILED, /* refused, or no way there */
	DIAL_SLOW,   /* the last one did not answer in time */
	DIAL_LACKS,  /* the host lacks something */
};

struct dial_try {
	struct dial *d;
	struct event *ev;
	int fd;		/* -1: over */
	uint64_t begun; /* CLOCK_MONOTONIC */
};

struct dial {
	struct relay *w;
	/* DIAL_DONE: connected to *a (valid within the call), fd is the
	 * callee's.  Else fd is -1, none is left that could be, and why is for
	 * the operator.  Either way all tries are over, and dial_go() may be
	 * called for what is left. */
	void (*done)(void *arg, int fd, const struct token_addr *a,
		     enum dial_end end, const char *why);
	void *arg;
	struct loop_timer *timer;
	/* In the order of the tries; those from ntries on are still to be
	 * had. */
	struct token_addr addr[TOKEN_ADDRS_MAX];
	struct dial_try try[TOKEN_ADDRS_MAX];
	uint32_t n, ntries, live;
	uint16_t port;
	bool running;
	bool no_port; /* there was none for no_port_to */
	struct token_addr no_port_to;
	struct loop_cell cell;
	uint64_t latest; /* when the last try began */
	uint64_t epoch;	 /* of the relay, when the addresses were taken */
};

/* Takes the relay's present addresses.  NULL without memory. */
MUST_USE struct dial *dial_new(struct relay *w, uint16_t port,
			       void (*done)(void *arg, int fd,
					    const struct token_addr *a,
					    enum dial_end end, const char *why),
			       void *arg);
/* Closes what is open; freed at the end of the turn. */
void dial_free(struct dial **d);
/* Closes what is open; done() is not called. */
void dial_stop(struct dial *d);
/* Does the address that was connected to do, or not?  Nothing of it is kept
 * when the relay's way is another one by now. */
void dial_judge(struct dial *d, const struct token_addr *a, bool ok);
/* Is there an address that was not tried to its end? */
static inline bool
dial_has_more(const struct dial *d)
{
	return d->ntries < d->n;
}
/* Begins with the next address.  done() may be called before it returns. */
void dial_go(struct dial *d);

/* "192.0.2.1:443", "[2001:db8::1]:443". */
void dial_text(const struct token_addr *a, uint16_t port, char *text,
	       size_t size);

/* The order in which n addresses are tried, as indices: by turns of the
 * families, IPv6 first, from `start` on within each, bad ones last.  Pure. */
void dial_order(const struct token_addr *a, uint32_t n, size_t start,
		const bool *bad, uint8_t order_r[TOKEN_ADDRS_MAX]);

#endif
