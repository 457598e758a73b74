/*
 * control_request: reads one request of the control socket.  Pure; what the
 * fuzzer drives.
 */
#ifndef RMS_CONTROL_REQUEST_H
#define RMS_CONTROL_REQUEST_H

#include <stdbool.h>

#include "master/control_proto.h"
#include "shm/base/bug.h"
#include "shm/base/str.h"

enum control_verb_id {
#define VERB(ident, verb, level, args, text) CONTROL_##ident,
#include "master/control_verbs.def"
#undef VERB
	CONTROL_VERBS
};

/* One line of control_verbs.def. */
struct control_verb {
	enum control_verb_id id;
	const char *name;
	bool change; /* level CHANGE */
	const char *args;
};

struct control_request {
	const struct control_verb *verb;
	size_t n;
	struct control_arg {
		struct slice name;
		const char *value; /* NUL-terminated */
	} arg[CONTROL_ARGS_MAX];
};

/*
 * data is the request after its length; what is read from it borrows from it.
 * 0; -EPROTO when it is not a request, -EINVAL when verb or arguments are not
 * those of control_verbs.def: then err says what would do.
 */
MUST_USE int control_request_parse(struct control_request *req_r,
				   const char *data, size_t len, char *err,
				   size_t err_size);

/* Value of an argument, or NULL when it was not given. */
const char *control_request_arg(const struct control_request *req,
				const char *name);
/* Is the flag given, and 1? */
bool control_request_flag(const struct control_request *req, const char *name);

#endif
