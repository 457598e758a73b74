/*
 * Purpose: know in time that memory is short.
 *
 * Runs in: relay.
 * Trusts:  the kernel's figures.
 * Touches: files of /proc and of the control group, opened at start-up.
 * Failure: what cannot be read is not known, and then sheds nothing.
 */
#include "worker/relay/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/base/str.h"

#define MEMORY_TEXT 8192 /* memory.stat is some 1,500 bytes */
/* What a host of any size has to have available. */
#define MEMORY_HOST_LEAST (UINT64_C(1) << 30)

struct memory_names {
	const char *mount, *current, *max;
};

static const struct memory_names memory_v1 = {
    "/sys/fs/cgroup/memory", "memory.usage_in_bytes", "memory.limit_in_bytes"};
static const struct memory_names memory_v2 = {"/sys/fs/cgroup",
					      "memory.current", "memory.max"};

/* All of a small file as text; false when there is nothing to read. */
static bool
memory_text(int fd, char out[MEMORY_TEXT])
{
	ssize_t n = fd < 0 ? -1 : pread(fd, out, MEMORY_TEXT - 1, 0);

	out[n < 0 ? 0 : n] = '\0';
	return n > 0;
}

static int
memory_open_at(const char *root, const char *group, const char *name)
{
	char path[1024];
	int n = snprintf(path, sizeof(path), "%s%s/%s", root, group, name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The group's path behind a mark of /proc/self/cgroup, such as "0::". */
static bool
memory_group(const char *text, const char *mark, const char *mount, char *out,
	     size_t size)
{
	const char *p = text, *end;
	int n;

	while (p != NULL && (p = strstr(p, mark)) != NULL) {
		if (p == text || p[-1] == '\n' || mark[0] == ':')
			break;
		p++;
	}
	if (p == NULL)
		return false;
	p += strlen(mark);
	end = strchrnul(p, '\n');
	if (end - p == 1) /* "/": the mount itself */
		end = p;
	n = snprintf(out, size, "%s%.*s", mount, (int)(end - p), p);
	return n > 0 && (size_t)n < size;
}

static void
memory_group_close(struct memory_group *g)
{
	fd_close(&g->current);
	fd_close(&g->max);
	fd_close(&g->stat);
}

/* The group and those above it, up to the mount. */
static void
memory_open_groups(struct memory *m, const char *root, char *group,
		   const struct memory_names *names)
{
	size_t top = strlen(names->mount);

	while (m->ngroups < MEMORY_GROUPS_MAX) {
		struct memory_group *g = &m->group[m->ngroups];
		char *end = strrchr(group, '/');

		g->current = memory_open_at(root, group, names->current);
		g->max = memory_open_at(root, group, names->max);
		g->stat = memory_open_at(root, group, "memory.stat");
		if (g->current >= 0 && g->max >= 0)
			m->ngroups++;
		else
			memory_group_close(g);
		if (end == NULL || (size_t)(end - group) < top)
			break;
		*end = '\0';
	}
}

void
memory_open(struct memory *m, const char *root)
{
	char text[MEMORY_TEXT], group[768];
	int fd = memory_open_at(root, "/proc/self", "cgroup");

	*m = (struct memory){.ngroups = 0};
	m->statm = memory_open_at(root, "/proc/self", "statm");
	m->meminfo = memory_open_at(root, "/proc", "meminfo");
	memory_text(fd, text);
	fd_close(&fd);
	if (memory_group(text, "0::", memory_v2.mount, group, sizeof(group)))
		memory_open_groups(m, root, group, &memory_v2);
	if (m->ngroups == 0 && memory_group(text, ":memory:", memory_v1.mount,
					    group, sizeof(group)))
		memory_open_groups(m, root, group, &memory_v1);
}

void
memory_close(struct memory *m)
{
	fd_close(&m->statm);
	fd_close(&m->meminfo);
	while (m->ngroups > 0)
		memory_group_close(&m->group[--m->ngroups]);
}

/* The number behind a word and blanks; the word "" for a file's first. */
static uint64_t
memory_figure(const char *text, const char *word)
{
	const char *p = text;
	uint64_t v = 0;

	if (word[0] != '\0') {
		p = strstr(text, word);
		while (p != NULL && p != text && p[-1] != '\n')
			p = strstr(p + 1, word);
		if (p == NULL)
			return 0;
		p += strlen(word);
		p += strspn(p, " ");
	}
	if (str_u64((struct slice){p, strspn(p, "0123456789")}, INT64_MAX,
		    &v) != 0)
		return 0; /* "max" */
	return v;
}

/* What a group uses and may; false when it has no limit. */
static bool
memory_read_group(const struct memory_group *g, uint64_t *used_r,
		  uint64_t *limit_r)
{
	char text[MEMORY_TEXT];
	uint64_t cache;

	if (!memory_text(g->max, text))
		return false;
	*limit_r = memory_figure(text, "");
	/* version 1 has no word for none */
	if (*limit_r == 0 || *limit_r >= INT64_MAX / 2 ||
	    !memory_text(g->current, text))
		return false;
	*used_r = memory_figure(text, "");
	memory_text(g->stat, text);
	cache = memory_figure(text, "total_inactive_file ");
	if (cache == 0)
		cache = memory_figure(text, "inactive_file ");
	*used_r -= MIN(cache, *used_r);
	return true;
}

/* Thousandths of a limit. */
static uint64_t
memory_share(uint64_t used, uint64_t limit)
{
	return limit == 0 ? 0 : used / (limit / 1000 + 1);
}

void
memory_read(const struct memory *m, struct memory_now *now_r)
{
	char text[MEMORY_TEXT];
	uint64_t used, limit;

	*now_r = (struct memory_now){0};
	if (memory_text(m->statm, text)) /* pages: all, resident, ... */
		now_r->rss = memory_figure(strchrnul(text, ' ') +
					       (strchr(text, ' ') != NULL),
					   "") *
			     (uint64_t)sysconf(_SC_PAGESIZE);
	if (memory_text(m->meminfo, text)) {
		now_r->total = memory_figure(text, "MemTotal:") * 1024;
		now_r->available = memory_figure(text, "MemAvailable:") * 1024;
	}
	for (size_t i = 0; i < m->ngroups; i++) {
		if (!memory_read_group(&m->group[i], &used, &limit))
			continue;
		if (now_r->limit != 0 &&
		    memory_share(used, limit) <=
			memory_share(now_r->group, now_r->limit))
			continue;
		now_r->group = used;
		now_r->limit = limit;
	}
}

static bool
memory_host_is_short(const struct memory_now *now, bool is_short)
{
	uint64_t least = MIN(now->total / 20, MEMORY_HOST_LEAST);

	if (is_short)
		least += least / 2;
	return now->available > 0 && now->available < least;
}

bool
memory_judge(struct memory *m, const struct memory_now *now, uint64_t max)
{
	/* tenths: of the limits when it begins, of those when it ends */
	uint64_t own = m->is_short ? max / 10 * 9 : max;
	uint64_t group = now->limit / 10 * (m->is_short ? 8 : 9);

	m->is_short = (max > 0 && now->rss > own) ||
		      (now->limit > 0 && now->group > group) ||
		      memory_host_is_short(now, m->is_short);
	return m->is_short;
}
