/*
 * Purpose: let the event loop drive c-ares: its sockets and its timer.
 *
 * Runs in: cloud agent.
 * Trusts:  c-ares.
 * Touches: DNS sockets; /etc/hosts on each look-up, /etc/resolv.conf and
 *	    /dev/urandom when the servers are set.
 * Failure: a socket that cannot be watched ends its look-up by its time-out.
 */
#include "worker/cloud/ares_glue.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/time.h>

#include "shm/base/log.h"
#include "shm/base/loop.h"
#include "shm/base/str.h"

/* First wait for an answer; c-ares doubles it: 1.5 + 3 + 6 s per server. */
#define DNS_WAIT_MS 1500
#define DNS_TRIES   3

/* A socket of c-ares that we watch for it. */
struct glue_sock {
	struct glue_sock *next;
	struct event *ev;
	ares_socket_t fd;
};

struct ares_glue {
	struct event_base *base;
	struct event *timer;
	ares_channel channel;
	struct glue_sock *socks;
};

static void
glue_arm(struct ares_glue *g)
{
	struct timeval max = {.tv_sec = 60}, tv;
	struct timeval *at = ares_timeout(g->channel, &max, &tv);

	/* Fails only without memory: the look-up would never end. */
	BUG_ON(event_add(g->timer, at) != 0);
}

static void
glue_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ares_glue *g = arg;

	(void)fd;
	(void)what;
	ares_process_fd(g->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	glue_arm(g);
}

static void
glue_on_sock(evutil_socket_t fd, short what, void *arg)
{
	struct ares_glue *g = arg;

	ares_process_fd(g->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
			what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	glue_arm(g);
}

static void
glue_unwatch(struct ares_glue *g, ares_socket_t fd)
{
	for (struct glue_sock **at = &g->socks; *at != NULL;
	     at = &(*at)->next) {
		struct glue_sock *s = *at;

		if (s->fd != fd)
			continue;
		*at = s->next;
		event_free(s->ev);
		free(s);
		return;
	}
}

/* c-ares: watch fd for this; neither: it is about to be closed. */
static void
glue_watch(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct ares_glue *g = arg;
	struct glue_sock *s;
	short want = EV_PERSIST;

	glue_unwatch(g, fd);
	if (!readable && !writable)
		return;
	want |= (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	s = calloc(1, sizeof(*s));
	/* Unwatched, the look-up ends by its time-out. */
	if (s == NULL)
		return;
	s->fd = fd;
	s->ev = event_new(g->base, fd, want, glue_on_sock, g);
	if (s->ev == NULL || event_add(s->ev, NULL) != 0) {
		if (s->ev != NULL)
			event_free(s->ev);
		free(s);
		return;
	}
	s->next = g->socks;
	g->socks = s;
}

/* c-ares refuses a list with blanks, which people write. */
static int
glue_set_servers(ares_channel ch, const char *servers)
{
	char list[512];
	struct sbuf b;

	sbuf_init(&b, list, sizeof(list));
	for (; *servers != '\0'; servers++)
		if (*servers != ' ' && *servers != '\t')
			sbuf_char(&b, *servers);
	return b.cut ? ARES_EBADSTR : ares_set_servers_ports_csv(ch, list);
}

static int
glue_channel(struct ares_glue *g, const char *servers, ares_channel *ch_r)
{
	char lookups[] = "fb"; /* hosts file, then DNS */
	struct ares_options o = {
	    .flags = ARES_FLAG_NOSEARCH,
	    .timeout = DNS_WAIT_MS,
	    .tries = DNS_TRIES,
	    .lookups = lookups,
	    .ndomains = 0,
	    .sock_state_cb = glue_watch,
	    .sock_state_cb_data = g,
	};
	int rc;

	rc = ares_init_options(ch_r, &o,
			       ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS |
				   ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
				   ARES_OPT_DOMAINS | ARES_OPT_SOCK_STATE_CB);
	if (rc != ARES_SUCCESS)
		return rc == ARES_ENOMEM ? -ENOMEM : -EIO;
	if (servers[0] == '\0')
		return 0;
	rc = glue_set_servers(*ch_r, servers);
	if (rc == ARES_SUCCESS)
		return 0;
	ares_destroy(*ch_r);
	return rc == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

void
ares_glue_look_up(struct ares_glue *g, const char *host,
		  ares_addrinfo_callback fn, void *arg)
{
	static const struct ares_addrinfo_hints hints = {
	    .ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	};

	ares_getaddrinfo(g->channel, host, NULL, &hints, fn, arg);
	glue_arm(g);
}

int
ares_glue_servers(struct ares_glue *g, const char *servers)
{
	ares_channel fresh, old = g->channel;
	int rc = glue_channel(g, servers, &fresh);

	if (rc != 0)
		return rc;
	g->channel = fresh;
	ares_destroy(old);
	glue_arm(g);
	return 0;
}

int
ares_glue_new(struct loop *l, const char *servers, struct ares_glue **g_r)
{
	struct ares_glue *g = calloc(1, sizeof(*g));
	int rc = -ENOMEM;

	*g_r = NULL;
	if (g == NULL || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		goto fail;
	g->base = loop_base(l);
	g->timer = evtimer_new(g->base, glue_on_timer, g);
	if (g->timer == NULL)
		goto fail;
	rc = glue_channel(g, servers, &g->channel);
	if (rc != 0)
		goto fail;
	*g_r = g;
	return 0;
fail:
	if (g != NULL && g->timer != NULL)
		event_free(g->timer);
	free(g);
	return rc;
}

void
ares_glue_free(struct ares_glue **gp)
{
	struct ares_glue *g = *gp;

	if (g == NULL)
		return;
	ares_destroy(g->channel);
	BUG_ON(g->socks != NULL);
	event_free(g->timer);
	ares_library_cleanup();
	free(g);
	*gp = NULL;
}
