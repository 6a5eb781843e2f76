/* Whatever is accepted must lie inside the input and read back the same. */
#include "base/tags.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
expect_same(const struct tags *a, const struct tags *b)
{
	ASSERT(a->count == b->count);
	for (size_t i = 0; i < a->count; i++) {
		ASSERT(slice_eq(a->items[i].name, b->items[i].name));
		ASSERT(slice_eq(a->items[i].value, b->items[i].value));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice list = slice_of(bytes, len), rest, item;
	CLEAN(text_done) struct text again = {0};
	struct tags tags, second;

	if (!tags_parse(list, &tags, NULL))
		return 0;
	for (size_t i = 0; i < tags.count; i++) {
		const struct tag *tag = &tags.items[i];

		ASSERT(tag->raw.bytes >= list.bytes);
		ASSERT(tag->raw.bytes + tag->raw.len <= list.bytes + len);
		ASSERT(tag->value.bytes >= tag->raw.bytes);
		ASSERT(tag->value.len <= tag->raw.len);
		text_addf(&again, "%s%.*s=", i > 0 ? ";" : "",
			  SLICE_ARG(tag->name));
		text_add(&again, tag->value);
		rest = tag->value;
		while (tags_next_item(&rest, &item))
			ASSERT(item.len <= tag->value.len);
	}
	ASSERT(tags_parse(text_slice(&again), &second, NULL));
	expect_same(&tags, &second);
	return 0;
}
