/*
 * Purpose: connect to the first of several addresses that takes it.
 *
 * Runs in: relay.
 * Trusts:  the cloud agent for addresses.
 * Touches: sockets.
 * Failure: done() with fd -1 and the words of the last failure, or of what this
 *          host lacks.
 */
#include "worker/relay/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/health.h"
#include "worker/relay/relay.h"

/*
 * What the kernel may hold of ours that is not on its way yet.  Without it a
 * cloud that takes a body slowly leaves up to tcp_wmem (4 MB) of it there, and
 * a thousand such bodies all that the host has for TCP (make soak-memory).
 */
#define DIAL_UNSENT_BYTES 131072

#define DIAL_NO_PORT "no local port is free"

/* ---- addresses ------------------------------------------------------- */

/* Those of one family that are bad, or good, in order from start on. */
static uint32_t
dial_pick(const struct token_addr *a, uint32_t n, size_t start, const bool *bad,
	  uint8_t family, bool want_bad, uint8_t out[TOKEN_ADDRS_MAX])
{
	uint32_t k = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = (uint32_t)((start + i) % n);

		if (a[at].family == family && bad[at] == want_bad)
			out[k++] = (uint8_t)at;
	}
	return k;
}

void
dial_order(const struct token_addr *a, uint32_t n, size_t start,
	   const bool *bad, uint8_t order_r[TOKEN_ADDRS_MAX])
{
	uint32_t k = 0;

	for (int round = 0; round < 2; round++) {
		uint8_t six[TOKEN_ADDRS_MAX], four[TOKEN_ADDRS_MAX];
		uint32_t n6 = dial_pick(a, n, start, bad, 6, round == 1, six);
		uint32_t n4 = dial_pick(a, n, start, bad, 4, round == 1, four);

		for (uint32_t i = 0; i < MAX(n6, n4); i++) {
			if (i < n6)
				order_r[k++] = six[i];
			if (i < n4)
				order_r[k++] = four[i];
		}
	}
	BUG_ON(k > n);
}

void
dial_text(const struct token_addr *a, uint16_t port, char *text, size_t size)
{
	char t[INET6_ADDRSTRLEN] = "?";

	inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->bytes, t, sizeof(t));
	snprintf(text, size, a->family == 6 ? "[%s]:%u" : "%s:%u", t,
		 (unsigned)port);
}

static void
dial_sockaddr(const struct token_addr *a, uint16_t port,
	      struct sockaddr_storage *ss, socklen_t *len_r)
{
	memset(ss, 0, sizeof(*ss));
	if (a->family == 6) {
		struct sockaddr_in6 *s6 = (void *)ss;

		s6->sin6_family = AF_INET6;
		s6->sin6_port = htons(port);
		s6->sin6_scope_id = a->scope;
		memcpy(&s6->sin6_addr, a->bytes, 16);
		*len_r = sizeof(*s6);
	} else {
		struct sockaddr_in *s4 = (void *)ss;

		s4->sin_family = AF_INET;
		s4->sin_port = htons(port);
		memcpy(&s4->sin_addr, a->bytes, 4);
		*len_r = sizeof(*s4);
	}
}

/* ---- tries ----------------------------------------------------------- */

static void
dial_try_close(struct dial_try *t)
{
	if (t->ev != NULL)
		event_free(t->ev);
	t->ev = NULL;
	if (t->fd >= 0) {
		close(t->fd);
		t->d->live--;
	}
	t->fd = -1;
}

void
dial_stop(struct dial *d)
{
	for (uint32_t i = 0; i < d->ntries; i++)
		dial_try_close(&d->try[i]);
	d->running = false;
	if (d->timer != NULL)
		loop_timer_set(d->timer, 0);
}

void
dial_judge(struct dial *d, const struct token_addr *a, bool ok)
{
	if (d->epoch == d->w->cloud_epoch)
		health_address(d->w, a, ok);
}

/* No answer within a head start?  The event of one may be among those that
 * come next: it is the socket that is asked. */
static bool
dial_is_silent(const struct dial_try *t, uint64_t now)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return now - t->begun >= DIAL_STAGGER_MS * NS_PER_MS &&
	       getpeername(t->fd, (struct sockaddr *)&ss, &len) != 0;
}

/* Another one won.  Those that were still under way are as good as not tried
 * and come next; except what was silent for a head start, which is bad and
 * comes last. */
static void
dial_put_back(struct dial *d)
{
	struct token_addr next[TOKEN_ADDRS_MAX] = {{0}};
	struct token_addr last[TOKEN_ADDRS_MAX] = {{0}};
	uint32_t nover = 0, nnext = 0, nlast = 0;
	uint64_t now = clock_mono_ns();

	for (uint32_t i = 0; i < d->ntries; i++) {
		struct dial_try *t = &d->try[i];

		if (t->fd < 0) {
			d->addr[nover++] = d->addr[i];
		} else if (dial_is_silent(t, now)) {
			dial_judge(d, &d->addr[i], false);
			last[nlast++] = d->addr[i];
		} else {
			next[nnext++] = d->addr[i];
		}
		dial_try_close(t);
	}
	memmove(&d->addr[nover + nnext], &d->addr[d->ntries],
		(d->n - d->ntries) * sizeof(d->addr[0]));
	memcpy(&d->addr[nover], next, nnext * sizeof(next[0]));
	memcpy(&d->addr[d->n - nlast], last, nlast * sizeof(last[0]));
	d->ntries = nover;
}

static void
dial_won(struct dial_try *t)
{
	struct dial *d = t->d;
	struct token_addr a = d->addr[t - d->try];
	int fd = t->fd;

	event_free(t->ev);
	t->ev = NULL;
	t->fd = -1;
	d->live--;
	dial_put_back(d);
	dial_stop(d);
	d->done(d->arg, fd, &a, DIAL_DONE, NULL);
}

static void
dial_over(struct dial *d, const struct token_addr *a, enum dial_end end,
	  const char *why)
{
	dial_stop(d);
	d->done(d->arg, -1, a, end, why);
}

static struct token_addr *
dial_try_end(struct dial_try *t, const char *why)
{
	struct token_addr *a = &t->d->addr[t - t->d->try];
	char text[64];

	dial_text(a, t->d->port, text, sizeof(text));
	log_debug("cloud: %s: %s", text, why);
	dial_try_close(t);
	return a;
}

/* One try is over.  true: it was the last, and done() has been called. */
static bool
dial_lost(struct dial_try *t, enum dial_end end, const char *why)
{
	struct dial *d = t->d;
	const struct token_addr *a = dial_try_end(t, why);

	if (end == DIAL_LACKS) {
		d->no_port = true;
		d->no_port_to = *a;
	} else {
		dial_judge(d, a, false);
	}
	if (d->live > 0 || dial_has_more(d))
		return false;
	if (d->no_port)
		dial_over(d, &d->no_port_to, DIAL_LACKS, DIAL_NO_PORT);
	else
		dial_over(d, a, end, why);
	return true;
}

static void
dial_on_event(evutil_socket_t fd, short what UNUSED, void *arg)
{
	struct dial_try *t = arg;
	struct dial *d = t->d;
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err == 0)
		dial_won(t);
	else if (!dial_lost(t, DIAL_FAILED, strerror(err)) && d->live == 0)
		dial_go(d);
}

/* 0 when the try is under way; else why it is not. */
static int
dial_open(struct dial_try *t, const struct token_addr *a)
{
	struct dial *d = t->d;
	struct sockaddr_storage ss;
	socklen_t len;
	int one = 1, unsent = DIAL_UNSENT_BYTES, r;

	dial_sockaddr(a, d->port, &ss, &len);
	t->fd =
	    socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		return errno;
	d->live++;
	setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(t->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent,
		   sizeof(unsent));
	r = connect(t->fd, (struct sockaddr *)&ss, len);
	if (r != 0 && errno != EINPROGRESS)
		return errno;
	t->ev =
	    event_new(loop_base(d->w->loop), t->fd, EV_WRITE, dial_on_event, t);
	if (t->ev == NULL || event_add(t->ev, NULL) != 0)
		return ENOMEM;
	stat_add(d->w->row, STAT_up_connects, 1);
	return 0;
}

/*
 * EADDRNOTAVAIL has two meanings: all local ports to the address are in use,
 * or no local address leads there, as on a host without IPv6.  A datagram
 * socket does not need the port to itself, but the address it does; it sends
 * nothing.
 */
static bool
dial_has_source(const struct dial *d, const struct token_addr *a)
{
	struct sockaddr_storage ss;
	socklen_t len;
	bool has;
	int fd;

	dial_sockaddr(a, d->port, &ss, &len);
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true; /* a lack, too */
	has = connect(fd, (struct sockaddr *)&ss, len) == 0 ||
	      errno != EADDRNOTAVAIL;
	close(fd);
	return has;
}

static uint64_t
dial_wait_ms(const struct dial *d)
{
	return (uint64_t)d->w->c->conf.cloud_connect_timeout_ms;
}

/* When something is to be done next without an event. */
static void
dial_arm(struct dial *d)
{
	uint64_t now = clock_mono_ns(), at = UINT64_MAX;

	for (uint32_t i = 0; i < d->ntries; i++)
		if (d->try[i].fd >= 0)
			at = MIN(at,
				 d->try[i].begun + dial_wait_ms(d) * NS_PER_MS);
	if (dial_has_more(d))
		at = MIN(at, d->latest + DIAL_STAGGER_MS * NS_PER_MS);
	loop_timer_set(d->timer, at <= now ? 1 : (at - now) / NS_PER_MS + 1);
}

/* What this host lacks for whatever address; NULL: it is not that. */
static const char *
dial_lack(int err)
{
	if (err == ENOMEM || err == ENOBUFS)
		return "out of memory";
	if (err == EMFILE || err == ENFILE)
		return "no file descriptor is free";
	return NULL;
}

/* The newest try was none: it is still to be had, and not before what is
 * under way has failed, or had its head start. */
static void
dial_unbegun(struct dial_try *t, const char *lack)
{
	struct dial *d = t->d;
	const struct token_addr *a = dial_try_end(t, lack);

	d->ntries--;
	if (d->live > 0)
		dial_arm(d);
	else
		dial_over(d, a, DIAL_LACKS, lack);
}

/* It did not begin.  true as of dial_lost(). */
static bool
dial_unopened(struct dial_try *t, const struct token_addr *a, int err)
{
	if (err == EADDRNOTAVAIL && dial_has_source(t->d, a))
		return dial_lost(t, DIAL_LACKS, DIAL_NO_PORT);
	return dial_lost(t, DIAL_FAILED, strerror(err));
}

void
dial_go(struct dial *d)
{
	d->running = true;
	while (dial_has_more(d)) {
		struct token_addr *a = &d->addr[d->ntries];
		struct dial_try *t = &d->try[d->ntries++];
		const char *lack;
		int err;

		d->latest = clock_mono_ns();
		*t = (struct dial_try){.d = d, .fd = -1, .begun = d->latest};
		err = dial_open(t, a);
		if (err == 0)
			break;
		lack = dial_lack(err);
		if (lack != NULL) {
			dial_unbegun(t, lack);
			return;
		}
		if (dial_unopened(t, a, err))
			return;
	}
	dial_arm(d);
}

static void
dial_on_timer(void *arg)
{
	struct dial *d = arg;
	uint64_t now = clock_mono_ns();

	for (uint32_t i = 0; i < d->ntries && d->running; i++) {
		struct dial_try *t = &d->try[i];

		if (t->fd < 0 || now - t->begun < dial_wait_ms(d) * NS_PER_MS)
			continue;
		if (dial_lost(t, DIAL_SLOW, "no answer"))
			return;
	}
	if (!d->running)
		return;
	if (dial_has_more(d) &&
	    (d->live == 0 || now - d->latest >= DIAL_STAGGER_MS * NS_PER_MS))
		dial_go(d);
	else
		dial_arm(d);
}

static void
dial_on_free(void *arg)
{
	struct dial *d = arg;

	loop_timer_free(&d->timer);
	free(d);
}

struct dial *
dial_new(struct relay *w, uint16_t port,
	 void (*done)(void *arg, int fd, const struct token_addr *a,
		      enum dial_end end, const char *why),
	 void *arg)
{
	const struct token_value *v = w->tv;
	struct dial *d = calloc(1, sizeof(*d));
	bool bad[TOKEN_ADDRS_MAX] = {0};
	uint8_t order[TOKEN_ADDRS_MAX] = {0};

	if (d == NULL)
		return NULL;
	d->w = w;
	d->port = port;
	d->epoch = w->cloud_epoch;
	d->done = done;
	d->arg = arg;
	d->timer = loop_timer_new(w->loop, dial_on_timer, d);
	if (d->timer == NULL) {
		free(d);
		return NULL;
	}
	d->n = v->naddr;
	for (uint32_t i = 0; i < d->n; i++)
		bad[i] = health_is_bad(w, i);
	dial_order(v->addr, d->n, w->next_addr++, bad, order);
	for (uint32_t i = 0; i < d->n; i++)
		d->addr[i] = v->addr[order[i]];
	return d;
}

void
dial_free(struct dial **dp)
{
	struct dial *d = *dp;

	if (d == NULL)
		return;
	dial_stop(d);
	loop_defer(d->w->loop, &d->cell, dial_on_free, d);
	*dp = NULL;
}
