/*
 * Purpose: read a list of servers out of a descriptor of the control socket.
 *
 * Runs in: the master.
 * Trusts:  nobody: a peer that may change the list may still be mistaken, or
 *          of another version.  A file that is not sealed could shrink, and
 *          reading it would end us: so it is not touched.
 * Touches: one read-only mapping.
 * Failure: -EPROTO and a line; nothing stays mapped.
 */
#include "master/bulk.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "master/control_bulk.h"
#include "shm/base/log.h"

/* A record of empty texts: line, four lengths, the end. */
#define RECORD_MIN (4U + 4U * 4U + 8U)

_Static_assert(BULK_SUBJECT_MAX < sizeof(((struct store_server *)0)->subject),
	       "a subject fits");
_Static_assert(BULK_NAME_MAX < sizeof(((struct store_server *)0)->name) &&
		   BULK_NAME_MAX < sizeof(((struct store_server *)0)->note),
	       "name and note fit");

static int
refuse(char *err, const char *why)
{
	snprintf(err, STORE_ERR,
		 "the list of servers cannot be read: %s; rmsctl and "
		 "rms-connectord may be of different versions",
		 why);
	return -EPROTO;
}

int
bulk_open(struct bulk *b, const void *mem, size_t size, char err[STORE_ERR])
{
	struct unpack u;

	*b = (struct bulk){.mem = mem, .size = size};
	unpack_init(&u, mem, size);
	if (unpack_u32(&u) != BULK_MAGIC || unpack_u32(&u) != BULK_VERSION)
		return refuse(err, "it is no such list");
	b->count = unpack_u32(&u);
	if (u.bad || b->count > TABLE_ENTRIES_MAX ||
	    (uint64_t)b->count * RECORD_MIN > u.len)
		return refuse(err, "it has an impossible number of entries");
	bulk_rewind(b);
	return 0;
}

int
bulk_map(struct bulk *b, int fd, char err[STORE_ERR])
{
	int r, seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *mem;

	*b = (struct bulk){0};
	if (seals < 0 || (seals & BULK_SEALS) != BULK_SEALS ||
	    fstat(fd, &st) != 0)
		return refuse(err, "its file is not sealed");
	if (st.st_size < (off_t)BULK_HEAD || st.st_size > (off_t)BULK_BYTES_MAX)
		return refuse(err, "its file is too short or too long");
	mem = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (mem == MAP_FAILED)
		return refuse(err, strerror(errno));
	r = bulk_open(b, mem, (size_t)st.st_size, err);
	b->mapped = true;
	if (r != 0)
		bulk_unmap(b);
	return r;
}

void
bulk_unmap(struct bulk *b)
{
	if (b->mapped)
		munmap((void *)(uintptr_t)b->mem, b->size);
	*b = (struct bulk){0};
}

void
bulk_rewind(struct bulk *b)
{
	b->at = 0;
	unpack_init(&b->rest, b->mem + BULK_HEAD, b->size - BULK_HEAD);
}

int
bulk_next(struct bulk *b, struct store_server *s_r, uint32_t *line_r)
{
	struct unpack *u = &b->rest;
	char role[BULK_ROLE_MAX + 1];

	*s_r = (struct store_server){0};
	*line_r = 0;
	if (b->at == b->count)
		return unpack_done(u) ? 0 : -EPROTO;
	*line_r = unpack_u32(u);
	unpack_str(u, s_r->subject, sizeof(s_r->subject));
	unpack_str(u, role, sizeof(role));
	s_r->expires = unpack_u64(u);
	unpack_str(u, s_r->name, sizeof(s_r->name));
	unpack_str(u, s_r->note, sizeof(s_r->note));
	if (u->bad || server_role_parse(slice_of(role), &s_r->role) != 0)
		return -EPROTO;
	b->at++;
	return 1;
}
