/*
 * A trail holds the last requests of a relay, and what is torn is left out.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/fd.h"
#include "shm/trail.h"
#include "shm/base/log.h"

/* A note whose every byte follows from its number. */
static struct trail_note
note(uint64_t number)
{
	struct trail_note n;

	memset(&n, (int)(number % 251), sizeof(n));
	n.number = number;
	return n;
}

static bool
is_whole(const struct trail_note *n)
{
	struct trail_note want = note(n->number);

	return memcmp(&want, n, sizeof(want)) == 0;
}

static struct trail *
attach(int fd, unsigned slot)
{
	const char *why = NULL;
	struct trail *t = trail_attach(fd, slot, &why);

	assert_non_null(t);
	return t;
}

struct found {
	size_t n;
	uint64_t lowest, highest;
};

static bool
look(void *arg, const struct trail_note *n)
{
	struct found *f = arg;

	assert_true(is_whole(n));
	if (f->n == 0 || n->number < f->lowest)
		f->lowest = n->number;
	if (f->n == 0 || n->number > f->highest)
		f->highest = n->number;
	f->n++;
	return false;
}

static struct found
all(int fd, int torn)
{
	struct found f = {0};

	assert_int_equal(trail_each(fd, look, &f), torn);
	return f;
}

static void
the_last_requests_are_there(void **state)
{
	int fd = trail_create(3);
	struct trail *t = attach(fd, 3);
	struct trail_note n;
	struct found f;

	(void)state;
	trail_put(NULL, &(struct trail_note){0}); /* no trail, no harm */
	assert_int_equal(all(fd, 0).n, 0);
	for (uint64_t i = 1; i <= 3 * TRAIL_RECORDS + 5; i++) {
		n = note(i);
		trail_put(t, &n);
		if (i == 7)
			assert_int_equal(all(fd, 0).n, 7);
	}
	f = all(fd, 0);
	assert_int_equal(f.n, TRAIL_RECORDS);
	assert_int_equal(f.highest, 3 * TRAIL_RECORDS + 5);
	assert_int_equal(f.lowest, 2 * TRAIL_RECORDS + 6);
	trail_detach(&t);
	assert_null(t);
	close(fd);
}

static void
a_successor_goes_on_behind(void **state)
{
	int fd = trail_create(3);
	struct trail *t = attach(fd, 3);
	struct trail_note n;

	(void)state;
	for (uint64_t i = 1; i <= 10; i++) {
		n = note(i);
		trail_put(t, &n);
	}
	trail_detach(&t);
	assert_int_equal(trail_renew(fd, 3), 0);
	t = attach(fd, 3);
	n = note(11);
	trail_put(t, &n);
	assert_int_equal(all(fd, 0).n, 11);
	trail_detach(&t);
	close(fd);
}

static void
another_slots_or_no_trail_is_refused(void **state)
{
	int fd = trail_create(3), plain = fd_memfd_shared("x", 4096);
	const char *why = NULL;

	(void)state;
	assert_null(trail_attach(fd, 4, &why));
	assert_string_equal(why, "the trail of another relay");
	assert_null(trail_attach(plain, 3, &why));
	assert_null(trail_attach(-1, 3, &why));
	assert_true(trail_each(plain, look, &(struct found){0}) < 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	close(fd);
	close(plain);
}

/* Knuth's MMIX generator: the same rubbish each time. */
static uint8_t
rubbish(uint64_t *x)
{
	*x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint8_t)(*x >> 56);
}

/* A predecessor that lied about everything hurts neither its successor nor the
 * master. */
static void
rubbish_hurts_nobody(void **state)
{
	static uint8_t page[64 + 256 * TRAIL_RECORDS];
	int fd = trail_create(3);
	struct trail *t;
	struct trail_note n = note(5);
	struct found f = {0};
	uint64_t state_of = 1;

	(void)state;
	for (unsigned seed = 0; seed < 8; seed++) {
		for (size_t i = 0; i < sizeof(page); i++)
			page[i] = seed == 0 ? 0xff : rubbish(&state_of);
		/* no note looks whole, but for the one that is put */
		for (size_t i = 64; i < sizeof(page); i += 256)
			page[i] |= 1;
		assert_int_equal(pwrite(fd, page, sizeof(page), 0),
				 sizeof(page));
		assert_int_equal(trail_renew(fd, 3), 0);
		t = attach(fd, 3);
		trail_put(t, &n);
		f = all(fd, TRAIL_RECORDS - 1);
		assert_int_equal(f.n, 1);
		trail_detach(&t);
	}
	/* texts have a bound */
	memset(&n, 'x', sizeof(n));
	assert_int_equal(trail_text(n.who, sizeof(n.who)).len, sizeof(n.who));
	n.who[3] = '\0';
	assert_int_equal(trail_text(n.who, sizeof(n.who)).len, 3);
	close(fd);
}

/* Killed at any instruction: every note that is found is whole, the one under
 * way is found whole, torn or not at all, and those before it are there. */
static void
a_writer_may_die_at_any_instruction(void **state)
{
	int fd = trail_create(0), status;
	struct trail *t = attach(fd, 0);
	struct trail_note one = note(1), two = note(2);
	size_t torn = 0;
	long steps = 0;
	pid_t pid;

	(void)state;
	trail_put(t, &one);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		(void)raise(SIGSTOP);
		trail_put(t, &two);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	while (WIFSTOPPED(status)) {
		struct found f = {0};
		int r = trail_each(fd, look, &f);

		assert_true(r == 0 || r == 1);
		assert_true(f.n == 1 || (f.n == 2 && r == 0));
		assert_int_equal(f.lowest, 1);
		torn += r == 1;
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		steps++;
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_true(steps > 50 && torn > 10);
	assert_int_equal(all(fd, 0).n, 2);
	trail_detach(&t);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_last_requests_are_there),
	    cmocka_unit_test(a_successor_goes_on_behind),
	    cmocka_unit_test(another_slots_or_no_trail_is_refused),
	    cmocka_unit_test(rubbish_hurts_nobody),
	    cmocka_unit_test(a_writer_may_die_at_any_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
