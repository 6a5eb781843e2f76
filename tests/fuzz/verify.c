/* An arbitrary message and an arbitrary key record: the record is the first
 * line, the message what follows. Every signature gets its verdict and a
 * reason. */
#include "milter/header.h"
#include "milter/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool
header_feed(struct verifier *verifier, struct slice *message)
{
	struct header_reader reader;
	enum header_status status;
	struct slice field;

	header_reader_init(&reader, HEADER_SIZE_DEFAULT);
	while ((status = header_read(&reader, message, &field)) ==
	       HEADER_FIELD)
		verifier_header(verifier, field);
	while (status == HEADER_MORE &&
	       header_read_last(&reader, &field) == HEADER_FIELD)
		verifier_header(verifier, field);
	header_reader_done(&reader);
	return status != HEADER_TOO_LARGE;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(verifier_free_clean) struct verifier *verifier =
		verifier_new(1763760000);
	const struct verification *results;
	struct slice message = slice_of(bytes, len), record;
	size_t count;

	if (!slice_split(&message, '\n', &record) ||
	    !header_feed(verifier, &message))
		return 0;
	verifier_end_of_header(verifier);
	verifier_body(verifier, message);
	results = verifier_end(verifier, &count);
	for (size_t i = 0; i < count; i++) {
		if (results[i].status == VERIFY_PENDING)
			verifier_answer(verifier, i, LOOKUP_FOUND,
					&record, 1);
		ASSERT(results[i].status != VERIFY_PENDING);
		ASSERT(results[i].reason.len > 0);
	}
	return 0;
}
