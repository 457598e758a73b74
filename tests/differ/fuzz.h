/*
 * fuzz: what the fuzz targets of both directions do.
 */
#ifndef RMS_DIFFER_FUZZ_H
#define RMS_DIFFER_FUZZ_H

#include <stdint.h>

#include "tests/differ/differ.h"

/* Ends the process, with the bytes and both opinions on standard error, when
 * the parsers differ in a way that differ.def does not explain. */
void differ_fuzz(enum differ_kind kind, const uint8_t *data, size_t size);

#endif
