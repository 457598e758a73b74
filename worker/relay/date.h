/*
 * date: the Date field (RFC 9110 5.6.7, 6.6.1).
 */
#ifndef RMS_DATE_H
#define RMS_DATE_H

#include <stdint.h>

/* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" and a NUL. */
#define DATE_LINE_LEN 38

/*
 * The field line of a time, which is ns since 1970 (clock_real_ns()).  Made
 * once a second; valid until the next call.
 */
const char *date_line(uint64_t real_ns);

#endif
