/*
 * Purpose: takes apart the URL of a connector as people give it.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: memory of its callers.
 * Failure: a line that says what such a URL looks like.
 */
#include "tools/ctl/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shm/base/log.h"

/* One part of the URL, "" when it has none; the caller frees. */
static char *
part(CURLU *u, CURLUPart what, unsigned flags)
{
	char *p = NULL;

	if (curl_url_get(u, what, &p, flags) != CURLUE_OK)
		return NULL;
	return p;
}

static bool
path_is_fine(const char *path)
{
	if (path == NULL || strcmp(path, "/") == 0)
		return true;
	return strncasecmp(path, "/_wmcs", 6) == 0 &&
	       (path[6] == '\0' || path[6] == '/');
}

static int
take_host(struct probe_url *u, const char *host, const char *port)
{
	size_t n = strlen(host);
	bool v6 = n > 2 && host[0] == '[' && host[n - 1] == ']';
	struct slice name = {host + v6, n - (v6 ? 2U : 0U)};
	uint64_t number;

	if (str_copy(u->host, sizeof(u->host), name) < 0 ||
	    str_u64(slice_of(port), 65535, &number) < 0 || number == 0)
		return -EINVAL;
	u->port = (unsigned)number;
	snprintf(u->base, sizeof(u->base), "%s://%s:%u/_wmcs",
		 u->https ? "https" : "http", host, u->port);
	return 0;
}

static int
take(struct probe_url *u, CURLU *h)
{
	char *scheme = part(h, CURLUPART_SCHEME, 0);
	char *host = part(h, CURLUPART_HOST, 0);
	char *port = part(h, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	char *path = part(h, CURLUPART_PATH, 0);
	char *user = part(h, CURLUPART_USER, 0);
	int r = -EINVAL;

	if (scheme != NULL && host != NULL && port != NULL && user == NULL &&
	    (strcmp(scheme, "https") == 0 || strcmp(scheme, "http") == 0) &&
	    path_is_fine(path)) {
		u->https = scheme[4] == 's';
		r = take_host(u, host, port);
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(path);
	curl_free(user);
	return r;
}

int
probe_url_parse(struct probe_url *u_r, const char *text, char *err,
		size_t err_size)
{
	CURLU *h = curl_url();
	int r = -EINVAL;

	memset(u_r, 0, sizeof(*u_r));
	if (h != NULL && curl_url_set(h, CURLUPART_URL, text,
				      CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
		r = take(u_r, h);
	curl_url_cleanup(h);
	if (r < 0)
		snprintf(
		    err, err_size,
		    "%.100s is not the URL of a connector: give "
		    "https://HOST[:PORT] (or http), the same that the servers "
		    "use",
		    text);
	return r;
}
