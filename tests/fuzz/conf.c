/*
 * Up to four files, cut at bytes 0xff, parsed and filled in. Whatever they
 * hold, the same sources give the same errors again, and a file without
 * errors still has none when it is read from a copy.
 */
#include <stdio.h>

#include "base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct inner {
	struct slice title, key;
};

struct target {
	struct slice name;
	bool is_on;
	unsigned word;
	uint64_t size, time_ms;
	uint16_t count;
	uint64_t *times;
	size_t times_count;
	struct slice *texts;
	size_t texts_count;
	struct inner *inners;
	size_t inners_count;
};

static bool
text_value(struct slice text, struct arena *arena, void *element,
	   struct fault *fault)
{
	if (text.len > 3)
		return fault_set(fault, FAULT_INPUT, "'%.*s' is too long",
				 SLICE_ARG(text));
	*(struct slice *)element = arena_copy(arena, text);
	return true;
}

static const char *const words[] = {"one", "two", NULL};

#define FIELD(type, f) offsetof(type, f), sizeof(((type *)0)->f)
#define ROOT(f) FIELD(struct target, f)

static const struct conf_option rows[] = {
	{"name", CONF_TEXT, ROOT(name), "", 0, 8, "Name."},
	{"is_on", CONF_BOOL, ROOT(is_on), "true", 0, 0, "On."},
	{"s", CONF_SECTION, 0, 0, NULL, 0, 0, "Section."},
	{"s.word", CONF_WORD, ROOT(word), "one", 0, 0, "Word.",
	 .words = words},
	{"s.size", CONF_SIZE, ROOT(size), "1M", 1, UINT64_MAX, "Size."},
	{"s.time", CONF_DURATION, ROOT(time_ms), "5m", 0, UINT64_MAX, "Time."},
	{"s.count", CONF_COUNT, ROOT(count), "7", 1, 65535, "Count."},
	{"s.times", CONF_DURATIONS, ROOT(times), "5m 1h", 1, UINT64_MAX,
	 "Times.", .count_offset = offsetof(struct target, times_count)},
	{"texts", CONF_LIST, ROOT(texts), "", 0, 0, "Texts.",
	 .parse = text_value, .each = sizeof(struct slice),
	 .count_offset = offsetof(struct target, texts_count)},
	{"in", CONF_TITLED, ROOT(inners), "i", 0, 0, "Inner.",
	 .each = sizeof(struct inner),
	 .count_offset = offsetof(struct target, inners_count),
	 .title_offset = offsetof(struct inner, title)},
	{"in.key", CONF_TEXT, FIELD(struct inner, key), NULL, 1, 0, "Key.",
	 .example = "k"},
};
static const struct conf_table table = {rows, COUNT(rows)};

static void
parse(const struct conf_sources *sources, struct text *said)
{
	CLEAN(conf_errors_done) struct conf_errors errors = {0};
	CLEAN(arena_done) struct arena arena = {0};
	struct target target = {0};
	const struct conf_item *root = conf_parse(sources, &arena, &errors);

	conf_fill(&table, root, &target, &arena, &errors);
	conf_errors_write(&errors, said);
	ASSERT((errors.count == 0) == (said->len == 0));
	ASSERT(target.name.len <= 8);
	for (size_t i = 0; i < target.texts_count; i++)
		ASSERT(target.texts[i].len <= 3);
	for (size_t i = 0; errors.count == 0 && i < target.inners_count; i++)
		ASSERT(target.inners[i].key.len > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(conf_sources_done) struct conf_sources sources = {0}, copy = {0};
	CLEAN(text_done) struct text said = {0}, again = {0};
	static const char *const names[] = {"a", "b", "d/c", "d/d"};
	struct slice rest = slice_of(bytes, len), part = SLICE_NONE;

	if (len > 65536)
		return 0;
	if (conf_sources_copy(rest, &copy, NULL)) {
		parse(&copy, &said);
		conf_sources_done(&copy);
		text_clear(&said);
	}
	for (size_t i = 0; i < COUNT(names); i++) {
		if (!slice_split(&rest, '\xff', &part))
			part = SLICE_NONE;
		conf_sources_add(&sources, SLICE(names[i]), part);
	}
	parse(&sources, &said);
	ASSERT(conf_sources_copy(text_slice(&sources.bytes), &copy, NULL));
	parse(&copy, &again);
	ASSERT(slice_eq(text_slice(&said), text_slice(&again)));
	return 0;
}
