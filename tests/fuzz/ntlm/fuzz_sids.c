/*
 * Any list of SIDs from winbind: refused with none, or valid ones, none twice,
 * in their order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/ntlm/account.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct identity id = {.mech = MECH_NTLM};
	char *copy = malloc(size > 0 ? size : 1);
	int r;

	if (copy == NULL)
		return 0;
	if (size > 0)
		memcpy(copy, data, size);
	r = account_sids(&id, (struct slice){copy, size});
	BUG_ON(r != 0 && r != -EINVAL && r != -E2BIG && r != -ENOMEM);
	BUG_ON(r != 0 && id.nsids != 0);
	BUG_ON(id.nsids > IDENTITY_SIDS_MAX);
	for (size_t i = 0; i < id.nsids; i++) {
		const struct identity_sid *s = &id.sids[i];

		BUG_ON(!sid_valid(s->bytes, s->len));
		for (size_t j = 0; j < i; j++)
			BUG_ON(id.sids[j].len == s->len &&
			       memcmp(id.sids[j].bytes, s->bytes, s->len) == 0);
	}
	free(id.sids);
	free(copy);
	return 0;
}
