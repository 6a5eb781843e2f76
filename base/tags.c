#include "base/tags.h"

/* The length of the folding white space at `at`, or 0. */
static size_t
fws_length(struct slice list, size_t at)
{
	size_t i = at;

	for (;;) {
		while (i < list.len && ascii_is_wsp(list.bytes[i]))
			i++;
		if (list.len - i < 3 || list.bytes[i] != '\r' ||
		    list.bytes[i + 1] != '\n' ||
		    !ascii_is_wsp(list.bytes[i + 2]))
			return i - at;
		i += 2;
	}
}

/* The length of the VALCHAR at `at`, or 0. */
static size_t
valchar_length(struct slice list, size_t at)
{
	char c = list.bytes[at];
	size_t len = slice_utf8_length(list, at);

	return len == 1 && (c <= ' ' || c == 0x7f || c == ';') ? 0 : len;
}

static size_t
name_length(struct slice list, size_t at)
{
	size_t i = at;

	if (at >= list.len || !ascii_is_alpha(list.bytes[at]))
		return 0;
	while (i < list.len &&
	       (ascii_is_alpha(list.bytes[i]) || ascii_is_digit(list.bytes[i]) ||
		list.bytes[i] == '_'))
		i++;
	return i - at;
}

/* tag-value = [ tval *( 1*(WSP / FWS) tval ) ]: the length up to the end of
 * the last tval. */
static size_t
value_length(struct slice list, size_t at)
{
	size_t end = at, i = at, step;

	for (;;) {
		while (i < list.len && (step = valchar_length(list, i)) > 0)
			end = i += step;
		if (i == at)
			return 0;
		i += fws_length(list, i);
		if (i == end || i >= list.len || valchar_length(list, i) == 0)
			return end - at;
	}
}

static bool
fault_at(struct fault *fault, size_t at, const char *what)
{
	return fault_set(fault, FAULT_INPUT, "tag list, byte %zu: %s", at + 1,
			 what);
}

/* tag-spec = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]; *at goes behind
 * it. */
static bool
tag_parse(struct slice list, size_t *at, struct tag *tag, struct fault *fault)
{
	size_t i = *at, raw, len;

	i += fws_length(list, i);
	len = name_length(list, i);
	if (len == 0)
		return fault_at(fault, i, "a tag name is expected");
	tag->name = slice_sub(list, i, len);
	i += len;
	i += fws_length(list, i);
	if (i >= list.len || list.bytes[i] != '=')
		return fault_at(fault, i, "'=' is expected");
	raw = ++i;
	i += fws_length(list, i);
	len = value_length(list, i);
	tag->value = slice_sub(list, i, len);
	i += len;
	i += fws_length(list, i);
	if (i < list.len && list.bytes[i] != ';')
		return fault_at(fault, i, "a character that is not allowed");
	tag->raw = slice_sub(list, raw, i - raw);
	*at = i;
	return true;
}

static const struct tag *
tag_named(const struct tags *tags, struct slice name)
{
	for (size_t i = 0; i < tags->count; i++)
		if (slice_eq(tags->items[i].name, name))
			return &tags->items[i];
	return NULL;
}

bool
tags_parse(struct slice list, struct tags *tags_out, struct fault *fault)
{
	struct tags tags;
	size_t at = 0;

	tags.count = 0;
	for (;;) {
		struct tag tag;

		if (!tag_parse(list, &at, &tag, fault))
			return false;
		if (tag_named(&tags, tag.name) != NULL)
			return fault_set(fault, FAULT_INPUT,
					 "tag '%.*s' comes twice",
					 SLICE_ARG(slice_sub(tag.name, 0, 40)));
		if (tags.count == TAGS_MAX)
			return fault_set(fault, FAULT_LIMIT,
					 "more than %d tags", TAGS_MAX);
		tags.items[tags.count++] = tag;
		if (at == list.len)
			break;
		at++; /* the ";" */
		if (at + fws_length(list, at) == list.len)
			break;
	}
	tags_out->count = tags.count;
	memcpy(tags_out->items, tags.items,
	       tags.count * sizeof(tags.items[0]));
	return true;
}

const struct tag *
tags_find(const struct tags *tags, const char *name)
{
	return tag_named(tags, SLICE(name));
}

bool
tags_next_item(struct slice *rest, struct slice *item)
{
	ptrdiff_t at;

	if (rest->bytes == NULL)
		return false;
	at = slice_find(*rest, ':');
	if (at < 0) {
		*item = slice_trim(*rest);
		*rest = SLICE_NONE;
	} else {
		*item = slice_trim(slice_sub(*rest, 0, (size_t)at));
		*rest = slice_from(*rest, (size_t)at + 1);
	}
	return true;
}
