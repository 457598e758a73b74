/*
 * Purpose: says in plain words what went wrong with a request and on whose
 *          side.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody; texts of an answer are quoted, cut and escaped.
 * Touches: nothing.
 * Failure: what is not known is quoted.
 */
#include "tools/ctl/probe.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/ctl/soap.h"

#include "shm/base/log.h"

#define OURS "RmsConnector."

static const char *const at_name[] = {"", "this server (the client)",
				      "the connector", "the network",
				      "the cloud service"};

const char *
probe_at_name(enum probe_at at)
{
	return at_name[at];
}

enum probe_at
probe_at_parse(const char *name)
{
	if (strcmp(name, "client") == 0)
		return AT_CLIENT;
	if (strcmp(name, "network") == 0)
		return AT_NETWORK;
	return strcmp(name, "cloud") == 0 ? AT_CLOUD : AT_CONNECTOR;
}

void
step_fail(struct probe_step *s, enum probe_at at, const char *remedy,
	  const char *fmt, ...)
{
	va_list ap;

	s->at = at;
	snprintf(s->remedy, sizeof(s->remedy), "%s", remedy);
	va_start(ap, fmt);
	vsnprintf(s->verdict, sizeof(s->verdict), fmt, ap);
	va_end(ap);
}

void
step_ok(struct probe_step *s, const char *fmt, ...)
{
	va_list ap;

	s->at = AT_NONE;
	va_start(ap, fmt);
	vsnprintf(s->verdict, sizeof(s->verdict), fmt, ap);
	va_end(ap);
}

/* --- below HTTP -------------------------------------------------------- */

static void
judge_certificate(struct probe_step *s, const struct probe_url *u,
		  const struct probe_reply *r)
{
	const char *why = X509_verify_cert_error_string(r->verify);

	if (r->verify == X509_V_ERR_CERT_HAS_EXPIRED ||
	    r->verify == X509_V_ERR_CERT_NOT_YET_VALID)
		step_fail(
		    s, AT_CONNECTOR,
		    "renew the listener's certificate, or correct this host's "
		    "clock",
		    "the connector's certificate: %s", why);
	else if (r->verify != X509_V_OK)
		step_fail(
		    s, AT_CLIENT,
		    "if the connector's certificate is from your own CA, name "
		    "it with --cacert; if its issuer is a stranger, something "
		    "between opens the TLS connection; if issuers are missing "
		    "in the listener's file, add them behind the certificate",
		    "the connector's certificate is not trusted: %s", why);
	else
		step_fail(
		    s, AT_CONNECTOR,
		    "use a name that stands in the certificate, or make a "
		    "certificate that holds this one",
		    "the connector's certificate is not for %s: %s", u->host,
		    r->error);
}

static void
judge_connect(struct probe_step *s, const struct probe_url *u,
	      const struct probe_reply *r)
{
	if (r->os_errno == ECONNREFUSED)
		step_fail(
		    s, AT_CONNECTOR,
		    "check the port, and on its host that the connector runs "
		    "and listens there: rmsctl status",
		    "nobody listens on port %u of %s", u->port, u->host);
	else
		step_fail(s, AT_NETWORK,
			  "check route and firewalls between this host and the "
			  "connector",
			  "%s, port %u cannot be reached: %s", u->host, u->port,
			  r->os_errno != 0 ? strerror((int)r->os_errno)
					   : r->error);
}

static void
judge_timeout(struct probe_step *s, const struct probe_url *u,
	      const struct probe_reply *r)
{
	if (r->connect_us == 0)
		step_fail(s, AT_NETWORK,
			  "check route and firewalls between this host and the "
			  "connector",
			  "%s, port %u does not answer within %d s", u->host,
			  u->port, PROBE_CONNECT_MS / 1000);
	else if (u->https && r->tls_us == 0)
		step_fail(s, AT_CONNECTOR, "is it an HTTPS port?",
			  "the TLS handshake does not end within %d s",
			  PROBE_CONNECT_MS / 1000);
	else
		step_fail(s, AT_CONNECTOR,
			  "see the connector's log and rmsctl status",
			  "no complete answer within %d s",
			  PROBE_TOTAL_MS / 1000);
}

void
judge_transfer(struct probe_step *s, const struct probe_url *u,
	       const struct probe_reply *r)
{
	const char *why =
	    r->error[0] != '\0' ? r->error : curl_easy_strerror(r->code);

	if (r->code == CURLE_PEER_FAILED_VERIFICATION)
		judge_certificate(s, u, r);
	else if (r->code == CURLE_COULDNT_CONNECT)
		judge_connect(s, u, r);
	else if (r->code == CURLE_OPERATION_TIMEDOUT)
		judge_timeout(s, u, r);
	else if (r->code == CURLE_COULDNT_RESOLVE_HOST)
		step_fail(s, AT_NETWORK, "check the name and this host's DNS",
			  "the name %s is not known: %s", u->host, why);
	else if (r->code == CURLE_SSL_CACERT_BADFILE)
		step_fail(s, AT_CLIENT, "--cacert takes a PEM file",
			  "the issuers' file cannot be read: %s", why);
	else if (r->code == CURLE_SSL_CONNECT_ERROR)
		step_fail(
		    s, AT_CONNECTOR,
		    "is it an HTTPS port? If so, the log of the connector "
		    "names the reason",
		    "the TLS handshake failed: %s", why);
	else if (r->code == CURLE_UNSUPPORTED_PROTOCOL)
		step_fail(s, AT_CLIENT,
			  "is it an HTTPS port? Then say https://",
			  "what answers does not speak HTTP: %s", why);
	else if (r->too_long)
		step_fail(s, AT_CLOUD, "see the log of the service",
			  "the answer is longer than %u bytes", PROBE_BODY_MAX);
	else
		step_fail(
		    s, AT_CONNECTOR,
		    u->https ? "see the connector's log; if it has no trace of "
			       "this request, something between closed the "
			       "connection"
			     : "is it an HTTPS port? Then say https://. Else "
			       "see the connector's log",
		    "the connection ended: %s", why);
}

/* --- HTTP and above ---------------------------------------------------- */

static const struct {
	const char *name, *fault, *text;
} reasons[] = {
#define REASON(name, status, text, fault, retry) {#name, #fault, text},
#include "worker/relay/reasons.def"
#undef REASON
};

static const struct {
	const char *reason, *remedy;
} remedies[] = {
    {"AUTH_DENIED", "on the connector: rmsctl explain ACCOUNT; if the server "
		    "should be let in: rmsctl servers add"},
    {"AUTH_EXPIRED", "on the connector: rmsctl servers remove and add it "
		     "again with a later date"},
    {"TABLE_EMPTY", "on the connector: rmsctl servers add"},
    {"AUTH_FAILED", "the KDC gave us a ticket and the connector cannot use "
		    "it: compare its keytab (rmsctl status) with the name, "
		    "key version and encryption of the ticket (klist -e), and "
		    "the clocks"},
    {"NO_TENANT", "on the connector: rmsctl set tenant_url URL"},
    {"NO_CREDENTIAL", "on the connector: rmsctl credentials add"},
    {"NO_TOKEN", "on the connector: rmsctl status names the token service's "
		 "error"},
    {"NO_ADDRESS", "on the connector: check tenant_url and the DNS"},
    {"CLOUD_CERT", "on the connector: cloud_ca_file has to hold the issuer; "
		   "a stranger as issuer means TLS inspection"},
    {"CLOUD_UNAUTHORIZED", "check the permissions of the connector's "
			   "application in the tenant"},
    {"NOT_FOUND", "use the base URL of the connector"},
};

static const char *
remedy_of(struct slice reason)
{
	for (size_t i = 0; i < ARRAY_LEN(remedies); i++)
		if (slice_is(reason, remedies[i].reason))
			return remedies[i].remedy;
	return "on the connector: rmsctl events, and the access log by the "
	       "request id";
}

/* "RmsConnector.REASON: text (id)" of our own errors. */
static void
judge_ours(struct probe_step *s, struct slice text, const char *line)
{
	struct slice name = {text.p + sizeof(OURS) - 1, 0};
	enum probe_at at = AT_CONNECTOR;

	while (sizeof(OURS) - 1 + name.len < text.len &&
	       (name.p[name.len] == '_' ||
		(name.p[name.len] >= 'A' && name.p[name.len] <= 'Z') ||
		(name.p[name.len] >= '0' && name.p[name.len] <= '9')))
		name.len++;
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (slice_is(name, reasons[i].name))
			at = probe_at_parse(reasons[i].fault);
	/* We hold a fresh ticket for this very name: not our fault. */
	if (slice_is(name, "AUTH_FAILED"))
		at = AT_CONNECTOR;
	step_fail(s, at, remedy_of(name), "%s", line);
}

/* The line of our own error in a SOAP fault or a page of text; empty: there is
 * none, so it is not ours. */
static struct slice
ours_in(struct slice text)
{
	const char *at = memmem(text.p, text.len, OURS, sizeof(OURS) - 1);
	struct slice line = {at, 0};

	if (at == NULL)
		return line;
	while (line.p + line.len < text.p + text.len &&
	       (unsigned char)line.p[line.len] >= ' ')
		line.len++;
	return line;
}

/* Text of an answer as one line: without what begins or ends it, bounded. */
static void
quote(struct slice text, char *line, size_t size)
{
	struct sbuf b;

	while (text.len > 0 && (unsigned char)text.p[0] <= ' ')
		text.p++, text.len--;
	text.len = MIN(text.len, size - 1);
	while (text.len > 0 && (unsigned char)text.p[text.len - 1] <= ' ')
		text.len--;
	sbuf_init(&b, line, size);
	soap_text(&b, text);
}

void
judge_error(struct probe_step *s, const struct probe_reply *r)
{
	struct slice body = {r->body == NULL ? "" : r->body, r->len};
	struct slice fault = soap_first(body, "faultstring");
	struct slice text = fault.len > 0 ? fault : body;
	struct slice ours = ours_in(text);
	char line[400];

	quote(ours.len > 0 ? ours : text, line, sizeof(line));
	if (ours.len > 0)
		judge_ours(s, ours, line);
	else if (fault.len > 0)
		step_fail(s, AT_CLOUD,
			  "the connector has passed it on as it came; the "
			  "service's own log knows more",
			  "the service answers: %s", line);
	else if (r->request_id[0] == '\0')
		step_fail(s, AT_NETWORK,
			  "is it the connector's URL? If so, something between "
			  "answers in its stead (a web proxy, a balancer)",
			  "HTTP %ld, and not from a connector: %.120s",
			  r->status, line);
	else
		step_fail(s, AT_CLOUD,
			  "the access log of the connector has this request by "
			  "its id",
			  "HTTP %ld without the answer that was asked for: "
			  "%.120s",
			  r->status, line);
}
