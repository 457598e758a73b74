/*
 * Purpose: keep the keytab in force the one that is in its file.
 *
 * Runs in: the master.
 * Trusts:  keytab_watch.
 * Touches: what keepers are given; events.
 * Failure: event 3109; the last good keytab stays in force.
 */
#include "master/master_keytab.h"

#include <errno.h>
#include <stdio.h>

#include "master/event.h"
#include "master/keytab_watch.h"
#include "master/publish.h"
#include "master/supervise.h"
#include "master/trouble.h"
#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

static void
tell_bad(struct master *m, const char *why)
{
	const char *kept = publish_keytab_now(m->publish) < 0
			       ? ""
			       : " (the last good keytab stays in force)";

	event_tellf(m->events, 3109, "%s%s", why, kept);
	master_trouble(m, NULL, 3109, "%s%s", why, kept);
}

static void
look(struct master *m)
{
	char why[MASTER_ERR];
	int fd;

	switch (keytab_watch_look(m->keytab_watch, m->conf.keytab.s,
				  publish_keytab_now(m->publish),
				  clock_real_ns(), &fd, why, sizeof(why))) {
	case KEYTAB_SAME:
		break;
	case KEYTAB_NEW:
		log_info("%s has changed", m->conf.keytab.s);
		trouble_over(m->trouble, TROUBLE_MASTER, 3109);
		publish_keytab(m->publish, m->supervise, &fd);
		break;
	case KEYTAB_GOOD:
		log_info("%s is again what is in force", m->conf.keytab.s);
		trouble_over(m->trouble, TROUBLE_MASTER, 3109);
		break;
	case KEYTAB_BAD:
		tell_bad(m, why);
		break;
	}
}

/* The directive was taken out, and with it what was wrong with its file. */
static void
look_at_none(struct master *m)
{
	if (keytab_watch_fault(m->keytab_watch)[0] != '\0')
		trouble_over(m->trouble, TROUBLE_MASTER, 3109);
	keytab_watch_forget(m->keytab_watch);
}

static void
master_on_keytab_time(void *arg)
{
	struct master *m = arg;

	if (supervise_is_draining(m->supervise))
		return;
	if (m->conf.keytab.s[0] != '\0')
		look(m);
	else
		look_at_none(m);
	loop_timer_set(m->keytab_timer, KEYTAB_WATCH_MS);
}

int
master_keytab_start(struct master *m)
{
	m->keytab_watch = keytab_watch_new();
	m->keytab_timer = loop_timer_new(m->loop, master_on_keytab_time, m);
	if (m->keytab_watch == NULL || m->keytab_timer == NULL)
		return -ENOMEM;
	loop_timer_set(m->keytab_timer, KEYTAB_WATCH_MS);
	return 0;
}

void
master_keytab_stop(struct master *m)
{
	loop_timer_free(&m->keytab_timer);
	keytab_watch_free(&m->keytab_watch);
}
