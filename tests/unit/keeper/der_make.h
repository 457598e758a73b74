/*
 * der_make: builds DER from the inside out, for tests.  Values live in a static
 * arena and are never freed.
 */
#ifndef RMS_TEST_DER_MAKE_H
#define RMS_TEST_DER_MAKE_H

#include <string.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define OID_SPNEGO SLICE_LIT("\x06\x06\x2b\x06\x01\x05\x05\x02")
#define OID_KRB5   SLICE_LIT("\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02")
#define OID_MSKRB5 SLICE_LIT("\x06\x09\x2a\x86\x48\x82\xf7\x12\x01\x02\x02")
#define OID_NTLM   SLICE_LIT("\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a")
#define NOTHING	   ((struct slice){NULL, 0})

/* One value after the other. */
static inline struct slice
cat(struct slice a, struct slice b)
{
	static char arena[1 << 22];
	static size_t used;
	char *p = arena + used;

	BUG_ON(a.len + b.len > sizeof(arena) - used);
	used += a.len + b.len;
	if (a.len > 0)
		memcpy(p, a.p, a.len);
	if (b.len > 0)
		memcpy(p + a.len, b.p, b.len);
	return (struct slice){p, a.len + b.len};
}

/* The value with a tag; the length in three bytes when it needs any. */
static inline struct slice
der(unsigned tag, struct slice in)
{
	char head[4] = {(char)tag, (char)in.len, 0, 0};
	size_t n = 2;

	if (in.len >= 128) {
		head[1] = (char)0x82;
		head[2] = (char)(in.len >> 8);
		head[3] = (char)in.len;
		n = 4;
	}
	return cat((struct slice){head, n}, in);
}

static inline struct slice
der_int8(unsigned field, int v)
{
	char b = (char)v;

	return der(0xa0 | field, der(2, (struct slice){&b, 1}));
}

static inline struct slice
enc_part(int etype, int kvno, struct slice cipher)
{
	struct slice s = der_int8(0, etype);

	if (kvno >= 0)
		s = cat(s, der_int8(1, kvno));
	return der(0x30, cat(s, der(0xa2, der(4, cipher))));
}

static inline struct slice
make_ticket(const char *realm, const char *a, const char *b, int etype,
	    int kvno)
{
	struct slice name = der(0x1b, slice_of(a)), s;

	if (b != NULL)
		name = cat(name, der(0x1b, slice_of(b)));
	name = cat(der_int8(0, 2), der(0xa1, der(0x30, name)));
	s = cat(der_int8(0, 5), der(0xa1, der(0x1b, slice_of(realm))));
	s = cat(s, der(0xa2, der(0x30, name)));
	s = cat(s, der(0xa3, enc_part(etype, kvno, SLICE_LIT("ticket"))));
	return der(0x61, der(0x30, s));
}

static inline struct slice
make_apreq(struct slice ticket, struct slice cipher)
{
	struct slice s = cat(der_int8(0, 5), der_int8(1, 14));

	s = cat(s, der(0xa2, der(3, SLICE_LIT("\0\0\0\0\0"))));
	s = cat(s, der(0xa3, ticket));
	s = cat(s, der(0xa4, enc_part(18, -1, cipher)));
	return der(0x6e, der(0x30, s));
}

static inline struct slice
gss_token(struct slice oid, struct slice in)
{
	return der(0x60, cat(oid, in));
}

static inline struct slice
krb5_token(struct slice apreq)
{
	return gss_token(OID_KRB5, cat(SLICE_LIT("\x01\x00"), apreq));
}

static inline struct slice
spnego_init(struct slice mechs, struct slice token)
{
	struct slice s = der(0xa0, der(0x30, mechs));

	if (token.p != NULL)
		s = cat(s, der(0xa2, der(4, token)));
	return gss_token(OID_SPNEGO, der(0xa0, der(0x30, s)));
}

static inline struct slice
spnego_resp(struct slice token)
{
	struct slice s = der(0xa0, der(0x0a, SLICE_LIT("\1")));

	if (token.p != NULL)
		s = cat(s, der(0xa2, der(4, token)));
	return der(0xa1, der(0x30, s));
}

#endif
