/*
 * Any bytes as a PROXY header: its end is within them, a piece of a good one
 * is not refused, and what is behind it does not matter.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/proxyproto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxyproto pp, again;
	size_t used = 0, n = 0;
	enum proxyproto_result r = proxyproto_read(data, size, &pp, &used);
	uint8_t *copy;

	if (r != PROXYPROTO_DONE)
		return 0;
	BUG_ON(used == 0 || used > size || used > PROXYPROTO_MAX);
	BUG_ON(!pp.local && pp.family != 4 && pp.family != 6);
	copy = malloc(used); /* of its own: a read beyond it is seen */
	BUG_ON(copy == NULL);
	memcpy(copy, data, used);
	for (size_t i = 0; i < used; i++)
		BUG_ON(proxyproto_read(copy, i, &again, &n) != PROXYPROTO_MORE);
	BUG_ON(proxyproto_read(copy, used, &again, &n) != PROXYPROTO_DONE);
	BUG_ON(n != used || memcmp(&pp, &again, sizeof(pp)) != 0);
	free(copy);
	return 0;
}
