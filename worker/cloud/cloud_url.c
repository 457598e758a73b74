/*
 * Purpose: take host and port out of an https URL.
 *
 * Runs in: cloud agent.
 * Trusts:  nobody.
 * Touches: memory of its callers.
 * Failure: -EINVAL.
 */
#include "worker/cloud/cloud_url.h"

#include <arpa/inet.h>
#include <errno.h>

#include "shm/base/log.h"
#include "shm/base/str.h"

#define HTTPS	   "https://"
#define HTTPS_PORT 443

static bool
cloud_url_is_literal(const char *host)
{
	struct in6_addr a;

	return inet_pton(AF_INET, host, &a) == 1 ||
	       inet_pton(AF_INET6, host, &a) == 1;
}

/* Letters, digits, dot, hyphen, underscore; IPv6 also colons. */
static int
cloud_url_host(struct slice host, bool brackets, struct cloud_url *u)
{
	if (host.len == 0 || str_copy(u->host, sizeof(u->host), host) != 0)
		return -EINVAL;
	for (char *p = u->host; *p != '\0'; p++) {
		*p = ascii_lower(*p);
		if ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
		    *p == '.' || *p == '-' || *p == '_')
			continue;
		if (!brackets || *p != ':')
			return -EINVAL;
	}
	u->literal = cloud_url_is_literal(u->host);
	return brackets && !u->literal ? -EINVAL : 0;
}

static int
cloud_url_port(struct slice rest, struct cloud_url *u)
{
	uint64_t port = HTTPS_PORT;

	if (rest.len > 0 && rest.p[0] == ':') {
		rest.p++;
		rest.len--;
		if (str_u64(rest, 65535, &port) != 0 || port == 0)
			return -EINVAL;
	} else if (rest.len > 0) {
		return -EINVAL;
	}
	u->port = (uint16_t)port;
	return 0;
}

static int
cloud_url_split(const char *url, struct cloud_url *u)
{
	size_t scheme = sizeof(HTTPS) - 1, n;
	struct slice all, host;
	const char *end;
	bool brackets;

	if (!slice_iis((struct slice){url, strnlen(url, scheme)}, HTTPS))
		return -EINVAL;
	url += scheme;
	all = (struct slice){url, strcspn(url, "/?#")};
	brackets = all.len > 0 && all.p[0] == '[';
	if (brackets) {
		end = memchr(all.p, ']', all.len);
		if (end == NULL)
			return -EINVAL;
		host = (struct slice){all.p + 1, (size_t)(end - all.p) - 1};
		n = host.len + 2;
	} else {
		end = memchr(all.p, ':', all.len);
		n = end == NULL ? all.len : (size_t)(end - all.p);
		host = (struct slice){all.p, n};
	}
	if (cloud_url_host(host, brackets, u) != 0)
		return -EINVAL;
	return cloud_url_port((struct slice){all.p + n, all.len - n}, u);
}

int
cloud_url_parse(const char *url, struct cloud_url *u_r)
{
	int rc;

	*u_r = (struct cloud_url){0};
	rc = cloud_url_split(url, u_r);
	if (rc != 0)
		*u_r = (struct cloud_url){0};
	return rc;
}
