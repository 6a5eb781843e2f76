#include "tests/unit/base/conf_stand.h"

#include "base/clock.h"
#include "base/conf_value.h"

static bool
even_parse(struct slice text, struct arena *arena, void *element,
	   struct fault *fault)
{
	(void)arena;
	if (!slice_number(text, element) || *(uint64_t *)element % 2 != 0)
		return fault_set(fault, FAULT_INPUT, "'%.*s' is not even",
				 SLICE_ARG(text));
	return true;
}

static const char *const colours[] = {"red", "green", "blue", NULL};

#define FIELD(type, f) offsetof(type, f), sizeof(((type *)0)->f)
#define ROOT(f) FIELD(struct target, f)

static const struct conf_option rows[] = {
	{"name", CONF_TEXT, ROOT(name), "x \"y\"", 0, 8, "A name."},
	{"is_on", CONF_BOOL, ROOT(is_on), "true", 0, 0, "On."},
	{"paint", CONF_SECTION, 0, 0, NULL, 0, 0, "Paint."},
	{"paint.colour", CONF_WORD, ROOT(colour), "green", 0, GREEN,
	 "Colour.", .words = colours},
	{"paint.size", CONF_SIZE, ROOT(size), "50M", 1, 1u << 30, "Size."},
	{"paint.time", CONF_DURATION, ROOT(time_ms), "5m", SECOND, HOUR,
	 "Time."},
	{"paint.count", CONF_COUNT, ROOT(count), "7", 1, 10, "Count."},
	{"paint.times", CONF_DURATIONS, ROOT(times), "5m 1h", SECOND, DAY,
	 "Times.", .count_offset = offsetof(struct target, times_count)},
	{"evens", CONF_LIST, ROOT(evens), "", 0, 3, "Evens.",
	 .parse = even_parse, .each = sizeof(uint64_t),
	 .count_offset = offsetof(struct target, evens_count)},
	{"even", CONF_PARSED, ROOT(even), "4", 0, 0, "Even.",
	 .parse = even_parse},
	{"outer", CONF_TITLED, ROOT(outers), "one", 0, 0, "Outer.",
	 .each = sizeof(struct outer),
	 .count_offset = offsetof(struct target, outers_count),
	 .title_offset = offsetof(struct outer, title)},
	{"outer.port", CONF_COUNT, FIELD(struct outer, port), "25", 1, 65535,
	 "Port."},
	{"outer.inner", CONF_TITLED, FIELD(struct outer, inners), "two", 0, 0,
	 "Inner.", .each = sizeof(struct inner),
	 .count_offset = offsetof(struct outer, inners_count),
	 .title_offset = offsetof(struct inner, title)},
	{"outer.inner.key", CONF_TEXT, FIELD(struct inner, key), NULL, 1, 0,
	 "Key.", .example = "k.pem"},
};
const struct conf_table conf_stand_table = {rows, COUNT(rows)};

void
fixture_done(struct fixture *fixture)
{
	arena_done(&fixture->arena);
	conf_sources_done(&fixture->sources);
	conf_errors_done(&fixture->errors);
	text_done(&fixture->said);
}

void
fixture_parse(struct fixture *fixture)
{
	fixture->root = conf_parse(&fixture->sources, &fixture->arena,
				   &fixture->errors);
	conf_fill(&conf_stand_table, fixture->root, &fixture->target, &fixture->arena,
		  &fixture->errors);
	conf_errors_write(&fixture->errors, &fixture->said);
}

void
fixture_of(struct fixture *fixture, const char *contents)
{
	*fixture = (struct fixture){0};
	conf_sources_add(&fixture->sources, SLICE("a"), SLICE(contents));
	fixture_parse(fixture);
}
