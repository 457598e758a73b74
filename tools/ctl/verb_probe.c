/*
 * Purpose: probe: does what a server does, a line for each step.
 *
 * Runs in: rmsctl, on any host with a Kerberos ticket.
 * Trusts:  nobody.
 * Touches: the network, the KDC, the caller's Kerberos credentials.
 * Failure: the first step that fails is told with whose fault it is.
 */
#include <netdb.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "master/version.h"
#include "shm/base/clock.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/probe.h"
#include "tools/ctl/soap.h"
#include "tools/ctl/text.h"

#include "shm/base/log.h"

/* --- steps ------------------------------------------------------------- */

static struct probe_step *
step_new(struct probe *p, const char *name)
{
	struct probe_step *s = &p->step[p->n++];

	BUG_ON(p->n > PROBE_STEPS);
	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	return s;
}

static bool
step_end(struct probe *p, const struct probe_step *s)
{
	probe_print_step(p, s);
	return s->at == AT_NONE;
}

static void
addresses(struct probe_step *s, const struct addrinfo *list)
{
	char text[400], one[64];
	struct sbuf b;

	sbuf_init(&b, text, sizeof(text));
	for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, one, sizeof(one),
				NULL, 0, NI_NUMERICHOST) != 0)
			continue;
		if (b.len > 0)
			sbuf_str(&b, ", ");
		sbuf_str(&b, one);
	}
	step_ok(s, "%s", text);
}

static bool
step_resolve(struct probe *p)
{
	struct addrinfo hint = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	struct probe_step *s = step_new(p, "look up the name");
	uint64_t start = clock_mono_ns();
	int r = getaddrinfo(p->url.host, NULL, &hint, &list);

	s->us = (clock_mono_ns() - start) / NS_PER_US;
	if (r == 0)
		addresses(s, list);
	else
		step_fail(s, AT_NETWORK, "check the name and this host's DNS",
			  "the name %s is not known: %s", p->url.host,
			  gai_strerror(r));
	freeaddrinfo(list);
	return step_end(p, s);
}

static void
take_figures(struct probe_step *s, const struct probe_reply *r)
{
	s->status = r->status;
	s->bytes = r->len;
	s->us = r->us;
	memcpy(s->request_id, r->request_id, sizeof(s->request_id));
}

/* What a caller without credentials must get. */
static bool
step_asked(struct probe *p, const struct probe_reply *r)
{
	struct probe_step *s = step_new(p, "is asked to authenticate");

	take_figures(s, r);
	if (r->status == 401 && r->negotiate)
		step_ok(s, "Negotiate");
	else if (r->status == 401)
		step_fail(s, AT_NETWORK,
			  "the connector always offers Negotiate: something "
			  "between changes its answer, or it is not one",
			  "Negotiate (Kerberos) is not offered");
	else
		judge_error(s, r);
	return step_end(p, s);
}

/* A request without credentials shows connection and certificate. */
static bool
step_connect(struct probe *p)
{
	struct probe_step *s =
	    step_new(p, p->url.https ? "connect, TLS, certificate" : "connect");
	struct probe_reply r;
	char url[512];
	bool ok;

	snprintf(url, sizeof(url), "%s/GetRmsoUri.aspx", p->url.base);
	probe_http(p->h, url, NULL, NULL, false, &r);
	s->us = r.tls_us > 0 ? r.tls_us : r.connect_us;
	if (r.code != CURLE_OK) {
		s->us = r.us;
		judge_transfer(s, &p->url, &r);
	} else {
		step_ok(s, "%s port %u%s", r.ip, p->url.port,
			p->url.https ? ", the certificate is good"
				     : ", not secure (no TLS)");
	}
	ok = step_end(p, s) && step_asked(p, &r);
	probe_reply_fini(&r);
	return ok;
}

static bool
step_ticket(struct probe *p)
{
	struct probe_step *s = step_new(p, "Kerberos ticket");
	uint64_t start = clock_mono_ns();

	probe_ticket(s, p->url.host);
	s->us = (clock_mono_ns() - start) / NS_PER_US;
	return step_end(p, s);
}

/* Runs the request and puts its figures into the step.  True when there is a
 * reply with status 200. */
static bool
step_http(struct probe *p, struct probe_step *s, const char *path,
	  const char *action, const char *body, struct probe_reply *r)
{
	char url[512];

	snprintf(url, sizeof(url), "%s%s", p->url.base, path);
	probe_http(p->h, url, action, body, true, r);
	take_figures(s, r);
	if (r->code != CURLE_OK)
		judge_transfer(s, &p->url, r);
	else if (r->status != 200)
		judge_error(s, r);
	return r->code == CURLE_OK && r->status == 200;
}

static struct slice
body_of(const struct probe_reply *r)
{
	return (struct slice){r->body == NULL ? "" : r->body, r->len};
}

/* The tenant's URL, which configuration scripts ask for: plain text. */
static bool
step_tenant(struct probe *p)
{
	struct probe_step *s = step_new(p, "GET GetRmsoUri.aspx");
	struct probe_reply r;
	struct slice b;

	if (step_http(p, s, "/GetRmsoUri.aspx", NULL, NULL, &r)) {
		b = body_of(&r);
		while (b.len > 0 && (unsigned char)b.p[b.len - 1] <= ' ')
			b.len--;
		if (b.len > 8 && memcmp(b.p, "https://", 8) == 0 &&
		    str_copy(p->tenant, sizeof(p->tenant), b) == 0)
			step_ok(s, "tenant %s", p->tenant);
		else
			judge_error(s, &r);
	}
	probe_reply_fini(&r);
	return step_end(p, s);
}

static void
step_page(struct probe *p)
{
	struct probe_step *s =
	    step_new(p, "GET certification/servercertification.asmx");
	struct probe_reply r;

	if (step_http(p, s, "/certification/servercertification.asmx", NULL,
		      NULL, &r)) {
		if (r.len > 0 &&
		    memmem(r.body, r.len, "ServerCertificationWebService",
			   29) != NULL)
			step_ok(s, "the service page");
		else
			judge_error(s, &r);
	}
	probe_reply_fini(&r);
	(void)step_end(p, s);
}

/* --- SOAP calls -------------------------------------------------------- */

static void
saw_server_info(struct probe *p, struct probe_step *s, struct slice xml)
{
	struct slice content, tag, version;
	size_t pos = 0;

	(void)p;
	version = (struct slice){"", 0};
	while (soap_element(xml, "VersionInfo", &pos, &content, &tag))
		version = soap_attr(tag, "Version");
	if (version.len > 0)
		step_ok(s, "server version %.*s", (int)MIN(version.len, 40U),
			version.p);
	else
		step_ok(s, "answered");
}

static void
saw_chain(struct probe *p, struct probe_step *s, struct slice xml)
{
	(void)p;
	step_ok(s, "%zu certificates", soap_count(xml, "Certificate"));
}

static void
saw_location(struct probe *p, struct probe_step *s, struct slice xml)
{
	struct slice url = soap_first(xml, "URL");

	(void)p;
	step_ok(s, "%.*s", (int)MIN(url.len, 200U), url.p);
}

/* It goes into the next request: only what a GUID is made of. */
static bool
is_guid(struct slice g)
{
	if (g.len == 0 || g.len > 40)
		return false;
	for (size_t i = 0; i < g.len; i++)
		if (strchr("0123456789abcdefABCDEF-{}", g.p[i]) == NULL)
			return false;
	return true;
}

static void
saw_guids(struct probe *p, struct probe_step *s, struct slice xml)
{
	struct slice guid;
	struct sbuf b;
	size_t pos = 0, all = 0;

	sbuf_init(&b, p->guids, sizeof(p->guids));
	while (soap_element(xml, "Guid", &pos, &guid, NULL)) {
		all++;
		if (p->nguids == PROBE_GUIDS || !is_guid(guid))
			continue;
		sbuf_fmt(&b, "<string>%.*s</string>", (int)guid.len, guid.p);
		p->nguids++;
	}
	step_ok(s, "%zu templates", all);
}

static void
saw_templates(struct probe *p, struct probe_step *s, struct slice xml)
{
	size_t got = soap_count(xml, "GuidTemplate");

	if (got == p->nguids)
		step_ok(s, "%zu templates", got);
	else
		step_fail(s, AT_CLOUD, "see the log of the service",
			  "%zu templates were asked for and %zu came",
			  p->nguids, got);
}

struct call {
	const char *operation, *service, *path;
	bool versions;
	const char *content;
	void (*saw)(struct probe *, struct probe_step *, struct slice xml);
};

#define INFO                                                         \
	"<requests><ServerInfoRequest><Type>VersionInfo</Type>"      \
	"</ServerInfoRequest><ServerInfoRequest>"                    \
	"<Type>ServerLicensorCertificate</Type></ServerInfoRequest>" \
	"</requests>"
#define WHERE                                                          \
	"<ServiceNames><ServiceLocationRequest><Type>LicensingService" \
	"</Type></ServiceLocationRequest></ServiceNames>"

/* In the order in which Exchange's own test goes. */
static const struct call calls[] = {
    {"GetServerInfo", "ServerService", "/certification/server.asmx", false,
     INFO, saw_server_info},
    {"GetServerInfo", "ServerService", "/licensing/server.asmx", false, INFO,
     saw_server_info},
    {"GetLicensorCertificate", "ServerService", "/licensing/server.asmx", true,
     "", saw_chain},
    {"FindServiceLocationsForUser", "ServerService",
     "/certification/ServiceLocator.asmx", true, WHERE, saw_location},
    {"AcquireTemplateInformation", "TemplateDistributionService",
     "/licensing/templateDistribution.asmx", true, "", saw_guids},
};

static void
step_call(struct probe *p, const struct call *call)
{
	char name[64], action[128], answer[64], body[PROBE_CONTENT + 1024];
	struct probe_step *s;
	struct probe_reply r;
	struct sbuf b;

	snprintf(name, sizeof(name), "%s%s", call->operation,
		 strcmp(call->operation, "GetServerInfo") != 0 ? ""
		 : call->path[1] == 'c' ? " (certification)"
					: " (licensing)");
	snprintf(action, sizeof(action), "http://microsoft.com/DRM/%s/%s",
		 call->service, call->operation);
	snprintf(answer, sizeof(answer), "%sResponse", call->operation);
	sbuf_init(&b, body, sizeof(body));
	soap_envelope(&b, call->service, call->operation, call->content,
		      call->versions);
	BUG_ON(b.cut);
	s = step_new(p, name);
	if (step_http(p, s, call->path, action, body, &r)) {
		if (soap_count(body_of(&r), answer) > 0)
			call->saw(p, s, body_of(&r));
		else
			judge_error(s, &r);
	}
	probe_reply_fini(&r);
	(void)step_end(p, s);
}

static void
step_templates(struct probe *p)
{
	char content[PROBE_CONTENT + 32];
	struct call call = {"AcquireTemplates",
			    "TemplateDistributionService",
			    "/licensing/templateDistribution.asmx",
			    true,
			    content,
			    saw_templates};

	if (p->nguids == 0)
		return;
	snprintf(content, sizeof(content), "<guids>%s</guids>", p->guids);
	step_call(p, &call);
}

static bool
is_refused(const struct probe_step *s)
{
	return s->status == 401 || s->status == 403;
}

/* Each step needs those before it, but for the calls: the services fail each
 * on its own, unless we are not let in. */
static void
run(struct probe *p)
{
	if (!step_resolve(p) || !step_connect(p) || !step_ticket(p) ||
	    !step_tenant(p))
		return;
	step_page(p);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		step_call(p, &calls[i]);
		if (is_refused(&p->step[p->n - 1]))
			return;
	}
	step_templates(p);
}

static CURL *
handle_new(const char *cacert)
{
	CURL *h = curl_easy_init();

	if (h == NULL)
		return NULL;
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "rmsctl-probe/" RMS_VERSION);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)PROBE_CONNECT_MS);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)PROBE_TOTAL_MS);
	if (cacert != NULL) {
		curl_easy_setopt(h, CURLOPT_CAINFO, cacert);
		curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
	}
	return h;
}

int
verb_probe(struct ctl *c)
{
	struct probe p = {.c = c};
	char err[512];
	int status;

	if (probe_url_parse(&p.url, c->args->pos[0], err, sizeof(err)) < 0)
		return ctl_fail(c, CTL_USAGE, "%s", err);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
	    (p.h = handle_new(c->args->opt[CTL_O_probe_cacert])) == NULL)
		return ctl_fail(c, CTL_REFUSED, "out of memory");
	probe_print_head(&p);
	run(&p);
	probe_print_end(&p);
	status = probe_failure(&p) == NULL ? CTL_OK : CTL_WRONG;
	curl_easy_cleanup(p.h);
	curl_global_cleanup();
	return status;
}
