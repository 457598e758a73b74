/*
 * Any bytes as a token: what is found lies inside of it, and its name can be
 * written down.
 */
#include <stdlib.h>

#include "worker/apreq.h"
#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_inside(struct slice s, const uint8_t *data, size_t size)
{
	uintptr_t from = (uintptr_t)data, p = (uintptr_t)s.p;

	BUG_ON(p < from || p - from > size || s.len > size - (p - from));
	BUG_ON(s.len == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apreq r;
	char name[512];

	apreq_find(&r, (struct slice){(const char *)data, size});
	BUG_ON((r.kind == APREQ_BAD) != (r.why != NULL));
	BUG_ON(r.ntlm.len > 0 && r.kind != APREQ_NTLM);
	if (r.ntlm.len > 0)
		check_inside(r.ntlm, data, size);
	if (r.kind != APREQ_FOUND) {
		BUG_ON(r.kind == APREQ_BAD && r.authenticator.p != NULL);
		return 0;
	}
	check_inside(r.whole, data, size);
	check_inside(r.ticket, data, size);
	check_inside(r.authenticator, data, size);
	check_inside(r.realm, data, size);
	BUG_ON(r.nnames == 0 || r.nnames > APREQ_NAMES_MAX);
	(void)!apreq_principal(&r, name, sizeof(name));
	return 0;
}
