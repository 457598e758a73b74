/*
 * proxyproto: the PROXY protocol of HAProxy, versions 1 and 2, by which a
 * balancer says whose connection it passes on (proxy-protocol.txt of HAProxy
 * 2.x, sections 2.1 and 2.2).  Read strictly: a header that leaves any doubt
 * about its end or its addresses is none.
 *
 * Pure: bytes in, an address out.
 */
#ifndef RMS_PROXYPROTO_H
#define RMS_PROXYPROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/base/bug.h"

/* "All can be read at once": version 1 has 107 bytes at most (2.1), of version
 * 2 we take addresses and some TLVs. */
#define PROXYPROTO_MAX 1024

struct proxyproto {
	bool local; /* the balancer speaks for itself, as in a health check */
	int family; /* 4 or 6 when not local */
	uint8_t address[16];
	uint16_t port;
};

enum proxyproto_result {
	PROXYPROTO_MORE, /* not complete, and good so far */
	PROXYPROTO_DONE, /* *used_r bytes were the header */
	PROXYPROTO_BAD,
};

enum proxyproto_result proxyproto_read(const void *data, size_t len,
				       struct proxyproto *r, size_t *used_r);

#endif
