/*
 * Any bytes as a request: llhttp takes them for the same one, or differ.def
 * says why not.
 */
#include <stdint.h>

#include "tests/differ/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	differ_fuzz(DIFFER_REQUEST, data, size);
	return 0;
}
