#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"

static uint64_t
clock_read_ms(clockid_t id)
{
	struct timespec now;

	ASSERT(clock_gettime(id, &now) == 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t
clock_now_ms(void)
{
	return clock_read_ms(CLOCK_MONOTONIC);
}

uint64_t
clock_wall_ms(void)
{
	return clock_read_ms(CLOCK_REALTIME);
}

uint64_t
clock_thread_ms(void)
{
	return clock_read_ms(CLOCK_THREAD_CPUTIME_ID);
}

/* The last digits of a number, and what follows them. */
static char *
write_digits(char *at, unsigned digits, unsigned number, char behind)
{
	for (unsigned i = digits; i > 0; i--, number /= 10)
		at[i - 1] = (char)('0' + number % 10);
	at[digits] = behind;
	return at + digits + 1;
}

static char *
write_word(char *at, const char *word, char behind)
{
	size_t len = strlen(word);

	memcpy(at, word, len);
	at[len] = behind;
	return at + len + 1;
}

/* By hand: every line of the log has one. */
void
clock_write_iso(uint64_t wall_ms, char *out)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	out = write_digits(out, 4, (unsigned)parts.tm_year + 1900, '-');
	out = write_digits(out, 2, (unsigned)parts.tm_mon + 1, '-');
	out = write_digits(out, 2, (unsigned)parts.tm_mday, 'T');
	out = write_digits(out, 2, (unsigned)parts.tm_hour, ':');
	out = write_digits(out, 2, (unsigned)parts.tm_min, ':');
	out = write_digits(out, 2, (unsigned)parts.tm_sec, '.');
	out = write_digits(out, 3, (unsigned)(wall_ms % 1000), 'Z');
	*out = '\0';
}

void
clock_write_date(uint64_t wall_ms, char *out)
{
	/* Not strftime's %a and %b: the locale must not show. */
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed",
					"Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr",
					   "May", "Jun", "Jul", "Aug",
					   "Sep", "Oct", "Nov", "Dec"};
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;
	unsigned offset_min;

	localtime_r(&seconds, &parts);
	offset_min = (unsigned)(labs(parts.tm_gmtoff) / 60 % (24 * 60));
	out = write_word(out, days[parts.tm_wday], ',');
	*out++ = ' ';
	out = write_digits(out, parts.tm_mday < 10 ? 1 : 2,
			   (unsigned)parts.tm_mday, ' ');
	out = write_word(out, months[parts.tm_mon], ' ');
	out = write_digits(out, 4, (unsigned)parts.tm_year + 1900, ' ');
	out = write_digits(out, 2, (unsigned)parts.tm_hour, ':');
	out = write_digits(out, 2, (unsigned)parts.tm_min, ':');
	out = write_digits(out, 2, (unsigned)parts.tm_sec, ' ');
	*out++ = parts.tm_gmtoff < 0 ? '-' : '+';
	write_digits(out, 4, offset_min / 60 * 100 + offset_min % 60, '\0');
}
