/*
 * jget: members of a JSON object, where a missing one or one of another type
 * reads as nothing.  Results borrow from the object.
 */
#ifndef RMS_CTL_JGET_H
#define RMS_CTL_JGET_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

/* "" when there is none. */
static inline const char *
jget_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "" : s;
}

/* 0 when there is none or it is negative. */
static inline uint64_t
jget_u64(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v < 0 ? 0 : (uint64_t)v;
}

static inline bool
jget_bool(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

#endif
