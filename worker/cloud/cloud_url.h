/*
 * cloud_url: host and port of an https URL of the settings.
 */
#ifndef RMS_CLOUD_URL_H
#define RMS_CLOUD_URL_H

#include <stdbool.h>

#include "shm/base/bug.h"

struct cloud_url {
	char host[256]; /* lower case, an IPv6 literal without its brackets */
	uint16_t port;
	bool literal; /* host is an address: the DNS is not asked */
};

/* Only https, no user part.  0, or -EINVAL with *u_r zeroed. */
MUST_USE int cloud_url_parse(const char *url, struct cloud_url *u_r);

#endif
