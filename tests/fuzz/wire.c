/*
 * Lines, data and chunks: what is read does not depend on how the bytes were
 * cut, and what was stuffed comes back. The first octet says how they are cut.
 */
#include "relay/net/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct result {
	struct text message;
	struct wire_data data;
	bool has_ended, stops;
	size_t used;
};

static bool
take(void *owner, struct slice bytes)
{
	struct result *result = owner;

	ASSERT(bytes.len > 0);
	text_add(&result->message, bytes);
	return !result->stops;
}

static void
read_data(struct slice input, size_t piece, struct result *result)
{
	wire_data_init(&result->data);
	while (!result->has_ended && result->used < input.len) {
		size_t used;

		result->has_ended =
			wire_data_read(&result->data,
				       slice_sub(input, result->used, piece),
				       &used, take, result) == WIRE_DATA_END;
		result->used += used;
	}
}

static void
same(const struct result *a, const struct result *b)
{
	ASSERT(a->has_ended == b->has_ended);
	ASSERT(a->used == b->used);
	ASSERT(slice_eq(text_slice(&a->message), text_slice(&b->message)));
	ASSERT(a->data.has_bare_cr == b->data.has_bare_cr);
	ASSERT(a->data.has_bare_lf == b->data.has_bare_lf);
	ASSERT(a->data.has_nul == b->data.has_nul);
	ASSERT(a->data.has_long_line == b->data.has_long_line);
}

/* A message of whole lines comes back as it was. */
static void
comes_back(const struct result *first)
{
	struct result again = {.stops = false};
	struct text wire = {0};
	bool at_line_start = true;

	if (!first->has_ended || first->data.has_bare_lf)
		return;
	wire_stuff(&wire, text_slice(&first->message), &at_line_start);
	text_add_string(&wire, ".\r\n");
	read_data(text_slice(&wire), wire.len, &again);
	ASSERT(again.has_ended);
	ASSERT(slice_eq(text_slice(&again.message),
			text_slice(&first->message)));
	text_done(&again.message);
	text_done(&wire);
}

/* Of the same bytes as chunks. */
static void
read_chunks(struct slice input, size_t piece)
{
	bool has_bare_cr = false, has_bare_lf = false;
	struct wire_data data;

	wire_data_init(&data);
	for (size_t i = 0; i < input.len; i += piece)
		wire_chunk(&data, slice_sub(input, i, piece));
	for (size_t i = 0; i < input.len; i++) {
		char before = i > 0 ? input.bytes[i - 1] : 'x';

		has_bare_lf |= input.bytes[i] == '\n' && before != '\r';
		has_bare_cr |= input.bytes[i] != '\n' && before == '\r';
	}
	ASSERT(data.has_bare_cr == has_bare_cr);
	ASSERT(data.has_bare_lf == has_bare_lf);
	ASSERT(data.has_nul == (slice_find(input, '\0') >= 0));
}

static void
read_lines(struct slice input)
{
	struct slice line, rest;

	while (wire_line(input, 100, &line, &rest) == WIRE_LINE) {
		ASSERT(line.len <= 100);
		ASSERT(slice_find(line, '\r') < 0);
		ASSERT(slice_find(line, '\n') < 0);
		ASSERT(line.len + 2 + rest.len == input.len);
		input = rest;
	}
	ASSERT(line.len == 0);
	ASSERT(rest.len == input.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct result whole = {.stops = false}, cut = {.stops = false};
	struct slice input;

	if (len == 0)
		return 0;
	input = slice_of(bytes + 1, len - 1);
	cut.stops = bytes[0] % 2 != 0;
	read_data(input, input.len, &whole);
	read_data(input, 1 + bytes[0] / 2, &cut);
	/* NUL and 8-bit octets of framing that is given up count nowhere. */
	same(&whole, &cut);
	comes_back(&whole);
	read_chunks(input, 1 + bytes[0] / 2);
	read_lines(input);
	text_done(&whole.message);
	text_done(&cut.message);
	return 0;
}
