/*
 * trace: the traceparent of a request (W3C Trace Context, level 1), by which
 * the logs of everybody that it passes can be brought together.
 */
#ifndef RMS_TRACE_H
#define RMS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/base/hash.h"
#include "shm/base/str.h"

/* version "-" trace-id "-" parent-id "-" flags, of version 00. */
#define TRACE_LEN 55
/* Where the trace-id is in it. */
#define TRACE_ID_AT  3
#define TRACE_ID_LEN 32

/*
 * Is it one that may be passed on (3.2.2)?  Lower-case hexadecimal, no field
 * all zero, not version ff; a later version may go on behind a dash.
 */
bool trace_is_valid(struct slice s);

/*
 * A new one, not sampled, for the request of this number: unlike any other as
 * long as key is one process's own.  No entropy is asked for.
 */
void trace_make(char out_r[TRACE_LEN + 1], const struct hash_key *key,
		uint64_t number);

#endif
