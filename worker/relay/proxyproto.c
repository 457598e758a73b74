/*
 * Purpose: read the header by which a balancer names its client.
 *
 * Runs in: relay.
 * Trusts:  nobody; the caller has looked whether the peer may send one.
 * Touches: nothing but its arguments.
 * Failure: PROXYPROTO_BAD; the caller closes without a word (2: "must abort").
 */
#include "worker/relay/proxyproto.h"

#include <arpa/inet.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/base/str.h"

#define V1_MAX	107 /* with CR LF (2.1) */
#define V2_HEAD 16

static const uint8_t v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
					 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

/* ---- version 1: a line ----------------------------------------------------
 */

/* Up to the next blank, which *rest then is behind; false without one. */
static bool
v1_word(struct slice *rest, struct slice *word_r)
{
	const char *blank = memchr(rest->p, ' ', rest->len);

	if (blank == NULL)
		return false;
	*word_r = (struct slice){rest->p, (size_t)(blank - rest->p)};
	rest->len -= word_r->len + 1;
	rest->p = blank + 1;
	return true;
}

/* 0 to 65535, without zeros in front (2.1). */
static bool
v1_port(struct slice s, uint16_t *port_r)
{
	uint64_t n;

	if (s.len > 1 && s.p[0] == '0')
		return false;
	if (str_u64(s, UINT16_MAX, &n) != 0)
		return false;
	*port_r = (uint16_t)n;
	return true;
}

static bool
v1_address(struct slice s, int family, uint8_t out[16])
{
	char text[INET6_ADDRSTRLEN];

	return str_copy(text, sizeof(text), s) == 0 &&
	       inet_pton(family == 4 ? AF_INET : AF_INET6, text, out) == 1;
}

/* Behind "PROXY ", up to CR LF. */
static bool
v1_line(struct slice line, struct proxyproto *r)
{
	struct slice proto, from, to, port;
	uint8_t to_address[16];
	uint16_t to_port;

	if (line.len >= 7 && memcmp(line.p, "UNKNOWN", 7) == 0 &&
	    (line.len == 7 || line.p[7] == ' ')) {
		r->local = true; /* the rest of the line is to be ignored */
		return true;
	}
	if (!v1_word(&line, &proto))
		return false;
	if (slice_is(proto, "TCP4"))
		r->family = 4;
	else if (slice_is(proto, "TCP6"))
		r->family = 6;
	else
		return false;
	return v1_word(&line, &from) && v1_word(&line, &to) &&
	       v1_word(&line, &port) &&
	       v1_address(from, r->family, r->address) &&
	       v1_address(to, r->family, to_address) &&
	       v1_port(port, &r->port) && v1_port(line, &to_port);
}

static enum proxyproto_result
v1_read(const char *p, size_t len, struct proxyproto *r, size_t *used_r)
{
	static const char word[] = "PROXY ";
	const size_t n = sizeof(word) - 1;
	const char *lf;

	if (memcmp(p, word, MIN(len, n)) != 0)
		return PROXYPROTO_BAD;
	lf = memchr(p, '\n', MIN(len, (size_t)V1_MAX));
	if (lf == NULL)
		return len < V1_MAX ? PROXYPROTO_MORE : PROXYPROTO_BAD;
	if (lf - p < (ptrdiff_t)n || lf[-1] != '\r' ||
	    memchr(p, '\r', (size_t)(lf - p) - 1) != NULL)
		return PROXYPROTO_BAD;
	*used_r = (size_t)(lf - p) + 1;
	return v1_line((struct slice){p + n, (size_t)(lf - p) - n - 1}, r)
		   ? PROXYPROTO_DONE
		   : PROXYPROTO_BAD;
}

/* ---- version 2: binary ----------------------------------------------------
 */

/* What follows the addresses: types and lengths have to come out even. */
static bool
v2_tlvs(const uint8_t *p, size_t len)
{
	while (len >= 3) {
		size_t n = 3 + ((size_t)p[1] << 8 | p[2]);

		if (n > len)
			return false;
		p += n;
		len -= n;
	}
	return len == 0;
}

static bool
v2_body(uint8_t family, const uint8_t *p, size_t len, struct proxyproto *r)
{
	size_t n, addresses;

	switch (family) {
	case 0x00: /* UNSPEC: the real one is not known (2.2) */
		r->local = true;
		return true;
	case 0x11: /* TCP over IPv4 */
		r->family = 4;
		n = 4;
		break;
	case 0x21: /* TCP over IPv6 */
		r->family = 6;
		n = 16;
		break;
	default: /* datagrams and Unix sockets do not come to us */
		return false;
	}
	addresses = 2 * n + 4;
	if (len < addresses)
		return false;
	memcpy(r->address, p, n);
	r->port = (uint16_t)(p[2 * n] << 8 | p[2 * n + 1]);
	return v2_tlvs(p + addresses, len - addresses);
}

static enum proxyproto_result
v2_read(const uint8_t *p, size_t len, struct proxyproto *r, size_t *used_r)
{
	size_t body;

	if (memcmp(p, v2_signature, MIN(len, sizeof(v2_signature))) != 0)
		return PROXYPROTO_BAD;
	if (len < V2_HEAD)
		return PROXYPROTO_MORE;
	body = (size_t)p[14] << 8 | p[15];
	/* version 2; the command LOCAL or PROXY */
	if ((p[12] != 0x20 && p[12] != 0x21) || V2_HEAD + body > PROXYPROTO_MAX)
		return PROXYPROTO_BAD;
	if (len < V2_HEAD + body)
		return PROXYPROTO_MORE;
	*used_r = V2_HEAD + body;
	if (p[12] == 0x20) { /* LOCAL: the rest is to be skipped */
		r->local = true;
		return PROXYPROTO_DONE;
	}
	return v2_body(p[13], p + V2_HEAD, body, r) ? PROXYPROTO_DONE
						    : PROXYPROTO_BAD;
}

enum proxyproto_result
proxyproto_read(const void *data, size_t len, struct proxyproto *r,
		size_t *used_r)
{
	*r = (struct proxyproto){0};
	*used_r = 0;
	if (len == 0)
		return PROXYPROTO_MORE;
	if (((const uint8_t *)data)[0] == v2_signature[0])
		return v2_read(data, len, r, used_r);
	return v1_read(data, len, r, used_r);
}
