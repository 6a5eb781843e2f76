/*
 * clock_jumps - loaded before the C library: the wall clock is off by as many
 * seconds as the file says that CLOCK_JUMPS names, and the clock that never
 * jumps (CLOCK_MONOTONIC) by a second number; a third one, unless it is 0, is
 * the only process for which that is so. It is mapped, so that a test may change
 * it at any time.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "page.h"

static volatile int64_t *offset;
static pid_t self;

__attribute__((constructor)) static void
begin(void)
{
	offset = page_of("CLOCK_JUMPS");
	self = getpid();
}

static int
is_off(void)
{
	return offset != NULL && (offset[2] == 0 || offset[2] == self);
}

int
clock_gettime(clockid_t clock, struct timespec *out)
{
	int status = (int)syscall(SYS_clock_gettime, clock, out);

	if (status == 0 && is_off() &&
	    (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		out->tv_sec += offset[0];
	if (status == 0 && is_off() &&
	    (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE))
		out->tv_sec += offset[1];
	return status;
}

int
gettimeofday(struct timeval *out, void *zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	out->tv_sec = now.tv_sec;
	out->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}
