/*
 * pac_fixture: a PAC as a DC would make it, and what the keeper reads of it.
 */
#ifndef RMS_TEST_PAC_FIXTURE_H
#define RMS_TEST_PAC_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/keeper/ndr_make.h"
#include "worker/keeper/pac.h"
#include "shm/base/log.h"

#define ON	  0x00000007U /* mandatory, default, enabled */
#define OFF	  0x00000003U
#define DENY	  0x00000010U
#define RESOURCE  0x20000007U
#define EXTRA_SET 0x20U
#define RES_SET	  0x200U

#define DOMAIN "S-1-5-21-1111111111-2222222222-3333333333"
#define OTHER  "S-1-5-21-1004336348-1177238915-682003330"
#define TEXT(s)                                                              \
	((struct ndr_text){(const uint16_t *)(u"" s), sizeof(u"" s) / 2 - 1, \
			   false})
#define NO_TEXT ((struct ndr_text){NULL, 0, true})

static struct ndr_logon l;
static struct pac_logon out;
static const char *why;

/* The server EXCH01$, as a Windows DC would put it. */
static inline void
sample(void)
{
	memset(&l, 0, sizeof(l));
	l.user = TEXT("EXCH01$");
	l.full = TEXT("");
	l.script = l.profile = l.home = l.drive = NO_TEXT;
	l.server = TEXT("DC1");
	l.domain = TEXT("CONTOSO");
	l.domain_sid = DOMAIN;
	l.user_rid = 1103;
	l.primary = 515;
	l.flags = EXTRA_SET | RES_SET;
	l.group[0] = (struct ndr_rid){515, ON};
	l.group[1] = (struct ndr_rid){1200, ON};
	l.ngroups = 2;
	l.extra[0] = (struct ndr_sid){"S-1-18-1", ON};
	l.extra[1] = (struct ndr_sid){OTHER "-1777", ON};
	l.nextra = 2;
	l.resource_sid = DOMAIN;
	l.resource[0] = (struct ndr_rid){1300, RESOURCE};
	l.nresource = 1;
}

/* Invariants of every result. */
static inline void
check_result(int e)
{
	assert_true(out.nsids <= IDENTITY_SIDS_MAX);
	assert_true(strlen(out.user) < PAC_NAME_MAX);
	assert_true(strlen(out.domain) < PAC_NAME_MAX);
	if (e != 0) {
		assert_non_null(why);
		assert_int_equal(out.nsids, 0);
		assert_string_equal(out.user, "");
		assert_string_equal(out.domain, "");
		return;
	}
	assert_null(why);
	for (size_t i = 0; i < out.nsids; i++) {
		assert_true(sid_valid(out.sid[i].bytes, out.sid[i].len));
		if (i > 0)
			assert_true(out.sid[i - 1].source <= out.sid[i].source);
	}
}

static inline int
decode_bytes(const uint8_t *p, size_t len)
{
	/* Of its exact size, so that a sanitizer sees a step too far; what
	 * stood in the result before must not shine through. */
	uint8_t *copy = malloc(len == 0 ? 1 : len);
	int e;

	assert_non_null(copy);
	memcpy(copy, p, len);
	memset(&out, 0xa5, sizeof(out));
	e = pac_decode((struct slice){(const char *)copy, len}, &out, &why);
	free(copy);
	check_result(e);
	return e;
}

static inline int
decode(void)
{
	const struct ndr_made *m = ndr_make(&l);

	return decode_bytes(m->p, m->len);
}

/* The SIDs are exactly these: "u:…" user, p, g, x, r; DOMAIN is written "D". */
static inline void
expect(const char *const *sids, size_t n)
{
	static const char letter[] = "upgxr";
	char text[SID_TEXT_MAX], got[SID_TEXT_MAX + 4];

	for (size_t i = 0; i < n && i < out.nsids; i++) {
		const char *s;

		assert_int_equal(
		    sid_text(out.sid[i].bytes, out.sid[i].len, text), 0);
		s = strncmp(text, DOMAIN "-", sizeof(DOMAIN)) == 0
			? text + sizeof(DOMAIN) - 1
			: text;
		snprintf(got, sizeof(got), "%c:%s%s", letter[out.sid[i].source],
			 s == text ? "" : "D", s);
		assert_string_equal(got, sids[i]);
	}
	assert_int_equal(out.nsids, n);
}

#define EXPECT(...)                                            \
	do {                                                   \
		static const char *const e_[] = {__VA_ARGS__}; \
		expect(e_, ARRAY_LEN(e_));                     \
	} while (0)

static inline bool
has(const char *sid)
{
	uint8_t b[SID_BYTES_MAX];
	int len = sid_parse(slice_of(sid), b);

	assert_true(len > 0);
	for (size_t i = 0; i < out.nsids; i++)
		if (out.sid[i].len == len &&
		    memcmp(out.sid[i].bytes, b, (size_t)len) == 0)
			return true;
	return false;
}

#endif
