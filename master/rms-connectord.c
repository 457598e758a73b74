/*
 * Purpose: rms-connectord, the program: its command line and its start.
 *
 * Runs in: the master.
 * Trusts:  whoever started it.
 * Touches: standard output for --help, -V, -t and --print-sample; then
 *          everything that the master touches.
 * Failure: one line for each error on standard error and an exit status of
 *          sysexits.h: 64 command line, 65 store damaged, newer or under
 *          another key, 69 in use, 71 system, 74 disk, 77 rights, 78
 *          configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf/conf_file.h"
#include "master/master.h"
#include "master/master_state.h"
#include "master/version.h"
#include "shm/base/log.h"

#define DEFAULT_CONF "/etc/rms-connector/rms-connector.conf"

static void
usage(FILE *f)
{
	fprintf(
	    f,
	    "usage: rms-connectord [-c FILE] [-t | --forget-credentials]\n"
	    "       rms-connectord -h | -V | --print-sample\n"
	    "\n"
	    "  -c FILE         configuration, default " DEFAULT_CONF "\n"
	    "  -t              check the configuration and exit\n"
	    "  -h, --help      this text and every directive\n"
	    "  -V              version\n"
	    "  --print-sample  a commented sample configuration\n"
	    "  --forget-credentials\n"
	    "                  remove the cloud credentials from the store and "
	    "exit: for a\n"
	    "                  sealing key that is lost; all else stays\n"
	    "\n"
	    "It stays in the foreground and logs to standard error.\n"
	    "Signals: HUP reload, TERM and INT stop after drain_ms, QUIT stop "
	    "when done,\nUSR1 reopen the logs.\n");
}

struct args {
	const char *conf;
	bool test;
	bool forget;
};

/* What only prints ends here. */
static void
read_args(int argc, char **argv, struct args *a_r)
{
	static const struct option longs[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"test", no_argument, NULL, 't'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {"print-sample", no_argument, NULL, 's'},
	    {"forget-credentials", no_argument, NULL, 'f'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	*a_r = (struct args){.conf = DEFAULT_CONF};
	while ((c = getopt_long(argc, argv, "c:thV", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			a_r->conf = optarg;
			break;
		case 't':
			a_r->test = true;
			break;
		case 'f':
			a_r->forget = true;
			break;
		case 'h':
			usage(stdout);
			printf("\nDirectives of the configuration file:\n\n");
			conf_print_help(stdout);
			exit(0);
		case 'V':
			printf("rms-connectord %s\n", RMS_VERSION);
			exit(0);
		case 's':
			conf_print_sample(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(EX_USAGE);
		}
	}
	if (a_r->test && a_r->forget) {
		fprintf(stderr, "rms-connectord: -t changes nothing: give it "
				"without --forget-credentials\n");
		exit(EX_USAGE);
	}
	if (optind != argc) {
		fprintf(stderr, "rms-connectord: \"%s\" is not an option\n",
			argv[optind]);
		usage(stderr);
		exit(EX_USAGE);
	}
}

/* 0, 1 and 2 are open from here on, so that no log or socket becomes one. */
static void
open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd < 0)
		exit(EX_OSERR);
	close(fd);
}

/* The path as it stays right: we do not change the directory, but a reload
 * years later should not hang on that. */
static const char *
absolute(const char *path)
{
	static char full[PATH_MAX];

	return realpath(path, full) != NULL ? full : path;
}

/* A check prints its finds, a start logs them. */
static int
refuse(const struct conf_errors *e, bool check)
{
	size_t n = MIN(e->n, ARRAY_LEN(e->text));

	for (size_t i = 0; i < n && check; i++)
		log_plain("%s", e->text[i]);
	for (size_t i = 0; i < n && !check; i++)
		log_err("%s", e->text[i]);
	if (e->n > n)
		log_err("and %zu more errors", e->n - n);
	return EX_CONFIG;
}

static int
forget(const struct conf *conf)
{
	char err[MASTER_ERR] = "";
	int n = master_state_forget(conf, err);

	if (n < 0) {
		log_err("%s", err);
		return master_status(n);
	}
	printf("%d credential%s removed from the store; start, and add %s "
	       "with `rmsctl credentials add`\n",
	       n, n == 1 ? "" : "s", n == 1 ? "it again" : "them again");
	return 0;
}

static int
serve(const char *path, const struct conf *conf, const struct conf_errors *e)
{
	static struct master m; /* large, and lives as long as we do */
	char err[MASTER_ERR] = "";
	int status = master_init(&m, path, conf, err);

	if (status != 0)
		log_err("%s", err);
	else
		status = master_run(&m, e);
	master_fini(&m);
	return status;
}

int
main(int argc, char **argv)
{
	static struct conf conf;
	static struct conf_errors errs;
	struct args a;
	const char *off = getenv("RMS_SANDBOX");

	open_standard();
	log_init("master", -1);
	read_args(argc, argv, &a);
	umask(027);
	/* The sealing key is in this process: no core, no debugger of the
	 * same user.  Sanitizers need the latter. */
	if (off == NULL || strcmp(off, "off") != 0)
		prctl(PR_SET_DUMPABLE, 0);
	if (master_conf_load(a.conf, &conf, &errs) != 0)
		return refuse(&errs, a.test);
	if (a.test) {
		for (size_t i = 0; i < errs.nwarn; i++)
			log_plain("%s", errs.warn[i]);
		printf("%s: good\n", a.conf);
		return 0;
	}
	if (a.forget)
		return forget(&conf);
	return serve(absolute(a.conf), &conf, &errs);
}
