/*
 * Purpose: the few instructions between fork and exec.
 *
 * Runs in: the master, then for a moment in the child.
 * Trusts:  its caller for the path.
 * Touches: descriptors, signals and environment of the child.
 * Failure: -errno before the fork, exit status 127 after it.
 */
#include "master/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shm/base/log.h"

#define SPAWN_CHANNEL 3 /* CHILD_CHANNEL_FD of worker/child.h */

/*
 * What passes: Kerberos and sanitizer settings and the switch for their runs.
 * Proxies, library paths, credential directories of the service manager and
 * everything else stay out.
 */
static const char *const environment[] = {"KRB5_CONFIG",
					  "KRB5_TRACE",
					  "KRB5RCACHENAME",
					  "KRB5RCACHETYPE",
					  "RMS_SANDBOX",
					  "ASAN_OPTIONS",
					  "UBSAN_OPTIONS",
					  "LSAN_OPTIONS",
					  "TSAN_OPTIONS",
					  "GCOV_PREFIX",
					  "GCOV_PREFIX_STRIP",
					  "LLVM_PROFILE_FILE",
					  "TZ"};

static size_t
spawn_environment(char *env[ARRAY_LEN(environment) + 1])
{
	size_t n = 0;

	for (char **e = environ; *e != NULL; e++) {
		size_t name = strcspn(*e, "=");

		for (size_t i = 0; i < ARRAY_LEN(environment); i++) {
			if (strlen(environment[i]) == name &&
			    strncmp(*e, environment[i], name) == 0 &&
			    n < ARRAY_LEN(environment))
				env[n++] = *e;
		}
	}
	env[n] = NULL;
	return n;
}

/* After fork: nothing here allocates or takes a lock. */
NORETURN static void
spawn_exec(char *const argv[], char *const env[], int channel, pid_t master)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	int null;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL); /* fails for a few: no matter */
	/* Children end with their channel; this ends one that hangs.  Lost
	 * again when the child changes its user. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != master)
		_exit(127);
	/* The channel first goes where no fixed number is overwritten. */
	channel = fcntl(channel, F_DUPFD, SPAWN_CHANNEL + 1);
	null = open("/dev/null", O_RDWR);
	if (channel < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(channel, SPAWN_CHANNEL) < 0 ||
	    close_range(SPAWN_CHANNEL + 1, ~0U, 0) != 0)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(argv[0], argv, env);
	_exit(127);
}

pid_t
spawn_child(const char *path, unsigned slot, int channel)
{
	char *env[ARRAY_LEN(environment) + 1];
	char number[16];
	char *program = strdup(path);
	char *argv[] = {program, number, NULL};
	pid_t master = getpid(), pid;
	sigset_t all, before;

	if (program == NULL)
		return -ENOMEM;
	snprintf(number, sizeof(number), "%u", slot);
	spawn_environment(env);
	/* No handler of the master may run in the child. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		spawn_exec(argv, env, channel, master);
	if (pid < 0)
		pid = -errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	free(program);
	return pid;
}
