/*
 * Purpose: networks.
 *
 * Runs in: every process.
 * Trusts:  nobody.
 * Touches: nothing but its arguments.
 * Failure: -EINVAL.
 */
#include "shm/base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "shm/base/log.h"

/* Bits of an address from `bits` on are zero. */
static bool
net_is_clean(const struct net *n, size_t size)
{
	for (size_t i = n->bits; i < size * 8; i++)
		if ((n->address[i / 8] >> (7 - i % 8) & 1) != 0)
			return false;
	return true;
}

int
net_parse(struct slice text, struct net *net_r)
{
	const char *slash = memchr(text.p, '/', text.len);
	struct slice host = text;
	char mem[INET6_ADDRSTRLEN];
	uint64_t bits;
	size_t size;

	*net_r = (struct net){0};
	if (slash != NULL)
		host.len = (size_t)(slash - text.p);
	if (str_copy(mem, sizeof(mem), host) != 0)
		return -EINVAL;
	if (inet_pton(AF_INET, mem, net_r->address) == 1)
		net_r->family = 4;
	else if (inet_pton(AF_INET6, mem, net_r->address) == 1)
		net_r->family = 6;
	else
		return -EINVAL;
	size = net_r->family == 4 ? 4 : 16;
	bits = size * 8;
	if (slash != NULL &&
	    str_u64((struct slice){slash + 1, text.len - host.len - 1}, bits,
		    &bits) != 0)
		return -EINVAL;
	net_r->bits = (uint8_t)bits;
	return net_is_clean(net_r, size) ? 0 : -EINVAL;
}

static struct slice
net_trim(struct slice s)
{
	while (s.len > 0 && s.p[0] == ' ') {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && s.p[s.len - 1] == ' ')
		s.len--;
	return s;
}

ssize_t
net_parse_list(const char *text, struct net *nets, size_t max)
{
	size_t n = 0;

	if (text[0] == '\0')
		return 0;
	for (;;) {
		size_t len = strcspn(text, ",");

		if (n == max)
			return -E2BIG;
		if (net_parse(net_trim((struct slice){text, len}), &nets[n]) !=
		    0)
			return -EINVAL;
		n++;
		if (text[len] == '\0')
			return (ssize_t)n;
		text += len + 1;
	}
}

static bool
net_has_bytes(const struct net *n, uint8_t family, const uint8_t *address)
{
	size_t whole = n->bits / 8, rest = n->bits % 8;

	if (n->family != family || memcmp(n->address, address, whole) != 0)
		return false;
	return rest == 0 ||
	       ((n->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

bool
net_has(const struct net *nets, size_t n,
	const struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *s6 = (const void *)address;
	const struct sockaddr_in *s4 = (const void *)address;
	const uint8_t *bytes;
	uint8_t family = 4;

	if (address->ss_family == AF_INET) {
		bytes = (const uint8_t *)&s4->sin_addr;
	} else if (address->ss_family != AF_INET6) {
		return false;
	} else if (IN6_IS_ADDR_V4MAPPED(&s6->sin6_addr)) {
		bytes = &s6->sin6_addr.s6_addr[12];
	} else {
		family = 6;
		bytes = s6->sin6_addr.s6_addr;
	}
	for (size_t i = 0; i < n; i++)
		if (net_has_bytes(&nets[i], family, bytes))
			return true;
	return false;
}
