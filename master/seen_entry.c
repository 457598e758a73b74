/*
 * Purpose: remember which entries of the list let somebody in, and when.
 *
 * Runs in: the master.
 * Trusts:  nobody: the numbers are a relay's, and may be of no entry.
 * Touches: its own memory, bounded by SEEN_ENTRIES_MAX.
 * Failure: without memory a new entry is not remembered.
 *
 * Not taken from the accounts: one that was forgotten would make its entry
 * look as if nobody used it, and somebody would remove it.
 */
#include <errno.h>
#include <stdlib.h>

#include "master/seen_priv.h"

#include "shm/base/log.h"

int
seen_entries_init(struct seen *s)
{
	TAILQ_INIT(&s->entry_age);
	s->entry_slot = calloc(SEEN_ENTRIES_MAX, sizeof(s->entry_slot[0]));
	return s->entry_slot == NULL ? -ENOMEM : 0;
}

void
seen_entry_drop(struct seen *s, struct seen_entry_node *n)
{
	seen_untouch(s, &n->row);
	s->entry_slot[n->row.key.slot] = NULL;
	LIST_REMOVE(n, chain);
	TAILQ_REMOVE(&s->entry_age, n, age);
	s->nentries--;
	free(n);
}

void
seen_entries_fini(struct seen *s)
{
	/* also of one that seen_new() could not finish */
	while (s->entry_slot != NULL && !TAILQ_EMPTY(&s->entry_age))
		seen_entry_drop(s, TAILQ_FIRST(&s->entry_age));
	free(s->entry_slot);
	s->entry_slot = NULL;
}

struct seen_entry_node *
seen_entry_get(const struct seen *s, uint32_t id)
{
	struct seen_entry_node *n;

	LIST_FOREACH(n, &s->entry_chain[id % SEEN_ENTRY_CHAINS], chain)
	{
		if (n->e.id == id)
			return n;
	}
	return NULL;
}

const struct seen_entry *
seen_entry(const struct seen *s, uint32_t id)
{
	const struct seen_entry_node *n = seen_entry_get(s, id);

	return n == NULL ? NULL : &n->e;
}

struct seen_entry_node *
seen_entry_add(struct seen *s, uint32_t id, uint32_t slot)
{
	struct seen_entry_node *n;

	if (id == 0 || slot >= SEEN_ENTRIES_MAX ||
	    s->entry_slot[slot] != NULL || seen_entry_get(s, id) != NULL)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	n->row.key = (struct seen_key){SEEN_ENTRY, slot};
	n->e.id = id;
	s->entry_slot[slot] = n;
	LIST_INSERT_HEAD(&s->entry_chain[id % SEEN_ENTRY_CHAINS], n, chain);
	TAILQ_INSERT_TAIL(&s->entry_age, n, age);
	s->nentries++;
	return n;
}

static uint32_t
seen_entry_free_slot(struct seen *s)
{
	if (s->nentries == SEEN_ENTRIES_MAX) {
		struct seen_entry_node *n = TAILQ_FIRST(&s->entry_age);

		/* Of what was before this nothing is sure any more. */
		s->since = MAX(s->since, n->e.last);
		seen_touch(s, &s->since_row);
		seen_entry_drop(s, n);
	}
	while (s->entry_slot[s->entry_hint % SEEN_ENTRIES_MAX] != NULL)
		s->entry_hint++;
	return (uint32_t)(s->entry_hint % SEEN_ENTRIES_MAX);
}

void
seen_entry_used(struct seen *s, uint32_t id, uint64_t real_ns)
{
	struct seen_entry_node *n = seen_entry_get(s, id);

	if (n == NULL) {
		if (id == 0)
			return;
		n = seen_entry_add(s, id, seen_entry_free_slot(s));
		if (n == NULL)
			return;
		n->e.first = real_ns;
	}
	n->e.last = real_ns;
	n->e.reports++;
	TAILQ_REMOVE(&s->entry_age, n, age);
	TAILQ_INSERT_TAIL(&s->entry_age, n, age);
	seen_touch(s, &n->row);
}
