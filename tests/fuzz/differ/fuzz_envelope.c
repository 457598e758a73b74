/*
 * Any text as an envelope: expat finds the same operation and as many items
 * when it is well-formed, or ours has left it alone for a reason.  The first
 * byte chooses what is counted.
 */
#include <stdint.h>

#include "shm/base/log.h"
#include "tests/differ/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct soap_path paths[] = {
    {"A/B", "", false},
    {"RequestParams/AcquireLicenseParams", "", false},
    {"AcquireLicenseResult/AcquireLicenseResponse", "AcquireLicenseException",
     false},
    {"AcquireTemplatesResult/GuidTemplate", "Template", true},
    {"A", "A", false},
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope ours, theirs;
	const struct soap_path *what;
	const char *way;

	if (size < 1)
		return 0;
	what = &paths[data[0] % ARRAY_LEN(paths)];
	envelope_ours(&ours, what, (const char *)data + 1, size - 1);
	envelope_theirs(&theirs, what, (const char *)data + 1, size - 1);
	way = envelope_way(&ours, &theirs);
	if (way != NULL)
		log_err("not of one opinion: %s", way);
	BUG_ON(way != NULL);
	return 0;
}
