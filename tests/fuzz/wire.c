/* However the bytes are cut, the same message comes out; and what comes out
 * can be stuffed and read again. */
#include "relay/net/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define LINE_MAX_HERE 64

static bool
keep(void *owner, struct slice bytes)
{
	text_add(owner, bytes);
	return true;
}

/* The data phase in pieces of this size; false when it did not end. */
static bool
read_data(struct slice input, size_t piece, struct text *out,
	  struct wire_data *data, size_t *used_out)
{
	size_t used, at = 0;

	wire_data_init(data);
	while (at < input.len) {
		struct slice part = slice_sub(input, at, piece);
		enum wire_data_status status =
			wire_data_read(data, part, &used, keep, out);

		ASSERT(used <= part.len);
		at += used;
		if (status == WIRE_DATA_END) {
			*used_out = at;
			return true;
		}
		ASSERT(used == part.len);
	}
	return false;
}

static void
check_data(struct slice input, size_t piece)
{
	CLEAN(text_done) struct text whole = {0}, cut = {0}, again = {0};
	CLEAN(text_done) struct text third = {0};
	struct wire_data one, two, three;
	size_t used = 0, used_cut = 0;
	bool at_start = true;
	bool ended = read_data(input, input.len + 1, &whole, &one, &used);

	ASSERT(read_data(input, piece, &cut, &two, &used_cut) == ended);
	ASSERT(used == used_cut);
	if (!ended)
		return;
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	ASSERT(one.has_bare_lf == two.has_bare_lf);
	ASSERT(one.has_bare_cr == two.has_bare_cr);
	ASSERT(one.has_nul == two.has_nul);
	if (one.has_bare_lf || one.has_bare_cr)
		return;
	wire_stuff(&again, text_slice(&whole), &at_start);
	ASSERT(at_start);
	text_add_string(&again, ".\r\n");
	ASSERT(read_data(text_slice(&again), again.len, &third, &three, &used));
	ASSERT(used == again.len);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&third)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = slice_of(bytes, len), line, rest = input;

	if (len == 0)
		return 0;
	while (wire_line(rest, LINE_MAX_HERE, &line, &rest) == WIRE_LINE) {
		ASSERT(line.len <= LINE_MAX_HERE);
		ASSERT(slice_find(line, '\n') < 0);
		ASSERT(slice_find(line, '\r') < 0);
	}
	check_data(slice_from(input, 1), bytes[0] % 7 + 1);
	return 0;
}
