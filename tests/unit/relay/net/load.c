#include <criterion/criterion.h>

#include "base/slice.h"
#include "relay/net/load.h"

static const struct load_row {
	const char *name;
	/* looks: when, and what the thread had worked */
	struct { uint64_t now_ms, worked_ms; } looks[3];
	uint64_t asked_ms;
	bool is_high;
} rows[] = {
	{"never looked at", {{0, 0}}, 50, false},
	{"all of the time", {{5000, 10}, {5100, 110}}, 5100, true},
	{"half of it", {{5000, 10}, {5100, 60}}, 5100, false},
	{"a little more", {{5000, 10}, {5100, 61}}, 5100, true},
	{"until the next look, which is late",
	 {{5000, 10}, {5100, 110}}, 5299, true},
	{"asleep since", {{5000, 10}, {5100, 110}}, 5300, false},
	{"idle again", {{5000, 10}, {5100, 110}, {5200, 120}}, 5201, false},
	{"woken from a long sleep", {{5000, 10}, {9000, 110}}, 9000, false},
	{"busy since it woke", {{5000, 10}, {9000, 20}, {9100, 100}}, 9100,
	 true},
};

Test(load, is_high_where_most_of_the_time_is_work)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct load_row *row = &rows[i];
		struct load load = {0};

		for (size_t j = 0; j < COUNT(row->looks); j++)
			if (row->looks[j].now_ms > 0)
				load_look(&load, row->looks[j].now_ms,
					  row->looks[j].worked_ms);
		cr_expect_eq(load_is_high(&load, row->asked_ms), row->is_high,
			     "%s", row->name);
	}
}

Test(load, is_looked_at_now_and_then)
{
	struct load load = {0};

	cr_expect(load_is_due(&load, 5000));
	load_look(&load, 5000, 0);
	cr_expect_not(load_is_due(&load, 5000 + LOAD_SPAN_MS - 1));
	cr_expect(load_is_due(&load, 5000 + LOAD_SPAN_MS));
}
