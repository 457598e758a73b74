/*
 * Purpose: paths, operations and pages of the rights-management services.
 *
 * Runs in: relay.
 * Trusts:  nobody: paths and fields are a client's.
 * Touches: its arguments, and the path that was found last.
 * Failure: "unknown"; an operation that is not known is relayed all the same.
 */
#include "worker/relay/service.h"

#include "shm/base/log.h"

#define SERVICE_NS "http://microsoft.com/DRM/"

static const struct {
	const char *path, *title, *kind, *ns;
} service_rows[] = {
#define SERVICE(ident, path, title, kind, ns) \
	[SERVICE_##ident] = {path, title, kind, ns},
#define OP(kind, name, who)
#include "worker/relay/services.def"
#undef SERVICE
#undef OP
};

static const struct {
	const char *kind;
	struct slice name; /* with a NUL behind */
	bool of_exchange;
} op_rows[] = {
    [OP_UNKNOWN] = {"", SLICE_LIT(""), false},
#define ANY	 false
#define EXCHANGE true
#define SERVICE(ident, path, title, kind, ns)
#define OP(kind, name, who) [OP_##name] = {kind, SLICE_LIT(#name), who},
#include "worker/relay/services.def"
#undef SERVICE
#undef OP
#undef ANY
#undef EXCHANGE
};

const char *
service_path(enum service s)
{
	return service_rows[s].path;
}

const char *
service_title(enum service s)
{
	return service_rows[s].title;
}

const char *
op_name(enum op o)
{
	return op_rows[o].name.p;
}

bool
op_is_of_exchange(enum op o)
{
	return op_rows[o].of_exchange;
}

/* Longest path that can be one of ours. */
#define SERVICE_PATH_MAX 128

/* An escape that hides a slash, a backslash, a dot or a NUL. */
static bool
service_is_evil_escape(const char *p, size_t left)
{
	static const char *const evil[] = {"2f", "5c", "2e", "00"};

	if (left < 3)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(evil); i++)
		if (ascii_lower(p[1]) == evil[i][0] &&
		    ascii_lower(p[2]) == evil[i][1])
			return true;
	return false;
}

/* Lower case, one slash for many, into out (SERVICE_PATH_MAX).  -1 for a bad
 * path, 0 for one that is too long to be ours, else 1. */
static int
service_normalise(struct slice path, char *out, size_t *len_r)
{
	char last = '\0';
	size_t n = 0;

	for (size_t i = 0; i < path.len; i++) {
		char c = ascii_lower(path.p[i]);

		if (c == '\\' || (c == '%' && service_is_evil_escape(
						  path.p + i, path.len - i)))
			return -1;
		if (c == '/' && last == '/')
			continue;
		/* a segment that starts with a dot: "." and ".." */
		if (c == '.' && last == '/' &&
		    (i + 1 == path.len || path.p[i + 1] == '/' ||
		     path.p[i + 1] == '.'))
			return -1;
		if (n < SERVICE_PATH_MAX)
			out[n] = c;
		n++;
		last = c;
	}
	*len_r = n;
	return n <= SERVICE_PATH_MAX ? 1 : 0;
}

/* What service_find() says once the health path is out of the way: a function
 * of the path alone. */
static enum path_kind
service_search(struct slice path, enum service *service_r)
{
	char mem[SERVICE_PATH_MAX];
	struct slice p = {mem, 0};
	int r;

	r = service_normalise(path, mem, &p.len);
	if (r <= 0)
		return r < 0 ? PATH_BAD : PATH_UNKNOWN;
	if (slice_is(p, "/_wmcs/getrmsouri.aspx"))
		return PATH_RMSO_URI;
	if (p.len < 7 || memcmp(p.p, "/_wmcs/", 7) != 0)
		return PATH_UNKNOWN;
	p.p += 7;
	p.len -= 7;
	for (size_t i = 0; i < ARRAY_LEN(service_rows); i++) {
		if (slice_iis(p, service_rows[i].path)) {
			*service_r = (enum service)i;
			return PATH_SERVICE;
		}
	}
	return PATH_UNKNOWN;
}

/* A server asks for the same path again and again, byte for byte: the one
 * found last is looked at before the search (its tenth of the cost). */
enum path_kind
service_find(struct slice path, struct slice health, enum service *service_r)
{
	static char last[SERVICE_PATH_MAX];
	static size_t last_len; /* 0: none */
	static enum service last_service;
	enum path_kind kind;

	if (health.len > 0 && slice_eq(path, health))
		return PATH_HEALTH;
	if (path.len > 0 && path.len == last_len &&
	    memcmp(path.p, last, last_len) == 0) {
		*service_r = last_service;
		return PATH_SERVICE;
	}
	kind = service_search(path, service_r);
	if (kind == PATH_SERVICE && path.len <= sizeof(last)) {
		memcpy(last, path.p, path.len);
		last_len = path.len;
		last_service = *service_r;
	}
	return kind;
}

bool
service_takes_post(struct slice path)
{
	enum service s;

	return service_find(path, (struct slice){NULL, 0}, &s) == PATH_SERVICE;
}

enum op
service_op_named(enum service s, struct slice name)
{
	for (size_t i = 1; i < ARRAY_LEN(op_rows); i++)
		if (name.len == op_rows[i].name.len &&
		    slice_eq(name, op_rows[i].name) &&
		    slice_is(slice_of(op_rows[i].kind), service_rows[s].kind))
			return (enum op)i;
	return OP_UNKNOWN;
}

/* The last segment of an action URI, without quotes. */
static struct slice
service_action_name(struct slice a)
{
	const char *slash;

	if (a.len >= 2 && a.p[0] == '"' && a.p[a.len - 1] == '"')
		a = (struct slice){a.p + 1, a.len - 2};
	slash = memrchr(a.p, '/', a.len);
	if (slash == NULL)
		return a;
	return (struct slice){slash + 1, a.len - (size_t)(slash + 1 - a.p)};
}

/* Up to the next ";" that is not quoted; moves *rest behind it. */
static struct slice
service_next_param(struct slice *rest)
{
	struct slice item = {rest->p, 0};
	bool quoted = false;

	while (item.len < rest->len && (quoted || item.p[item.len] != ';'))
		quoted ^= item.p[item.len++] == '"';
	rest->p += item.len;
	rest->len -= item.len;
	if (rest->len > 0) {
		rest->p++;
		rest->len--;
	}
	while (item.len > 0 && (item.p[0] == ' ' || item.p[0] == '\t')) {
		item.p++;
		item.len--;
	}
	return item;
}

/* The action parameter of application/soap+xml (RFC 3902), quotes and all. */
static struct slice
service_action_param(struct slice type)
{
	static const char key[] = "action=";
	const size_t n = sizeof(key) - 1;

	service_next_param(&type); /* the type itself */
	while (type.len > 0) {
		struct slice v = service_next_param(&type);

		if (v.len > n && slice_iis((struct slice){v.p, n}, key))
			return (struct slice){v.p + n, v.len - n};
	}
	return (struct slice){"", 0};
}

enum op
service_op(enum service s, struct slice soap_action, struct slice content_type)
{
	enum op o = OP_UNKNOWN;

	if (soap_action.len > 0)
		o = service_op_named(s, service_action_name(soap_action));
	if (o == OP_UNKNOWN && content_type.len > 0)
		o = service_op_named(
		    s, service_action_name(service_action_param(content_type)));
	return o;
}

void
service_page(struct sbuf *out, enum service s)
{
	const char *title = service_rows[s].title;

	sbuf_fmt(out,
		 "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">"
		 "<title>%s Web Service</title></head>\n<body><h1>%s</h1>\n"
		 "<p>The RMS connector answers for this service. Supported "
		 "operations:</p>\n<ul>\n",
		 title, title);
	for (size_t i = 1; i < ARRAY_LEN(op_rows); i++)
		if (slice_is(slice_of(op_rows[i].kind), service_rows[s].kind))
			sbuf_fmt(out, "<li>%s</li>\n", op_rows[i].name.p);
	sbuf_str(out, "</ul>\n<p><a href=\"?wsdl\">Service description"
		      "</a></p></body></html>\n");
}

static void
service_wsdl_op(struct sbuf *out, const char *ns, const char *name, int part)
{
	if (part == 0)
		sbuf_fmt(
		    out,
		    "<s:element name=\"%s\"><s:complexType><s:sequence>"
		    "<s:any minOccurs=\"0\" maxOccurs=\"unbounded\" "
		    "processContents=\"lax\"/></s:sequence></s:complexType>"
		    "</s:element><s:element name=\"%sResponse\">"
		    "<s:complexType><s:sequence><s:any minOccurs=\"0\" "
		    "maxOccurs=\"unbounded\" processContents=\"lax\"/>"
		    "</s:sequence></s:complexType></s:element>\n",
		    name, name);
	else if (part == 1)
		sbuf_fmt(out,
			 "<w:message name=\"%sIn\"><w:part name=\"parameters\" "
			 "element=\"t:%s\"/></w:message><w:message "
			 "name=\"%sOut\"><w:part name=\"parameters\" "
			 "element=\"t:%sResponse\"/></w:message>\n",
			 name, name, name, name);
	else if (part == 2)
		sbuf_fmt(
		    out,
		    "<w:operation name=\"%s\"><w:input message=\"t:%sIn\"/>"
		    "<w:output message=\"t:%sOut\"/></w:operation>\n",
		    name, name, name);
	else
		sbuf_fmt(out,
			 "<w:operation name=\"%s\"><soap:operation "
			 "soapAction=\"" SERVICE_NS
			 "%s/%s\" style=\"document\"/>"
			 "<w:input><soap:body use=\"literal\"/></w:input>"
			 "<w:output><soap:body use=\"literal\"/></w:output>"
			 "</w:operation>\n",
			 name, ns, name);
}

static void
service_wsdl_ops(struct sbuf *out, enum service s, int part)
{
	const char *ns = service_rows[s].ns;

	for (size_t i = 1; i < ARRAY_LEN(op_rows); i++)
		if (slice_is(slice_of(op_rows[i].kind), service_rows[s].kind))
			service_wsdl_op(out, ns, op_rows[i].name.p, part);
}

void
service_wsdl(struct sbuf *out, enum service s, struct slice base)
{
	const char *title = service_rows[s].title, *ns = service_rows[s].ns;

	sbuf_fmt(out,
		 "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
		 "<w:definitions xmlns:w=\"http://schemas.xmlsoap.org/wsdl/\" "
		 "xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\" "
		 "xmlns:s=\"http://www.w3.org/2001/XMLSchema\" "
		 "xmlns:t=\"" SERVICE_NS "%s\" "
		 "targetNamespace=\"" SERVICE_NS "%s\">\n"
		 "<w:types><s:schema elementFormDefault=\"qualified\" "
		 "targetNamespace=\"" SERVICE_NS "%s\">\n",
		 ns, ns, ns);
	service_wsdl_ops(out, s, 0);
	sbuf_str(out, "</s:schema></w:types>\n");
	service_wsdl_ops(out, s, 1);
	sbuf_fmt(out, "<w:portType name=\"%sSoap\">\n", title);
	service_wsdl_ops(out, s, 2);
	sbuf_fmt(out,
		 "</w:portType>\n<w:binding name=\"%sSoap\" type=\"t:%sSoap\">"
		 "<soap:binding transport="
		 "\"http://schemas.xmlsoap.org/soap/http\"/>\n",
		 title, title);
	service_wsdl_ops(out, s, 3);
	sbuf_fmt(out,
		 "</w:binding>\n<w:service name=\"%s\"><w:port name=\"%sSoap\" "
		 "binding=\"t:%sSoap\"><soap:address location=\"",
		 title, title, title);
	sbuf_slice(out, base);
	sbuf_fmt(out, "/_wmcs/%s\"/></w:port></w:service></w:definitions>\n",
		 service_rows[s].path);
}
