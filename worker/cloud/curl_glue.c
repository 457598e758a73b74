/*
 * Purpose: let the event loop drive libcurl: its sockets and its timer.
 *
 * Runs in: cloud agent.
 * Trusts:  libcurl.
 * Touches: libcurl's sockets, watched for it.
 * Failure: a socket that cannot be watched ends its transfer by its time-out.
 */
#include "worker/cloud/curl_glue.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>

#include "shm/base/log.h"
#include "shm/base/loop.h"

struct curl_glue {
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
};

/* One transfer; CURLOPT_PRIVATE of its handle. */
struct glue_job {
	void (*done)(void *arg, CURLcode rc);
	void *arg;
};

static struct glue_job *
glue_job_take(struct curl_glue *g, CURL *easy)
{
	char *job = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &job);
	BUG_ON(job == NULL);
	curl_multi_remove_handle(g->multi, easy);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
	return (struct glue_job *)(void *)job;
}

/* Ended transfers; never called from within one of libcurl's callbacks. */
static void
glue_reap(struct curl_glue *g)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(g->multi, &left)) != NULL) {
		CURLcode rc = m->data.result; /* m dies with the handle */
		struct glue_job *job, copy;

		if (m->msg != CURLMSG_DONE)
			continue;
		job = glue_job_take(g, m->easy_handle);
		copy = *job;
		free(job);
		copy.done(copy.arg, rc);
	}
}

static void
glue_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct curl_glue *g = arg;
	int flags = 0, running;

	if (what & EV_READ)
		flags |= CURL_CSELECT_IN;
	if (what & EV_WRITE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(g->multi, fd, flags, &running);
	glue_reap(g);
}

static void
glue_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct curl_glue *g = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(g->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	glue_reap(g);
}

static int
glue_set_timer(CURLM *multi, long ms, void *arg)
{
	struct curl_glue *g = arg;
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	(void)multi;
	if (ms < 0)
		return event_del(g->timer);
	return event_add(g->timer, &tv);
}

static int
glue_set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *watch)
{
	struct curl_glue *g = arg;
	struct event *ev = watch;
	short want = EV_PERSIST;

	(void)easy;
	/* The events change seldom: a new one each time is simple. */
	if (ev != NULL)
		event_free(ev);
	curl_multi_assign(g->multi, fd, NULL);
	if (what == CURL_POLL_REMOVE)
		return 0;
	if (what & CURL_POLL_IN)
		want |= EV_READ;
	if (what & CURL_POLL_OUT)
		want |= EV_WRITE;
	ev = event_new(g->base, fd, want, glue_on_event, g);
	if (ev == NULL || event_add(ev, NULL) != 0) {
		if (ev != NULL)
			event_free(ev);
		return -1;
	}
	curl_multi_assign(g->multi, fd, ev);
	return 0;
}

int
curl_glue_add(struct curl_glue *g, CURL *easy,
	      void (*done)(void *arg, CURLcode rc), void *arg)
{
	struct glue_job *job = malloc(sizeof(*job));

	if (job == NULL)
		return -ENOMEM;
	*job = (struct glue_job){done, arg};
	if (curl_easy_setopt(easy, CURLOPT_PRIVATE, job) != CURLE_OK ||
	    curl_multi_add_handle(g->multi, easy) != CURLM_OK) {
		free(job);
		return -ENOMEM;
	}
	return 0;
}

void
curl_glue_remove(struct curl_glue *g, CURL *easy)
{
	free(glue_job_take(g, easy));
}

struct curl_glue *
curl_glue_new(struct loop *l)
{
	struct curl_glue *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->base = loop_base(l);
	g->timer = evtimer_new(g->base, glue_on_timer, g);
	g->multi = curl_multi_init();
	if (g->timer == NULL || g->multi == NULL) {
		curl_glue_free(&g);
		return NULL;
	}
	curl_multi_setopt(g->multi, CURLMOPT_SOCKETFUNCTION, glue_set_socket);
	curl_multi_setopt(g->multi, CURLMOPT_SOCKETDATA, g);
	curl_multi_setopt(g->multi, CURLMOPT_TIMERFUNCTION, glue_set_timer);
	curl_multi_setopt(g->multi, CURLMOPT_TIMERDATA, g);
	return g;
}

void
curl_glue_free(struct curl_glue **gp)
{
	struct curl_glue *g = *gp;

	if (g == NULL)
		return;
	if (g->multi != NULL)
		curl_multi_cleanup(g->multi);
	if (g->timer != NULL)
		event_free(g->timer);
	free(g);
	*gp = NULL;
}
