/*
 * Channels: a liar loses its channel and its receiver lives; what we may not
 * send ourselves is a bug, and start-up calls believe no more.
 */
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/shm/ipc_fixture.h"

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
	const struct CMUnitTest tests[] = {
	    T(every_lie_ends_the_channel_and_the_receiver_lives),
	    T(one_lie_among_honest_messages_ends_it_there),
	    T(no_room_for_a_descriptor_is_not_called_a_lie),
	    T(the_table_is_what_ipc_check_enforces),
	    T(sending_against_the_table_is_a_bug),
	    T(recv_wait_receives_times_out_and_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
