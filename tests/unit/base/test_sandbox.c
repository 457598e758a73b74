/*
 * Each role may do what it must and dies of what it must not.  Every probe
 * runs in a child of its own, because a sandbox is for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/fd.h"
#include "shm/base/loop.h"
#include "shm/base/sandbox.h"
#include "shm/base/log.h"

/* A probe: 0 when it could do its thing, else errno. */
typedef int probe(void);

#define KILLED	  1000 /* by SIGSYS */
#define NOT_READY 1001 /* the sandbox itself failed */

static char dir[] = "/tmp/rms-sandbox-XXXXXX";
static char file_in[64], file_out[64], in_dir[64];

/* What becomes of the probe in a child of this role. */
static int
outcome(enum role role, const char *const *paths, probe *p)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		const char *note;
		int r;

		unsetenv("RMS_SANDBOX");
		if (sandbox_drop(NULL, NULL, &note) != 0 ||
		    sandbox_enter(role, paths, &note) != 0)
			_exit(255);
		r = p();
		_exit(r > 250 ? 250 : r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : 2000;
	return WEXITSTATUS(status) == 255 ? NOT_READY : WEXITSTATUS(status);
}

#define PROBE(name, expr)                  \
	static int probe_##name(void)      \
	{                                  \
		errno = 0;                 \
		return (expr) ? 0 : errno; \
	}

static const char *const no_paths[] = {NULL};

static void *
thread_main(void *arg)
{
	return arg;
}

static int
try_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, thread_main, NULL) != 0)
		return 0;
	return pthread_join(t, NULL) == 0;
}

static int
try_abort(void)
{
	signal(SIGABRT, SIG_IGN);
	return raise(SIGABRT) == 0;
}

static int
try_loop(void)
{
	struct loop *l = loop_new();

	if (l == NULL)
		return 0;
	loop_stop(l, 0);
	return loop_run(l) == 0;
}

static int
try_heap(void)
{
	void *p = malloc(4 << 20), *q;

	if (p == NULL)
		return 0;
	q = realloc(p, 16 << 20);
	free(q == NULL ? p : q);
	return q != NULL;
}

static int
try_connect(int family)
{
	struct sockaddr_in6 a = {.sin6_family = (sa_family_t)family};
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return 0;
	/* Nobody listens there; that the call is let through is enough. */
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 ||
	       errno == ECONNREFUSED || errno == EINPROGRESS ||
	       errno == EADDRNOTAVAIL || errno == ENETUNREACH;
}

static int
try_stat_fd(void)
{
	struct stat st;
	int p[2];

	return pipe2(p, O_CLOEXEC) == 0 && fstat(p[0], &st) == 0;
}

static int
try_write_new(void)
{
	int fd = open(file_out, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	return fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0 &&
	       rename(file_out, file_in) == 0;
}

PROBE(nothing, 1)
PROBE(loop, try_loop())
PROBE(heap, try_heap())
PROBE(abort, try_abort())
PROBE(stat_fd, try_stat_fd())
PROBE(inet, try_connect(AF_INET))
PROBE(inet6, try_connect(AF_INET6))
PROBE(unix, socket(AF_UNIX, SOCK_STREAM, 0) >= 0)
PROBE(netlink, socket(AF_NETLINK, SOCK_RAW, 0) >= 0)
PROBE(packet, socket(AF_PACKET, SOCK_RAW, 0) >= 0)
PROBE(open_passwd, open("/etc/passwd", O_RDONLY) >= 0)
PROBE(open_in, open(file_in, O_RDONLY) >= 0)
PROBE(open_rdwr, open(file_in, O_RDWR) >= 0)
PROBE(stat_path, access("/etc/passwd", R_OK) == 0)
PROBE(write_new, try_write_new())
PROBE(fork, fork() >= 0)
PROBE(exec, execl("/bin/true", "true", (char *)NULL) == 0)
PROBE(thread, try_thread())
PROBE(map_exec, mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
PROBE(protect_exec, mprotect((void *)((uintptr_t)&errno & ~UINT64_C(4095)),
			     4096, PROT_READ | PROT_EXEC) == 0)
PROBE(kill, kill(getppid(), 0) == 0)
PROBE(tgkill_other, syscall(SYS_tgkill, getppid(), getppid(), 0) == 0)
PROBE(ptrace, syscall(SYS_ptrace, 0, 0, 0, 0) == 0)
PROBE(bind,
      bind(socket(AF_INET, SOCK_STREAM, 0),
	   (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET},
	   sizeof(struct sockaddr_in)) == 0)
PROBE(setowner, fcntl(0, F_SETOWN, getppid()) == 0)
PROBE(nodelay, setsockopt(socket(AF_INET, SOCK_STREAM, 0), IPPROTO_TCP,
			  TCP_NODELAY, &(int){1}, sizeof(int)) == 0)
PROBE(steer, setsockopt(socket(AF_INET, SOCK_STREAM, 0), SOL_SOCKET,
			SO_ATTACH_REUSEPORT_CBPF, "", 0) == 0)
PROBE(setflags, fcntl(0, F_SETFL, 0) == 0)
PROBE(setlimit, setrlimit(RLIMIT_NOFILE, &(struct rlimit){8, 8}) == 0)
PROBE(getlimit, getrlimit(RLIMIT_NOFILE, &(struct rlimit){8, 8}) == 0)
PROBE(setuid, setuid(0) == 0)
PROBE(unshare, syscall(SYS_unshare, 0) == 0)

static const enum role children[] = {ROLE_RELAY, ROLE_KEEPER, ROLE_CLOUD};

static void
every_role_can_do_its_daily_work(void **state)
{
	static probe *const ok[] = {probe_nothing, probe_loop,
				    probe_heap,	   probe_abort,
				    probe_stat_fd, probe_getlimit};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(children); r++)
		for (size_t i = 0; i < ARRAY_LEN(ok); i++)
			assert_int_equal(outcome(children[r], no_paths, ok[i]),
					 0);
}

static void
no_role_can_leave_its_process(void **state)
{
	static probe *const bad[] = {
	    probe_fork,		probe_exec,	probe_map_exec,
	    probe_protect_exec, probe_kill,	probe_ptrace,
	    probe_tgkill_other, probe_bind,	probe_packet,
	    probe_setowner,	probe_setlimit, probe_setuid,
	    probe_unshare};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(children); r++) {
		for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
			/* A keeper has no inet socket to bind, and a plug-in
			 * that krb5 finds is refused, not punished. */
			if (children[r] == ROLE_KEEPER &&
			    (bad[i] == probe_bind || bad[i] == probe_map_exec))
				continue;
			assert_int_equal(outcome(children[r], no_paths, bad[i]),
					 KILLED);
		}
	}
}

static void
a_relay_has_the_network_and_no_files(void **state)
{
	(void)state;
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_inet), 0);
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_inet6), 0);
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_nodelay), 0);
	/* what it shares with other relays it cannot bend */
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_steer), KILLED);
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_setflags), KILLED);
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_unix), KILLED);
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_netlink), KILLED);
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_open_passwd), KILLED);
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_stat_path), KILLED);
	assert_int_equal(outcome(ROLE_RELAY, NULL, probe_thread), KILLED);
	/* Nobody can give it a path by mistake either. */
	assert_int_equal(outcome(ROLE_RELAY,
				 (const char *const[]){"/etc", NULL},
				 probe_nothing),
			 NOT_READY);
}

static void
a_keeper_has_files_and_no_network(void **state)
{
	const char *const paths[] = {in_dir, "/nonexistent/krb5.conf", NULL};

	(void)state;
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_open_in), 0);
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_unix), 0);
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_inet), EAFNOSUPPORT);
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_inet6),
			 EAFNOSUPPORT);
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_map_exec), EACCES);
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_thread), KILLED);
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_open_rdwr), KILLED);
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_write_new), KILLED);
}

static void
a_keeper_with_a_cache_writes_there_only(void **state)
{
	char plus[80];
	const char *const paths[] = {plus, NULL};

	(void)state;
	snprintf(plus, sizeof(plus), "+%s", in_dir);
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_write_new), 0);
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_nothing), NOT_READY);
}

static void
a_cloud_agent_reads_files_and_connects(void **state)
{
	const char *const paths[] = {file_in, NULL};

	(void)state;
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_open_in), 0);
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_inet), 0);
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_thread), KILLED);
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_unix), EAFNOSUPPORT);
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_netlink),
			 EAFNOSUPPORT);
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_open_rdwr), KILLED);
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_write_new), KILLED);
}

static void
landlock_keeps_to_the_paths_given(void **state)
{
	const char *const paths[] = {in_dir, NULL};
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	(void)state;
	if (abi < 1) {
		print_message("skipped: this kernel has no landlock\n");
		skip();
	}
	assert_int_equal(outcome(ROLE_KEEPER, paths, probe_open_passwd),
			 EACCES);
	assert_int_equal(outcome(ROLE_CLOUD, paths, probe_open_passwd), EACCES);
	assert_int_equal(outcome(ROLE_CLOUD, NULL, probe_open_in), EACCES);
}

static void
the_master_is_left_alone_and_told_so(void **state)
{
	const char *note = NULL;

	(void)state;
	assert_int_equal(sandbox_enter(ROLE_MASTER, NULL, &note), 0);
	assert_non_null(note);
	assert_int_equal(sandbox_enter(ROLE_CONSOLE, NULL, &note), -EINVAL);
}

static void
off_means_off_and_says_so(void **state)
{
	const char *note = NULL;
	char *keep = getenv("RMS_SANDBOX");

	(void)state;
	setenv("RMS_SANDBOX", "off", 1);
	assert_int_equal(sandbox_enter(ROLE_RELAY, NULL, &note), 0);
	assert_non_null(strstr(note, "RMS_SANDBOX=off"));
	assert_int_equal(probe_open_passwd(), 0);
	if (keep == NULL)
		unsetenv("RMS_SANDBOX");
}

/* --- sandbox_drop ------------------------------------------------------- */

/* 0 when everything that must be gone is gone. */
static int
dropped(const char *user)
{
	const struct passwd *pw = user == NULL ? NULL : getpwnam(user);
	const char *note;
	struct rlimit core;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid > 0) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
	}
	unsetenv("RMS_SANDBOX");
	/* Something to lose. */
	if (geteuid() == 0 && setgroups(2, (gid_t[]){1, 2}) != 0)
		_exit(9);
	if (sandbox_drop(user, NULL, &note) != 0)
		_exit(1);
	if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0)
		_exit(2);
	if (prctl(PR_GET_DUMPABLE) != 0)
		_exit(3);
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		_exit(4);
	if (pw != NULL && geteuid() != pw->pw_uid)
		_exit(5);
	if (pw != NULL && (setuid(0) == 0 || getgroups(0, NULL) != 0))
		_exit(6);
	if (user == NULL && (note != NULL) != (geteuid() == 0))
		_exit(7);
	_exit(0);
}

static void
drop_leaves_no_core_no_tracer_no_gain(void **state)
{
	(void)state;
	assert_int_equal(dropped(NULL), 0);
}

static void
drop_as_root_becomes_the_user_for_good(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: needs root\n");
		skip();
	}
	assert_int_equal(dropped("nobody"), 0);
	assert_int_equal(dropped("no-such-user-here"), 1);
	assert_int_equal(dropped("root"), 1);
}

/* The one group that is kept: 0 when it is there and no other is. */
static int
kept_group(const char *group, bool *noted_r)
{
	const struct group *gr = group == NULL ? NULL : getgrnam(group);
	const char *note = NULL;
	gid_t have[8];
	pid_t pid = fork();
	int status, n;

	assert_true(pid >= 0);
	if (pid > 0) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		*noted_r = (WEXITSTATUS(status) & 64) != 0;
		return WEXITSTATUS(status) & 63;
	}
	if (setgroups(2, (gid_t[]){1, 2}) != 0 ||
	    sandbox_drop("nobody", group, &note) != 0)
		_exit(1);
	n = getgroups(8, have);
	if (n != (gr == NULL ? 0 : 1) || (n == 1 && have[0] != gr->gr_gid))
		_exit(2);
	_exit(note == NULL ? 0 : 64);
}

static void
drop_keeps_the_group_that_is_named_and_no_other(void **state)
{
	bool noted;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: needs root\n");
		skip();
	}
	assert_int_equal(kept_group("tty", &noted), 0);
	assert_false(noted);
	assert_int_equal(kept_group("", &noted), 0);
	assert_false(noted);
	assert_int_equal(kept_group("no-such-group-here", &noted), 0);
	assert_true(noted);
}

/* A service manager may start us with a user and some capabilities. */
static void
drop_gives_up_capabilities_that_came_without_root(void **state)
{
	struct __user_cap_header_struct head = {
	    .version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3];
	const char *note;
	pid_t pid;
	int status;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: needs root\n");
		skip();
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 ||
		    setresuid(65534, 65534, 65534) != 0 ||
		    syscall(SYS_capget, &head, have) != 0 ||
		    have[0].permitted == 0)
			_exit(2);
		if (sandbox_drop(NULL, NULL, &note) != 0 ||
		    syscall(SYS_capget, &head, have) != 0)
			_exit(3);
		_exit(have[0].permitted | have[1].permitted ? 4 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
drop_without_root_stays_and_says_so(void **state)
{
	const char *note = NULL;
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
			_exit(2);
		_exit(sandbox_drop("daemon", NULL, &note) == 0 && note != NULL
			  ? 0
			  : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int
set_up(void **state)
{
	int fd;

	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(in_dir, sizeof(in_dir), "%s/in", dir);
	snprintf(file_in, sizeof(file_in), "%s/in/file", dir);
	snprintf(file_out, sizeof(file_out), "%s/in/new", dir);
	if (mkdir(in_dir, 0700) != 0)
		return -1;
	fd = open(file_in, O_WRONLY | O_CREAT, 0600);
	fd_close(&fd);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	unlink(file_in);
	unlink(file_out);
	rmdir(in_dir);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_role_can_do_its_daily_work),
	    cmocka_unit_test(no_role_can_leave_its_process),
	    cmocka_unit_test(a_relay_has_the_network_and_no_files),
	    cmocka_unit_test(a_keeper_has_files_and_no_network),
	    cmocka_unit_test(a_keeper_with_a_cache_writes_there_only),
	    cmocka_unit_test(a_cloud_agent_reads_files_and_connects),
	    cmocka_unit_test(landlock_keeps_to_the_paths_given),
	    cmocka_unit_test(the_master_is_left_alone_and_told_so),
	    cmocka_unit_test(off_means_off_and_says_so),
	    cmocka_unit_test(drop_leaves_no_core_no_tracer_no_gain),
	    cmocka_unit_test(drop_as_root_becomes_the_user_for_good),
	    cmocka_unit_test(drop_gives_up_capabilities_that_came_without_root),
	    cmocka_unit_test(drop_keeps_the_group_that_is_named_and_no_other),
	    cmocka_unit_test(drop_without_root_stays_and_says_so),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
