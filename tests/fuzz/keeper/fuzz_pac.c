/*
 * Any bytes as a PAC's logon information.  Holds:
 *	- a result keeps its invariants: valid SIDs, none twice, in the order of
 *	  their sources, names that are UTF-8;
 *	- an error leaves nothing;
 *	- what stands behind the object, and what was in memory, is of no
 *account.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker/keeper/pac.h"
#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes that follow a first byte of UTF-8; -1: it is none. */
static int
utf8_follow(uint8_t c)
{
	if (c < 0x80)
		return 0;
	if (c >= 0xc2 && c < 0xe0)
		return 1;
	if (c >= 0xe0 && c < 0xf0)
		return 2;
	return c >= 0xf0 && c < 0xf5 ? 3 : -1;
}

static void
check_name(const char *s)
{
	size_t len = strnlen(s, PAC_NAME_MAX);

	BUG_ON(len == PAC_NAME_MAX);
	for (size_t i = 0; i < len; i++) {
		int more = utf8_follow((uint8_t)s[i]);

		BUG_ON(more < 0);
		for (; more > 0; more--)
			BUG_ON(((uint8_t)s[++i] & 0xc0) != 0x80);
	}
}

static void
check_sids(const struct pac_logon *l)
{
	BUG_ON(l->nsids > IDENTITY_SIDS_MAX);
	for (size_t i = 0; i < l->nsids; i++) {
		const struct identity_sid *s = &l->sid[i];

		BUG_ON(!sid_valid(s->bytes, s->len));
		BUG_ON(s->source > SID_RESOURCE);
		BUG_ON(i > 0 && l->sid[i - 1].source > s->source);
		BUG_ON(i > 0 && s->source == SID_USER);
		for (size_t j = 0; j < i; j++)
			BUG_ON(l->sid[j].len == s->len &&
			       memcmp(l->sid[j].bytes, s->bytes, s->len) == 0);
	}
}

static void
check_same(const struct pac_logon *a, const struct pac_logon *b)
{
	BUG_ON(strcmp(a->user, b->user) != 0);
	BUG_ON(strcmp(a->domain, b->domain) != 0);
	BUG_ON(a->nsids != b->nsids);
	for (size_t i = 0; i < a->nsids; i++) {
		BUG_ON(a->sid[i].source != b->sid[i].source);
		BUG_ON(a->sid[i].len != b->sid[i].len);
		BUG_ON(memcmp(a->sid[i].bytes, b->sid[i].bytes,
			      a->sid[i].len) != 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pac_logon first, second;
	const char *why;
	uint8_t *more;
	int e;

	memset(&first, 0, sizeof(first));
	e = pac_decode((struct slice){(const char *)data, size}, &first, &why);
	BUG_ON(e != 0 && e != -EPROTO && e != -E2BIG);
	BUG_ON((e != 0) != (why != NULL));
	BUG_ON(e != 0 && (first.nsids != 0 || first.user[0] != '\0' ||
			  first.domain[0] != '\0'));
	check_name(first.user);
	check_name(first.domain);
	check_sids(&first);
	if (e != 0)
		return 0;
	more = malloc(size + 3);
	if (more == NULL)
		return 0;
	memcpy(more, data, size);
	memset(more + size, 0xff, 3);
	memset(&second, 0xa5, sizeof(second));
	e = pac_decode((struct slice){(const char *)more, size + 3}, &second,
		       &why);
	BUG_ON(e != 0);
	check_same(&first, &second);
	free(more);
	return 0;
}
