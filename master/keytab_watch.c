/*
 * Purpose: find out when the keytab's file has changed, and whether the new
 *          one is fit for use.
 *
 * Runs in: the master.
 * Trusts:  the administrator who made the file, but not that it is whole.
 * Touches: the file, only read; memory that held it is wiped.
 * Failure: a line that says what and what would do; what is in force is the
 *          caller's and stays.
 */
#include "master/keytab_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/conf_keytab.h"
#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/base/str.h"
#include "shm/base/log.h"

/* What differs when the file does. */
struct print {
	int err; /* errno of stat(), then the rest is zero */
	dev_t dev;
	ino_t ino;
	off_t size;
	mode_t mode;
	uid_t uid;
	uint64_t written_ns, changed_ns;
};

struct keytab_watch {
	struct print print;
	bool looked;
	bool unsettled;	 /* look again whatever stat() says */
	bool told;	 /* a fault, which is not over */
	unsigned faults; /* looks at this print that found one */
	char fault[1024];
};

struct keytab_watch *
keytab_watch_new(void)
{
	return calloc(1, sizeof(struct keytab_watch));
}

void
keytab_watch_free(struct keytab_watch **w)
{
	free(*w);
	*w = NULL;
}

static uint64_t
time_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * NS_PER_S + (uint64_t)t->tv_nsec;
}

static void
take_print(const char *path, struct print *p)
{
	struct stat st;

	memset(p, 0, sizeof(*p)); /* compared as bytes */
	if (stat(path, &st) != 0) {
		p->err = errno;
		return;
	}
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	p->size = st.st_size;
	p->mode = st.st_mode;
	p->uid = st.st_uid;
	p->written_ns = time_ns(&st.st_mtim);
	p->changed_ns = time_ns(&st.st_ctim);
}

/* Was it changed so lately that another change could bear the same time? */
static bool
is_fresh(const struct print *p, uint64_t now_ns)
{
	return p->err == 0 && p->changed_ns + KEYTAB_SETTLE_NS > now_ns;
}

static bool
is_in_force(int fd, const char *data, size_t len)
{
	char *old;
	size_t n;
	bool same;

	if (fd < 0 || fd_read_all(fd, CONF_KEYTAB_BYTES_MAX, &old, &n) != 0)
		return false;
	same = n == len && memcmp(old, data, len) == 0;
	str_wipe(old, n);
	free(old);
	return same;
}

static enum keytab_look
found_fault(struct keytab_watch *w, char *why, size_t why_size)
{
	w->faults++;
	if (w->faults == 1)
		w->unsettled = true;
	if (w->faults != 2)
		return KEYTAB_SAME;
	w->told = true;
	snprintf(w->fault, sizeof(w->fault), "%s", why);
	snprintf(why, why_size, "%s", w->fault);
	return KEYTAB_BAD;
}

static enum keytab_look
found_keytab(struct keytab_watch *w, const char *data, size_t len, int in_force,
	     int *fd_r, char *why, size_t why_size)
{
	bool was_bad = w->told;

	if (is_in_force(in_force, data, len)) {
		w->told = false;
		w->fault[0] = '\0';
		w->faults = 0;
		return was_bad ? KEYTAB_GOOD : KEYTAB_SAME;
	}
	*fd_r = fd_memfd_sealed("keytab", data, len);
	if (*fd_r < 0) {
		snprintf(why, why_size, "no memory for a copy of it: %s",
			 strerror(-*fd_r));
		*fd_r = -1;
		w->unsettled = true;
		return found_fault(w, why, why_size);
	}
	w->told = false;
	w->fault[0] = '\0';
	w->faults = 0;
	return KEYTAB_NEW;
}

enum keytab_look
keytab_watch_look(struct keytab_watch *w, const char *path, int in_force,
		  uint64_t now_ns, int *fd_r, char *why, size_t why_size)
{
	struct print p;
	enum keytab_look look;
	char *data;
	size_t len;

	*fd_r = -1;
	take_print(path, &p);
	if (w->looked && !w->unsettled && memcmp(&p, &w->print, sizeof(p)) == 0)
		return KEYTAB_SAME;
	if (!w->looked || memcmp(&p, &w->print, sizeof(p)) != 0)
		w->faults = 0;
	w->looked = true;
	w->print = p;
	w->unsettled = is_fresh(&p, now_ns);
	if (conf_keytab_read(path, &data, &len, NULL, why, why_size) != 0)
		return found_fault(w, why, why_size);
	look = found_keytab(w, data, len, in_force, fd_r, why, why_size);
	str_wipe(data, len);
	free(data);
	return look;
}

void
keytab_watch_forget(struct keytab_watch *w)
{
	*w = (struct keytab_watch){0};
}

const char *
keytab_watch_fault(const struct keytab_watch *w)
{
	return w->fault;
}
