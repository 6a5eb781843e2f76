/* Line ends made CRLF: nothing else is left of CR and LF however the bytes are
 * cut, what has only CRLF stays, and the data that go out end where they end
 * and nowhere before. The first octet says how they are cut. */
#include "milter/newline.h"
#include "relay/net/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
mend(struct slice bytes, size_t step, struct newline *newline, struct text *out)
{
	newline_init(newline);
	for (; bytes.len > 0; bytes = slice_from(bytes, step))
		newline_feed(newline, slice_sub(bytes, 0, step), out);
}

static void
line_ends_check(const struct newline *newline, struct slice out)
{
	bool has_long_line = false;
	size_t column = 0;

	for (size_t i = 0; i < out.len; i++) {
		if (out.bytes[i] == '\r') {
			ASSERT(i + 1 < out.len && out.bytes[i + 1] == '\n');
			column = 0;
			i++;
			continue;
		}
		ASSERT(out.bytes[i] != '\n');
		has_long_line |= ++column > 998;
	}
	ASSERT(newline->has_long_line == has_long_line);
}

static bool
take(void *owner, struct slice bytes)
{
	text_add(owner, bytes);
	return true;
}

/* As the next host reads it. */
static void
end_check(struct slice out)
{
	CLEAN(text_done) struct text wire = {0}, read = {0};
	struct wire_data data;
	bool at_line_start = true;
	size_t used;

	wire_stuff(&wire, out, &at_line_start);
	text_add_string(&wire, ".\r\n");
	wire_data_init(&data);
	ASSERT(wire_data_read(&data, text_slice(&wire), &used, take, &read) ==
	       WIRE_DATA_END);
	ASSERT(used == wire.len);
	ASSERT(!data.has_bare_cr && !data.has_bare_lf);
	ASSERT(slice_eq(text_slice(&read), out));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text input = {0}, whole = {0}, cut = {0},
				     again = {0};
	struct newline newline, other;

	if (len == 0)
		return 0;
	/* Data end in CRLF. */
	text_add(&input, slice_of(bytes + 1, len - 1));
	text_add_string(&input, "\r\n");
	mend(text_slice(&input), SIZE_MAX, &newline, &whole);
	mend(text_slice(&input), (size_t)bytes[0] + 1, &other, &cut);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	ASSERT(newline.has_mended == other.has_mended);
	ASSERT(newline.has_mended ||
	       slice_eq(text_slice(&whole), text_slice(&input)));
	line_ends_check(&newline, text_slice(&whole));
	end_check(text_slice(&whole));
	mend(text_slice(&whole), SIZE_MAX, &other, &again);
	ASSERT(!other.has_mended);
	ASSERT(slice_eq(text_slice(&again), text_slice(&whole)));
	return 0;
}
