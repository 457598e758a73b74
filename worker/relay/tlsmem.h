/*
 * tlsmem: OpenSSL's memory, from what it gave back last.
 *
 * With SSL_MODE_RELEASE_BUFFERS a connection takes a buffer of 17 or 33 kB for
 * each read and write and gives it back at once, so few are out at a time, and
 * the one given back last is in the cache.  The heap takes 400 instructions for
 * each pair, this a dozen.
 *
 * A handshake takes and gives back 1,300 small pieces, many of one size, of
 * which glibc keeps seven at hand.  Here there is a list for each size: 2 % of
 * a handshake's instructions, and more of its time, are spared.  All lists
 * together hold 256 kB at most.
 */
#ifndef RMS_TLSMEM_H
#define RMS_TLSMEM_H

#include <stddef.h>

/* Before OpenSSL is used for anything; later it has no effect.  What does not
 * fit goes to the heap. */
void tlsmem_init(void);

/* Gives what is at hand back: pieces to the heap, buffers to the system when
 * none is out.  Before malloc_trim(): each piece keeps a page of those that
 * have gone. */
void tlsmem_rest(void);

/*
 * How many allocations have failed so far.  What fails in OpenSSL while that
 * grows does so for want of memory.  OpenSSL 3.0 says it for some of them only:
 * a certificate that it has no memory to verify is a bad one.
 */
size_t tlsmem_failures(void);
/* One more has, also of an allocator in our place (tests). */
void tlsmem_failed(void);

#endif
