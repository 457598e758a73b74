/*
 * control_call: one request under way, as the verbs see it.  For control.c
 * and control_*.c alone.
 *
 * A verb checks, acts, and writes the members of its reply into c->json; the
 * object and `ok` are there already.  It returns 0, or -errno with a line in
 * c->err: then what it wrote is thrown away.  A verb of level READ may be run
 * again with more room when its reply did not fit, so it changes nothing.
 */
#ifndef RMS_CONTROL_CALL_H
#define RMS_CONTROL_CALL_H

#include "master/control_request.h"
#include "master/master.h"
#include "master/store.h"
#include "shm/base/json.h"

#define CONTROL_LINES_MAX 40960

struct control_call {
	struct master *m;
	const struct control_request *req;
	struct store_author author;
	int fd; /* that came with the request, borrowed; -1 none */
	struct json json;
	bool follow; /* the verb asks for events to be sent on */
	bool wait;   /* the reply goes out with the rollout's end */
	struct conf_errors *errors; /* of a refused reload, owned */
	char *lines; /* of a refused import: JSON strings with commas between,
		      * below CONTROL_LINES_MAX bytes; owned */
	char err[MASTER_ERR];
};

#define VERB(ident, verb, level, args, text) \
	int control_do_##ident(struct control_call *c);
#include "master/control_verbs.def"
#undef VERB

/* Writes CLOCK_REALTIME ns as time text; 0 as null. */
void control_json_time(struct json *j, const char *key, uint64_t ns);
/* "" as null. */
void control_json_text(struct json *j, const char *key, const char *s);
/* The member `table`. */
void control_json_table(struct control_call *c);
/* "principal" ... */
const char *control_kind_name(enum subject_kind k);
/* The reported state of a credential's token; NULL when none was reported. */
const struct msg_cloud_cred *control_token(struct master *m, uint32_t id);
/* Seconds left of what was s when the cloud agent reported. */
uint64_t control_left_s(struct master *m, uint64_t s);
/* After a change that failed: event 3104 when the store is at fault. */
int control_store_failed(struct control_call *c, int r);

#endif
