/*
 * Purpose: read the clocks.
 *
 * Runs in: every process.
 * Trusts:  the kernel.
 * Touches: one cached reading per process.
 * Failure: none; a clock that cannot be read is a bug.
 */
#include "shm/base/clock.h"

#include <time.h>

#include "shm/base/bug.h"
#include "shm/base/log.h"

static uint64_t turn_ns;

static uint64_t
clock_read(clockid_t id)
{
	struct timespec ts;

	BUG_ON(clock_gettime(id, &ts) != 0);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t
clock_mono_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

uint64_t
clock_boot_ns(void)
{
	return clock_read(CLOCK_BOOTTIME);
}

uint64_t
clock_real_ns(void)
{
	return clock_read(CLOCK_REALTIME);
}

uint64_t
clock_turn_ns(void)
{
	if (turn_ns == 0)
		clock_turn();
	return turn_ns;
}

void
clock_turn(void)
{
	turn_ns = clock_mono_ns();
}

void
clock_turn_over(void)
{
	turn_ns = 0;
}

void
clock_text(uint64_t real_ns, char out_r[CLOCK_TEXT_LEN])
{
	time_t s = (time_t)(real_ns / NS_PER_S);
	unsigned ms = (unsigned)(real_ns / NS_PER_MS % 1000);
	struct tm tm;
	size_t n;

	BUG_ON(gmtime_r(&s, &tm) == NULL);
	n = strftime(out_r, CLOCK_TEXT_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
	BUG_ON(n == 0);
	snprintf(out_r + n, CLOCK_TEXT_LEN - n, ".%03uZ", ms);
}
