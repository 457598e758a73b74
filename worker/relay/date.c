/*
 * Purpose: the Date field of replies.
 *
 * Runs in: relay.
 * Trusts:  the clock of the host.
 * Touches: nothing but its own line.
 * Failure: none.
 */
#include "worker/relay/date.h"

#include <stdio.h>
#include <time.h>

#include "shm/base/bug.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

const char *
date_line(uint64_t real_ns)
{
	static const char day[7][4] = {"Sun", "Mon", "Tue", "Wed",
				       "Thu", "Fri", "Sat"};
	static const char month[12][4] = {"Jan", "Feb", "Mar", "Apr",
					  "May", "Jun", "Jul", "Aug",
					  "Sep", "Oct", "Nov", "Dec"};
	static char line[DATE_LINE_LEN];
	static time_t made = -1;
	time_t now = (time_t)(real_ns / NS_PER_S);
	struct tm tm;
	int n;

	if (now == made)
		return line;
	BUG_ON(gmtime_r(&now, &tm) == NULL);
	n = snprintf(line, sizeof(line),
		     "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
		     day[tm.tm_wday], tm.tm_mday, month[tm.tm_mon],
		     tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	BUG_ON(n != DATE_LINE_LEN - 1); /* 64 bits of ns end in 2554 */
	made = now;
	return line;
}
