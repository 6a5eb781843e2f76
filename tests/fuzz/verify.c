/* A whole message to the verifier, which answers its own questions with a
 * record that is part of the input. Cutting the body changes no verdict. */
#include "milter/header.h"
#include "milter/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define TIME_S 1795291200

static void
feed(struct verifier *verifier, struct slice message, size_t piece)
{
	struct header_reader reader;
	struct slice field;
	enum header_status status;

	header_reader_init(&reader, HEADER_SIZE_DEFAULT);
	while ((status = header_read(&reader, &message, &field)) ==
	       HEADER_FIELD)
		verifier_header(verifier, field);
	while (status == HEADER_MORE &&
	       header_read_last(&reader, &field) == HEADER_FIELD)
		verifier_header(verifier, field);
	header_reader_done(&reader);
	verifier_end_of_header(verifier);
	while (message.len > 0) {
		verifier_body(verifier, slice_sub(message, 0, piece));
		message = slice_from(message, piece);
	}
}

static size_t
judge(struct verifier *verifier, struct slice record,
      enum verify_status out[VERIFY_SIGNATURES_MAX])
{
	size_t count;
	const struct verification *all = verifier_end(verifier, &count);

	ASSERT(count <= VERIFY_SIGNATURES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (all[i].status == VERIFY_PENDING)
			verifier_answer(verifier, i, VERIFY_ANSWER_FOUND,
					&record, 1);
		ASSERT(all[i].status != VERIFY_PENDING);
		out[i] = all[i].status;
	}
	return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	enum verify_status one[VERIFY_SIGNATURES_MAX];
	enum verify_status two[VERIFY_SIGNATURES_MAX];
	CLEAN(verifier_free_clean) struct verifier *whole = NULL;
	CLEAN(verifier_free_clean) struct verifier *cut = NULL;
	struct slice input, record, message;
	size_t count;

	if (len < 2)
		return 0;
	input = slice_of(bytes + 1, len - 1);
	message = input;
	if (!slice_split(&message, '\0', &record))
		return 0;
	whole = verifier_new(TIME_S);
	cut = verifier_new(TIME_S);
	feed(whole, message, message.len + 1);
	feed(cut, message, bytes[0] % 13 + 1);
	count = judge(whole, record, one);
	ASSERT(count == judge(cut, record, two));
	for (size_t i = 0; i < count; i++)
		ASSERT(one[i] == two[i]);
	return 0;
}
