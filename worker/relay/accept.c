/*
 * Purpose: take connections from a listener.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: sockets.
 * Failure: the connection is dropped and counted; the listener rests a while
 *          when accept() itself fails.
 */
#include "worker/relay/client_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/log.h"

#define CLIENT_ACCEPT_BATCH 16

void
client_address(struct client *c, const struct sockaddr_storage *ss)
{
	const void *a;
	int af = ss->ss_family;

	if (af == AF_INET) {
		a = &((const struct sockaddr_in *)(const void *)ss)->sin_addr;
	} else if (af == AF_INET6) {
		a = &((const struct sockaddr_in6 *)(const void *)ss)->sin6_addr;
	} else {
		c->address[0] = '\0';
		return;
	}
	if (inet_ntop(af, a, c->address, sizeof(c->address)) == NULL)
		c->address[0] = '\0';
}

static void
client_new(struct listener *l, int fd, const struct sockaddr_storage *ss)
{
	struct relay *w = l->w;
	struct client *c = calloc(1, sizeof(*c));
	bool proxied;
	int one = 1;

	if (c == NULL)
		goto nomem;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->w = w;
	snprintf(c->listener, sizeof(c->listener), "%s",
		 w->c->conf.listener[l->index].name);
	client_address(c, ss);
	proxied = client_is_proxied(l, ss);
	if (!admit_connection(c, proxied ? NULL : ss)) {
		free(c);
		close(fd);
		return;
	}
	c->timer = loop_timer_new(w->loop, client_on_timer, c);
	if (c->timer == NULL) {
		admit_gone(c);
		goto nomem;
	}
	if (wire_init(&c->wire, w, fd, l->ctx, true, client_on_event, c) != 0) {
		wire_fini(&c->wire); /* closes fd */
		loop_timer_free(&c->timer);
		admit_gone(c);
		free(c);
		stat_add(w->row, STAT_nomem, 1);
		return;
	}
	c->next = w->clients;
	if (w->clients != NULL)
		w->clients->prev = c;
	w->clients = c;
	w->nclients++;
	stat_add(w->row, STAT_conns_accepted, 1);
	stat_add(w->row, STAT_conns_open, 1);
	if (proxied) {
		client_enter(c, CLIENT_PROXY);
		return;
	}
	client_enter(c, l->ctx != NULL ? CLIENT_TLS : CLIENT_IDLE);
	return;
nomem:
	stat_add(w->row, STAT_nomem, 1);
	free(c);
	close(fd);
}

/* Out of descriptors or memory, or a listener that is none any more: it rests
 * until the next sweep, or this loop would spin on it. */
static void
client_accept_failed(struct listener *l, int err)
{
	if (err == EAGAIN || err == EINTR || err == ECONNABORTED)
		return;
	log_warn("accept: %s", strerror(err));
	event_del(l->ev);
	l->w->accept_paused = true;
}

void
client_accept(struct listener *l)
{
	struct sockaddr_storage ss;

	for (int i = 0; i < CLIENT_ACCEPT_BATCH; i++) {
		socklen_t len = sizeof(ss);
		int fd = accept4(l->fd, (struct sockaddr *)&ss, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			client_accept_failed(l, errno);
			return;
		}
		client_new(l, fd, &ss);
	}
}
