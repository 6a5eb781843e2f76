#include <criterion/criterion.h>

#include "base/check.h"
#include "base/clock.h"
#include "relay/delivery/pace.h"

#define MAX 12

/*
 * What happens, a letter each: D a message delivered with all of the window
 * open, d one with a single connection open, A one that was answered, F a
 * failure with all others open, L one with two left, X one with none left;
 * and the window and the pause in minutes that come of it.
 */
static const struct {
	const char *name, *events;
	unsigned window;
	uint64_t pause_min;
} rows[] = {
	{ "begins small", "", 5, 0 },
	{ "grows with each message", "DDD", 8, 0 },
	{ "up to the bound", "DDDDDDDDDDDDDDD", MAX, 0 },
	{ "not by what needs no more", "dddd", 5, 0 },
	{ "not by an answer alone", "AAAA", 5, 0 },
	{ "one fails of many", "F", 4, 0 },
	{ "some are left", "DDDL", 2, 0 },
	{ "others that were never used do not make it larger", "LF", 1, 0 },
	{ "with patience after that", "LDDDDDDDDDDDDDDDDDDD", 2, 0 },
	{ "but does grow", "LDDDDDDDDDDDDDDDDDDDD", 3, 0 },
	{ "patience begins again", "LDDDDDDDDDDDDDDDDDDDLDDD", 2, 0 },
	{ "none is left", "X", 1, 1 },
	{ "after many others", "DDDLFX", 1, 1 },
	{ "longer each time", "XXX", 1, 4 },
	{ "never longer than is wanted", "XXXXXX", 1, 20 },
	{ "works again", "XD", 5, 0 },
	{ "and forgets", "LXDDD", 7, 0 },
	{ "answers again", "XXA", 5, 0 },
	{ "from the beginning", "XXAX", 1, 1 },
};

Test(pace, of_what_happens)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pace pace;
		uint64_t pause_ms = 0, max_ms = 20 * MINUTE;

		pace_init(&pace);
		for (const char *event = rows[i].events; *event != '\0';
		     event++) {
			pause_ms = 0;
			switch (*event) {
			case 'D':
				pace_delivered(&pace, pace.window, MAX);
				break;
			case 'd':
				pace_delivered(&pace, 1, MAX);
				break;
			case 'A':
				pace_answered(&pace);
				break;
			default:
				pause_ms = pace_failed(&pace,
						       *event == 'F'
							       ? pace.window - 1
							       : *event == 'L'
								       ? 2
								       : 0,
						       max_ms);
			}
		}
		cr_expect_eq(pace.window, rows[i].window, "%s: window %u",
			     rows[i].name, pace.window);
		cr_expect_eq(pause_ms, rows[i].pause_min * MINUTE,
			     "%s: pause %llu", rows[i].name,
			     (unsigned long long)pause_ms);
	}
}

Test(pace, backs_off_for_an_hour_at_most)
{
	uint64_t backoff_ms = 0, pause_ms = 0;

	for (unsigned i = 0; i < 100; i++)
		pause_ms = pace_back_off(&backoff_ms, 24 * HOUR);
	cr_expect_eq(pause_ms, 1 * HOUR);
}
