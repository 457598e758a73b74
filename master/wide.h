/*
 * wide: the well-known groups that nearly everybody is in (MS-DTYP 2.4.2.4).
 */
#ifndef RMS_WIDE_H
#define RMS_WIDE_H

#include "shm/base/str.h"

/* Its name ("Domain Users"), or NULL when the subject is no such group. */
const char *wide_group(struct slice subject);

#endif
