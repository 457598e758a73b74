/*
 * proxy: which way a connection to a host takes: straight, or through the web
 * proxy that the node's file names.
 *
 * Pure: the texts are those that conf/check.c has found well-formed; what
 * does not parse counts as no proxy only in no_proxy (an entry that matches
 * nothing), never in `proxy`.
 */
#ifndef RMS_CONF_PROXY_H
#define RMS_CONF_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/base/bug.h"

struct conf;

struct conf_proxy {
	bool used;
	bool tls;	/* https://: TLS with the proxy itself, too */
	char host[256]; /* an IPv6 literal without its brackets */
	uint16_t port;
};

/*
 * The way to host (a name or an address literal without brackets).  0;
 * -EINVAL when `proxy` is set and is no URL: then there is no way.
 */
MUST_USE int conf_proxy_for(const struct conf *c, const char *host,
			    struct conf_proxy *p_r);

/*
 * Is host in a list like no_proxy: "*", a name (itself and all below it),
 * ".name" (all below it), an address, or a network ADDRESS/BITS.
 */
bool conf_proxy_exempt(const char *no_proxy, const char *host);

#endif
