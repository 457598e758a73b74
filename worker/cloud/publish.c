/*
 * Purpose: write tokens and addresses into the shared segment.
 *
 * Runs in: cloud agent.
 * Trusts:  what an earlier cloud agent left there, within bounds.
 * Touches: the token segment.
 * Failure: a segment of another shape is refused.
 */
#include "worker/cloud/publish.h"

#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/base/str.h"
#include "shm/pub.h"

struct publish {
	struct pub *pub;
	struct token_value now;	 /* being edited */
	struct token_value last; /* as published */
};

struct publish *
publish_new(int fd, const char **why_r)
{
	struct publish *p = calloc(1, sizeof(*p));

	*why_r = "out of memory";
	if (p == NULL)
		return NULL;
	p->pub = pub_map(fd, sizeof(p->now), TOKEN_LAYOUT, true, why_r);
	if (p->pub == NULL) {
		free(p);
		return NULL;
	}
	(void)pub_read(p->pub, &p->last);
	p->last.naddr = MIN(p->last.naddr, TOKEN_ADDRS_MAX);
	p->last.host[sizeof(p->last.host) - 1] = '\0';
	p->last.tenant[sizeof(p->last.tenant) - 1] = '\0';
	p->now = p->last;
	return p;
}

void
publish_free(struct publish **pp)
{
	struct publish *p = *pp;

	if (p == NULL)
		return;
	pub_unmap(&p->pub);
	str_wipe(p, sizeof(*p));
	free(p);
	*pp = NULL;
}

struct token_value *
publish_value(struct publish *p)
{
	return &p->now;
}

/* What is reported of addresses that stay, at their new places. */
static void
publish_keep_bad(struct token_value *v, const char *host,
		 const struct addr_set *addrs)
{
	uint64_t bad[TOKEN_ADDRS_MAX] = {0};
	bool same = strcmp(host, v->host) == 0;

	for (uint32_t i = 0; i < addrs->n && same; i++)
		for (uint32_t j = 0; j < v->naddr; j++)
			if (memcmp(&addrs->a[i], &v->addr[j],
				   sizeof(v->addr[j])) == 0)
				bad[i] = v->health.bad[j];
	memcpy(v->health.bad, bad, sizeof(bad));
}

void
publish_addrs(struct publish *p, const char *host, const struct addr_set *addrs,
	      bool failed)
{
	struct token_value *v = &p->now;
	size_t bytes = sizeof(v->addr);

	BUG_ON(addrs->n > TOKEN_ADDRS_MAX);
	v->dns_failed = failed;
	if (addrs->n == 0 && strcmp(host, v->host) == 0)
		return; /* what we know of it stays */
	if (v->naddr == addrs->n && strcmp(host, v->host) == 0 &&
	    memcmp(v->addr, addrs->a, bytes) == 0)
		return;
	publish_keep_bad(v, host, addrs);
	memcpy(v->addr, addrs->a, bytes);
	v->naddr = addrs->n;
	memset(v->host, 0, sizeof(v->host));
	if (str_copy(v->host, sizeof(v->host), slice_of(host)) != 0)
		v->naddr = 0;
	v->addr_serial++;
}

bool
publish_write(struct publish *p)
{
	if (memcmp(&p->now, &p->last, sizeof(p->now)) == 0)
		return false;
	pub_write(p->pub, &p->now);
	p->last = p->now;
	return true;
}
