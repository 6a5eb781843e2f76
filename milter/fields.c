#include "milter/fields.h"

#include <stdlib.h>

void
fields_done(struct fields *fields)
{
	free(fields->items);
	*fields = (struct fields){0};
}

void
fields_add(struct fields *fields, struct slice name, struct slice whole)
{
	ASSERT(!fields->is_sorted);
	if (fields->count == fields->size) {
		fields->size = fields->size == 0 ? 32 : fields->size * 2;
		fields->items = memory_grow(
			fields->items, fields->size * sizeof(*fields->items));
	}
	fields->items[fields->count] = (struct field){
		.name = name, .whole = whole, .position = fields->count};
	fields->count++;
}

/* Any order will do: lengths tell most names apart at once. */
static int
name_compare(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	for (size_t i = 0; i < a.len; i++) {
		int left = (unsigned char)ascii_lower(a.bytes[i]);
		int right = (unsigned char)ascii_lower(b.bytes[i]);

		if (left != right)
			return left - right;
	}
	return 0;
}

/* By name, and of one name the lowest first. */
static int
field_compare(const void *a, const void *b)
{
	const struct field *left = a, *right = b;
	int order = name_compare(left->name, right->name);

	if (order != 0)
		return order;
	return left->position > right->position
		       ? -1
		       : left->position < right->position;
}

static void
fields_sort(struct fields *fields)
{
	if (!fields->is_sorted && fields->count > 0)
		qsort(fields->items, fields->count, sizeof(*fields->items),
		      field_compare);
	fields->is_sorted = true;
}

/* Position of the first one in sorted order whose name is not less. */
static size_t
name_bound(const struct fields *fields, struct slice name)
{
	size_t low = 0, high = fields->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (name_compare(fields->items[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
fields_withhold(struct fields *fields, struct slice whole)
{
	fields->withheld = whole.bytes;
}

bool
fields_take(struct fields *fields, struct slice name, struct slice *whole_out)
{
	const struct field *found;
	size_t first, at;

	fields_sort(fields);
	first = name_bound(fields, name);
	if (first == fields->count)
		return false;
	do {
		at = first + fields->items[first].taken;
		found = &fields->items[at];
		if (at >= fields->count ||
		    name_compare(found->name, name) != 0)
			return false;
		fields->items[first].taken++;
	} while (found->whole.bytes == fields->withheld);
	*whole_out = found->whole;
	return true;
}

void
fields_place(struct fields *fields, struct slice name,
	     struct slice *by_position)
{
	fields_sort(fields);
	for (size_t i = name_bound(fields, name);
	     i < fields->count && name_compare(fields->items[i].name, name) == 0;
	     i++)
		by_position[fields->items[i].position] = fields->items[i].name;
}

void
fields_rewind(struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++)
		fields->items[i].taken = 0;
}

struct digest *
fields_digest(struct fields *fields, const struct slice *names, size_t count,
	      enum canonicalization canon)
{
	struct digest *digest = digest_new();
	CLEAN(text_done) struct text canonical = {0};
	struct slice whole;

	fields_rewind(fields);
	for (size_t i = 0; i < count; i++) {
		if (!fields_take(fields, names[i], &whole))
			continue;
		text_clear(&canonical);
		canon_header(canon, whole, &canonical);
		text_add_string(&canonical, "\r\n");
		digest_feed(digest, text_slice(&canonical));
	}
	return digest;
}
