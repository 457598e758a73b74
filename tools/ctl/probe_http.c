/*
 * Purpose: one HTTP request as a server would make it.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody; replies are bounded.
 * Touches: the network, the Kerberos credentials of the caller.
 * Failure: told in the reply.
 */
#include "tools/ctl/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shm/base/log.h"

static size_t
on_body(char *data, size_t one, size_t len, void *arg)
{
	struct probe_reply *r = arg;
	char *more;

	(void)one; /* always 1 */
	if (len > PROBE_BODY_MAX - r->len) {
		r->too_long = true;
		return 0;
	}
	more = realloc(r->body, r->len + len + 1);
	if (more == NULL)
		return 0;
	r->body = more;
	memcpy(more + r->len, data, len);
	r->len += len;
	more[r->len] = '\0';
	return len;
}

/* Value of the field `name` in a line of the head, trimmed. */
static bool
field(struct slice line, const char *name, struct slice *value_r)
{
	size_t n = strlen(name);

	if (line.len <= n || line.p[n] != ':' ||
	    strncasecmp(line.p, name, n) != 0)
		return false;
	line.p += n + 1;
	line.len -= n + 1;
	while (line.len > 0 && (*line.p == ' ' || *line.p == '\t'))
		line.p++, line.len--;
	while (line.len > 0 && (unsigned char)line.p[line.len - 1] <= ' ')
		line.len--;
	*value_r = line;
	return true;
}

/* Goes into our output: only what an id is made of. */
static void
take_id(struct probe_reply *r, struct slice v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.p[i] <= ' ' || v.p[i] > '~')
			return;
	if (str_copy(r->request_id, sizeof(r->request_id), v) < 0)
		r->request_id[0] = '\0';
}

static size_t
on_head(char *data, size_t one, size_t len, void *arg)
{
	struct probe_reply *r = arg;
	struct slice line = {data, len}, v;

	(void)one;
	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
		/* The next leg of the handshake: forget the one before. */
		r->request_id[0] = '\0';
		r->negotiate = false;
		free(r->body);
		r->body = NULL;
		r->len = 0;
	} else if (field(line, "X-RMS-Request-Id", &v)) {
		take_id(r, v);
	} else if (field(line, "WWW-Authenticate", &v)) {
		r->negotiate |=
		    v.len >= 9 && strncasecmp(v.p, "Negotiate", 9) == 0;
	}
	return len;
}

static void
set_auth(CURL *h, bool auth)
{
	/* ":" makes libcurl take user and ticket from the Kerberos cache. */
	curl_easy_setopt(h, CURLOPT_USERPWD, auth ? ":" : NULL);
	curl_easy_setopt(h, CURLOPT_HTTPAUTH,
			 auth ? (long)CURLAUTH_NEGOTIATE : (long)CURLAUTH_NONE);
}

static struct curl_slist *
set_body(CURL *h, const char *action, const char *body)
{
	struct curl_slist *l;
	char line[256];

	if (body == NULL) {
		curl_easy_setopt(h, CURLOPT_HTTPGET, 1L);
		curl_easy_setopt(h, CURLOPT_HTTPHEADER, NULL);
		return NULL;
	}
	snprintf(line, sizeof(line), "SOAPAction: \"%s\"", action);
	l = curl_slist_append(NULL, "Content-Type: text/xml; charset=utf-8");
	l = curl_slist_append(l, line);
	curl_easy_setopt(h, CURLOPT_POST, 1L);
	curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, l);
	return l;
}

static uint64_t
time_us(CURL *h, CURLINFO what)
{
	curl_off_t t = 0;

	if (curl_easy_getinfo(h, what, &t) != CURLE_OK || t < 0)
		return 0;
	return (uint64_t)t;
}

static void
take_info(CURL *h, struct probe_reply *r)
{
	const char *ip = NULL;

	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &r->status);
	curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &r->os_errno);
	curl_easy_getinfo(h, CURLINFO_SSL_VERIFYRESULT, &r->verify);
	r->us = time_us(h, CURLINFO_TOTAL_TIME_T);
	r->connect_us = time_us(h, CURLINFO_CONNECT_TIME_T);
	r->tls_us = time_us(h, CURLINFO_APPCONNECT_TIME_T);
	if (curl_easy_getinfo(h, CURLINFO_PRIMARY_IP, &ip) == CURLE_OK &&
	    ip != NULL)
		snprintf(r->ip, sizeof(r->ip), "%s", ip);
}

void
probe_http(CURL *h, const char *url, const char *action, const char *body,
	   bool auth, struct probe_reply *r_r)
{
	struct curl_slist *fields;

	memset(r_r, 0, sizeof(*r_r));
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, r_r->error);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, r_r);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_head);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, r_r);
	set_auth(h, auth);
	fields = set_body(h, action, body);
	r_r->code = curl_easy_perform(h);
	take_info(h, r_r);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(fields);
}

void
probe_reply_fini(struct probe_reply *r)
{
	free(r->body);
	r->body = NULL;
	r->len = 0;
}
