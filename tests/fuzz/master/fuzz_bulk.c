/*
 * Feeds arbitrary bytes to the reader of a list of servers that came with a
 * control request: it ends, within the bounds of the bytes and of a record.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "master/bulk.h"

#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as large as the list: one byte more is an error. */
	uint8_t *copy = malloc(size > 0 ? size : 1);
	static struct store_server s;
	char err[STORE_ERR] = "";
	struct bulk b;
	uint32_t line, n = 0;

	if (copy == NULL)
		return 0;
	if (size > 0)
		memcpy(copy, data, size);
	if (bulk_open(&b, copy, size, err) != 0) {
		if (err[0] == '\0')
			abort();
	} else {
		while (bulk_next(&b, &s, &line) == 1)
			if (++n > b.count || s.role == SERVER_NONE ||
			    strlen(s.subject) >= sizeof(s.subject))
				abort();
		bulk_unmap(&b);
	}
	free(copy);
	return 0;
}
