/*
 * lookup: a name as the operator types it, found in the directory, judged and
 * shown.
 */
#ifndef RMS_CTL_LOOKUP_H
#define RMS_CTL_LOOKUP_H

#include <jansson.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/dir.h"

#define LOOKUP_WARNINGS 4

struct lookup {
	struct dir_found found;
	char host[256];	   /* the server that answered */
	char domain[256];  /* "contoso.test" */
	char name[256];	   /* "CONTOSO\Exchange Servers", "" when too long */
	size_t members;	   /* accounts in a group, nested ones included */
	bool members_more; /* that many and more */
	char warning[LOOKUP_WARNINGS][320];
	size_t nwarnings;
};

/*
 * CTL_OK, or the exit status of what was said already: no such name, an
 * ambiguous one (its candidates are listed), one that is never in a ticket, no
 * directory.
 */
MUST_USE int lookup_name(struct ctl *c, const struct dir_options *o,
			 const char *text, struct lookup *l_r);
/*
 * For `servers add`: the same when its SUBJECT is a name for a directory;
 * *found_r tells.  CTL_OK and false: the subject is to be taken as it stands.
 */
MUST_USE int lookup_for_add(struct ctl *c, struct lookup *l_r, bool *found_r);
/* For people, to c->out; warnings to c->err. */
void lookup_show(struct ctl *c, const struct lookup *l);
/* The same as an object, the caller's; NULL: no memory. */
MUST_USE json_t *lookup_json(const struct lookup *l);

#endif
