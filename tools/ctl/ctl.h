/*
 * ctl: what the verbs of rmsctl share: where to write, exit status, and the
 * verbs themselves.
 *
 * A verb returns its exit status and has printed either the answer (to out)
 * or one line that says what, why and what would do (to err).
 */
#ifndef RMS_CTL_H
#define RMS_CTL_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "shm/base/bug.h"
#include "tools/ctl/args.h"

#define CTL_SOCKET_DEFAULT "/run/rms-connector/control.sock"

enum ctl_exit {
#define CTL_EXIT(name, number, text) CTL_##name = number,
#include "tools/ctl/verbs.def"
};

struct ctl {
	const char *socket;
	bool json;
	FILE *out;
	FILE *err;
	const struct ctl_args *args;
};

/* The whole program but for main(); its exit status. */
int ctl_main(int argc, char **argv, FILE *out, FILE *err);

/* "rmsctl: " and a line to err.  Returns status. */
PRINTF(3, 4) int ctl_fail(struct ctl *c, int status, const char *fmt, ...);

/*
 * Prints the connector's own words of a refused request and returns
 * CTL_REFUSED; with --json prints the object as it came.
 */
int ctl_refused(struct ctl *c, const json_t *reply);

/* Pretty JSON and a newline to out. */
void ctl_print_json(struct ctl *c, const json_t *v);

#define CTL_VERB(ident, verb, min, max, args, text, more) \
	int verb_##ident(struct ctl *c);
#include "tools/ctl/verbs.def"

#endif
