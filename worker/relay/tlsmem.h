/*
 * tlsmem: OpenSSL's memory, its big buffers from a few that are at hand.
 *
 * With SSL_MODE_RELEASE_BUFFERS a connection takes a buffer of 17 or 33 kB for
 * each read and write and gives it back at once, so few are out at a time, and
 * the one given back last is in the cache.  The heap takes 400 instructions for
 * each pair, this a dozen.
 */
#ifndef RMS_TLSMEM_H
#define RMS_TLSMEM_H

/* Before OpenSSL is used for anything; later it has no effect.  What does not
 * fit goes to the heap. */
void tlsmem_init(void);

/* Gives what is at hand back to the system, when none is out. */
void tlsmem_rest(void);

#endif
