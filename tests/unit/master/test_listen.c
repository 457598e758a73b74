/*
 * The listening sockets belong to all relays of a listener, so what one of
 * them does to its own must not reach the others or its successor.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/listen.h"
#include "shm/base/log.h"

#define SLOTS 3

static struct conf conf;
static struct listen *l;
static char err[512];

static unsigned
free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void
add_listener(const char *name, const char *address)
{
	struct conf_listener *c = &conf.listener[conf.nlisteners++];

	*c = (struct conf_listener){.port = free_port(), .backlog = 1024};
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->address.s, sizeof(c->address.s), "%s", address);
}

static int
set_up(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERR - 1);
	conf_defaults(&conf);
	add_listener("four", "127.0.0.1");
	add_listener("six", "::1");
	return listen_open(&l, &conf, SLOTS, NULL, err, sizeof(err));
}

static int
tear_down(void **state)
{
	(void)state;
	listen_free(&l);
	return 0;
}

static bool
listens(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return fd >= 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 &&
	       on == 1;
}

/* A connection to the first listener; the caller's. */
static int
client(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port =
				    htons((uint16_t)conf.listener[0].port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* How many of n connections come to the slot. */
static unsigned
share_of(unsigned slot, unsigned n)
{
	unsigned got = 0;
	int peer[256];

	assert_true(n <= ARRAY_LEN(peer));
	for (unsigned i = 0; i < n; i++)
		peer[i] = client();
	for (unsigned s = 0; s < SLOTS; s++) {
		int fd;

		while ((fd = accept(listen_fd(l, 0, s), NULL, NULL)) >= 0) {
			got += s == slot ? 1 : 0;
			close(fd);
		}
	}
	for (unsigned i = 0; i < n; i++)
		close(peer[i]);
	return got;
}

static void
every_slot_of_every_listener_listens(void **state)
{
	(void)state;
	assert_int_equal(listen_count(l), 2);
	for (size_t i = 0; i < 2; i++)
		for (unsigned s = 0; s < SLOTS; s++)
			assert_true(listens(listen_fd(l, i, s)));
	for (unsigned s = 0; s < SLOTS; s++)
		assert_in_range(share_of(s, 200), 1, 199);
}

/* A program of one relay would decide for all of them who gets what. */
static void
no_relay_steers_the_group(void **state)
{
	struct sock_filter all_to_0[] = {{BPF_RET | BPF_K, 0, 0, 0}};
	struct sock_fprog prog = {1, all_to_0};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (unsigned s = 0; s < SLOTS; s++) {
			int fd = listen_fd(l, i, s), off = 0;

			errno = 0;
			assert_int_equal(setsockopt(fd, SOL_SOCKET,
						    SO_ATTACH_REUSEPORT_CBPF,
						    &prog, sizeof(prog)),
					 -1);
			assert_int_equal(errno, EPERM);
			assert_int_equal(setsockopt(fd, SOL_SOCKET,
						    SO_ATTACH_FILTER, &prog,
						    sizeof(prog)),
					 -1);
			assert_int_equal(errno, EPERM);
			/* and the lock stays */
			assert_int_equal(setsockopt(fd, SOL_SOCKET,
						    SO_LOCK_FILTER, &off,
						    sizeof(off)),
					 -1);
		}
	}
}

static void
what_a_relay_shut_down_is_made_anew(void **state)
{
	int other = listen_fd(l, 0, 0);

	(void)state;
	assert_int_equal(shutdown(listen_fd(l, 0, 1), SHUT_RDWR), 0);
	assert_true(listens(listen_fd(l, 0, 1)));
	assert_int_equal(listen_fd(l, 0, 0), other);
	for (unsigned s = 0; s < SLOTS; s++)
		assert_in_range(share_of(s, 200), 1, 199);
	no_relay_steers_the_group(state);
}

/* A connect() makes another kind of socket of it, not to be listened on. */
static void
what_became_a_client_is_made_anew(void **state)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int fd = listen_fd(l, 0, 2), to = listen_fd(l, 0, 0), mine;
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	(void)state;
	assert_int_equal(connect(fd, &none, sizeof(none)), 0);
	assert_int_equal(getsockname(to, (struct sockaddr *)&a, &len), 0);
	mine = dup(fd); /* as the relay that did it may still have one */
	(void)connect(fd, (struct sockaddr *)&a, len);
	assert_false(listens(mine));
	assert_true(listens(listen_fd(l, 0, 2)));
	close(mine);
	assert_in_range(share_of(2, 200), 1, 199);
}

static void
a_reload_outlives_a_dead_socket(void **state)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct listen *next = NULL;
	int kept = listen_fd(l, 0, 0), fd = client(), got;
	struct pollfd p = {.events = POLLIN};

	(void)state;
	close(fd);
	assert_int_equal(shutdown(listen_fd(l, 0, 1), SHUT_RD), 0);
	assert_int_equal(connect(listen_fd(l, 1, 1), &none, sizeof(none)), 0);
	assert_int_equal(listen_open(&next, &conf, SLOTS, l, err, sizeof(err)),
			 0);
	assert_true(listens(kept));
	listen_free(&l);
	l = next;
	for (size_t i = 0; i < 2; i++)
		for (unsigned s = 0; s < SLOTS; s++)
			assert_true(listens(listen_fd(l, i, s)));
	/* the queues of the others went over */
	for (unsigned s = 0; s < SLOTS; s++) {
		p.fd = listen_fd(l, 0, s);
		if (poll(&p, 1, 0) != 1)
			continue;
		got = accept(p.fd, NULL, NULL);
		assert_true(got >= 0);
		close(got);
	}
	for (unsigned s = 0; s < SLOTS; s++)
		assert_in_range(share_of(s, 200), 1, 199);
}

static void
a_port_that_somebody_has_is_refused(void **state)
{
	struct listen *second = NULL;

	(void)state;
	assert_int_equal(
	    listen_open(&second, &conf, SLOTS, NULL, err, sizeof(err)),
	    -EADDRINUSE);
	assert_non_null(strstr(err, "listener four: "));
	assert_null(second);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(every_slot_of_every_listener_listens),
	    T(no_relay_steers_the_group),
	    T(what_a_relay_shut_down_is_made_anew),
	    T(what_became_a_client_is_made_anew),
	    T(a_reload_outlives_a_dead_socket),
	    T(a_port_that_somebody_has_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
