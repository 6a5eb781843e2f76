/* A message as a milter sees it: the same warnings however its body is cut,
 * each with a sentence, none without something in it that an MTA would touch.
 * The first octet says how it is cut. */
#include "milter/header.h"
#include "milter/lint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static unsigned
judge(struct slice message, size_t step, enum lint_mta mta,
      enum canonicalization canon)
{
	static const char *const words[] = {"From", "To", "Cc", "Date",
					    "Message-ID"};
	struct slice names[COUNT(words)], field, name, value;
	const struct lint_signature signature = {.header_canon = canon,
						 .names = names,
						 .names_count = COUNT(names)};
	CLEAN(header_reader_done) struct header_reader reader;
	CLEAN(lint_done) struct lint lint;
	enum header_status status;

	for (size_t i = 0; i < COUNT(words); i++)
		names[i] = SLICE(words[i]);
	lint_init(&lint);
	header_reader_init(&reader, 8192);
	do {
		status = message.len > 0
				 ? header_read(&reader, &message, &field)
				 : header_read_last(&reader, &field);
		if (status == HEADER_FIELD &&
		    header_field_parse(field, &name, &value) == NULL)
			lint_header(&lint, name, value);
	} while (status == HEADER_FIELD || status == HEADER_MORE);
	for (; message.len > 0; message = slice_from(message, step))
		lint_body(&lint, slice_sub(message, 0, step));
	return lint_judge(&lint, mta, &signature);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice message;
	size_t step;

	if (len == 0)
		return 0;
	step = (size_t)bytes[0] + 1;
	message = slice_of(bytes + 1, len - 1);
	for (enum lint_mta mta = 0; mta < LINT_MTAS; mta++) {
		unsigned simple = judge(message, SIZE_MAX, mta, CANON_SIMPLE);
		unsigned relaxed = judge(message, step, mta, CANON_RELAXED);

		/* Simple sees all that relaxed sees. */
		ASSERT((relaxed & ~simple) == 0);
		ASSERT((simple & ~relaxed & ~(1u << LINT_LAYOUT)) == 0);
		for (unsigned i = 0; i < LINT_WARNINGS; i++)
			ASSERT((simple & 1u << i) == 0 ||
			       lint_sentence(mta, i) != NULL);
		ASSERT((simple & 1u << LINT_COMPACT_LIST) == 0 ||
		       slice_find(message, ',') >= 0);
		ASSERT((simple & 1u << LINT_BARE_CR) == 0 ||
		       slice_find(message, '\r') >= 0);
		ASSERT((simple & 1u << LINT_PHRASE) == 0 ||
		       slice_find(message, '<') >= 0);
	}
	return 0;
}
