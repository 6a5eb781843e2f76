#include <stdlib.h>

#include "base/conf_lexer.h"
#include "base/conf_value.h"

/* What one conf_fill() works with. */
struct filler {
	const struct conf_table *table;
	struct arena *arena;
	struct conf_errors *errors; /* NULL: only defaults are filled in */
};

static const struct conf_option *
option_find(const struct conf_table *table, struct slice path,
	    struct slice name)
{
	for (size_t i = 0; i < table->count; i++)
		if (name.len > 0 &&
		    slice_eq(conf_key_within(&table->options[i], path), name))
			return &table->options[i];
	return NULL;
}

static bool
option_is_section(const struct conf_option *option)
{
	return option->kind == CONF_SECTION || option->kind == CONF_TITLED;
}

/* ---- unknown names ---- */

/* The option of this section that was probably meant. */
static struct slice
nearest_find(const struct conf_table *table, struct slice path,
	     struct slice name)
{
	struct slice nearest = SLICE_NONE;
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < table->count; i++) {
		struct slice key = conf_key_within(&table->options[i], path);
		size_t distance;

		if (key.len == 0 || !conf_is_near(key, name))
			continue;
		distance = conf_distance(key, name);
		if (distance < least) {
			least = distance;
			nearest = key;
		}
	}
	return nearest;
}

/* The key of an option of that name in another section. */
static const char *
elsewhere_find(const struct conf_table *table, struct slice name)
{
	for (size_t i = 0; i < table->count; i++) {
		struct slice key = SLICE(table->options[i].key);
		ptrdiff_t dot = slice_find_last(key, '.');

		if (slice_eq(slice_from(key, (size_t)(dot + 1)), name))
			return table->options[i].key;
	}
	return NULL;
}

static void
unknown_report(const struct filler *filler, struct slice path,
	       const struct conf_item *section, const struct conf_item *item)
{
	CLEAN(text_done) struct text words = {0};
	struct slice near = nearest_find(filler->table, path, item->name);
	const char *elsewhere = elsewhere_find(filler->table, item->name);

	text_addf(&words, "unknown %s '%.*s'",
		  item->is_section ? "section" : "option",
		  SLICE_ARG(near.len > 0 ? item->name
					 : conf_name_said(filler->errors, item->name)));
	if (path.len > 0)
		text_addf(&words, " in section '%.*s'", SLICE_ARG(path));
	if (near.len > 0)
		text_addf(&words, "; did you mean '%.*s'?", SLICE_ARG(near));
	else if (elsewhere != NULL && strchr(elsewhere, '.') != NULL)
		text_addf(&words, "; it belongs into a section: '%s'",
			  elsewhere);
	else if (elsewhere != NULL)
		text_addf(&words,
			  "; it stands outside of sections: is a '}' missing "
			  "for the one that begins on line %u?",
			  section->place.line);
	conf_error(filler->errors, item->place, "%s", text_string(&words));
}

/* ---- options ---- */

static void *
field_at(void *target, size_t offset)
{
	return (char *)target + offset;
}

static void
list_store(void *target, const struct conf_option *option, void *elements,
	   size_t count)
{
	*(void **)field_at(target, option->offset) = elements;
	*(size_t *)field_at(target, option->count_offset) = count;
}

static size_t
element_size(const struct conf_option *option)
{
	return option->kind == CONF_DURATIONS ? sizeof(uint64_t) : option->each;
}

static void
value_report(const struct filler *filler, const struct conf_item *item,
	     const struct conf_value *value, struct fault *fault)
{
	fault_within(fault, "'%.*s'", SLICE_ARG(item->name));
	conf_error_fault(filler->errors, value->place, fault);
}

static bool
value_fill(const struct filler *filler, const struct conf_option *option,
	   const struct conf_item *item, const struct conf_value *value,
	   void *element)
{
	struct fault fault;

	if (conf_kind_is_quoted(option->kind) && !value->is_quoted) {
		conf_error(filler->errors, value->place,
			   "'%.*s': a text stands in double quotes: %.*s = "
			   "\"…\"",
			   SLICE_ARG(item->name), SLICE_ARG(item->name));
		return false;
	}
	if (conf_element_read(option, value->text, filler->arena, element,
			      &fault))
		return true;
	value_report(filler, item, value, &fault);
	return false;
}

static void
list_fill(const struct filler *filler, const struct conf_option *option,
	  const struct conf_item *item, void *target)
{
	size_t each = element_size(option), count = 0;
	char *elements = arena_array(filler->arena, item->values_count, each);

	for (const struct conf_value *value = item->values; value != NULL;
	     value = value->next)
		if (value_fill(filler, option, item, value,
			       elements + count * each))
			count++;
	if (option->kind == CONF_DURATIONS && item->values_count == 0)
		conf_error(filler->errors, item->place,
			   "'%.*s': the list is empty", SLICE_ARG(item->name));
	if (option->kind == CONF_LIST && option->max > 0 &&
	    (item->values_count < option->min ||
	     item->values_count > option->max))
		conf_error(filler->errors, item->place,
			   "'%.*s' has %zu elements: %llu to %llu are allowed",
			   SLICE_ARG(item->name), item->values_count,
			   (unsigned long long)option->min,
			   (unsigned long long)option->max);
	list_store(target, option, elements, count);
}

static void
option_fill(const struct filler *filler, const struct conf_option *option,
	    const struct conf_item *item, void *target)
{
	if (item->is_section)
		conf_error(filler->errors, item->place,
			   "'%.*s' is an option, not a section: %.*s = …",
			   SLICE_ARG(item->name), SLICE_ARG(item->name));
	else if (conf_kind_is_list(option->kind) &&
		 (item->is_list || item->values_count > 0))
		list_fill(filler, option, item, target);
	else if (item->is_list)
		conf_error(filler->errors, item->place,
			   "'%.*s' takes one value, not a list",
			   SLICE_ARG(item->name));
	else if (item->values_count > 0)
		/* On a fault the field keeps what it had: zero. */
		(void)!value_fill(filler, option, item, item->values,
				  field_at(target, option->offset));
}

/* A list's default is its elements with spaces between. */
static void
list_default(const struct filler *filler, const struct conf_option *option,
	     void *target)
{
	struct slice rest = SLICE(option->fallback), part;
	size_t each = element_size(option), count = 0;
	char *elements;

	while (slice_split(&rest, ' ', &part))
		count++;
	elements = arena_array(filler->arena, count, each);
	rest = SLICE(option->fallback);
	for (size_t i = 0; slice_split(&rest, ' ', &part); i++)
		ASSERT(conf_element_read(option, part, filler->arena,
					 elements + i * each, NULL));
	list_store(target, option, elements, count);
}

static void
option_default(const struct filler *filler, const struct conf_option *option,
	       const struct conf_item *section, void *target)
{
	struct slice key = SLICE(option->key);

	if (option->fallback == NULL) {
		key = slice_from(key, (size_t)slice_find_last(key, '.') + 1);
		if (filler->errors != NULL)
			conf_error(filler->errors, section->place,
				   "'%.*s' is missing in the section '%.*s%s"
				   "%.*s%s'",
				   SLICE_ARG(key), SLICE_ARG(section->name),
				   section->has_title ? " \"" : "",
				   SLICE_ARG(section->title),
				   section->has_title ? "\"" : "");
		return;
	}
	if (conf_kind_is_list(option->kind))
		list_default(filler, option, target);
	else
		ASSERT(conf_element_read(
			option, SLICE(option->fallback), filler->arena,
			field_at(target, option->offset), NULL));
}

/* ---- sections ---- */

static void section_fill(const struct filler *filler, struct slice path,
			 const struct conf_item *section, void *target);

struct titled {
	const struct conf_item *item;
	size_t number;
};

static int
titled_compare(const void *a, const void *b)
{
	const struct titled *x = a, *y = b;
	size_t len = x->item->title.len;

	for (size_t i = 0; i < len && i < y->item->title.len; i++) {
		int order = ascii_lower(x->item->title.bytes[i]) -
			    ascii_lower(y->item->title.bytes[i]);

		if (order != 0)
			return order;
	}
	if (len != y->item->title.len)
		return len < y->item->title.len ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

/* By sorting: there may be many thousands. Case does not make a difference. */
static void
titles_check(const struct filler *filler, struct titled *titled, size_t count)
{
	if (count > 1)
		qsort(titled, count, sizeof(*titled), titled_compare);
	for (size_t i = 1; i < count; i++) {
		const struct conf_item *first = titled[i - 1].item;
		const struct conf_item *item = titled[i].item;

		if (!first->has_title || !item->has_title ||
		    !slice_eq_nocase(first->title, item->title))
			continue;
		conf_error(filler->errors, item->place,
			   "duplicate section '%.*s \"%.*s\"': the first "
			   "is in %s, line %u",
			   SLICE_ARG(item->name), SLICE_ARG(item->title),
			   first->place.file, first->place.line);
	}
}

static void
titled_item_fill(const struct filler *filler, const struct conf_option *option,
		 const struct conf_item *item, void *element)
{
	if (!item->is_section || !item->has_title) {
		conf_error(filler->errors, item->place,
			   "'%.*s' is a section with a title: "
			   "%.*s \"…\" {…}",
			   SLICE_ARG(item->name), SLICE_ARG(item->name));
		return;
	}
	if (item->title.len == 0)
		conf_error(filler->errors, item->place,
			   "the title of '%.*s' is empty",
			   SLICE_ARG(item->name));
	*(struct slice *)field_at(element, option->title_offset) =
		arena_copy(filler->arena, item->title);
	section_fill(filler, SLICE(option->key), item, element);
}

static void
titled_fill(const struct filler *filler, const struct conf_option *option,
	    const struct conf_item *section, struct slice name, void *target)
{
	CLEAN(clean_memory) struct titled *titled = NULL;
	size_t count = 0, i = 0;
	char *elements;

	for (const struct conf_item *item = section->items; item != NULL;
	     item = item->next)
		count += slice_eq(item->name, name);
	titled = memory_array(count, sizeof(*titled));
	elements = arena_array(filler->arena, count, option->each);
	for (const struct conf_item *item = section->items; item != NULL;
	     item = item->next) {
		if (!slice_eq(item->name, name))
			continue;
		titled_item_fill(filler, option, item,
				 elements + i * option->each);
		titled[i] = (struct titled){item, i};
		i++;
	}
	if (!option->titles_repeat)
		titles_check(filler, titled, count);
	list_store(target, option, elements, count);
}

static void
plain_section_fill(const struct filler *filler,
		   const struct conf_option *option,
		   const struct conf_item *item, void *target)
{
	if (!item->is_section)
		conf_error(filler->errors, item->place,
			   "'%.*s' is a section: %.*s {…}",
			   SLICE_ARG(item->name), SLICE_ARG(item->name));
	else if (item->has_title)
		conf_error(filler->errors, item->place,
			   "the section '%.*s' takes no title",
			   SLICE_ARG(item->name));
	section_fill(filler, SLICE(option->key), item, target);
}

static void
duplicates_report(const struct filler *filler, const struct conf_item *first)
{
	for (const struct conf_item *item = first->next; item != NULL;
	     item = item->next)
		if (slice_eq(item->name, first->name))
			conf_error(filler->errors, item->place,
				   "duplicate %s '%.*s': the first is in %s, "
				   "line %u",
				   item->is_section ? "section" : "option",
				   SLICE_ARG(item->name), first->place.file,
				   first->place.line);
}

/* One row of the table in one section. */
static void
row_fill(const struct filler *filler, const struct conf_option *option,
	 struct slice name, const struct conf_item *section, void *target)
{
	static const struct conf_item nothing = {.is_section = true};
	const struct conf_item *item = section->items;

	if (option->kind == CONF_TITLED) {
		titled_fill(filler, option, section, name, target);
		return;
	}
	while (item != NULL && !slice_eq(item->name, name))
		item = item->next;
	if (item == NULL && option->kind == CONF_SECTION) {
		section_fill(filler, SLICE(option->key), &nothing, target);
		return;
	}
	if (item == NULL) {
		option_default(filler, option, section, target);
		return;
	}
	duplicates_report(filler, item);
	for (; item != NULL; item = item->next) {
		if (!slice_eq(item->name, name))
			continue;
		if (option->kind == CONF_SECTION)
			plain_section_fill(filler, option, item, target);
		else
			option_fill(filler, option, item, target);
	}
}

static void
section_fill(const struct filler *filler, struct slice path,
	     const struct conf_item *section, void *target)
{
	const struct conf_table *table = filler->table;

	for (const struct conf_item *item = section->items; item != NULL;
	     item = item->next)
		if (option_find(table, path, item->name) == NULL)
			unknown_report(filler, path, section, item);
	for (size_t i = 0; i < table->count; i++) {
		struct slice name = conf_key_within(&table->options[i], path);

		if (name.len > 0)
			row_fill(filler, &table->options[i], name, section,
				 target);
	}
}

void
conf_fill(const struct conf_table *table, const struct conf_item *root,
	  void *target, struct arena *arena, struct conf_errors *errors)
{
	struct filler filler = {table, arena, errors};

	ASSERT(errors != NULL);
	section_fill(&filler, SLICE_NONE, root, target);
}

void
conf_fill_default(const struct conf_table *table, const char *section,
		  void *target, struct arena *arena)
{
	static const struct conf_item nothing = {.is_section = true};
	struct filler filler = {table, arena, NULL};

	section_fill(&filler, SLICE(section), &nothing, target);
}

bool
conf_value_read(const struct conf_option *option, struct slice text,
		struct arena *arena, void *field, struct fault *fault)
{
	ASSERT(!option_is_section(option));
	return conf_element_read(option, text, arena, field, fault);
}
