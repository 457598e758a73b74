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

/* Before OpenSSL is used for anything; later it has no effect.  What does not
 * fit goes to the heap. */
void tlsmem_init(void);

/* Gives what is at hand back: pieces to the heap, buffers to the system when
 * none is out.  Before malloc_trim(): each piece keeps a page of those that
 * have gone. */
void tlsmem_rest(void);

#endif
