/*
 * json: write JSON (RFC 8259) into a struct sbuf.  There is no reader here:
 * the privileged processes never parse JSON.
 *
 * Bytes that are not UTF-8 are written as U+FFFD, so the output is always
 * valid.  Commas are the writer's business.  When the text does not fit,
 * sbuf.cut is set and the output must be thrown away.
 */
#ifndef RMS_JSON_H
#define RMS_JSON_H

#include <stdbool.h>

#include "shm/base/str.h"

struct json {
	struct sbuf *out;
	bool comma; /* the next value needs one before it */
};

void json_init(struct json *j, struct sbuf *out);
/*
 * key NULL inside an array or at the top.
 *
 * rms-cloud and rmsctl are linked with jansson too, which has functions of
 * these two names: under its own name for the linker ours cannot be taken for
 * theirs.
 */
void json_object(struct json *j, const char *key) __asm__("rms_json_object");
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key) __asm__("rms_json_array");
void json_array_end(struct json *j);
void json_slice(struct json *j, const char *key, struct slice s);
/* NULL is written as null. */
void json_str(struct json *j, const char *key, const char *s);
void json_u64(struct json *j, const char *key, uint64_t v);
void json_i64(struct json *j, const char *key, int64_t v);
void json_bool(struct json *j, const char *key, bool v);
/* ns as milliseconds with three decimals. */
void json_ms(struct json *j, const char *key, uint64_t ns);

/* Only the escaped inside of a string, without quotes. */
void json_escape(struct sbuf *out, struct slice s);

#endif
