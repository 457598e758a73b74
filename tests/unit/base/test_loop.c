/*
 * The loop: order of a turn, deferred calls, timers that move, one clock.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "shm/base/loop.h"
#include "shm/base/log.h"

static struct loop *l;
static char trace[64];

static void
note(char c)
{
	size_t n = strlen(trace);

	assert_true(n + 1 < sizeof(trace));
	trace[n] = c;
	trace[n + 1] = '\0';
}

static int
set_up(void **state)
{
	(void)state;
	trace[0] = '\0';
	l = loop_new();
	return l == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	loop_free(&l);
	return l == NULL ? 0 : -1;
}

static void
on_stop(void *arg)
{
	note('s');
	loop_stop(l, *(int *)arg);
}

static void
stop_gives_its_status_and_the_loop_runs_again(void **state)
{
	int seven = 7, zero = 0;
	struct loop_timer *t = loop_timer_new(l, on_stop, &seven);
	struct loop_timer *u = loop_timer_new(l, on_stop, &zero);

	(void)state;
	assert_non_null(t);
	assert_non_null(u);
	loop_timer_set(t, 1);
	assert_int_equal(loop_run(l), 7);
	loop_timer_set(u, 1);
	assert_int_equal(loop_run(l), 0);
	loop_timer_free(&t);
	loop_timer_free(&u);
	assert_null(t);
}

static void
stop_before_run_counts(void **state)
{
	(void)state;
	loop_stop(l, 3);
	assert_int_equal(loop_run(l), 3);
}

/* --- deferred calls ------------------------------------------------------ */

static struct loop_cell cells[4];
static char letters[] = "0123";
static int fd_pair[2];

static void
on_cell(void *arg)
{
	note(*(char *)arg);
}

static void
on_cell_stop(void *arg)
{
	note(*(char *)arg);
	loop_stop(l, 0);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	(void)arg;
	assert_int_equal(read(fd, &(char){0}, 1), 1);
	note('r');
	loop_defer(l, &cells[0], on_cell, &letters[1]);
	loop_defer(l, &cells[1], on_cell, &letters[2]);
	loop_defer(l, &cells[2], on_cell_stop, &letters[3]);
}

static void
on_other(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	(void)arg;
	assert_int_equal(read(fd, &(char){0}, 1), 1);
	note('o');
}

static void
deferred_calls_come_after_every_handler_of_the_turn_in_order(void **state)
{
	int other[2];
	struct event *a, *b;

	(void)state;
	assert_int_equal(pipe2(fd_pair, O_CLOEXEC), 0);
	assert_int_equal(pipe2(other, O_CLOEXEC), 0);
	a = event_new(loop_base(l), fd_pair[0], EV_READ, on_readable, NULL);
	b = event_new(loop_base(l), other[0], EV_READ, on_other, NULL);
	assert_int_equal(event_add(a, NULL), 0);
	assert_int_equal(event_add(b, NULL), 0);
	assert_int_equal(write(fd_pair[1], "x", 1), 1);
	assert_int_equal(write(other[1], "x", 1), 1);
	assert_int_equal(loop_run(l), 0);
	assert_true(strcmp(trace, "ro123") == 0 || strcmp(trace, "or123") == 0);
	event_free(a);
	event_free(b);
	for (int i = 0; i < 2; i++) {
		close(fd_pair[i]);
		close(other[i]);
	}
}

static int again;

static void
on_again(void *arg)
{
	(void)arg;
	note('a');
	if (++again < 3)
		loop_defer(l, &cells[0], on_again, NULL);
	else
		loop_stop(l, 0);
}

/* A loop that waited here would wait for ever: nothing else is pending. */
static void
a_deferred_call_may_defer_itself_and_the_loop_does_not_wait(void **state)
{
	(void)state;
	again = 0;
	loop_defer(l, &cells[0], on_again, NULL);
	assert_int_equal(loop_run(l), 0);
	assert_string_equal(trace, "aaa");
}

struct thing {
	struct loop_cell cell;
	char *left;
};

static void
thing_end(void *arg)
{
	struct thing *t = arg;

	(*t->left)--;
	free(t);
}

static void
what_is_deferred_when_the_loop_ends_still_runs(void **state)
{
	char left = 5;

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct thing *t = calloc(1, sizeof(*t));

		assert_non_null(t);
		t->left = &left;
		loop_defer(l, &t->cell, thing_end, t);
	}
	loop_free(&l);
	assert_int_equal(left, 0);
	l = loop_new();
}

/* --- timers --------------------------------------------------------------- */

static uint64_t fired_ns;

static void
on_fire(void *arg)
{
	(void)arg;
	fired_ns = clock_mono_ns();
	note('f');
	loop_stop(l, 0);
}

static void
a_timer_is_never_early(void **state)
{
	struct loop_timer *t = loop_timer_new(l, on_fire, NULL);

	(void)state;
	for (uint64_t ms = 1; ms < 30; ms += 4) {
		uint64_t start;

		clock_turn_over();
		start = clock_turn_ns();
		loop_timer_set(t, ms);
		loop_run(l);
		assert_true(fired_ns - start >= ms * NS_PER_MS);
	}
	loop_timer_free(&t);
}

static struct loop_timer *moved, *mover;
static int moves;

static void
on_move(void *arg)
{
	(void)arg;
	note('m');
	loop_timer_set(moved, 30);
	if (++moves < 5)
		loop_timer_set(mover, 10);
}

static void
a_timer_pushed_ahead_fires_once_after_the_last_push(void **state)
{
	uint64_t start = clock_mono_ns();

	(void)state;
	moves = 0;
	moved = loop_timer_new(l, on_fire, NULL);
	mover = loop_timer_new(l, on_move, NULL);
	loop_timer_set(moved, 30);
	loop_timer_set(mover, 10);
	loop_run(l);
	assert_string_equal(trace, "mmmmmf");
	assert_true(fired_ns - start >= 80 * NS_PER_MS);
	loop_timer_free(&moved);
	loop_timer_free(&mover);
}

static void
a_timer_pulled_nearer_fires_nearer(void **state)
{
	struct loop_timer *t = loop_timer_new(l, on_fire, NULL);
	uint64_t start = clock_mono_ns();

	(void)state;
	loop_timer_set(t, UINT64_MAX);
	loop_timer_set(t, 3600000);
	loop_timer_set(t, 5);
	loop_run(l);
	assert_true(clock_mono_ns() - start < 60 * NS_PER_S);
	loop_timer_free(&t);
}

static void
a_stopped_timer_does_not_fire(void **state)
{
	struct loop_timer *t = loop_timer_new(l, on_fire, NULL);
	int zero = 0;
	struct loop_timer *end = loop_timer_new(l, on_stop, &zero);

	(void)state;
	loop_timer_set(t, 5);
	loop_timer_set(t, 0);
	loop_timer_set(end, 40);
	loop_run(l);
	assert_string_equal(trace, "s");
	/* And can be started again. */
	loop_timer_set(t, 5);
	loop_run(l);
	assert_string_equal(trace, "sf");
	loop_timer_free(&t);
	loop_timer_free(&end);
}

static struct loop_timer *own;

static void
on_free_own(void *arg)
{
	(void)arg;
	loop_timer_free(&own);
	note('x');
	loop_stop(l, 0);
}

static void
a_timer_may_free_itself(void **state)
{
	(void)state;
	own = loop_timer_new(l, on_free_own, NULL);
	loop_timer_set(own, 1);
	loop_run(l);
	assert_string_equal(trace, "x");
	assert_null(own);
}

/* --- the clock of a turn ---------------------------------------------------
 */

static uint64_t before_wait, in_handler, later_in_handler;

static void
on_look(void *arg)
{
	(void)arg;
	in_handler = clock_turn_ns();
	usleep(2000);
	later_in_handler = clock_turn_ns();
	loop_stop(l, 0);
}

static void
a_handler_sees_the_time_after_the_wait_and_only_one(void **state)
{
	struct loop_timer *t = loop_timer_new(l, on_look, NULL);

	(void)state;
	clock_turn();
	before_wait = clock_turn_ns();
	loop_timer_set(t, 30);
	loop_run(l);
	assert_true(in_handler - before_wait >= 30 * NS_PER_MS);
	assert_true(later_in_handler == in_handler);
	loop_timer_free(&t);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(stop_gives_its_status_and_the_loop_runs_again),
	    T(stop_before_run_counts),
	    T(deferred_calls_come_after_every_handler_of_the_turn_in_order),
	    T(a_deferred_call_may_defer_itself_and_the_loop_does_not_wait),
	    T(what_is_deferred_when_the_loop_ends_still_runs),
	    T(a_timer_is_never_early),
	    T(a_timer_pushed_ahead_fires_once_after_the_last_push),
	    T(a_timer_pulled_nearer_fires_nearer),
	    T(a_stopped_timer_does_not_fire),
	    T(a_timer_may_free_itself),
	    T(a_handler_sees_the_time_after_the_wait_and_only_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
