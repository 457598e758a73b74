/*
 * table_fixture: entries of an authorization table and who is looked up in it.
 */
#ifndef RMS_TEST_TABLE_FIXTURE_H
#define RMS_TEST_TABLE_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/table.h"
#include "shm/table_layout.h"
#include "shm/base/log.h"

#define NOW UINT64_C(1800000000)

static uint8_t sid_mem[64][SID_BYTES_MAX];
static size_t sid_used;

static inline struct slice
sid(const char *text)
{
	uint8_t *p = sid_mem[sid_used++ % 64];
	int len = sid_parse(slice_of(text), p);

	assert_true(len > 0);
	return (struct slice){(const char *)p, (size_t)len};
}

static inline struct table_in
entry(uint32_t id, enum subject_kind kind, struct slice key,
      enum server_role role)
{
	return (struct table_in){.id = id,
				 .kind = kind,
				 .key = key,
				 .role = role,
				 .name = SLICE_LIT("a name")};
}

#define BY_SID(id, text, role) entry(id, SUBJECT_SID, sid(text), role)
#define BY_NAME(id, text, role) \
	entry(id, SUBJECT_PRINCIPAL, slice_of(text), role)
#define BY_CERT(id, text, role) entry(id, SUBJECT_CERT, slice_of(text), role)

static inline struct table *
build(const struct table_in *in, size_t n)
{
	const char *why = NULL;
	int fd = table_build(in, n, 42);
	struct table *t;

	assert_true(fd >= 0);
	t = table_map(fd, &why);
	assert_null(why);
	assert_non_null(t);
	close(fd);
	return t;
}

struct who {
	struct identity id;
	struct identity_sid sids[IDENTITY_SIDS_MAX];
};

static struct who who;

static inline void
person(enum auth_mech mech, const char *principal)
{
	memset(&who, 0, sizeof(who));
	who.id.mech = mech;
	who.id.sids = who.sids;
	snprintf(who.id.principal, sizeof(who.id.principal), "%s", principal);
}

static inline void
has_sid(enum sid_source source, const char *text)
{
	struct identity_sid *s = &who.sids[who.id.nsids++];
	int len = sid_parse(slice_of(text), s->bytes);

	assert_true(len > 0);
	s->len = (uint8_t)len;
	s->source = (uint8_t)source;
}

static inline struct table_hit
decide(const struct table *t)
{
	struct table_hit h;

	memset(&h, 0xee, sizeof(h));
	table_decide(t, &who.id, NOW, &h);
	return h;
}

#define USER	 "S-1-5-21-1-2-3-1101"
#define GROUP_A	 "S-1-5-21-1-2-3-2001"
#define GROUP_B	 "S-1-5-21-1-2-3-2002"
#define STRANGER "S-1-5-21-1-2-3-9999"

#endif
