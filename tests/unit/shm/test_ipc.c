/*
 * Channels: what the table allows arrives whole and in order, and an end is
 * told; descriptors never leak.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/shm/ipc_fixture.h"

/* --- honest traffic --------------------------------------------------------
 */

static void
messages_arrive_whole_and_in_order(void **state)
{
	static const size_t lens[] = {0, 1, 100, 65535, 65536, 3};
	const size_t n = ARRAY_LEN(lens);
	uint64_t sum = 0;

	(void)state;
	both(16);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(
		    ipc_send(a, IPC_CONF_VIEW, i + 100, body, lens[i], -1), 0);
		for (size_t k = 0; k < lens[i]; k++)
			sum += body[k];
	}
	at_b.stop_at = n;
	turn(5000);
	assert_int_equal(at_b.n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(at_b.id[i], i + 100);
		assert_int_equal(at_b.len[i], lens[i]);
	}
	assert_int_equal(at_b.sum, sum);
	assert_int_equal(ipc_peer(a), ROLE_RELAY);
	assert_int_equal(ipc_peer_slot(a), 5);
	assert_int_equal(at_a.ends + at_b.ends, 0);
}

static void
the_largest_message_fits(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(ipc_pair(fd), 0);
	a = ipc_new(l, fd[0], ROLE_KEEPER, ROLE_RELAY, 0, 4, &ops, &at_a);
	b = ipc_new(l, fd[1], ROLE_RELAY, ROLE_KEEPER, 0, 4, &ops, &at_b);
	at_b.stop_at = 1;
	assert_int_equal(ipc_send(a, IPC_AUTH_REPLY, 1, body, IPC_BODY_MAX, -1),
			 0);
	turn(5000);
	assert_int_equal(at_b.n, 1);
	assert_int_equal(at_b.len[0], IPC_BODY_MAX);
}

static void
a_descriptor_travels_and_the_sender_keeps_its_own(void **state)
{
	int p[2];
	char c = 0;

	(void)state;
	both(4);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	at_b.keep_fd = true;
	at_b.stop_at = 1;
	assert_int_equal(ipc_send(a, IPC_LISTENER, 0, body, 4, p[0]), 0);
	assert_true(fcntl(p[0], F_GETFD) >= 0);
	turn(5000);
	assert_true(at_b.fd >= 0);
	assert_true((fcntl(at_b.fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(write(p[1], "z", 1), 1);
	assert_int_equal(read(at_b.fd, &c, 1), 1);
	assert_int_equal(c, 'z');
	close(p[0]);
	close(p[1]);
}

/* A handler that does not want it leaves it to be closed (see tear_down). */
static void
a_descriptor_that_nobody_takes_is_closed(void **state)
{
	(void)state;
	both(4);
	at_b.stop_at = 1;
	assert_int_equal(ipc_send(a, IPC_LISTENER, 0, body, 4, 0), 0);
	turn(5000);
	assert_int_equal(at_b.n, 1);
}

/* --- a full queue ----------------------------------------------------------
 */

/* Sends until it is refused; returns how many were taken. */
static size_t
fill(struct ipc *c, size_t len, int fd)
{
	enum ipc_type type = fd >= 0 ? IPC_LISTENER : IPC_CONF_VIEW;
	size_t n = 0;
	int r;

	while ((r = ipc_send(c, type, n, body, len, fd)) == 0)
		n++;
	assert_int_equal(r, -ENOBUFS);
	return n;
}

static void
a_full_queue_refuses_and_loses_nothing(void **state)
{
	size_t n;

	(void)state;
	both(4);
	/* Large ones: the queue needs several goes to empty. */
	n = fill(a, 65536, -1);
	assert_int_equal(ipc_queued(a), 8); /* a's bound */
	assert_int_equal(ipc_send(a, IPC_CONF_VIEW, 0, body, 0, -1), -ENOBUFS);
	at_b.stop_at = n;
	turn(5000);
	assert_int_equal(at_b.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(at_b.id[i], i);
	turn(20);
	assert_int_equal(ipc_queued(a), 0);
	assert_int_equal(at_a.ends + at_b.ends, 0);
	/* And it goes on. */
	at_b.stop_at = n + 1;
	assert_int_equal(ipc_send(a, IPC_CONF_VIEW, 77, body, 1, -1), 0);
	turn(5000);
	assert_int_equal(at_b.id[n], 77);
}

/* Room comes back, but what waits goes first. */
static void
nothing_overtakes_what_waits(void **state)
{
	static uint8_t buf[IPC_BODY_MAX + sizeof(struct ipc_head)];
	int raw = raw_peer(ROLE_MASTER, ROLE_RELAY);
	struct ipc_msg m;
	uint64_t n = 0;

	(void)state;
	while (ipc_queued(a) < 2)
		assert_int_equal(
		    ipc_send(a, IPC_CONF_VIEW, n++, body, 65536, -1), 0);
	for (uint64_t id = 0; id <= n; id++) {
		if (id == 3) {
			/* There is room for a small one now. */
			assert_int_equal(
			    ipc_send(a, IPC_CONF_VIEW, n, body, 1, -1), 0);
			assert_int_equal(ipc_queued(a), 3);
		}
		if (id > 3)
			turn(5);
		assert_int_equal(
		    ipc_recv_wait(raw, ROLE_RELAY, ROLE_MASTER, buf, 1000, &m),
		    0);
		assert_int_equal(m.id, id);
	}
	close(raw);
}

static void
descriptors_that_wait_in_a_queue_arrive_or_are_closed(void **state)
{
	size_t n = 0;

	(void)state;
	both(4);
	n = fill(a, 20000, -1);
	/* Make room for some, then queue messages with descriptors. */
	at_b.stop_at = n;
	turn(5000);
	n = fill(a, 16, 0);
	assert_int_equal(ipc_queued(a), 8);
	at_b.n = 0;
	at_b.stop_at = n / 2;
	turn(5000);
	assert_true(at_b.n >= n / 2);
	/* The rest is dropped with the channel; tear_down counts. */
	ipc_free(&a);
}

static void
a_queue_of_none_refuses_at_once(void **state)
{
	int fd[2];
	size_t n = 0;
	int r;

	(void)state;
	assert_int_equal(ipc_pair(fd), 0);
	a = ipc_new(l, fd[0], ROLE_RELAY, ROLE_KEEPER, 0, 0, &ops, &at_a);
	while ((r = ipc_send(a, IPC_AUTH_STEP, 1, body, 66560, -1)) == 0)
		n++;
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(ipc_queued(a), 0);
	assert_true(n >= 2);
	close(fd[1]);
}

/* --- the end ---------------------------------------------------------------
 */

static void
a_peer_that_closes_is_told_as_closed_once(void **state)
{
	(void)state;
	both(4);
	at_a.send_at_end = true;
	ipc_free(&b);
	turn(5000);
	assert_int_equal(at_a.ends, 1);
	assert_int_equal(at_a.end, IPC_CLOSED);
	turn(10);
	assert_int_equal(at_a.ends, 1);
	assert_int_equal(at_b.ends, 0); /* it freed its own */
}

static void
last_words_are_read_also_when_ours_were_not(void **state)
{
	(void)state;
	both(4);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    ipc_send(b, IPC_READY, (uint64_t)i, body, 8, -1), 0);
	/* Unread by b when it dies: the kernel reports a reset first. */
	assert_int_equal(ipc_send(a, IPC_DRAIN, 0, body, 8, -1), 0);
	ipc_free(&b);
	turn(5000);
	assert_int_equal(at_a.n, 3);
	assert_int_equal(at_a.end, IPC_CLOSED);
}

static void
sending_to_the_dead_tells_the_end_but_reads_first(void **state)
{
	(void)state;
	both(4);
	assert_int_equal(ipc_send(b, IPC_READY, 9, body, 8, -1), 0);
	ipc_free(&b);
	assert_int_equal(ipc_send(a, IPC_DRAIN, 0, body, 8, -1), -EPIPE);
	assert_int_equal(at_a.ends, 0); /* never from within a call */
	turn(5000);
	assert_int_equal(at_a.n, 1);
	assert_int_equal(at_a.ends, 1);
}

static void
a_peer_that_only_stops_listening_ends_too(void **state)
{
	int raw = raw_peer(ROLE_MASTER, ROLE_RELAY);

	(void)state;
	assert_int_equal(shutdown(raw, SHUT_RD), 0);
	assert_int_equal(ipc_send(a, IPC_DRAIN, 0, body, 8, -1), -EPIPE);
	turn(5000);
	assert_int_equal(at_a.ends, 1);
	assert_int_equal(at_a.end, IPC_CLOSED);
	close(raw);
}

static void
a_killed_peer_in_another_process_is_closed(void **state)
{
	int raw = raw_peer(ROLE_MASTER, ROLE_RELAY);
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		if (ipc_send_wait(raw, ROLE_RELAY, ROLE_MASTER, IPC_READY, 4,
				  body, 8, -1) != 0)
			_exit(1);
		raise(SIGKILL);
	}
	close(raw);
	turn(5000);
	assert_int_equal(at_a.n, 1);
	assert_int_equal(at_a.end, IPC_CLOSED);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
a_handler_may_free_its_channel(void **state)
{
	(void)state;
	both(4);
	at_b.free_in_msg = true;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ipc_send(a, IPC_LISTENER, 0, body, 4, 0), 0);
	turn(5000);
	assert_int_equal(at_b.n, 1);
	assert_null(b);
	assert_int_equal(at_b.ends, 0);
}

static void
a_handler_may_call_its_peer_a_liar(void **state)
{
	(void)state;
	both(4);
	at_b.lie_in_msg = true;
	assert_int_equal(ipc_send(a, IPC_CONF_VIEW, 0, body, 4, -1), 0);
	assert_int_equal(ipc_send(a, IPC_CONF_VIEW, 0, body, 4, -1), 0);
	turn(5000);
	assert_int_equal(at_b.n, 1);
	assert_int_equal(at_b.end, IPC_LIED);
	assert_string_equal(at_b.why, "bad body");
}

static void
a_channel_that_ended_may_be_freed_before_it_is_told(void **state)
{
	(void)state;
	both(4);
	ipc_lied(a, "test");
	ipc_free(&a);
	turn(10);
	assert_int_equal(at_a.ends, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(messages_arrive_whole_and_in_order),
	    T(the_largest_message_fits),
	    T(a_descriptor_travels_and_the_sender_keeps_its_own),
	    T(a_descriptor_that_nobody_takes_is_closed),
	    T(a_full_queue_refuses_and_loses_nothing),
	    T(nothing_overtakes_what_waits),
	    T(descriptors_that_wait_in_a_queue_arrive_or_are_closed),
	    T(a_queue_of_none_refuses_at_once),
	    T(a_peer_that_closes_is_told_as_closed_once),
	    T(last_words_are_read_also_when_ours_were_not),
	    T(sending_to_the_dead_tells_the_end_but_reads_first),
	    T(a_peer_that_only_stops_listening_ends_too),
	    T(a_killed_peer_in_another_process_is_closed),
	    T(a_handler_may_free_its_channel),
	    T(a_handler_may_call_its_peer_a_liar),
	    T(a_channel_that_ended_may_be_freed_before_it_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
