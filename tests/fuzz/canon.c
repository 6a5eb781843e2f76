/* However a body is cut, its canonical form is the same; and relaxing what is
 * relaxed already changes nothing. The first byte says how, the second how it
 * is cut. */
#include "milter/canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
text_sink(void *owner, struct slice bytes)
{
	ASSERT(bytes.len > 0);
	text_add(owner, bytes);
}

static void
canon_cut(enum canonicalization canon, struct slice body, size_t step,
	  struct text *out)
{
	struct canon_body state;

	canon_body_init(&state, canon, text_sink, out);
	for (; body.len > 0; body = slice_from(body, step))
		canon_body_feed(&state, slice_sub(body, 0, step));
	canon_body_finish(&state);
}

static void
header_check(enum canonicalization canon, struct slice field)
{
	CLEAN(text_done) struct text once = {0}, twice = {0};

	canon_header(canon, field, &once);
	canon_header(canon, text_slice(&once), &twice);
	ASSERT(once.len <= field.len + 1);
	/* Unfolding may bring a CR and a LF together. */
	if (slice_find(field, '\r') < 0)
		ASSERT(slice_eq(text_slice(&once), text_slice(&twice)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text whole = {0}, cut = {0}, again = {0};
	enum canonicalization canon;
	struct slice body;

	if (len < 2)
		return 0;
	canon = (bytes[0] & 1) != 0 ? CANON_RELAXED : CANON_SIMPLE;
	body = slice_of(bytes + 2, len - 2);
	canon_cut(canon, body, SIZE_MAX, &whole);
	canon_cut(canon, body, (size_t)bytes[1] + 1, &cut);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	canon_cut(canon, text_slice(&whole), SIZE_MAX, &again);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&again)));
	header_check(canon, body);
	return 0;
}
