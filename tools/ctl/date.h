/*
 * date: moments as people write them.
 */
#ifndef RMS_CTL_DATE_H
#define RMS_CTL_DATE_H

#include <stdint.h>

#include "shm/base/bug.h"

/*
 * "YYYY-MM-DD" (00:00 UTC of that day) or an RFC 3339 time with its offset,
 * years 1970 to 9999.  Seconds since 1970; 0, or -EINVAL.
 */
MUST_USE int date_parse(const char *text, uint64_t *seconds_r);
/* "90d", "12h", "30m": so long before now.  0, or -EINVAL. */
MUST_USE int date_ago(const char *text, uint64_t now, uint64_t *seconds_r);

#endif
