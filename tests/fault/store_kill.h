/*
 * store_kill: a writer that changes the store without a pause until it is
 * killed, and tells through a pipe which generation each change has made.
 *
 * Not a program of its own: tests/unit/master/test_store_kill.c includes it,
 * forks it, kills it and looks at what it has left.  The map starts small, so
 * kills also meet the moment in which it grows, and the history is short, so
 * they meet its trimming.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/seal.h"
#include "master/store_priv.h"
#include "shm/base/log.h"

#define KILL_MAP_FIRST	 (128U << 10)
#define KILL_HISTORY_MAX 700
#define KILL_SERVERS	 400 /* subjects that come and go */

/* xorshift64 (Marsaglia 2003): the same changes again for the same seed. */
static uint64_t
kill_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static int
kill_server(struct store *st, uint64_t n, const struct store_author *who)
{
	struct store_server s = {.role = SERVER_FCI};
	char err[STORE_ERR];
	uint32_t id;
	int r;

	(void)snprintf(s.subject, sizeof(s.subject), "s%u@LAB.TEST",
		       (unsigned)(n % KILL_SERVERS));
	memset(s.note, 'n', n % (sizeof(s.note) - 1));
	r = store_server_add(st, &s, who, &id, err);
	return r != -EEXIST ? r : store_server_remove(st, s.subject, who, err);
}

/* One change of any kind.  0 or -errno. */
static int
kill_change(struct store *st, uint64_t n, const struct store_author *who)
{
	char text[64], err[STORE_ERR];

	(void)snprintf(text, sizeof(text), "t%llx.test", (unsigned long long)n);
	switch (n >> 32 & 7) {
	case 0:
		return store_setting_set(st, "tenant_id", text, who, err);
	case 1:
		return store_cred_put(st, CRED_CLOUD,
				      n & 1 ? "default" : "super", text,
				      slice_of(text), who, err);
	default:
		return kill_server(st, n, who);
	}
}

/* Ends only by a signal, or with a status that tells what went wrong. */
static void
kill_writer(const char *dir, const char *key, uint64_t seed, int ack_fd)
{
	const struct store_author who = {"uid 0 (writer)"};
	char err[STORE_ERR];
	struct store *st;
	struct seal *s;
	uint64_t gen;

	if (seal_load(&s, key, true, err, sizeof(err)) != 0 ||
	    store_open(&st, dir, s, err) != 0) {
		log_err("%s", err);
		_exit(10);
	}
	st->history_max = KILL_HISTORY_MAX;
	st->map_size = KILL_MAP_FIRST; /* LMDB makes it as large as needed */
	if (store_reopen(st, err) != 0)
		_exit(11);
	for (;;) {
		if (kill_change(st, kill_random(&seed), &who) != 0)
			_exit(12);
		gen = store_generation(st);
		if (write(ack_fd, &gen, sizeof(gen)) != sizeof(gen))
			_exit(13);
	}
}
