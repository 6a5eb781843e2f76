#include <criterion/criterion.h>

#include "relay/server/strangers.h"

static const struct row {
	const char *name;
	size_t strangers;
	uint64_t everybody, max;
	bool have_place, are_many;
} rows[] = {
	{"nobody", 0, 0, 100, true, false},
	{"half of their places", 37, 37, 100, true, false},
	{"more", 38, 38, 100, true, true},
	{"all of them", 75, 75, 100, false, true},
	{"beyond, after a reload", 80, 80, 100, false, true},
	{"the kept quarter is taken", 37, 62, 100, true, false},
	{"others leave fewer", 10, 90, 100, true, false},
	{"and more than half of those are taken", 11, 90, 100, true, true},
	{"others leave one", 1, 100, 100, true, true},
	{"others alone", 0, 100, 100, true, false},
	{"others, beyond a bound that is lower now", 1, 120, 100, true, true},
	{"he is not in the sum any more", 5, 4, 100, true, false},
	{"one place", 0, 0, 1, true, false},
	{"one place that is taken", 1, 1, 1, false, true},
	{"of four", 2, 2, 4, true, true},
	{"of four three", 3, 3, 4, false, true},
};

Test(strangers, places)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		struct strangers strangers;

		atomic_init(&strangers.count, row->strangers);
		cr_expect_eq(strangers_have_place(&strangers, row->max),
			     row->have_place, "%s", row->name);
		cr_expect_eq(strangers_are_many(&strangers, row->everybody,
						row->max),
			     row->are_many, "%s", row->name);
		cr_expect_eq(strangers_enter(&strangers, row->max),
			     row->have_place, "%s", row->name);
		cr_expect_eq(atomic_load(&strangers.count),
			     row->strangers + row->have_place, "%s",
			     row->name);
	}
}
