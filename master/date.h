/*
 * date: "2027-01-31" and "2027-01-31T18:00:00Z" to seconds.
 */
#ifndef RMS_DATE_H
#define RMS_DATE_H

#include "shm/base/bug.h"
#include "shm/base/str.h"

/* CLOCK_REALTIME seconds, UTC.  0, or -EINVAL for anything else, also for a
 * day that is not in the calendar and for years before 1970. */
MUST_USE int date_parse(struct slice text, uint64_t *s_r);

#endif
