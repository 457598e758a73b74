/*
 * Purpose: check a traceparent, or make one.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: nothing but its arguments.
 * Failure: "not valid": then a new one is made (W3C Trace Context 3.2.2).
 */
#include "worker/relay/trace.h"

#include "shm/base/log.h"

#define TRACE_MAX 512 /* of a later version; ours has 55 */

/* n lower-case hexadecimal digits at p; *zero_r: all are 0. */
static bool
trace_hex(const char *p, size_t n, bool *zero_r)
{
	*zero_r = true;
	for (size_t i = 0; i < n; i++) {
		if (!(p[i] >= '0' && p[i] <= '9') &&
		    !(p[i] >= 'a' && p[i] <= 'f'))
			return false;
		*zero_r &= p[i] == '0';
	}
	return true;
}

bool
trace_is_valid(struct slice s)
{
	bool version_0, trace_0, parent_0, flags_0;

	if (s.len < TRACE_LEN || s.len > TRACE_MAX)
		return false;
	if (!trace_hex(s.p, 2, &version_0) || s.p[2] != '-' ||
	    !trace_hex(s.p + TRACE_ID_AT, TRACE_ID_LEN, &trace_0) ||
	    s.p[35] != '-' || !trace_hex(s.p + 36, 16, &parent_0) ||
	    s.p[52] != '-' || !trace_hex(s.p + 53, 2, &flags_0))
		return false;
	if (trace_0 || parent_0 || (s.p[0] == 'f' && s.p[1] == 'f'))
		return false;
	return s.len == TRACE_LEN || (!version_0 && s.p[TRACE_LEN] == '-');
}

/* Bits of x, well mixed and one to one (the finalizer of splitmix64). */
static uint64_t
trace_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

void
trace_make(char out_r[TRACE_LEN + 1], const struct hash_key *key,
	   uint64_t number)
{
	uint64_t part[3];
	struct sbuf b;

	part[0] = hash_bytes(key, &number, sizeof(number));
	part[1] = trace_mix(part[0]);
	part[2] = trace_mix(part[1]);
	sbuf_init(&b, out_r, TRACE_LEN + 1);
	sbuf_str(&b, "00-");
	sbuf_hex(&b, part[0] | 1, 16); /* never all zero */
	sbuf_hex(&b, part[1], 16);
	sbuf_str(&b, "-");
	sbuf_hex(&b, part[2] | 1, 16);
	sbuf_str(&b, "-00");
	BUG_ON(b.cut || b.len != TRACE_LEN);
}
