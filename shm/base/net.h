/*
 * net: IPv4 and IPv6 networks as an administrator writes them, and whether an
 * address belongs to one.
 */
#ifndef RMS_NET_H
#define RMS_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

struct sockaddr_storage;

struct net {
	uint8_t family; /* 4 or 6 */
	uint8_t bits;	/* of the address that count */
	uint8_t address[16];
};

/* "10.0.0.1" or "10.0.0.0/8"; no bit behind the network may be set.  0 or
 * -EINVAL. */
MUST_USE int net_parse(struct slice text, struct net *net_r);

/* The same, separated by commas with blanks around them; "" is none.  How many
 * there are, -EINVAL, or -E2BIG beyond max. */
MUST_USE ssize_t net_parse_list(const char *text, struct net *nets, size_t max);

/* Is the address in one of them?  An IPv4 address is the same when it comes
 * in IPv6 clothes (::ffff:10.0.0.1). */
bool net_has(const struct net *nets, size_t n,
	     const struct sockaddr_storage *address);

#endif
