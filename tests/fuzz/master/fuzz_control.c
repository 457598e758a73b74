/*
 * Feeds arbitrary bytes to the reader of control requests, and the values it
 * finds to the readers behind it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "master/control_request.h"
#include "master/date.h"
#include "master/wide.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct control_request req;
	char err[256], *copy = malloc(size + 1);
	uint64_t when;

	if (copy == NULL)
		return 0;
	/* Exactly as large as the request: one byte more is an error. */
	copy = realloc(copy, size > 0 ? size : 1);
	if (size > 0)
		memcpy(copy, data, size);
	memset(err, 'x', sizeof(err));
	if (control_request_parse(&req, copy, size, err, sizeof(err)) != 0) {
		/* a refusal has a line */
		if (memchr(err, '\0', sizeof(err)) == NULL || err[0] == '\0')
			abort();
	} else {
		for (size_t i = 0; i < req.n; i++) {
			struct slice v = slice_of(req.arg[i].value);

			if (req.arg[i].name.len == 0)
				abort();
			if (date_parse(v, &when) == 0 && v.len < 10)
				abort();
			(void)wide_group(v);
		}
		(void)control_request_flag(&req, "force");
	}
	free(copy);
	return 0;
}
