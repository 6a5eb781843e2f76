/* What Dovecot says: lines of any octets. A name is never longer than its line,
 * and whatever is read lies within it. */
#include "relay/server/dovecot_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice rest = slice_of(bytes, len), input;
	struct dovecot_line line = {0};

	while (slice_split(&rest, '\n', &input)) {
		dovecot_line_parse(input, &line);
		ASSERT(line.user.len <= input.len);
		ASSERT(line.data.len <= input.len);
		if (line.mechanism.len > 0)
			ASSERT(line.mechanism.bytes >= input.bytes &&
			       line.mechanism.bytes + line.mechanism.len <=
				       input.bytes + input.len);
		if (line.word != DOVECOT_OK)
			ASSERT(line.word == DOVECOT_FAIL || line.user.len == 0);
	}
	dovecot_line_done(&line);
	return 0;
}
