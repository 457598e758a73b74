/*
 * Channels: what the table allows arrives whole and in order; a liar loses
 * its channel and its receiver lives; descriptors never leak.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/ipc.h"
#include "shm/base/log.h"

#define GOT_MAX 4096

/* What one end has seen. */
struct seen {
	size_t n;
	uint64_t id[GOT_MAX];
	size_t len[GOT_MAX];
	uint64_t sum; /* of all bytes */
	int fd;	      /* kept from the last message that had one */
	bool keep_fd;
	size_t stop_at; /* messages; 0: never */
	bool free_in_msg;
	bool lie_in_msg;
	bool send_at_end;

	int ends;
	enum ipc_end end;
	char why[64];
};

static struct loop *l;
static struct ipc *a, *b; /* master and relay, mostly */
static struct seen at_a, at_b;
static uint8_t body[IPC_BODY_MAX];
static int fds_at_start;

static int
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
on_msg(void *arg, struct ipc *c, struct ipc_msg *m)
{
	struct seen *s = arg;

	assert_true(s->n < GOT_MAX);
	s->id[s->n] = m->id;
	s->len[s->n++] = m->len;
	for (size_t i = 0; i < m->len; i++)
		s->sum += m->body[i];
	if (s->keep_fd && m->fd >= 0) {
		s->fd = m->fd;
		m->fd = -1;
	}
	if (s->stop_at != 0 && s->n == s->stop_at)
		loop_stop(l, 0);
	if (s->lie_in_msg)
		ipc_lied(c, "bad body");
	if (s->free_in_msg) {
		assert_ptr_equal(c, s == &at_a ? a : b);
		ipc_free(s == &at_a ? &a : &b);
		loop_stop(l, 0);
	}
}

static void
on_end(void *arg, struct ipc *c, enum ipc_end end, const char *why)
{
	struct seen *s = arg;

	s->ends++;
	s->end = end;
	snprintf(s->why, sizeof(s->why), "%s", why);
	assert_ptr_equal(c, s == &at_a ? a : b);
	if (s->send_at_end)
		assert_int_equal(ipc_send(c, IPC_DRAIN, 0, NULL, 0, -1),
				 -EPIPE);
	ipc_free(s == &at_a ? &a : &b);
	loop_stop(l, 0);
}

static const struct ipc_ops ops = {on_msg, on_end};

static void
on_tick(void *arg)
{
	(void)arg;
	loop_stop(l, 1);
}

/* Turns the loop for a while, or until something stops it. */
static void
turn(uint64_t ms)
{
	struct loop_timer *t = loop_timer_new(l, on_tick, NULL);

	assert_non_null(t);
	loop_timer_set(t, ms);
	loop_run(l);
	loop_timer_free(&t);
}

/* a: the master with `peer` at the other end, raw. */
static int
raw_peer(enum role self, enum role peer)
{
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	a = ipc_new(l, fd[0], self, peer, 5, 8, &ops, &at_a);
	assert_non_null(a);
	return fd[1];
}

static void
both(size_t queue_max)
{
	int fd = raw_peer(ROLE_MASTER, ROLE_RELAY);

	b = ipc_new(l, fd, ROLE_RELAY, ROLE_MASTER, 0, queue_max, &ops, &at_b);
	assert_non_null(b);
}

static int
set_up(void **state)
{
	(void)state;
	fds_at_start = count_fds();
	memset(&at_a, 0, sizeof(at_a));
	memset(&at_b, 0, sizeof(at_b));
	at_a.fd = at_b.fd = -1;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7 + 1);
	l = loop_new();
	return l == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	ipc_free(&a);
	ipc_free(&b);
	fd_close(&at_a.fd);
	fd_close(&at_b.fd);
	loop_free(&l);
	/* Every test is a test for leaks. */
	return count_fds() == fds_at_start ? 0 : -1;
}

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

/* --- liars ------------------------------------------------------------------
 */

struct lie {
	const char *what;
	enum role liar, receiver;
	struct ipc_head head;
	size_t send; /* bytes of head and body really sent */
	int fds;
};

#define HEAD sizeof(struct ipc_head)

static const struct lie lies[] = {
    {"packet without a head", ROLE_RELAY, ROLE_MASTER, {0}, 0, 0},
    {"packet without a head", ROLE_RELAY, ROLE_MASTER, {IPC_READY, 0, 0}, 1, 0},
    {"packet without a head",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_READY, 0, 0},
     HEAD - 1,
     0},
    {"unknown message", ROLE_RELAY, ROLE_MASTER, {IPC_TYPE_MAX, 0, 0}, HEAD, 0},
    {"unknown message", ROLE_RELAY, ROLE_MASTER, {UINT32_MAX, 0, 0}, HEAD, 0},
    {"message that this role may not send",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_CLOUD_STATUS, 4, 0},
     HEAD + 4,
     0},
    {"message that this role may not send",
     ROLE_RELAY,
     ROLE_KEEPER,
     {IPC_KEYTAB, 0, 0},
     HEAD,
     1},
    {"message for another role",
     ROLE_RELAY,
     ROLE_CLOUD,
     {IPC_AUTH_STEP, 4, 0},
     HEAD + 4,
     0},
    {"message for another role",
     ROLE_MASTER,
     ROLE_KEEPER,
     {IPC_CREDENTIALS, 4, 0},
     HEAD + 4,
     0},
    {"wrong length", ROLE_RELAY, ROLE_MASTER, {IPC_READY, 8, 0}, HEAD + 7, 0},
    {"wrong length", ROLE_RELAY, ROLE_MASTER, {IPC_READY, 7, 0}, HEAD + 8, 0},
    {"wrong length",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_READY, UINT32_MAX, 0},
     HEAD + 8,
     0},
    {"message too large",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_READY, 9, 0},
     HEAD + 9,
     0},
    {"message too large",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_EVENT, 98304, 0},
     HEAD + 98304,
     0},
    /* beyond any buffer of ours */
    {"message too large",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_EVENT, 98305, 0},
     HEAD + 98305,
     0},
    {"wrong number of descriptors",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_READY, 8, 0},
     HEAD + 8,
     1},
    {"wrong number of descriptors",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_READY, 8, 0},
     HEAD + 8,
     4},
    {"wrong number of descriptors",
     ROLE_RELAY,
     ROLE_MASTER,
     {IPC_READY, 8, 0},
     HEAD + 8,
     200},
    {"wrong number of descriptors",
     ROLE_MASTER,
     ROLE_RELAY,
     {IPC_LISTENER, 4, 0},
     HEAD + 4,
     0},
    {"wrong number of descriptors",
     ROLE_MASTER,
     ROLE_RELAY,
     {IPC_LISTENER, 4, 0},
     HEAD + 4,
     2},
};

static void
send_lie(int fd, const struct lie *lie)
{
	static uint8_t packet[HEAD + IPC_BODY_MAX + 64];
	static char control[CMSG_SPACE(200 * sizeof(int))];
	struct iovec iov = {packet, lie->send};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(packet, 'x', sizeof(packet));
	memcpy(packet, &lie->head, HEAD);
	if (lie->fds > 0) {
		struct cmsghdr *c = (struct cmsghdr *)(void *)control;

		memset(control, 0, sizeof(control));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)lie->fds * sizeof(int));
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE((size_t)lie->fds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &m, 0), lie->send);
}

static void
every_lie_ends_the_channel_and_the_receiver_lives(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		int before = count_fds();
		int raw = raw_peer(lies[i].receiver, lies[i].liar);

		at_a.ends = 0;
		at_a.n = 0;
		send_lie(raw, &lies[i]);
		turn(5000);
		assert_int_equal(at_a.n, 0);
		assert_int_equal(at_a.ends, 1);
		assert_int_equal(at_a.end, IPC_LIED);
		assert_string_equal(at_a.why, lies[i].what);
		/* The liar sees its channel closed. */
		assert_int_equal(recv(raw, &(char){0}, 1, MSG_DONTWAIT), 0);
		close(raw);
		assert_int_equal(count_fds(), before);
	}
}

static void
one_lie_among_honest_messages_ends_it_there(void **state)
{
	int raw = raw_peer(ROLE_MASTER, ROLE_RELAY);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ipc_send_wait(raw, ROLE_RELAY, ROLE_MASTER,
					       IPC_READY, 1, body, 8, -1),
				 0);
	send_lie(raw, &lies[3]);
	assert_int_equal(ipc_send_wait(raw, ROLE_RELAY, ROLE_MASTER, IPC_READY,
				       1, body, 8, -1),
			 0);
	turn(5000);
	assert_int_equal(at_a.n, 3);
	assert_int_equal(at_a.end, IPC_LIED);
	close(raw);
}

/* Our own want of descriptors is not the sender's lie. */
static void
no_room_for_a_descriptor_is_not_called_a_lie(void **state)
{
	int raw = raw_peer(ROLE_RELAY, ROLE_MASTER);
	struct rlimit keep, tight;

	(void)state;
	assert_int_equal(ipc_send_wait(raw, ROLE_MASTER, ROLE_RELAY,
				       IPC_LISTENER, 1, body, 4, 0),
			 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &keep), 0);
	tight = keep;
	tight.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	turn(5000);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &keep), 0);
	assert_int_equal(at_a.n, 0);
	assert_int_equal(at_a.end, IPC_BROKE);
	close(raw);
}

/* The table itself, every row, from every role to every role. */
static void
the_table_is_what_ipc_check_enforces(void **state)
{
	static uint8_t packet[HEAD + IPC_BODY_MAX];

	(void)state;
	for (unsigned t = 0; t < IPC_TYPE_MAX; t++) {
		const struct ipc_rule *r = ipc_rule((enum ipc_type)t);
		size_t max = r->max_bytes;
		struct ipc_head h = {t, (uint32_t)max, 0};

		assert_string_equal(ipc_type_name((enum ipc_type)t), r->name);
		memcpy(packet, &h, sizeof(h));
		for (unsigned f = 0; f < ROLE_MAX; f++) {
			for (unsigned to = 0; to < ROLE_MAX; to++) {
				bool ok = (r->from & ROLE_BIT(f)) != 0 &&
					  (r->to & ROLE_BIT(to)) != 0;
				const char *why = ipc_check(f, to, packet,
							    HEAD + max, r->fds);

				assert_true(ok == (why == NULL));
			}
		}
	}
	assert_string_equal(ipc_type_name(IPC_TYPE_MAX), "?");
}

/* --- what we may not send is a bug ------------------------------------------
 */

static void
sending_against_the_table_is_a_bug(void **state)
{
	static const struct {
		enum ipc_type type;
		size_t len;
		int fd;
	} bad[] = {
	    {IPC_READY, 8, -1},		/* the master does not send it */
	    {IPC_KEYTAB, 0, 0},		/* not to a relay */
	    {IPC_CONF_VIEW, 65537, -1}, /* too large */
	    {IPC_LISTENER, 4, -1},	/* without its descriptor */
	    {IPC_CONF_VIEW, 4, 0},	/* with one too many */
	    {IPC_TYPE_MAX, 0, -1},
	};

	(void)state;
	both(4);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0) {
			struct rlimit none = {0, 0};

			setrlimit(RLIMIT_CORE, &none);
			close(STDERR_FILENO);
			signal(SIGABRT, SIG_DFL);
			_exit(ipc_send(a, bad[i].type, 0, body, bad[i].len,
				       bad[i].fd) != 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
	}
}

/* --- start-up calls
 * ----------------------------------------------------------- */

static void
recv_wait_receives_times_out_and_refuses(void **state)
{
	static uint8_t buf[IPC_BODY_MAX + HEAD];
	struct ipc_msg m;
	int fd[2];

	(void)state;
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(
	    ipc_recv_wait(fd[1], ROLE_RELAY, ROLE_MASTER, buf, 20, &m),
	    -ETIMEDOUT);
	assert_int_equal(ipc_send_wait(fd[0], ROLE_MASTER, ROLE_RELAY,
				       IPC_LISTENER, 8, body, 4, 0),
			 0);
	assert_int_equal(
	    ipc_recv_wait(fd[1], ROLE_RELAY, ROLE_MASTER, buf, 1000, &m), 0);
	assert_int_equal(m.type, IPC_LISTENER);
	assert_int_equal(m.id, 8);
	assert_int_equal(m.len, 4);
	assert_memory_equal(m.body, body, 4);
	assert_true(m.fd >= 0);
	close(m.fd);
	/* A READY from the master breaks the table. */
	send_lie(fd[0], &(struct lie){
			    .head = {IPC_READY, 0, 0}, .send = HEAD, .fds = 1});
	log_set_level((enum log_level)0);
	assert_int_equal(
	    ipc_recv_wait(fd[1], ROLE_RELAY, ROLE_MASTER, buf, 1000, &m),
	    -EPROTO);
	log_set_level(LOG_LVL_INFO);
	close(fd[0]);
	assert_int_equal(
	    ipc_recv_wait(fd[1], ROLE_RELAY, ROLE_MASTER, buf, 1000, &m),
	    -EPIPE);
	assert_int_equal(ipc_send_wait(fd[1], ROLE_RELAY, ROLE_MASTER,
				       IPC_READY, 8, body, 8, -1),
			 -EPIPE);
	close(fd[1]);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
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
	    T(every_lie_ends_the_channel_and_the_receiver_lives),
	    T(one_lie_among_honest_messages_ends_it_there),
	    T(no_room_for_a_descriptor_is_not_called_a_lie),
	    T(the_table_is_what_ipc_check_enforces),
	    T(sending_against_the_table_is_a_bug),
	    T(recv_wait_receives_times_out_and_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
