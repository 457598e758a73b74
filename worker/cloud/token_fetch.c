/*
 * Purpose: one token request at the token service.
 *
 * Runs in: cloud agent.
 * Trusts:  the issuers given; nothing of what the service answers.
 * Touches: the network, to the addresses given; curl_glue.c has the loop.
 * Failure: every ending is a struct token_result with words for the operator.
 */
#include "worker/cloud/token_fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "shm/base/buf.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/version.h"
#include "worker/cloud/cloud_url.h"
#include "worker/cloud/curl_glue.h"
#include "worker/issuers.h"

struct issuers {
	void *pem;
	size_t len;
};

struct token_fetcher {
	struct curl_glue *glue;
	struct issuers ca, proxy_ca;
	struct fetch_proxy proxy;
	char pins[512];
};

struct token_fetch {
	struct token_fetcher *fetcher;
	token_fetch_fn *fn;
	void *arg;
	CURL *easy;
	struct curl_slist *fields;
	struct curl_slist *resolve;
	struct cloud_url url;
	struct conf_proxy way;
	const void *proxy_ctx; /* of the TLS with the proxy, to compare */
	bool proxy_objects;    /* tls_why is about the proxy */
	uint64_t timeout_ms;
	struct buf reply;
	bool too_large;
	bool tls_began; /* so TCP is connected */
	char retry_after[64];
	char tls_why[200]; /* what the certificate check objected to */
	char curl_why[CURL_ERROR_SIZE];
	char secret[1024];
	char body[6144]; /* every byte of the three texts as %XX */
};

int
token_fetch_init(void)
{
	/* Whoever set this would get the keys of our TLS sessions. */
	unsetenv("SSLKEYLOGFILE");
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -EIO;
}

static int
issuers_set(struct issuers *i, const void *pem, size_t len)
{
	void *copy = malloc(len == 0 ? 1 : len);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, pem, len);
	free(i->pem);
	i->pem = copy;
	i->len = len;
	return 0;
}

int
token_fetcher_ca(struct token_fetcher *f, const void *pem, size_t len)
{
	return issuers_set(&f->ca, pem, len);
}

int
token_fetcher_proxy_ca(struct token_fetcher *f, const void *pem, size_t len)
{
	return issuers_set(&f->proxy_ca, pem, len);
}

void
token_fetcher_pins(struct token_fetcher *f, const char *list)
{
	str_cut(f->pins, sizeof(f->pins), slice_of(list));
}

void
token_fetcher_proxy(struct token_fetcher *f, const struct fetch_proxy *p)
{
	str_wipe(&f->proxy, sizeof(f->proxy));
	f->proxy = *p;
}

/* --- what goes out ---------------------------------------------------- */

static void
form_put(struct sbuf *b, const char *key, const char *value)
{
	sbuf_fmt(b, "%s%s=", b->len > 0 ? "&" : "", key);
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || strchr("-._~", c) != NULL)
			sbuf_char(b, *value);
		else
			sbuf_fmt(b, "%%%02X", c);
	}
}

static bool
fetch_body(struct token_fetch *t, const struct token_request *req)
{
	struct sbuf b;

	if (str_copy(t->secret, sizeof(t->secret), slice_of(req->secret)) != 0)
		return false;
	sbuf_init(&b, t->body, sizeof(t->body));
	form_put(&b, "client_id", req->client_id);
	form_put(&b, "scope", req->scope);
	form_put(&b, "client_secret", req->secret);
	form_put(&b, "grant_type", "client_credentials");
	return !b.cut;
}

/* --- what comes in ---------------------------------------------------- */

static size_t
fetch_on_body(char *data, size_t size, size_t n, void *arg)
{
	struct token_fetch *t = arg;

	if (buf_put(&t->reply, data, size * n) != 0) {
		t->too_large = true;
		return 0; /* ends the transfer */
	}
	return size * n;
}

static size_t
fetch_on_field(char *data, size_t size, size_t n, void *arg)
{
	static const char name[] = "retry-after:";
	struct token_fetch *t = arg;
	struct slice line = {data, size * n};
	size_t len = sizeof(name) - 1;

	if (line.len > len && slice_iis((struct slice){data, len}, name) &&
	    str_copy(t->retry_after, sizeof(t->retry_after),
		     (struct slice){data + len, line.len - len}) != 0)
		log_debug("Retry-After is longer than any date");
	return size * n;
}

static void
fetch_object(struct token_fetch *t, X509_STORE_CTX *ctx, bool proxy)
{
	int error = X509_STORE_CTX_get_error(ctx);
	bool pin = error == X509_V_ERR_APPLICATION_VERIFICATION;
	X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
	char subject[256] = "?", issuer[256] = "?", line[600];

	if (cert != NULL) {
		X509_NAME_oneline(X509_get_subject_name(cert), subject,
				  (int)sizeof(subject));
		X509_NAME_oneline(X509_get_issuer_name(cert), issuer,
				  (int)sizeof(issuer));
	}
	if (pin)
		snprintf(line, sizeof(line),
			 "TLS is opened on the way? issuer found: %.70s; "
			 "issuer expected: %.70s",
			 issuer, t->fetcher->pins);
	else
		snprintf(line, sizeof(line), "%s; issuer %.70s; subject %.70s",
			 X509_verify_cert_error_string(error), issuer, subject);
	token_text_clean(t->tls_why, sizeof(t->tls_why), slice_of(line),
			 (struct slice){0});
	t->proxy_objects = proxy;
}

/* Remembers the first objection with the certificate's subject and issuer;
 * decides nothing but whether the issuer is one of the pinned. */
static int
fetch_on_verify(int ok, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(
	    ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct token_fetch *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	bool proxy = SSL_get_SSL_CTX(ssl) == t->proxy_ctx;

	if (ok && !proxy && X509_STORE_CTX_get_error_depth(ctx) == 0 &&
	    !issuers_allow(t->fetcher->pins, ctx)) {
		X509_STORE_CTX_set_error(ctx,
					 X509_V_ERR_APPLICATION_VERIFICATION);
		ok = 0;
	}
	if (!ok && t->tls_why[0] == '\0')
		fetch_object(t, ctx, proxy);
	return ok;
}

static CURLcode
fetch_on_ssl_ctx(CURL *easy, void *ssl_ctx, void *arg)
{
	struct token_fetch *t = arg;

	(void)easy;
	if (t->way.tls && t->proxy_ctx == NULL)
		t->proxy_ctx = ssl_ctx; /* it comes first */
	else
		t->tls_began = true;
	SSL_CTX_set_app_data(ssl_ctx, t);
	SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, fetch_on_verify);
	return CURLE_OK;
}

/* --- how it ended ----------------------------------------------------- */

static void
fail(struct token_fetch *t, struct token_result *r, const char *cause,
     const char *why)
{
	char text[512], via[300] = "";

	if (t->way.used)
		snprintf(via, sizeof(via), " through the web proxy %.200s:%u",
			 t->way.host, t->way.port);
	snprintf(text, sizeof(text), "token service %.150s:%u%s: %s%s%s",
		 t->url.host, t->url.port, via, cause,
		 why[0] != '\0' ? ": " : "", why);
	token_result_fail(r, TOKEN_TROUBLE, cause, text);
}

static void
fail_connect(struct token_fetch *t, struct token_result *r)
{
	long err = 0;

	curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &err);
	if (err == ECONNREFUSED)
		fail(t, r,
		     t->way.used ? "the proxy refuses connections"
				 : "connection refused",
		     "");
	else
		fail(t, r,
		     t->way.used ? "cannot connect to the proxy"
				 : "cannot connect",
		     err > 0 ? strerrordesc_np((int)err) : t->curl_why);
}

static void
fail_timeout(struct token_fetch *t, struct token_result *r)
{
	curl_off_t tls = 0;
	char why[64];

	curl_easy_getinfo(t->easy, CURLINFO_APPCONNECT_TIME_T, &tls);
	snprintf(why, sizeof(why), "after %llu ms",
		 (unsigned long long)t->timeout_ms);
	fail(t, r,
	     !t->tls_began ? "time-out while connecting"
	     : tls == 0	   ? "time-out in the TLS handshake"
			   : "time-out waiting for the reply",
	     why);
}

/* What the proxy answered to CONNECT, when that was no yes. */
static bool
fail_proxy(struct token_fetch *t, CURLcode rc, struct token_result *r)
{
	long status = 0;
	char why[96];

	if (!t->way.used)
		return false;
	/* libcurl checks the name by itself, after the handshake */
	if (rc == CURLE_PEER_FAILED_VERIFICATION &&
	    (t->proxy_objects || (t->way.tls && !t->tls_began))) {
		fail(t, r, "the proxy's certificate is not acceptable",
		     t->tls_why[0] != '\0' ? t->tls_why : t->curl_why);
		return true;
	}
	curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &status);
	if (status == 0 || status / 100 == 2)
		return false;
	if (status == 407) {
		fail(t, r, "the proxy wants authentication (407)",
		     t->fetcher->proxy.user[0] == '\0'
			 ? "no proxy_credential is set, or it is not stored"
			 : "it does not take the proxy_credential");
		return true;
	}
	snprintf(why, sizeof(why), "HTTP %ld to CONNECT", status);
	fail(t, r, "the proxy does not open the way", why);
	return true;
}

static void
fetch_explain(struct token_fetch *t, CURLcode rc, struct token_result *r)
{
	const char *why =
	    t->curl_why[0] != '\0' ? t->curl_why : curl_easy_strerror(rc);

	/* The handful that an operator can tell apart; the rest keeps
	 * libcurl's words. */
	if (t->too_large)
		fail(t, r, "the reply is larger than 64 KiB", "");
	else if (fail_proxy(t, rc, r))
		return;
	else if (rc == CURLE_COULDNT_CONNECT)
		fail_connect(t, r);
	else if (rc == CURLE_OPERATION_TIMEDOUT)
		fail_timeout(t, r);
	else if (rc == CURLE_PEER_FAILED_VERIFICATION)
		fail(t, r, "its certificate is not acceptable",
		     t->tls_why[0] != '\0' ? t->tls_why : why);
	else if (rc == CURLE_SSL_CACERT_BADFILE)
		fail(t, r, "cloud_ca_file holds no usable issuer", why);
	else if (rc == CURLE_SSL_CONNECT_ERROR)
		fail(t, r, "TLS failed", why);
	else if (rc == CURLE_GOT_NOTHING)
		fail(t, r, "it closed the connection without a reply", "");
	else if (rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR ||
		 rc == CURLE_PARTIAL_FILE)
		fail(t, r, "the connection broke", why);
	else if (rc == CURLE_UNSUPPORTED_PROTOCOL ||
		 rc == CURLE_WEIRD_SERVER_REPLY)
		fail(t, r, "what answers there does not speak HTTP", "");
	else
		fail(t, r, "the request failed", why);
}

static void
fetch_free(struct token_fetch *t)
{
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->fields);
	curl_slist_free_all(t->resolve);
	buf_fini(&t->reply, 1);
	str_wipe(t->body, sizeof(t->body));
	str_wipe(t->secret, sizeof(t->secret));
	free(t);
}

/* curl_glue: the transfer has ended and is out of the multi handle. */
static void
fetch_on_done(void *arg, CURLcode rc)
{
	struct token_fetch *t = arg;
	struct token_result *r = calloc(1, sizeof(*r));
	struct token_reply in = {
	    .retry_after = slice_of(t->retry_after),
	    .secret = slice_of(t->secret),
	    .now_s = clock_real_ns() / NS_PER_S,
	};
	token_fetch_fn *fn = t->fn;
	void *fn_arg = t->arg;

	/* 10 kB; without them this process can do nothing: a new one may. */
	BUG_ON(r == NULL);
	if (rc == CURLE_OK) {
		in.body.p = (const char *)buf_peek(&t->reply, &in.body.len);
		curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &in.status);
		token_reply_parse(&in, r);
	} else {
		fetch_explain(t, rc, r);
	}
	fetch_free(t);
	fn(fn_arg, r);
	str_wipe(r, sizeof(*r));
	free(r);
}

/* --- start ------------------------------------------------------------ */

static bool
fetch_is_literal(const char *host)
{
	struct addr_set one = {0};

	return addr_set_add_text(&one, host) == 0;
}

static bool
fetch_lists(struct token_fetch *t, const struct addr_set *addrs)
{
	char list[ADDR_SET_TEXT + 64], line[ADDR_SET_TEXT + 384];

	addr_set_text(addrs, true, list, sizeof(list));
	snprintf(line, sizeof(line), "%s:%u:%s",
		 t->way.used ? t->way.host : t->url.host,
		 (unsigned)(t->way.used ? t->way.port : t->url.port), list);
	if (t->way.used ? !fetch_is_literal(t->way.host) : !t->url.literal) {
		t->resolve = curl_slist_append(NULL, line);
		if (t->resolve == NULL)
			return false;
	}
	t->fields = curl_slist_append(NULL, "Accept: application/json");
	return t->fields != NULL;
}

#define SET(opt, value)                                                \
	do {                                                           \
		if (curl_easy_setopt(t->easy, opt, value) != CURLE_OK) \
			return false;                                  \
	} while (0)

static bool
fetch_tls(struct token_fetch *t)
{
	struct curl_blob ca = {
	    .data = t->fetcher->ca.pem,
	    .len = t->fetcher->ca.len,
	    .flags = CURL_BLOB_COPY, /* a reload may bring others meanwhile */
	};

	SET(CURLOPT_CAINFO_BLOB, &ca);
	SET(CURLOPT_CAINFO, NULL);
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	SET(CURLOPT_SSL_CTX_FUNCTION, fetch_on_ssl_ctx);
	SET(CURLOPT_SSL_CTX_DATA, t);
	return true;
}

/* Only Basic, only to the proxy, and the proxy's TLS as strict as ours. */
static bool
fetch_way(struct token_fetch *t)
{
	const struct fetch_proxy *p = &t->fetcher->proxy;
	struct curl_blob ca = {
	    .data = t->fetcher->proxy_ca.pem,
	    .len = t->fetcher->proxy_ca.len,
	    .flags = CURL_BLOB_COPY,
	};
	char url[300];

	/* "" also keeps the environment's no_proxy out */
	SET(CURLOPT_NOPROXY, "");
	if (!t->way.used) {
		SET(CURLOPT_PROXY, "");
		return true;
	}
	snprintf(
	    url, sizeof(url),
	    strchr(t->way.host, ':') != NULL ? "%s://[%s]:%u" : "%s://%s:%u",
	    t->way.tls ? "https" : "http", t->way.host, (unsigned)t->way.port);
	SET(CURLOPT_PROXY, url);
	SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_PROXYAUTH, (long)CURLAUTH_BASIC);
	if (p->user[0] != '\0') {
		SET(CURLOPT_PROXYUSERNAME, p->user);
		SET(CURLOPT_PROXYPASSWORD, p->password);
	}
	if (!t->way.tls)
		return true;
	SET(CURLOPT_PROXY_CAINFO_BLOB, &ca);
	SET(CURLOPT_PROXY_CAINFO, NULL);
	SET(CURLOPT_PROXY_CAPATH, NULL);
	SET(CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	return true;
}

static bool
fetch_http(struct token_fetch *t, const char *url)
{
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_RESOLVE, t->resolve);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_USERAGENT, "rms-connector/" RMS_VERSION);
	SET(CURLOPT_HTTPHEADER, t->fields);
	SET(CURLOPT_POSTFIELDS, t->body);
	SET(CURLOPT_POSTFIELDSIZE, (long)strlen(t->body));
	SET(CURLOPT_TIMEOUT_MS, (long)t->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)t->timeout_ms);
	SET(CURLOPT_WRITEFUNCTION, fetch_on_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_HEADERFUNCTION, fetch_on_field);
	SET(CURLOPT_HEADERDATA, t);
	SET(CURLOPT_ERRORBUFFER, t->curl_why);
	return true;
}

int
token_fetch_start(struct token_fetcher *f, const struct token_request *req,
		  token_fetch_fn *fn, void *arg, struct token_fetch **fetch_r)
{
	struct token_fetch *t = calloc(1, sizeof(*t));
	int rc = -EINVAL;

	*fetch_r = NULL;
	if (t == NULL)
		return -ENOMEM;
	t->fetcher = f;
	t->fn = fn;
	t->arg = arg;
	t->timeout_ms = req->timeout_ms;
	t->way = f->proxy.way;
	buf_init(&t->reply, TOKEN_REPLY_MAX);
	if (cloud_url_parse(req->url, &t->url) != 0 || !fetch_body(t, req))
		goto out;
	rc = -ENOMEM;
	t->easy = curl_easy_init();
	if (t->easy == NULL || !fetch_lists(t, req->addrs) ||
	    !fetch_http(t, req->url) || !fetch_way(t) || !fetch_tls(t))
		goto out;
	rc = curl_glue_add(f->glue, t->easy, fetch_on_done, t);
	if (rc != 0)
		goto out;
	*fetch_r = t;
	return 0;
out:
	fetch_free(t);
	return rc;
}

void
token_fetch_cancel(struct token_fetch **tp)
{
	struct token_fetch *t = *tp;

	if (t == NULL)
		return;
	curl_glue_remove(t->fetcher->glue, t->easy);
	fetch_free(t);
	*tp = NULL;
}

struct token_fetcher *
token_fetcher_new(struct loop *l)
{
	struct token_fetcher *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->glue = curl_glue_new(l);
	if (f->glue == NULL) {
		free(f);
		return NULL;
	}
	return f;
}

void
token_fetcher_free(struct token_fetcher **fp)
{
	struct token_fetcher *f = *fp;

	if (f == NULL)
		return;
	curl_glue_free(&f->glue);
	free(f->ca.pem);
	free(f->proxy_ca.pem);
	str_wipe(&f->proxy, sizeof(f->proxy));
	free(f);
	*fp = NULL;
}
