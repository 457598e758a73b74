/*
 * Purpose: connections that a balancer passes on: whose they are.
 *
 * Runs in: relay.
 * Trusts:  the balancers that proxy_protocol lists, for the client's address
 *          and nothing else.
 * Touches: the first bytes of the connection, before TLS.
 * Failure: the connection is closed without a word.
 *
 * The header is looked at where it is and taken out of the socket only when it
 * is complete, so not a byte behind it is touched.
 */
#include "worker/relay/client_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/types.h>

#include "shm/base/log.h"
#include "worker/relay/proxyproto.h"
#include "worker/relay/tell.h"

bool
client_is_proxied(const struct listener *l, const struct sockaddr_storage *peer)
{
	return net_has(l->proxy, l->nproxies, peer);
}

static ssize_t
balancer_recv(struct client *c, void *data, size_t size, int flags)
{
	ssize_t n;

	do
		n = recv(c->wire.fd, data, size, flags);
	while (n < 0 && errno == EINTR);
	return n;
}

static void
balancer_sockaddr(const struct proxyproto *pp, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *s6 = (void *)ss;
	struct sockaddr_in *s4 = (void *)ss;

	*ss = (struct sockaddr_storage){0};
	if (pp->family == 4) {
		s4->sin_family = AF_INET;
		memcpy(&s4->sin_addr, pp->address, 4);
	} else {
		s6->sin6_family = AF_INET6;
		memcpy(&s6->sin6_addr, pp->address, 16);
	}
}

/* The connection is the client's from here on: in logs, events and limits. */
static bool
balancer_take(struct client *c, const struct proxyproto *pp)
{
	struct sockaddr_storage ss;

	stat_add(c->w->row, STAT_conns_proxied, 1);
	memcpy(c->balancer, c->address, sizeof(c->balancer));
	if (!pp->local) {
		balancer_sockaddr(pp, &ss);
		client_address(c, &ss);
		if (!admit_source(c, &ss)) {
			client_end(c, REASON_SOURCE_CONNECTIONS);
			return false;
		}
	}
	client_enter(c, c->wire.ssl != NULL ? CLIENT_TLS : CLIENT_IDLE);
	return true;
}

static bool
balancer_bad(struct client *c)
{
	stat_add(c->w->row, STAT_proxy_bad, 1);
	tell_limited(c->w, 2112, REASON_BAD_PROXY, c->address, NULL);
	client_end(c, REASON_BAD_PROXY);
	return false;
}

bool
client_run_proxy(struct client *c)
{
	char data[PROXYPROTO_MAX];
	struct proxyproto pp;
	size_t used = 0;
	ssize_t n = balancer_recv(c, data, sizeof(data), MSG_PEEK);

	if (n < 0 && errno == EAGAIN) {
		c->wire.readable = false;
		return false;
	}
	if (n <= 0) { /* a look whether the port is open, most often */
		client_end(c, n == 0 ? REASON_CLIENT_CLOSED : REASON_CLIENT_IO);
		return false;
	}
	switch (proxyproto_read(data, (size_t)n, &pp, &used)) {
	case PROXYPROTO_BAD:
		return balancer_bad(c);
	case PROXYPROTO_MORE:
		/* an edge comes with each further byte */
		c->wire.readable = false;
		return c->wire.rdhup ? balancer_bad(c) : false;
	case PROXYPROTO_DONE:
		break;
	}
	if (balancer_recv(c, data, used, 0) != (ssize_t)used) {
		client_end(c, REASON_CLIENT_IO);
		return false;
	}
	return balancer_take(c, &pp);
}
