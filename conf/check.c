/*
 * Purpose: the further checks that conf.def and settings.def name.
 *
 * Runs in: master, rmsctl.
 * Trusts:  nobody: texts come from a file or from the control socket.
 * Touches: nothing.
 * Failure: static text for the message.
 */
#include "conf/check.h"

#include <arpa/inet.h>
#include <errno.h>

#include "conf/conf.h"
#include "shm/base/log.h"
#include "shm/base/net.h"
#include "shm/base/str.h"

#define ALNUM                                          \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR" \
	"STUVWXYZ0123456789"
#define TOKEN_CHARS ALNUM "!#$%&'*+-.^_`|~" /* RFC 9110, 5.6.2 */
/* RFC 3986 pchar and "/" */
#define PATH_CHARS ALNUM "-._~%!$&'()*+,;=:@/"

static bool
only(struct slice s, const char *set)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == '\0' || strchr(set, s.p[i]) == NULL)
			return false;
	return true;
}

/* Takes the part up to sep (or all) off the front of *rest. */
static struct slice
take(struct slice *rest, char sep)
{
	const char *p = rest->len == 0 ? NULL : memchr(rest->p, sep, rest->len);
	struct slice head = *rest;

	if (p == NULL) {
		*rest = (struct slice){rest->p + rest->len, 0};
		return head;
	}
	head.len = (size_t)(p - rest->p);
	rest->p += head.len + 1;
	rest->len -= head.len + 1;
	return head;
}

static bool
is_port(struct slice s)
{
	uint64_t v;

	return str_u64(s, 65535, &v) == 0 && v > 0;
}

static bool
is_address(struct slice s, int family)
{
	unsigned char bin[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN + 1];

	return str_copy(text, sizeof(text), s) == 0 &&
	       inet_pton(family, text, bin) == 1;
}

/* Labels of letters, digits and -, none empty or longer than 63. */
static bool
is_host_name(struct slice s)
{
	if (s.len == 0 || s.len > 253 || s.p[s.len - 1] == '.')
		return false;
	while (s.len > 0) {
		struct slice label = take(&s, '.');

		if (label.len == 0 || label.len > 63 || label.p[0] == '-' ||
		    label.p[label.len - 1] == '-' || !only(label, ALNUM "-"))
			return false;
	}
	return true;
}

enum bracket { BRACKET_NONE, BRACKET_BAD, BRACKET_HOST, BRACKET_PORT };

/* "[v6]" or "[v6]:port": the latter's port is left in *s. */
static enum bracket
take_bracket(struct slice *s)
{
	struct slice host;

	if (s->len == 0 || s->p[0] != '[')
		return BRACKET_NONE;
	s->p++;
	s->len--;
	if (s->len == 0 || memchr(s->p, ']', s->len) == NULL)
		return BRACKET_BAD;
	host = take(s, ']');
	if (!is_address(host, AF_INET6))
		return BRACKET_BAD;
	if (s->len == 0)
		return BRACKET_HOST;
	if (s->p[0] != ':')
		return BRACKET_BAD;
	s->p++;
	s->len--;
	return BRACKET_PORT;
}

static const char *
check_authority(struct slice s)
{
	bool port = true;

	if (memchr(s.p, '@', s.len) != NULL)
		return "it has a user name in it, leave that out";
	switch (take_bracket(&s)) {
	case BRACKET_BAD:
		return "the host is not an address, write https://[::1] or "
		       "https://[::1]:port";
	case BRACKET_HOST:
		return NULL;
	case BRACKET_PORT:
		break;
	case BRACKET_NONE:
		port = memchr(s.p, ':', s.len) != NULL;
		if (!is_host_name(take(&s, ':')))
			return "the host is not a name or address, write "
			       "https://host";
		break;
	}
	if (port && !is_port(s))
		return "the port is not 1 to 65535, correct it";
	return NULL;
}

const char *
check_https_url(const char *s)
{
	struct slice u = slice_of(s), host;
	const char *why;

	if (u.len < 8 ||
	    !slice_ieq((struct slice){u.p, 8}, SLICE_LIT("https://")))
		return "it does not begin with https://, write the whole URL";
	if (strchr(s, '?') != NULL || strchr(s, '#') != NULL)
		return "it has a query or fragment, leave that out";
	u.p += 8;
	u.len -= 8;
	host = take(&u, '/');
	if (host.len == 0)
		return "it has no host, write https://host";
	why = check_authority(host);
	if (why != NULL)
		return why;
	if (!only(u, PATH_CHARS))
		return "the path has a character that a URL cannot hold, "
		       "escape it as %NN";
	return NULL;
}

const char *
check_path_prefix(const char *s)
{
	struct slice rest = {s, strlen(s)};

	if (s[0] != '/')
		return "it does not begin with a slash, write it like /x/y";
	if (rest.len == 1)
		return NULL;
	if (!only(rest, ALNUM "-._~!$&'()*+,;=:@/"))
		return "it has a character that is not for paths, use "
		       "letters, digits, - . _ ~";
	if (rest.p[rest.len - 1] == '/')
		return "it ends with a slash, leave that out";
	rest.p++;
	rest.len--;
	while (rest.len > 0) {
		struct slice seg = take(&rest, '/');

		if (seg.len == 0 || slice_is(seg, ".") || slice_is(seg, ".."))
			return "it has an empty or dot segment, leave that "
			       "out";
	}
	return NULL;
}

const char *
check_token(const char *s)
{
	if (!only(slice_of(s), TOKEN_CHARS))
		return "it has a space or separator in it, use letters, "
		       "digits and - . _";
	return NULL;
}

const char *
check_header(const char *s)
{
	/* Framing, routing and credentials of a request are the relay's. */
	static const char *const ours[] = {"authorization",
					   "connection",
					   "content-length",
					   "content-type",
					   "content-encoding",
					   "cookie",
					   "date",
					   "expect",
					   "host",
					   "keep-alive",
					   "proxy-authenticate",
					   "proxy-authorization",
					   "proxy-connection",
					   "soapaction",
					   "te",
					   "trailer",
					   "transfer-encoding",
					   "upgrade",
					   "via"};

	if (!only(slice_of(s), ALNUM "-_"))
		return "it is not the name of a header field, use letters, "
		       "digits and -";
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (slice_iis(slice_of(s), ours[i]))
			return "that field frames, routes or authenticates "
			       "the request, choose another, e.g. X-Account";
	return NULL;
}

const char *
check_credential_name(const char *s)
{
	if (!only(slice_of(s), "abcdefghijklmnopqrstuvwxyz0123456789-_"))
		return "it is not a credential's name, use lower-case "
		       "letters, digits, - and _";
	return NULL;
}

const char *
check_address(const char *s)
{
	if (!is_address(slice_of(s), AF_INET) &&
	    !is_address(slice_of(s), AF_INET6))
		return "not an IPv4 or IPv6 address, write one, e.g. 0.0.0.0 "
		       "or ::";
	return NULL;
}

struct slice
check_trim(struct slice s)
{
	while (s.len > 0 && s.p[0] == ' ') {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && s.p[s.len - 1] == ' ')
		s.len--;
	return s;
}

const char *
check_addresses(const char *s)
{
	struct slice rest = slice_of(s);

	do {
		bool more = rest.len > 0 && memchr(rest.p, ',', rest.len);
		struct slice a = check_trim(take(&rest, ','));

		if (!is_address(a, AF_INET) && !is_address(a, AF_INET6))
			return "not a list of addresses, write them like "
			       "192.0.2.1, 2001:db8::1";
		if (more && rest.len == 0)
			return "it ends with a comma, leave that out";
	} while (rest.len > 0);
	return NULL;
}

const char *
check_networks(const char *s)
{
	struct net nets[CONF_NETS_MAX];
	ssize_t n = net_parse_list(s, nets, ARRAY_LEN(nets));

	if (n == -E2BIG)
		return "more than 32 networks, write some of them as one";
	if (n < 0)
		return "not a list of networks, write them like 192.0.2.1, "
		       "10.1.0.0/16, 2001:db8::/64, with no bit set behind "
		       "the network";
	return NULL;
}

static bool
is_server(struct slice s)
{
	if (is_address(s, AF_INET) || is_address(s, AF_INET6))
		return true;
	switch (take_bracket(&s)) {
	case BRACKET_BAD:
		return false;
	case BRACKET_HOST:
		return true;
	case BRACKET_PORT:
		return is_port(s);
	case BRACKET_NONE:
		break;
	}
	return is_address(take(&s, ':'), AF_INET) && is_port(s);
}

const char *
check_servers(const char *s)
{
	struct slice rest = slice_of(s);

	do {
		bool more = rest.len > 0 && memchr(rest.p, ',', rest.len);

		if (!is_server(check_trim(take(&rest, ','))))
			return "not a list of servers, write them like "
			       "192.0.2.1:53, [2001:db8::1]:53";
		if (more && rest.len == 0)
			return "it ends with a comma, leave that out";
	} while (rest.len > 0);
	return NULL;
}

const char *
check_proxy_url(const char *s)
{
	struct slice u = slice_of(s);
	bool http = u.len > 7 && slice_iis((struct slice){s, 7}, "http://");
	bool https = u.len > 8 && slice_iis((struct slice){s, 8}, "https://");
	bool port = false;

	if (!http && !https)
		return "it is neither http:// nor https://, write it like "
		       "http://proxy.example.com:3128";
	u.p += http ? 7 : 8;
	u.len -= http ? 7 : 8;
	if (memchr(u.p, '@', u.len) != NULL)
		return "it has a user name in it, which everybody may read "
		       "here: leave it out, name a proxy_credential";
	if (u.len > 0 && u.p[u.len - 1] == '/')
		u.len--;
	switch (take_bracket(&u)) {
	case BRACKET_BAD:
		return "the host is not an address, write "
		       "http://[2001:db8::1]:3128";
	case BRACKET_HOST:
		break;
	case BRACKET_PORT:
		port = true;
		break;
	case BRACKET_NONE:
		port = u.len > 0 && memchr(u.p, ':', u.len) != NULL;
		if (!is_host_name(take(&u, ':')))
			return "the host is not a name or address, and "
			       "nothing but the port may follow it, write it "
			       "like http://proxy.example.com:3128";
		break;
	}
	if (!port)
		return "the port is missing, and proxies have no usual one, "
		       "write it like http://proxy.example.com:3128";
	if (!is_port(u))
		return "the port is not 1 to 65535, or something follows it, "
		       "correct it";
	return NULL;
}

static bool
is_network(struct slice s)
{
	struct slice bits = s;
	struct slice addr = take(&bits, '/');
	bool v4 = is_address(addr, AF_INET);
	uint64_t n;

	return (v4 || is_address(addr, AF_INET6)) &&
	       str_u64(bits, v4 ? 32 : 128, &n) == 0;
}

static bool
is_exempt(struct slice s)
{
	if (s.len == 0)
		return false;
	if (slice_is(s, "*") || is_address(s, AF_INET) ||
	    is_address(s, AF_INET6))
		return true;
	if (memchr(s.p, '/', s.len) != NULL)
		return is_network(s);
	if (s.p[0] == '[')
		return take_bracket(&s) == BRACKET_HOST;
	if (s.p[0] == '.') {
		s.p++;
		s.len--;
	}
	return is_host_name(s);
}

const char *
check_no_proxy(const char *s)
{
	struct slice rest = slice_of(s);

	do {
		bool more = rest.len > 0 && memchr(rest.p, ',', rest.len);

		if (!is_exempt(check_trim(take(&rest, ','))))
			return "not a list of hosts (without ports), write "
			       "them like example.com, .example.com, "
			       "192.0.2.1, 10.0.0.0/8";
		if (more && rest.len == 0)
			return "it ends with a comma, leave that out";
	} while (rest.len > 0);
	return NULL;
}

const char *
check_issuers(const char *s)
{
	struct slice rest = slice_of(s);

	do {
		struct slice e = check_trim(take(&rest, ';'));

		if (e.len == 0)
			return "it has an empty entry, leave out the semicolon";
		if (e.len < 7 || !slice_iis((struct slice){e.p, 7}, "sha256:"))
			continue;
		e = (struct slice){e.p + 7, e.len - 7};
		if (e.len != 64 || !only(e, "0123456789abcdefABCDEF"))
			return "what follows sha256: is not 64 hex digits, "
			       "take them from `openssl x509 -pubkey -noout | "
			       "openssl pkey -pubin -outform DER | sha256sum`";
	} while (rest.len > 0);
	return NULL;
}

const char *
check_account(const char *s)
{
	if (s[0] == '-' || !only(slice_of(s), ALNUM "-_.$"))
		return "not the name of an account or group, write the name, "
		       "not a number list";
	return NULL;
}

const char *
check_node_name(const char *s)
{
	if (!only(slice_of(s), ALNUM "-_."))
		return "it has a character that is not for names, use "
		       "letters, digits, dot, - and _";
	return NULL;
}
