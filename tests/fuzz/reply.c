/*
 * Replies: bounded, printable, the same however they arrive, and what we write
 * is one reply of ours. The first octet says how they are cut.
 */
#include "relay/net/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
check(const struct reply_in *reply)
{
	ASSERT(reply->code >= 200);
	ASSERT(reply->code <= 599);
	ASSERT(reply->text.len <= REPLY_TEXT_MAX);
	ASSERT(reply->status.len <= sizeof("5.123.123") - 1);
	for (size_t i = 0; i < reply->text.len; i++)
		ASSERT(reply->text.bytes[i] == '\n' ||
		       (reply->text.bytes[i] >= ' ' &&
			reply->text.bytes[i] <= '~'));
}

/* All replies of the input, joined. */
static void
read_all(struct slice input, size_t piece, struct text *out)
{
	struct reply_reader reader = {0};
	enum reply_status status = REPLY_MORE;
	struct reply_in reply;
	size_t end = 0, start = 0, used;

	while (status != REPLY_BROKEN && (end < input.len ||
					  status == REPLY_COMPLETE)) {
		if (status == REPLY_MORE)
			end += piece;
		if (end > input.len)
			end = input.len;
		status = reply_read(&reader,
				    slice_sub(input, start, end - start),
				    &used, &reply);
		start += used;
		if (status != REPLY_COMPLETE)
			continue;
		check(&reply);
		text_addf(out, "%u %.*s|%.*s\n", reply.code,
			  SLICE_ARG(reply.status), SLICE_ARG(reply.text));
	}
	/* Of the last one, as far as it came: however it was cut. */
	if (reply_read_begun(&reader, slice_from(input, start), &reply)) {
		check(&reply);
		text_addf(out, "begun %u ", reply.code);
	}
	text_add_string(out, status == REPLY_BROKEN ? "broken" : "");
	reply_reader_done(&reader);
}

static void
write_one(struct slice words)
{
	struct reply reply = {550, "5.1.1", "x"};
	struct reply_reader reader = {0};
	struct reply_in again;
	struct text out = {0};
	enum reply_status status;
	size_t used;

	reply_write(&out, &reply, words);
	status = reply_read(&reader, text_slice(&out), &used, &again);
	ASSERT(status == REPLY_COMPLETE || status == REPLY_BROKEN);
	if (status == REPLY_COMPLETE) {
		ASSERT(used == out.len);
		ASSERT(again.code == 550);
	} else {
		ASSERT(out.len > REPLY_LINES_MAX * 10);
	}
	reply_reader_done(&reader);
	text_done(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct text whole = {0}, cut = {0};
	struct slice input;

	if (len == 0)
		return 0;
	input = slice_of(bytes + 1, len - 1);
	read_all(input, input.len + 1, &whole);
	read_all(input, 1 + (size_t)bytes[0], &cut);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	write_one(input);
	text_done(&whole);
	text_done(&cut);
	return 0;
}
