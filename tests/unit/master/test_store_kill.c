/*
 * store: killed with SIGKILL in the middle of writing, many times over, it
 * has the last acknowledged generation or the one after it, whole.
 *
 * STORE_KILLS=n kills n times instead of 50.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/master/store_fixture.h"

#include "shm/base/clock.h"
#include "tests/fault/store_kill.h"

/* One acknowledgement; false when the writer is gone. */
static bool
take_ack(int fd, uint64_t *last_r)
{
	uint64_t gen;

	if (read(fd, &gen, sizeof(gen)) != sizeof(gen))
		return false;
	assert_int_equal(gen, *last_r + 1);
	*last_r = gen;
	return true;
}

/*
 * Runs a writer until it has acknowledged `acks` changes, gives it ns more and
 * kills it; the number that it has acknowledged in all.
 */
static size_t
run_and_kill(uint64_t seed, size_t acks, uint64_t ns, uint64_t *last_r)
{
	struct timespec t = {0, (long)ns};
	int p[2], status;
	size_t n = 0;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(p[0]);
		kill_writer(fx_dir, fx_key, seed, p[1]);
	}
	close(p[1]);
	while (n < acks && take_ack(p[0], last_r))
		n++;
	assert_int_equal(nanosleep(&t, NULL), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("the writer ended by itself: status %#x", status);
	while (take_ack(p[0], last_r))
		n++;
	close(p[0]);
	return n;
}

static int
found_by_subject(void *arg, const struct store_server *s)
{
	struct store_server f;

	assert_int_equal(store_server_find(fx, s->subject, &f), 0);
	assert_int_equal(f.id, s->id);
	++*(size_t *)arg;
	return 0;
}

/* Nothing is half done: every part can be read and all agree. */
static void
whole(void)
{
	struct conf *c = malloc(sizeof(*c));
	struct store_change newest;
	struct msg_creds creds;
	size_t servers = 0;
	int fd, n;

	conf_defaults(c);
	assert_int_equal(store_settings_get(fx, c), 0);
	free(c);
	assert_int_equal(store_creds_open(fx, &creds), 0);
	for (uint32_t i = 0; i < creds.n; i++)
		assert_string_equal(creds.cred[i].secret,
				    creds.cred[i].client_id);
	assert_int_equal(store_servers_each(fx, found_by_subject, &servers), 0);
	assert_int_equal(store_servers_count(fx), servers);
	n = store_history(fx, &newest, 1);
	assert_int_equal(n, store_generation(fx) > 0 ? 1 : 0);
	if (n == 1)
		assert_int_equal(newest.generation, store_generation(fx));
	fd = store_table_build(fx);
	assert_true(fd >= 0);
	close(fd);
	fx_agrees(fx, store_generation(fx) > KILL_HISTORY_MAX);
}

static void
killed_at_any_moment(void **state)
{
	const char *kills = getenv("STORE_KILLS");
	uint64_t rounds = 50, x = clock_real_ns() | 1, last = 0;
	size_t acks = 0, one_more = 0, none = 0, n;

	(void)state;
	if (kills != NULL)
		assert_int_equal(str_u64(slice_of(kills), 1000000, &rounds), 0);
	print_message("seed %llu\n", (unsigned long long)x);
	store_close(&fx); /* the writers make their own, also the directory */
	(void)snprintf(fx_dir, sizeof(fx_dir), "%s/killed", fx_top);
	for (uint64_t i = 0; i < rounds; i++) {
		/* Some of them early: while the store is made or opened. */
		size_t wait = i % 4 == 0 ? 0 : 1 + kill_random(&x) % 40;
		uint64_t ns = kill_random(&x) % (3 * NS_PER_MS);

		/* Multiplied, lest the writer go through our own numbers, and
		 * the next one through the same again: no change then. */
		n = run_and_kill(kill_random(&x) * UINT64_C(0x9e3779b97f4a7c15),
				 wait, ns, &last);
		acks += n;
		none += n == 0;
		fx_open();
		if (store_generation(fx) != last) {
			assert_int_equal(store_generation(fx), last + 1);
			last++;
			one_more++;
		}
		whole();
		store_close(&fx);
	}
	print_message("%llu kills, %zu changes, %zu before any, %zu between "
		      "commit and acknowledgement\n",
		      (unsigned long long)rounds, acks, none, one_more);
	assert_true(acks > rounds);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FX_TEST(killed_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
