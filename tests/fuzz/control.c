/*
 * Requests at the control socket: what is read is within its bounds, and says
 * the same when it is written and read again.
 */
#include "relay/control_request.h"
#include "relay/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
check_same(const struct control_request *a, const struct control_request *b)
{
	ASSERT(a->verb == b->verb);
	ASSERT(a->as_json == b->as_json);
	ASSERT(a->is_all == b->is_all);
	ASSERT(a->has_id == b->has_id);
	ASSERT(message_id_eq(&a->id, &b->id));
	ASSERT(a->selection.has_domain == b->selection.has_domain);
	ASSERT(a->selection.has_sender == b->selection.has_sender);
	ASSERT(slice_eq(a->selection.domain, b->selection.domain));
	ASSERT(slice_eq(a->selection.sender, b->selection.sender));
	/* A cursor without a beginning is none. */
	if (a->cursor.begun_ms == 0)
		return;
	ASSERT(message_id_eq(&a->cursor.after, &b->cursor.after));
	ASSERT(message_id_eq(&a->cursor.until, &b->cursor.until));
	ASSERT(a->cursor.begun_ms == b->cursor.begun_ms);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text line = {0};
	struct control_request request, again;
	struct fault fault;

	if (!control_request_parse(slice_of(bytes, len), &request, &fault))
		return 0;
	ASSERT(request.selection.domain.len <= DOMAIN_MAX);
	ASSERT(request.selection.sender.len <= CONTROL_SENDER_MAX);
	ASSERT(control_request_write(&request, &line, &fault));
	ASSERT(line.len <= CONTROL_LINE_MAX);
	ASSERT(line.bytes[line.len - 1] == '\n');
	ASSERT(slice_find(text_slice(&line), '\n') ==
	       (ptrdiff_t)line.len - 1);
	ASSERT(control_request_parse(slice_sub(text_slice(&line), 0,
					       line.len - 1),
				     &again, &fault));
	check_same(&request, &again);
	return 0;
}
