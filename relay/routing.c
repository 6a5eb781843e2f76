#include "relay/routing.h"

#include <stdio.h>
#include <stdlib.h>

#include "milter/idn.h"

/* What separates a domain from a route's id: in no domain, and in no literal.
 */

/* One way to this route: a pattern of recipients and one of senders ("": all).
 */
struct routing_entry {
	struct slice pattern, from;
	size_t route;
};

struct routing {
	struct routing_entry *entries; /* sorted */
	size_t count;
	bool is_by_sender;
};

/* --- building --- */

static int
entry_compare(const void *a, const void *b)
{
	const struct routing_entry *left = a, *right = b;
	int order = slice_compare(left->pattern, right->pattern);

	if (order == 0)
		order = slice_compare(left->from, right->from);
	if (order == 0 && left->route != right->route)
		order = left->route < right->route ? -1 : 1;
	return order;
}

/* The title and the first of its senders tell a route from all others; the
 * order in which they are written does not matter. */
static void
id_make(struct route_options *route)
{
	CLEAN(text_done) struct text name = {0};
	struct slice first = route->from[0];
	char id[ROUTE_ID_LEN + 1];

	for (size_t i = 1; i < route->from_count; i++)
		if (slice_compare(route->from[i], first) < 0)
			first = route->from[i];
	text_addf(&name, "%.*s\n%.*s", SLICE_ARG(route->pattern),
		  SLICE_ARG(first));
	snprintf(id, sizeof(id), "%016llx",
		 (unsigned long long)slice_hash(text_slice(&name)));
	memcpy(route->id, id, ROUTE_ID_LEN);
}

void
routing_build(struct options *options)
{
	struct routing *routing = arena_new(&options->arena, sizeof(*routing));
	size_t count = 0;

	for (size_t i = 0; i < options->routes_count; i++)
		count += options->routes[i].from_count + 1;
	routing->entries =
		arena_array(&options->arena, count, sizeof(*routing->entries));
	for (size_t i = 0; i < options->routes_count; i++) {
		struct route_options *route = &options->routes[i];

		if (route->from_count == 0)
			routing->entries[routing->count++] =
				(struct routing_entry){route->pattern,
						       SLICE(""), i};
		for (size_t j = 0; j < route->from_count; j++)
			routing->entries[routing->count++] =
				(struct routing_entry){route->pattern,
						       route->from[j], i};
		if (route->from_count > 0) {
			id_make(route);
			routing->is_by_sender = true;
		}
	}
	if (routing->count > 1)
		qsort(routing->entries, routing->count,
		      sizeof(*routing->entries), entry_compare);
	options->routing = routing;
}

static const struct conf_item *
route_item(const struct options *options, size_t route)
{
	return conf_item_find(options->items, "route", route);
}

void
routing_check(const struct options *options, struct conf_errors *errors)
{
	const struct routing *routing = options->routing;

	for (size_t i = 1; i < routing->count; i++) {
		const struct routing_entry *first = &routing->entries[i - 1];
		const struct routing_entry *entry = &routing->entries[i];
		const struct conf_item *item, *other;

		if (!slice_eq(first->pattern, entry->pattern) ||
		    !slice_eq(first->from, entry->from) ||
		    entry->pattern.len == 0)
			continue;
		item = route_item(options, entry->route);
		other = route_item(options, first->route);
		if (item == other)
			conf_error(errors, conf_item_place(item, "from"),
				   "'from' names \"%.*s\" twice",
				   SLICE_ARG(entry->from));
		else if (entry->from.len == 0)
			conf_error(
				errors, item->place,
				"the route \"%.*s\" is there already, in %s, "
				"line %u; 'from' tells two of them apart",
				SLICE_ARG(item->title), other->place.file,
				other->place.line);
		else
			conf_error(errors, conf_item_place(item, "from"),
				   "a route \"%.*s\" for \"%.*s\" is there "
				   "already, in %s, line %u",
				   SLICE_ARG(item->title),
				   SLICE_ARG(entry->from), other->place.file,
				   other->place.line);
	}
}

/* --- finding --- */

/* The part of the entries that have this pattern. */
struct part {
	const struct routing_entry *first, *end;
};

static struct part
part_find(const struct routing *routing, struct slice pattern)
{
	size_t low = 0, high = routing->count;
	struct part part;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (slice_compare(routing->entries[middle].pattern, pattern) <
		    0)
			low = middle + 1;
		else
			high = middle;
	}
	part.first = part.end = routing->entries + low;
	while (part.end < routing->entries + routing->count &&
	       slice_eq(part.end->pattern, pattern))
		part.end++;
	return part;
}

static const struct routing_entry *
part_from(struct part part, struct slice from)
{
	while (part.first < part.end) {
		const struct routing_entry *middle =
			part.first + (part.end - part.first) / 2;
		int order = slice_compare(middle->from, from);

		if (order == 0)
			return middle;
		if (order < 0)
			part.first = middle + 1;
		else
			part.end = middle;
	}
	return NULL;
}

/* The patterns that a name has, the closest one first: itself, "*." and what is
 * left of it label by label, "*". False: that was the last. A name is at most
 * `text`, which holds the pattern. */
struct patterns {
	struct slice name, rest;
	bool has_begun, has_ended;
	char text[DOMAIN_MAX + 1];
};

static bool
patterns_next(struct patterns *patterns, struct slice *pattern_out)
{
	ptrdiff_t dot;

	if (patterns->has_ended)
		return false;
	if (!patterns->has_begun) {
		patterns->has_begun = true;
		patterns->rest = patterns->name;
		*pattern_out = patterns->name;
		return true;
	}
	dot = slice_find(patterns->rest, '.');
	if (dot < 0 || slice_starts(patterns->name, SLICE("["))) {
		patterns->has_ended = true;
		*pattern_out = SLICE("*");
		return true;
	}
	patterns->rest = slice_from(patterns->rest, (size_t)dot + 1);
	patterns->text[0] = '*';
	patterns->text[1] = '.';
	memcpy(patterns->text + 2, patterns->rest.bytes, patterns->rest.len);
	*pattern_out = slice_of(patterns->text, patterns->rest.len + 2);
	return true;
}

/* As options have it: A-labels in lower case, literals in one form. */
static struct slice
name_settled(struct slice name, struct arena *arena)
{
	struct address address;
	struct slice ascii;
	char text[ADDRESS_TEXT_SIZE];

	if (name.len > 0 && name.bytes[name.len - 1] == '.')
		name.len--;
	if (slice_starts(name, SLICE("["))) {
		if (!address_parse_host(name, 0, &address))
			return name;
		address_write_literal(&address, text);
		return arena_copy(arena, SLICE(text));
	}
	return idn_to_ascii(name, arena, &ascii, NULL) ? ascii : name;
}

/* A sender as its patterns are compared with. */
struct sender {
	struct slice address, domain; /* "": it has none */
	bool is_null;
};

static void
sender_read(struct sender *sender, struct slice reverse_path,
	    struct arena *arena)
{
	ptrdiff_t at = slice_find_last(reverse_path, '@');
	CLEAN(text_done) struct text address = {0};

	*sender = (struct sender){.is_null = reverse_path.len == 0};
	if (at < 0)
		return;
	sender->domain =
		name_settled(slice_from(reverse_path, (size_t)at + 1), arena);
	for (ptrdiff_t i = 0; i <= at; i++)
		text_add_byte(&address, ascii_lower(reverse_path.bytes[i]));
	text_add(&address, sender->domain);
	sender->address = arena_copy(arena, text_slice(&address));
}

static const struct routing_entry *
part_sender(struct part part, const struct sender *sender)
{
	struct patterns patterns = {.name = sender->domain};
	const struct routing_entry *entry = NULL;
	struct slice pattern;

	if (sender->is_null)
		entry = part_from(part, SLICE("<>"));
	else if (sender->address.len > 0)
		entry = part_from(part, sender->address);
	if (sender->domain.len == 0 || sender->domain.len > DOMAIN_MAX)
		patterns.has_ended = true;
	while (entry == NULL && patterns_next(&patterns, &pattern))
		entry = part_from(part, pattern);
	if (entry == NULL && !sender->is_null)
		entry = part_from(part, SLICE("*"));
	return entry != NULL ? entry : part_from(part, SLICE(""));
}

const struct route_options *
routing_find(const struct options *options, struct slice domain,
	     struct slice reverse_path)
{
	const struct routing *routing = options->routing;
	const struct routing_entry *entry = NULL;
	struct arena arena = {0};
	struct patterns patterns = {0};
	struct sender sender;
	struct slice pattern;

	if (routing == NULL || routing->count == 0)
		return NULL;
	patterns.name = name_settled(domain, &arena);
	patterns.has_ended = patterns.name.len > DOMAIN_MAX;
	sender_read(&sender, reverse_path, &arena);
	while (entry == NULL && patterns_next(&patterns, &pattern)) {
		struct part part = part_find(routing, pattern);

		if (part.first < part.end)
			entry = part_sender(part, &sender);
	}
	arena_done(&arena);
	return entry == NULL ? NULL : &options->routes[entry->route];
}

/* --- destinations --- */

static bool
is_by_sender(const struct route_options *route)
{
	return route != NULL && route->from_count > 0;
}

/* Without one nothing has to be looked up. */
static bool
has_any_by_sender(const struct options *options)
{
	return options->routing != NULL && options->routing->is_by_sender;
}

static struct slice
destination_id(struct slice destination)
{
	struct slice domain = routing_domain(destination);

	return domain.len == destination.len
		       ? SLICE_NONE
		       : slice_from(destination, domain.len + 1);
}

struct slice
routing_domain(struct slice destination)
{
	ptrdiff_t at = slice_find_last(destination, ROUTING_SEPARATOR);

	return at < 0 ? destination : slice_sub(destination, 0, (size_t)at);
}

struct slice
routing_destination(const struct options *options, struct slice domain,
		    struct slice reverse_path, char out[DESTINATION_MAX])
{
	const struct route_options *route =
		has_any_by_sender(options)
			? routing_find(options, domain, reverse_path)
			: NULL;
	size_t len = domain.len;

	ASSERT(domain.len <= DOMAIN_MAX);
	memcpy(out, domain.bytes, len);
	if (is_by_sender(route)) {
		out[len++] = ROUTING_SEPARATOR;
		memcpy(out + len, route->id, ROUTE_ID_LEN);
		len += ROUTE_ID_LEN;
	}
	return slice_of(out, len);
}

bool
routing_fits(const struct options *options, struct slice destination,
	     struct slice reverse_path)
{
	const struct route_options *route;
	struct slice id = destination_id(destination);

	if (!has_any_by_sender(options))
		return id.len == 0;
	route = routing_find(options, routing_domain(destination),
			     reverse_path);
	if (!is_by_sender(route))
		return id.len == 0;
	return slice_eq(id, slice_of(route->id, ROUTE_ID_LEN));
}

#define REPORTS SLICE("report-")

struct slice
routing_reports(struct slice destination, unsigned number,
		char out[DESTINATION_MAX])
{
	struct slice domain = routing_domain(destination);
	char id[ROUTE_ID_LEN + 1];
	int len = snprintf(id, sizeof(id), "%.*s%08x", SLICE_ARG(REPORTS),
			   number);

	ASSERT(domain.len <= DOMAIN_MAX);
	ASSERT(len > 0 && len <= ROUTE_ID_LEN);
	memcpy(out, domain.bytes, domain.len);
	out[domain.len] = ROUTING_SEPARATOR;
	memcpy(out + domain.len + 1, id, (size_t)len);
	return slice_of(out, domain.len + 1 + (size_t)len);
}

bool
routing_is_of_reports(struct slice destination)
{
	return slice_starts(destination_id(destination), REPORTS);
}

/* Of those that take every sender. */
static const struct route_options *
route_of_domain(const struct options *options, struct slice domain)
{
	const struct routing_entry *entry = NULL;
	struct arena arena = {0};
	struct patterns patterns = {.name = name_settled(domain, &arena)};
	struct slice pattern;

	patterns.has_ended =
		patterns.name.len > DOMAIN_MAX || options->routing == NULL;
	while (entry == NULL && patterns_next(&patterns, &pattern))
		entry = part_from(part_find(options->routing, pattern),
				  SLICE(""));
	arena_done(&arena);
	return entry == NULL ? NULL : &options->routes[entry->route];
}

bool
routing_at(const struct options *options, struct slice destination,
	   const struct route_options **route_out)
{
	struct slice id = destination_id(destination);

	if (id.len == 0) {
		*route_out = route_of_domain(options, destination);
		return true;
	}
	for (size_t i = 0; i < options->routes_count; i++) {
		const struct route_options *route = &options->routes[i];

		if (!is_by_sender(route) ||
		    !slice_eq(id, slice_of(route->id, ROUTE_ID_LEN)))
			continue;
		*route_out = route;
		return true;
	}
	return false;
}
