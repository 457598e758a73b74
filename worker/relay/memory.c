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

void
memory_open(struct memory *m, const char *root)
{
	char text[MEMORY_TEXT], group[768];
	int fd = memory_open_at(root, "/proc/self", "cgroup");

	*m = (struct memory){.current = -1, .max = -1, .stat = -1};
	m->statm = memory_open_at(root, "/proc/self", "statm");
	memory_text(fd, text);
	fd_close(&fd);
	if (memory_group(text, "0::", "/sys/fs/cgroup", group, sizeof(group))) {
		m->current = memory_open_at(root, group, "memory.current");
		m->max = memory_open_at(root, group, "memory.max");
		m->stat = memory_open_at(root, group, "memory.stat");
	}
	if (m->current >= 0 ||
	    !memory_group(text, ":memory:", "/sys/fs/cgroup/memory", group,
			  sizeof(group)))
		return;
	memory_close(&(struct memory){-1, -1, m->max, m->stat, false});
	m->current = memory_open_at(root, group, "memory.usage_in_bytes");
	m->max = memory_open_at(root, group, "memory.limit_in_bytes");
	m->stat = memory_open_at(root, group, "memory.stat");
}

void
memory_close(struct memory *m)
{
	fd_close(&m->statm);
	fd_close(&m->current);
	fd_close(&m->max);
	fd_close(&m->stat);
}

/* The number behind a word and a blank; the word "" for a file's first. */
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
	}
	if (str_u64((struct slice){p, strspn(p, "0123456789")}, INT64_MAX,
		    &v) != 0)
		return 0; /* "max" */
	return v;
}

void
memory_read(const struct memory *m, struct memory_now *now_r)
{
	char text[MEMORY_TEXT];
	uint64_t cache;

	*now_r = (struct memory_now){0};
	if (memory_text(m->statm, text)) /* pages: all, resident, ... */
		now_r->rss = memory_figure(strchrnul(text, ' ') +
					       (strchr(text, ' ') != NULL),
					   "") *
			     (uint64_t)sysconf(_SC_PAGESIZE);
	if (!memory_text(m->max, text))
		return;
	now_r->limit = memory_figure(text, "");
	if (now_r->limit >= INT64_MAX / 2) /* version 1 has no word for none */
		now_r->limit = 0;
	if (now_r->limit == 0 || !memory_text(m->current, text))
		return;
	now_r->group = memory_figure(text, "");
	memory_text(m->stat, text);
	cache = memory_figure(text, "total_inactive_file ");
	if (cache == 0)
		cache = memory_figure(text, "inactive_file ");
	now_r->group -= MIN(cache, now_r->group);
}

bool
memory_judge(struct memory *m, const struct memory_now *now, uint64_t max)
{
	/* tenths: of the limits when it begins, of those when it ends */
	uint64_t own = m->is_short ? max / 10 * 9 : max;
	uint64_t group = now->limit / 10 * (m->is_short ? 8 : 9);

	m->is_short = (max > 0 && now->rss > own) ||
		      (now->limit > 0 && now->group > group);
	return m->is_short;
}
