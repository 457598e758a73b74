/*
 * awake: keeps a CPU from going idle.
 *
 *	awake CPU
 *
 * Spins there whenever nobody else wants to run, and dies with its parent.  A
 * CPU of a virtual machine that goes idle leaves it: how long coming back takes
 * and what is left in the caches then is the host's affair, and changes with
 * what else it has to do.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

int
main(int argc, char **argv)
{
	struct sched_param none = {0};
	cpu_set_t set;

	CPU_ZERO(&set);
	if (argc == 2)
		CPU_SET(strtoul(argv[1], NULL, 10), &set);
	if (argc != 2 || sched_setaffinity(0, sizeof(set), &set) != 0 ||
	    sched_setscheduler(0, SCHED_IDLE, &none) != 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
		perror("awake");
		return 2;
	}
	for (;;) {
#if defined(__x86_64__)
		__builtin_ia32_pause();
#endif
	}
}
