/*
 * Purpose: run a process of ours in a thread, in virtual time.
 *
 * Runs in: tests.
 * Trusts:  the test.
 * Touches: the functions of libc that are defined here, which stand before
 *          the C library's for the whole program, libevent included.
 * Failure: the scenario's process ends with a line.
 */
#include "tests/virtual/virt.h"

#include <dlfcn.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/bug.h"
#include "shm/base/clock.h"
#include "shm/role.h"
#include "worker/relay/tlsmem.h"

#define VIRT_FDS   1024
#define VIRT_FILES 8
/* A scenario that takes longer hangs: it waits for nothing real. */
#define VIRT_ALARM_S   120
#define VIRT_EXIT_OVER 7

struct virt_io virt_io;

struct virt_file {
	const char *path;
	int fd; /* a memfd, which each open() is a copy of */
};

static struct {
	bool on;
	uint64_t mono_ns, real_ns, start_ns;
	sem_t go, idle;	 /* the process may run; it has nothing to do */
	uint64_t due_ns; /* what it waits for; UINT64_MAX: nothing */
	bool ended;
	int (*main_fn)(int, char **);
	int argc;
	char **argv;
	uint32_t again[VIRT_FDS]; /* events held back, by descriptor */
	enum virt_connect next, later;
	int no_socket;	  /* errno of the next socket(); 0: there is one */
	bool at_set[256]; /* by the last byte of an address */
	enum virt_connect at[256];
	uint8_t address; /* of the newest connect() */
	uint16_t port;
	int hanging[256]; /* the newest that hangs, by address */
	unsigned connects;
	char cloud[64];
	int room;
	struct virt_file file[VIRT_FILES];
	size_t nfiles;
	/* memory */
	bool counting;
	unsigned allocs, fail_at;
	size_t deny; /* bytes of an allocation that fails; 0: none */
} v;

/* The process under test runs in this thread. */
static _Thread_local bool is_process;

_Noreturn void
virt_fail(const char *file, int line, const char *what, const char *const *more,
	  size_t n)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	for (size_t i = 1; i < n; i++)
		fprintf(stderr, "%s\n", more[i]);
	_exit(1);
}

_Noreturn void
virt_over(void)
{
	_exit(VIRT_EXIT_OVER);
}

enum virt_result
virt_scenario(void (*fn)(void *arg), void *arg)
{
	static const int crash[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		/* not cmocka's, which would go on with the next test in here */
		for (size_t i = 0; i < ARRAY_LEN(crash); i++)
			signal(crash[i], SIG_DFL);
		alarm(VIRT_ALARM_S);
		fn(arg);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return VIRT_BAD;
	if (WIFSIGNALED(status))
		fprintf(stderr, "ended by signal %d\n", WTERMSIG(status));
	if (!WIFEXITED(status))
		return VIRT_BAD;
	if (WEXITSTATUS(status) == VIRT_EXIT_OVER)
		return VIRT_OVER;
	return WEXITSTATUS(status) == 0 ? VIRT_GOOD : VIRT_BAD;
}

/* --- turns -----------------------------------------------------------------
 */

static void *
process(void *arg)
{
	(void)arg;
	is_process = true;
	while (sem_wait(&v.go) != 0)
		;
	v.main_fn(v.argc, v.argv);
	v.ended = true;
	sem_post(&v.idle);
	return NULL;
}

void
virt_run(void)
{
	if (v.ended)
		return;
	sem_post(&v.go);
	while (sem_wait(&v.idle) != 0)
		;
}

void
virt_start(int (*main_fn)(int argc, char **argv), int argc, char **argv)
{
	struct timespec ts;
	pthread_t thread;

	VIRT_NEED(syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts) == 0);
	v.real_ns = (uint64_t)ts.tv_sec * NS_PER_S;
	v.mono_ns = v.start_ns = 1000 * NS_PER_S;
	v.on = true;
	v.main_fn = main_fn;
	v.argc = argc;
	v.argv = argv;
	VIRT_NEED(sem_init(&v.go, 0, 0) == 0 && sem_init(&v.idle, 0, 0) == 0);
	VIRT_NEED(pthread_create(&thread, NULL, process, NULL) == 0);
	virt_run();
}

void
virt_advance(uint64_t ms)
{
	uint64_t end = v.mono_ns + ms * NS_PER_MS;

	virt_run();
	while (v.mono_ns < end && !v.ended) {
		v.mono_ns = MAX(v.mono_ns, MIN(end, v.due_ns));
		virt_run();
	}
}

uint64_t
virt_now_ns(void)
{
	return v.mono_ns;
}

bool
virt_ended(void)
{
	return v.ended;
}

void
virt_next_connect(enum virt_connect how)
{
	v.next = how;
}

void
virt_connects(enum virt_connect how)
{
	v.next = v.later = how;
}

void
virt_connects_at(uint8_t address, enum virt_connect how)
{
	v.at_set[address] = true;
	v.at[address] = how;
}

uint8_t
virt_connected_to(void)
{
	return v.address;
}

uint16_t
virt_connected_port(void)
{
	return v.port;
}

unsigned
virt_connected(void)
{
	return v.connects;
}

void
virt_next_socket(int err)
{
	v.no_socket = err;
}

/* --- sockets of the script -------------------------------------------------
 */

static socklen_t
abstract_name(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* abstract (unix(7)): no file, gone with the process */
	snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "rms-virt-%d-%s",
		 (int)getpid(), name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   strlen(a->sun_path + 1));
}

int
virt_listen(const char *name)
{
	struct sockaddr_un a;
	socklen_t len = abstract_name(&a, name);
	int fd = (int)syscall(SYS_socket, AF_UNIX,
			      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	VIRT_NEED(fd >= 0);
	VIRT_NEED(bind(fd, (struct sockaddr *)&a, len) == 0);
	VIRT_NEED(listen(fd, 64) == 0);
	return fd;
}

int
virt_dial(const char *name)
{
	struct sockaddr_un a;
	socklen_t len = abstract_name(&a, name);
	int fd = (int)syscall(SYS_socket, AF_UNIX,
			      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	VIRT_NEED(fd >= 0 && fd < VIRT_FDS);
	VIRT_NEED(syscall(SYS_connect, fd, &a, len) == 0);
	return fd;
}

void
virt_connect_late(uint8_t address)
{
	int fd = virt_dial(v.cloud), late = v.hanging[address];

	VIRT_NEED(late > 0 && dup2(fd, late) == late);
	close(fd);
	v.again[late] |= EPOLLOUT;
}

void
virt_refuse_late(uint8_t address)
{
	int late = v.hanging[address];

	VIRT_NEED(late > 0);
	v.again[late] |= EPOLLOUT; /* it is no socket: that is the error */
}

void
virt_set_cloud(const char *name)
{
	snprintf(v.cloud, sizeof(v.cloud), "%s", name);
}

void
virt_set_room(int bytes)
{
	v.room = bytes;
}

/* --- libc, as the process sees it ------------------------------------------
 */

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t ns = v.mono_ns;

	if (!v.on)
		return (int)syscall(SYS_clock_gettime, id, ts);
	if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
		ns = v.real_ns + (v.mono_ns - v.start_ns);
	ts->tv_sec = (time_t)(ns / NS_PER_S);
	ts->tv_nsec = (long)(ns % NS_PER_S);
	return 0;
}

/* Events that were held back, behind those of the kernel. */
static int
made_up(struct epoll_event *ev, int n, int max)
{
	for (int fd = 0; fd < VIRT_FDS && n < max; fd++) {
		if (v.again[fd] == 0)
			continue;
		ev[n] = (struct epoll_event){.events = v.again[fd]};
		ev[n++].data.fd = fd; /* as libevent has it */
		v.again[fd] = 0;
	}
	return n;
}

int
epoll_wait(int ep, struct epoll_event *ev, int max, int timeout)
{
	uint64_t due = timeout < 0 ? UINT64_MAX
				   : v.mono_ns + (uint64_t)timeout * NS_PER_MS;
	int n;

	if (!is_process)
		return (int)syscall(SYS_epoll_wait, ep, ev, max, timeout);
	for (;;) {
		n = (int)syscall(SYS_epoll_wait, ep, ev, max, 0);
		if (n < 0)
			return n;
		n = made_up(ev, n, max);
		if (n > 0 || timeout == 0 || v.mono_ns >= due)
			return n;
		v.due_ns = due;
		sem_post(&v.idle);
		while (sem_wait(&v.go) != 0)
			;
	}
}

ssize_t
recv(int fd, void *buf, size_t size, int flags)
{
	size_t max = size;
	ssize_t n;
	int left = 0;

	if (is_process && virt_io.recv_max > 0)
		max = MIN(size, virt_io.recv_max);
	n = syscall(SYS_recvfrom, fd, buf, max, flags, NULL, NULL);
	if (is_process && n > 0 && max < size &&
	    ioctl(fd, FIONREAD, &left) == 0 && left > 0)
		v.again[fd] |= EPOLLIN;
	return n;
}

ssize_t
send(int fd, const void *buf, size_t len, int flags)
{
	size_t max = len;
	ssize_t n;

	if (is_process) {
		virt_io.sends++;
		if (virt_io.sends == virt_io.full_at ||
		    (virt_io.full_every > 0 &&
		     virt_io.sends % virt_io.full_every == 0)) {
			v.again[fd] |= EPOLLOUT;
			errno = EAGAIN;
			return -1;
		}
		if (virt_io.send_max > 0)
			max = MIN(len, virt_io.send_max);
	}
	n = syscall(SYS_sendto, fd, buf, max, flags, NULL, 0);
	if (is_process && n > 0 && max < len)
		v.again[fd] |= EPOLLOUT;
	return n;
}

int
accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(40000)};
	int s = (int)syscall(SYS_accept4, fd, NULL, NULL, flags);

	if (s < 0 || !is_process)
		return s;
	VIRT_NEED(s < VIRT_FDS);
	v.again[s] = 0;
	if (v.room > 0)
		setsockopt(s, SOL_SOCKET, SO_SNDBUF, &v.room, sizeof(v.room));
	in.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1 (RFC 5737) */
	memcpy(addr, &in, MIN(*len, (socklen_t)sizeof(in)));
	*len = sizeof(in);
	return s;
}

int
socket(int domain, int type, int protocol)
{
	int fd;

	if (is_process && (domain == AF_INET || domain == AF_INET6)) {
		domain = AF_UNIX;
		errno = v.no_socket;
		v.no_socket = 0;
		if (errno != 0)
			return -1;
	}
	fd = (int)syscall(SYS_socket, domain, type, protocol);
	VIRT_NEED(fd < VIRT_FDS);
	if (is_process && fd >= 0)
		v.again[fd] = 0;
	return fd;
}

/* A descriptor on which nothing ever happens takes the place of fd. */
static void
hang(int fd)
{
	int p[2];

	VIRT_NEED(pipe(p) == 0);
	VIRT_NEED(dup2(p[0], fd) == fd);
	close(p[0]); /* the other end stays open */
	v.hanging[v.address] = fd;
}

static enum virt_connect
connect_how(const struct sockaddr *addr)
{
	enum virt_connect how = v.next;

	/* at the same place in both */
	v.port =
	    ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
	if (addr->sa_family == AF_INET6)
		v.address = ((const struct sockaddr_in6 *)(const void *)addr)
				->sin6_addr.s6_addr[15];
	else
		v.address = (uint8_t)ntohl(
		    ((const struct sockaddr_in *)(const void *)addr)
			->sin_addr.s_addr);
	if (v.at_set[v.address])
		return v.at[v.address];
	v.next = v.later;
	return how;
}

static bool
is_datagram(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_DGRAM;
}

/* Sends nothing: finds the address that it would come from, or none. */
static int
connect_datagram(const struct sockaddr *addr)
{
	if (connect_how(addr) != VIRT_NO_SOURCE)
		return 0;
	errno = EADDRNOTAVAIL;
	return -1;
}

int
connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	static const int errors[] = {
	    [VIRT_REFUSED] = ECONNREFUSED,
	    [VIRT_NO_ROOM] = ENOBUFS,
	    [VIRT_NO_PORT] = EADDRNOTAVAIL,
	    [VIRT_NO_SOURCE] = EADDRNOTAVAIL,
	};
	struct sockaddr_un a;
	enum virt_connect how;

	if (!is_process)
		return (int)syscall(SYS_connect, fd, addr, len);
	if (is_datagram(fd))
		return connect_datagram(addr);
	how = connect_how(addr);
	v.connects++;
	if (how < ARRAY_LEN(errors) && errors[how] != 0) {
		errno = errors[how];
		return -1;
	}
	if (how == VIRT_HANGS) {
		hang(fd);
		errno = EINPROGRESS;
		return -1;
	}
	len = abstract_name(&a, v.cloud);
	return (int)syscall(SYS_connect, fd, &a, len);
}

static const struct virt_file *
file_of(const char *path)
{
	for (size_t i = 0; i < v.nfiles; i++)
		if (strcmp(v.file[i].path, path) == 0)
			return &v.file[i];
	return NULL;
}

void
virt_file(const char *path, const char *text)
{
	const struct virt_file *f = file_of(path);
	ssize_t len = (ssize_t)strlen(text);
	int fd;

	if (f == NULL) {
		VIRT_NEED(v.nfiles < VIRT_FILES);
		fd = memfd_create("virtual", MFD_CLOEXEC);
		v.file[v.nfiles] = (struct virt_file){
		    .path = path,
		    /* not where a child has its channel (child.h) */
		    .fd = fcntl(fd, F_DUPFD_CLOEXEC, 16),
		};
		close(fd);
		f = &v.file[v.nfiles++];
	}
	VIRT_NEED(f->fd >= 0 && ftruncate(f->fd, 0) == 0 &&
		  pwrite(f->fd, text, (size_t)len, 0) == len);
}

int
open(const char *path, int flags, ...)
{
	bool kernels =
	    strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
	const struct virt_file *f;
	mode_t mode = 0;
	va_list ap;

	if (is_process && kernels) {
		f = file_of(path);
		if (f != NULL)
			return dup(f->fd);
		errno = ENOENT;
		return -1;
	}
	if ((flags & O_CREAT) != 0) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* child_main() closes what it was not given; here that is the script's. */
int
close_range(unsigned first, unsigned last, int flags)
{
	(void)first;
	(void)last;
	(void)flags;
	return 0;
}

/* The sandbox would take the script's system calls too. */
int __wrap_sandbox_drop(const char *user, const char **note_r);
int __wrap_sandbox_enter(enum role role, const char *const *readable,
			 const char **note_r);

int
__wrap_sandbox_drop(const char *user, const char **note_r)
{
	(void)user;
	(void)note_r;
	return 0;
}

int
__wrap_sandbox_enter(enum role role, const char *const *readable,
		     const char **note_r)
{
	(void)role;
	(void)readable;
	(void)note_r;
	return 0;
}

/* --- memory ----------------------------------------------------------------
 */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

/* Is this the one that fails? */
static bool
fails(size_t size)
{
	bool denied = is_process && size > 0 && size == v.deny;

	if (denied)
		v.deny = 0;
	else if (!is_process || !v.counting || ++v.allocs != v.fail_at)
		return false;
	errno = ENOMEM;
	return true;
}

void *
__wrap_malloc(size_t size)
{
	return fails(size) ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails(n * size) ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return fails(size) ? NULL : __real_realloc(p, size);
}

static void *
ssl_malloc(size_t n, const char *file, int line)
{
	void *p = n == 0 ? NULL : __wrap_malloc(n);

	(void)file;
	(void)line;
	if (p == NULL && n > 0)
		tlsmem_failed();
	return p;
}

static void *
ssl_realloc(void *p, size_t n, const char *file, int line)
{
	void *q;

	(void)file;
	(void)line;
	if (n == 0) {
		free(p);
		return NULL;
	}
	q = __wrap_realloc(p, n);
	if (q == NULL)
		tlsmem_failed();
	return q;
}

static void
ssl_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

/* What the relay keeps at hand would be no allocation to fail. */
void __wrap_tlsmem_init(void);

void
__wrap_tlsmem_init(void)
{
}

/* Before main(): OpenSSL takes them only before its first allocation. */
__attribute__((constructor)) static void
memory_set_up(void)
{
	if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1)
		abort();
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
}

void
virt_alloc_begin(unsigned fail_at)
{
	v.allocs = 0;
	v.fail_at = fail_at;
	v.counting = true;
}

unsigned
virt_alloc_count(void)
{
	return v.allocs;
}

void
virt_alloc_deny(size_t size)
{
	v.deny = size;
}

bool
virt_alloc_denied(void)
{
	return v.deny == 0;
}

void
virt_alloc_end(void)
{
	v.counting = false;
	v.deny = 0;
}
