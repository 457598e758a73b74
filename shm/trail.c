/*
 * Purpose: the last requests of each relay, written without a system call and
 *          read by the master when it is asked.
 *
 * Runs in: relay (writes), master (makes and reads).
 * Trusts:  nothing in the segment.
 * Touches: one memfd for each relay slot.
 * Failure: NULL or -errno; a relay without a trail serves all the same.
 */
#include "shm/trail.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/identity.h"
#include "shm/role.h"
#include "shm/segment.h"

#define TRAIL_MAGIC UINT64_C(0x6c69617274736d72) /* "rmstrail" */
/* Changes with every change of the structs. */
#define TRAIL_LAYOUT UINT64_C(0x747261696c000002)

#define NOTE_WORDS (sizeof(struct trail_note) / 8)

struct trail_head {
	uint64_t magic;
	uint64_t layout;
	uint32_t slot;
	uint32_t unused;
	_Atomic uint64_t next;
};

struct trail_record {
	_Atomic uint64_t seq;
	_Atomic uint64_t word[NOTE_WORDS];
};

struct trail_page {
	struct trail_head head;
	_Alignas(64) struct trail_record record[TRAIL_RECORDS];
};

_Static_assert(offsetof(struct trail_head, next) == 24, "as in trail.h");
_Static_assert(offsetof(struct trail_page, record) == 64, "as in trail.h");
_Static_assert(sizeof(struct trail_note) == 248, "no padding");
_Static_assert(sizeof(struct trail_record) == 256, "as in trail.h");

struct trail {
	struct trail_page *page;
	uint64_t next;
};

/* --- the master -------------------------------------------------------- */

int
trail_renew(int fd, unsigned slot)
{
	struct trail_head h = {
	    .magic = TRAIL_MAGIC, .layout = TRAIL_LAYOUT, .slot = slot};
	size_t n = offsetof(struct trail_head, next);

	return pwrite(fd, &h, n, 0) == (ssize_t)n ? 0 : -EIO;
}

int
trail_create(unsigned slot)
{
	int fd = fd_memfd_shared("rms-trail", sizeof(struct trail_page)), r;

	BUG_ON(slot >= RELAY_MAX);
	if (fd < 0)
		return fd;
	r = trail_renew(fd, slot);
	if (r == 0)
		return fd;
	fd_close(&fd);
	return r;
}

uint64_t
trail_hash(struct slice account)
{
	/* Known to all, so anybody could make two names of one hash; what that
	 * is good for is to have the wrong account explained, and the part of
	 * the name that a note holds is compared too. */
	static const struct hash_key key = {UINT64_C(0x6c69617274736d72), 1};
	char low[IDENTITY_PRINCIPAL_MAX];
	size_t n = MIN(account.len, sizeof(low) - 1);

	for (size_t i = 0; i < n; i++)
		low[i] = ascii_lower(account.p[i]);
	return hash_bytes(&key, low, n);
}

struct slice
trail_text(const char *text, size_t size)
{
	return (struct slice){text, strnlen(text, size)};
}

/* False: there is none, or it is not whole. */
static bool
trail_read(struct trail_record *r, struct trail_note *n_r, int *torn_r)
{
	uint64_t seq = atomic_load_explicit(&r->seq, memory_order_acquire);
	uint8_t *to = (uint8_t *)n_r;

	for (size_t i = 0; i < NOTE_WORDS; i++) {
		uint64_t w =
		    atomic_load_explicit(&r->word[i], memory_order_relaxed);

		memcpy(to + 8 * i, &w, sizeof(w));
	}
	atomic_thread_fence(memory_order_acquire);
	if (seq == 0)
		return false;
	if (seq % 2 == 0 &&
	    seq == atomic_load_explicit(&r->seq, memory_order_relaxed))
		return true;
	++*torn_r;
	return false;
}

int
trail_each(int fd, bool (*fn)(void *arg, const struct trail_note *n), void *arg)
{
	const char *why;
	struct trail_page *p = segment_map_lazy(fd, sizeof(*p), false, &why);
	struct trail_note n;
	int torn = 0;

	if (p == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < TRAIL_RECORDS; i++) {
		if (trail_read(&p->record[i], &n, &torn) && fn(arg, &n))
			break;
	}
	segment_unmap(p, sizeof(*p));
	return torn;
}

/* --- a relay ----------------------------------------------------------- */

struct trail *
trail_attach(int fd, unsigned slot, const char **why_r)
{
	struct trail_page *p = segment_map_lazy(fd, sizeof(*p), true, why_r);
	struct trail *t;

	if (p == NULL)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		*why_r = "out of memory";
	else if (p->head.magic != TRAIL_MAGIC)
		*why_r = "not a trail of requests";
	else if (p->head.layout != TRAIL_LAYOUT)
		*why_r = "made by a different version";
	else if (p->head.slot != slot)
		*why_r = "the trail of another relay";
	else {
		t->page = p;
		/* whatever was left there, a number that does not wrap */
		t->next =
		    atomic_load_explicit(&p->head.next, memory_order_relaxed) &
		    (UINT64_MAX >> 2);
		return t;
	}
	free(t);
	segment_unmap(p, sizeof(*p));
	return NULL;
}

void
trail_detach(struct trail **t)
{
	if (*t == NULL)
		return;
	segment_unmap((*t)->page, sizeof(*(*t)->page));
	free(*t);
	*t = NULL;
}

void
trail_put(struct trail *t, const struct trail_note *n)
{
	const uint8_t *from = (const uint8_t *)n;
	struct trail_record *r;

	if (t == NULL)
		return;
	r = &t->page->record[t->next % TRAIL_RECORDS];
	atomic_store_explicit(&r->seq, 2 * t->next + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (size_t i = 0; i < NOTE_WORDS; i++) {
		uint64_t w;

		memcpy(&w, from + 8 * i, sizeof(w));
		atomic_store_explicit(&r->word[i], w, memory_order_relaxed);
	}
	atomic_store_explicit(&r->seq, 2 * t->next + 2, memory_order_release);
	t->next++;
	atomic_store_explicit(&t->page->head.next, t->next,
			      memory_order_relaxed);
}
