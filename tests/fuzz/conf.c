/* A configuration of any bytes: errors with places, never a crash. */
#include "base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static size_t
count_items(const struct conf_item *section, unsigned depth)
{
	size_t count = 0;

	ASSERT(depth <= CONF_DEPTH_MAX + 1);
	for (const struct conf_item *item = section->items; item != NULL;
	     item = item->next) {
		ASSERT(item->name.len > 0);
		ASSERT(item->place.line > 0);
		count += 1 + (item->is_section ? count_items(item, depth + 1)
					       : item->values_count);
	}
	return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text out = {0};
	struct conf_sources sources = {0};
	struct conf_errors errors = {0};
	struct arena arena = {0};
	struct conf_item *root;

	conf_sources_add(&sources, SLICE("signet.conf"), slice_of(bytes, len));
	root = conf_parse(&sources, &arena, &errors);
	ASSERT(root != NULL);
	ASSERT(count_items(root, 0) <= len);
	conf_errors_write(&errors, &out);
	ASSERT((errors.count > 0) == (out.len > 0));
	conf_errors_done(&errors);
	conf_sources_done(&sources);
	arena_done(&arena);
	return 0;
}
