/*
 * out: puts the pieces of one flight together in the worker's scratch, so
 * that they leave in as few TLS records and system calls as there can be.
 *
 * One at a time, within one handler: out_begin() ... out_end().
 */
#ifndef RMS_OUT_H
#define RMS_OUT_H

#include "shm/base/str.h"
#include "worker/relay/relay.h"
#include "worker/relay/wire.h"

/* Runs longer than this are written from where they are. */
#define OUT_DIRECT 8192

struct out {
	struct wire *x;
	char *p;
	size_t len;
	bool failed;
};

static inline void
out_begin(struct out *o, struct wire *x)
{
	*o = (struct out){.x = x, .p = x->w->scratch};
}

static inline void
out_flush_scratch(struct out *o)
{
	if (o->len > 0 && wire_write(o->x, o->p, o->len) != IO_OK)
		o->failed = true;
	o->len = 0;
}

static inline void
out_put(struct out *o, const void *data, size_t len)
{
	if (len > RELAY_SCRATCH - o->len)
		out_flush_scratch(o);
	if (len > OUT_DIRECT && o->len == 0) {
		if (wire_write(o->x, data, len) != IO_OK)
			o->failed = true;
		return;
	}
	if (len > RELAY_SCRATCH) {
		if (wire_write(o->x, data, len) != IO_OK)
			o->failed = true;
		return;
	}
	if (len > 0)
		memcpy(o->p + o->len, data, len);
	o->len += len;
}

static inline void
out_str(struct out *o, const char *s)
{
	out_put(o, s, strlen(s));
}

static inline void
out_slice(struct out *o, struct slice s)
{
	out_put(o, s.p, s.len);
}

static inline void
out_u64(struct out *o, uint64_t v)
{
	char t[24];
	struct sbuf b;

	sbuf_init(&b, t, sizeof(t));
	sbuf_u64(&b, v);
	out_put(o, b.p, b.len);
}

/* Writes what is left and sends.  false when the wire failed. */
static inline bool
out_end(struct out *o)
{
	enum io_result r =
	    o->len > 0 ? wire_write_last(o->x, o->p, o->len) : wire_flush(o->x);

	o->len = 0;
	if (r != IO_OK)
		o->failed = true;
	return !o->failed;
}

#endif
