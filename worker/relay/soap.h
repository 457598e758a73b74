/*
 * soap: which operation an envelope asks for, for log and counters.
 *
 * Not an XML parser: nothing is decided by its answer, and the body travels on
 * as it came.  Pure: bytes in, a slice of them out.
 */
#ifndef RMS_SOAP_H
#define RMS_SOAP_H

#include "shm/base/str.h"

/* How much of a body is looked at. */
#define SOAP_LOOK_MAX 8192

/*
 * Local name of the first element of the Body of the Envelope, in what is
 * there of the text.  Empty when it has not come yet, or this is none.
 */
struct slice soap_operation(struct slice text);

#endif
