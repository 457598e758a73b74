/*
 * Purpose: small sets of addresses.
 *
 * Runs in: cloud agent.
 * Trusts:  nobody: addresses come from the DNS and from settings.
 * Touches: memory of its callers.
 * Failure: what does not fit or is unusable is left out.
 */
#include "worker/cloud/addr_set.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/base/str.h"

static bool
addr_usable(const struct token_addr *a)
{
	static const uint8_t zero[16];

	if (a->family == 4)
		return a->bytes[0] != 0 && a->bytes[0] < 224;
	if (a->family == 6)
		return memcmp(a->bytes, zero, 16) != 0 && a->bytes[0] != 0xff;
	return false;
}

static bool
addr_same(const struct token_addr *a, const struct token_addr *b)
{
	return a->family == b->family && a->scope == b->scope &&
	       memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static bool
addr_set_has(const struct addr_set *s, const struct token_addr *a)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (addr_same(&s->a[i], a))
			return true;
	return false;
}

bool
addr_set_add(struct addr_set *s, const struct token_addr *a)
{
	BUG_ON(s->n > TOKEN_ADDRS_MAX);
	if (s->n == TOKEN_ADDRS_MAX || !addr_usable(a) || addr_set_has(s, a))
		return false;
	s->a[s->n++] = *a;
	return true;
}

int
addr_set_add_text(struct addr_set *s, const char *text)
{
	struct token_addr a = {0};

	if (inet_pton(AF_INET, text, a.bytes) == 1)
		a.family = 4;
	else if (inet_pton(AF_INET6, text, a.bytes) == 1)
		a.family = 6;
	if (!addr_usable(&a))
		return -EINVAL;
	addr_set_add(s, &a);
	return 0;
}

int
addr_set_parse(struct addr_set *s_r, const char *list)
{
	char one[64];
	int rc;

	*s_r = (struct addr_set){0};
	while (*list != '\0') {
		size_t n;

		list += strspn(list, " \t,");
		n = strcspn(list, " \t,");
		if (n == 0)
			break;
		rc = str_copy(one, sizeof(one), (struct slice){list, n});
		if (rc != 0 || addr_set_add_text(s_r, one) != 0)
			return -EINVAL;
		list += n;
	}
	return s_r->n == 0 ? -EINVAL : 0;
}

bool
addr_set_same(const struct addr_set *a, const struct addr_set *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (!addr_set_has(b, &a->a[i]))
			return false;
	return true;
}

uint32_t
addr_set_count(const struct addr_set *s, uint8_t family)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n; i++)
		n += s->a[i].family == family;
	return n;
}

void
addr_set_append(struct addr_set *s, const struct addr_set *from, uint8_t family)
{
	for (uint32_t i = 0; i < from->n; i++)
		if (from->a[i].family == family)
			addr_set_add(s, &from->a[i]);
}

void
addr_set_text(const struct addr_set *s, bool brackets, char *out, size_t size)
{
	struct sbuf b;

	sbuf_init(&b, out, size);
	for (uint32_t i = 0; i < s->n; i++) {
		int af = s->a[i].family == 4 ? AF_INET : AF_INET6;
		char one[INET6_ADDRSTRLEN];

		if (inet_ntop(af, s->a[i].bytes, one, sizeof(one)) == NULL)
			continue;
		sbuf_fmt(&b, brackets && af == AF_INET6 ? "%s[%s]" : "%s%s",
			 b.len > 0 ? "," : "", one);
	}
}
