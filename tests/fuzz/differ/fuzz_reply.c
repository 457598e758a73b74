/*
 * Any bytes as a reply to a POST: llhttp takes them for the same one, or
 * differ.def says why not.
 */
#include <stdint.h>

#include "tests/differ/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	differ_fuzz(DIFFER_REPLY, data, size);
	return 0;
}
