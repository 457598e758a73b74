/*
 * args: the command line of rmsctl, against the table in verbs.def.
 *
 * Options may stand anywhere; "--" ends them.  "--name value", "--name=value"
 * and "-cvalue" are understood.
 */
#ifndef RMS_CTL_ARGS_H
#define RMS_CTL_ARGS_H

#include <stdbool.h>
#include <stdio.h>

#include "shm/base/bug.h"

enum ctl_global {
#define CTL_GLOBAL(ident, name, letter, value, text) CTL_G_##ident,
#include "tools/ctl/verbs.def"
	CTL_G_MAX
};

enum ctl_verb {
#define CTL_VERB(ident, verb, min, max, args, text, more) CTL_V_##ident,
#include "tools/ctl/verbs.def"
	CTL_V_MAX
};

enum ctl_opt {
#define CTL_OPT(verb, ident, name, letter, value, kind, text) \
	CTL_O_##verb##_##ident,
#include "tools/ctl/verbs.def"
	CTL_O_MAX
};

#define CTL_POS_MAX 4
#define CTL_ERR_MAX 512

struct ctl_args {
	enum ctl_verb verb;	       /* CTL_V_MAX: none given */
	const char *word;	       /* first word when only that fits */
	const char *global[CTL_G_MAX]; /* NULL: not given; flags: "" */
	const char *opt[CTL_O_MAX];
	const char *pos[CTL_POS_MAX];
	size_t npos;
};

/*
 * Fills *a_r with pointers into argv.  0; -EINVAL with a line in err.  --help
 * and --version are results, not errors: the rest is then not checked.
 */
MUST_USE int args_parse(struct ctl_args *a_r, int argc, char **argv,
			char err[CTL_ERR_MAX]);

/* The verb's words, "servers add". */
const char *args_verb_name(enum ctl_verb v);

/* --help: of everything, or of the verbs that begin with `word`. */
void args_help(FILE *f, const char *word);
/* --help of one verb. */
void args_help_verb(FILE *f, enum ctl_verb v);

#endif
