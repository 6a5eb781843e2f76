#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

Test(clock, writes_iso)
{
	char out[CLOCK_ISO_SIZE];

	clock_write_iso(1795291200042u, out);
	cr_expect_str_eq(out, "2026-11-21T20:00:00.042Z");
}

static const struct {
	const char *zone, *date;
} date_rows[] = {
	{"UTC", "Sat, 21 Nov 2026 20:00:00 +0000"},
	{"EST5", "Sat, 21 Nov 2026 15:00:00 -0500"},
	{"IST-5:30", "Sun, 22 Nov 2026 01:30:00 +0530"},
	{"NFT-0:30", "Sat, 21 Nov 2026 20:30:00 +0030"},
	{"WEST0:30", "Sat, 21 Nov 2026 19:30:00 -0030"},
};

Test(clock, writes_dates_in_the_local_zone)
{
	for (size_t i = 0; i < sizeof(date_rows) / sizeof(date_rows[0]); i++) {
		char out[CLOCK_DATE_SIZE];

		setenv("TZ", date_rows[i].zone, 1);
		tzset();
		clock_write_date(1795291200042u, out);
		cr_expect_str_eq(out, date_rows[i].date);
	}
}

Test(clock, goes_forward)
{
	uint64_t before = clock_now_ms();

	cr_expect_geq(clock_now_ms(), before);
	cr_expect_gt(clock_wall_ms(), 1700000000000u);
}
