/*
 * Purpose: decide between the straight way and the web proxy.
 *
 * Runs in: relay, cloud agent, master.
 * Trusts:  the checked configuration.
 * Touches: nothing.
 * Failure: -EINVAL.
 */
#include "conf/proxy.h"

#include <arpa/inet.h>
#include <errno.h>

#include "conf/conf.h"
#include "shm/base/log.h"
#include "shm/base/str.h"

/* ---- proxy ----------------------------------------------------------- */

static int
proxy_split(struct slice auth, struct conf_proxy *p)
{
	const char *colon = memrchr(auth.p, ':', auth.len);
	struct slice host, port;
	uint64_t n;

	if (colon == NULL)
		return -EINVAL;
	host = (struct slice){auth.p, (size_t)(colon - auth.p)};
	port = (struct slice){colon + 1, auth.len - host.len - 1};
	if (host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = (struct slice){host.p + 1, host.len - 2};
	if (host.len == 0 || str_u64(port, 65535, &n) != 0 || n == 0 ||
	    str_copy(p->host, sizeof(p->host), host) != 0)
		return -EINVAL;
	p->port = (uint16_t)n;
	return 0;
}

static int
proxy_parse(const char *url, struct conf_proxy *p)
{
	struct slice rest = slice_of(url);
	size_t skip = 0;

	if (rest.len > 8 && slice_iis((struct slice){url, 8}, "https://")) {
		p->tls = true;
		skip = 8;
	} else if (rest.len > 7 &&
		   slice_iis((struct slice){url, 7}, "http://")) {
		skip = 7;
	} else {
		return -EINVAL;
	}
	rest = (struct slice){url + skip, rest.len - skip};
	if (rest.p[rest.len - 1] == '/')
		rest.len--;
	return proxy_split(rest, p);
}

int
conf_proxy_for(const struct conf *c, const char *host, struct conf_proxy *p_r)
{
	memset(p_r, 0, sizeof(*p_r));
	if (c->proxy.s[0] == '\0' || conf_proxy_exempt(c->no_proxy.s, host))
		return 0;
	p_r->used = true;
	return proxy_parse(c->proxy.s, p_r);
}

/* ---- no_proxy -------------------------------------------------------- */

/* Bits of the address in bin (16 bytes), 0 when s is none. */
static unsigned
proxy_address(struct slice s, unsigned char bin[16])
{
	char text[INET6_ADDRSTRLEN + 1];

	if (s.len > 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
		s = (struct slice){s.p + 1, s.len - 2};
	if (str_copy(text, sizeof(text), s) != 0)
		return 0;
	if (inet_pton(AF_INET, text, bin) == 1)
		return 32;
	return inet_pton(AF_INET6, text, bin) == 1 ? 128 : 0;
}

static bool
proxy_same_bits(const unsigned char *a, const unsigned char *b, unsigned n)
{
	unsigned char mask = (unsigned char)(0xff00 >> (n % 8));

	return memcmp(a, b, n / 8) == 0 &&
	       (n % 8 == 0 || ((a[n / 8] ^ b[n / 8]) & mask) == 0);
}

static bool
proxy_in_network(struct slice entry, const unsigned char *addr, unsigned size)
{
	const char *slash = memchr(entry.p, '/', entry.len);
	unsigned char net[16];
	uint64_t bits = size;
	size_t len = entry.len;

	if (slash != NULL) {
		len = (size_t)(slash - entry.p);
		if (str_u64((struct slice){slash + 1, entry.len - len - 1},
			    size, &bits) != 0)
			return false;
	}
	return proxy_address((struct slice){entry.p, len}, net) == size &&
	       proxy_same_bits(net, addr, (unsigned)bits);
}

/* "name": itself and below; ".name": below. */
static bool
proxy_in_domain(struct slice entry, struct slice host)
{
	bool below = entry.p[0] == '.';
	struct slice tail;

	if (below)
		entry = (struct slice){entry.p + 1, entry.len - 1};
	if (entry.len == 0 || host.len < entry.len)
		return false;
	tail = (struct slice){host.p + host.len - entry.len, entry.len};
	if (!slice_ieq(tail, entry))
		return false;
	if (host.len == entry.len)
		return !below;
	return tail.p[-1] == '.';
}

static bool
proxy_entry_is(struct slice entry, struct slice host, const unsigned char *addr,
	       unsigned bits)
{
	if (entry.len == 0)
		return false;
	if (slice_is(entry, "*"))
		return true;
	return bits > 0 ? proxy_in_network(entry, addr, bits)
			: proxy_in_domain(entry, host);
}

bool
conf_proxy_exempt(const char *no_proxy, const char *host)
{
	struct slice h = slice_of(host);
	unsigned char addr[16];
	unsigned bits = proxy_address(h, addr);

	for (const char *p = no_proxy; *p != '\0';) {
		struct slice entry;

		p += strspn(p, ", ");
		entry = (struct slice){p, strcspn(p, ", ")};
		if (proxy_entry_is(entry, h, addr, bits))
			return true;
		p += entry.len;
	}
	return false;
}
