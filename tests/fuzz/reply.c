/* A reply from a stranger: bounded, printable, the same however it is cut. */
#include "relay/net/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static enum reply_status
read_reply(struct reply_reader *reader, struct slice input, size_t piece,
	   struct reply_in *reply)
{
	enum reply_status status = REPLY_MORE;
	size_t at = 0, used;

	while (status == REPLY_MORE && at < input.len) {
		/* What is not taken is given again, with more behind it. */
		struct slice part = slice_sub(input, at, piece);

		used = 0;
		status = reply_read(reader, part, &used, reply);
		ASSERT(used <= part.len);
		at += used;
		if (status == REPLY_MORE && used == 0) {
			if (at + piece >= input.len)
				break;
			piece += 1;
		}
	}
	return status;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = slice_of(bytes, len);
	struct reply_reader one = {0}, two = {0};
	struct reply_in whole = {0}, cut = {0};
	enum reply_status status, second;

	if (len < 2)
		return 0;
	input = slice_from(input, 1);
	status = read_reply(&one, input, input.len, &whole);
	second = read_reply(&two, input, bytes[0] % 9 + 1, &cut);
	if (status == REPLY_COMPLETE) {
		ASSERT(second == REPLY_COMPLETE);
		ASSERT(whole.code >= 200 && whole.code <= 599);
		ASSERT(whole.code == cut.code);
		ASSERT(slice_eq(whole.text, cut.text));
		ASSERT(slice_eq(whole.status, cut.status));
		ASSERT(whole.text.len <= REPLY_TEXT_MAX);
		for (size_t i = 0; i < whole.text.len; i++)
			ASSERT(whole.text.bytes[i] == '\n' ||
			       (whole.text.bytes[i] >= ' ' &&
				whole.text.bytes[i] <= '~'));
	}
	reply_reader_done(&one);
	reply_reader_done(&two);
	return 0;
}
