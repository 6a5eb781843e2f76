/* What the relay makes of a message: what somebody else has signed stays, what
 * was mended needs no more mending, and the log has words for each change. The
 * first octet has the options. */
#include "milter/header.h"
#include "milter/prepare.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define HEADER_MAX 8192

struct result {
	struct prepare_facts facts;
	struct repair_report report;
	enum prepare_outcome outcome;
	struct text out, remarks;
};

static void
result_done(struct result *result)
{
	prepare_facts_done(&result->facts);
	text_done(&result->out);
	text_done(&result->remarks);
}

static void
facts_read(struct slice message, struct prepare_facts *facts)
{
	CLEAN(header_reader_done) struct header_reader reader;
	struct slice field, name, value;
	enum header_status status;

	header_reader_init(&reader, HEADER_MAX);
	do {
		status = message.len > 0
				 ? header_read(&reader, &message, &field)
				 : header_read_last(&reader, &field);
		if (status == HEADER_FIELD &&
		    header_field_parse(field, &name, &value) == NULL)
			prepare_note(facts, name, value);
	} while (status == HEADER_FIELD || status == HEADER_MORE);
}

static struct prepare_bytes
bytes_look(struct slice message)
{
	struct prepare_bytes seen = {0};
	size_t column = 0;

	for (size_t i = 0; i < message.len; i++) {
		char c = message.bytes[i];

		seen.has_8bit |= (unsigned char)c >= 0x80;
		if (c == '\r' && i + 1 < message.len &&
		    message.bytes[i + 1] == '\n') {
			column = 0;
			i++;
		} else {
			seen.has_long_line |= ++column > 998;
		}
	}
	return seen;
}

static void
run(struct slice message, const struct prepare_options *options,
    struct result *result)
{
	CLEAN(repair_free_clean) struct repair *repair = NULL;
	struct prepare_bytes seen = bytes_look(message);
	struct repair_needs needs;

	facts_read(message, &result->facts);
	needs = prepare_needs(&result->facts, &seen, options, &result->remarks);
	if (!prepare_is_due(&needs))
		return;
	repair = repair_new(&needs, HEADER_MAX);
	repair_look(repair, message);
	result->report = *repair_decide(repair);
	result->outcome =
		prepare_settle(&needs, &result->report, &result->remarks);
	if (result->outcome != PREPARE_WRITE)
		return;
	repair_write(repair, message, &result->out);
	repair_finish(repair, &result->out);
}

static size_t
words_count(const struct repair_report *report)
{
	const struct prepare_changes changes = {.repaired = report};
	size_t next = 0, count = 0;

	while (prepare_changed(&changes, &next) != NULL)
		count++;
	return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(result_done) struct result first = {0}, second = {0};
	struct prepare_options options = {0};
	struct slice message;

	if (len == 0)
		return 0;
	options.long_lines = (bytes[0] & 1) != 0 ? LONG_LINES_KEEP
						 : LONG_LINES_ENCODE;
	options.eight_bit = (bytes[0] & 2) != 0 ? EIGHT_BIT_ENCODE
						: EIGHT_BIT_KEEP;
	options.add_mime_version = (bytes[0] & 4) != 0;
	options.remove_bcc = (bytes[0] & 8) == 0;
	message = slice_of(bytes + 1, len - 1);
	run(message, &options, &first);
	ASSERT((first.outcome == PREPARE_WRITE) ==
	       (words_count(&first.report) > 0 &&
		!first.report.has_long_word));
	if (first.outcome != PREPARE_WRITE)
		return 0;
	/* Bcc may go where no signature covers it; nothing else may. */
	ASSERT(!first.facts.is_signed ||
	       (first.report.removes_bcc && words_count(&first.report) == 1));
	ASSERT(!first.facts.locks_all);
	run(text_slice(&first.out), &options, &second);
	if (first.out.len < HEADER_MAX)
		ASSERT(second.outcome != PREPARE_WRITE);
	return 0;
}
