/* What the relay makes of a message: what somebody else has signed stays, what
 * was mended needs no more mending, who has no identity of ours gets one, and
 * the log has words for each change. The first octet has the options. */
#include "milter/author.h"
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
facts_read(struct slice message, struct prepare_facts *facts,
	   struct rewrite_facts *writer)
{
	CLEAN(header_reader_done) struct header_reader reader;
	struct slice field, name, value;
	enum header_status status;

	header_reader_init(&reader, HEADER_MAX + REWRITE_ADDED_MAX);
	do {
		status = message.len > 0
				 ? header_read(&reader, &message, &field)
				 : header_read_last(&reader, &field);
		if (status != HEADER_FIELD ||
		    header_field_parse(field, &name, &value) != NULL)
			continue;
		prepare_note(facts, name, value);
		rewrite_note(writer, name, value);
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
	CLEAN(rewrite_facts_done) struct rewrite_facts writer = {0};
	struct prepare_bytes seen = bytes_look(message);
	struct repair_needs needs;

	facts_read(message, &result->facts, &writer);
	needs = prepare_needs(&result->facts, &seen, options, &result->remarks);
	if (!prepare_is_due(&needs))
		return;
	repair = repair_new(&needs, HEADER_MAX + REWRITE_ADDED_MAX);
	repair_look(repair, message);
	result->report = *repair_decide(repair);
	result->outcome =
		prepare_settle(&needs, &result->report, &result->remarks);
	if (result->outcome != PREPARE_WRITE)
		return;
	repair_write(repair, message, &result->out);
	repair_finish(repair, &result->out);
}

/* ---- another identity ---- */

#define IDENTITY "scanner@example.com"

static void
identity_write(const struct rewrite *rewrite, bool is_null, size_t piece,
	       struct slice message, struct rewriter *rewriter,
	       struct text *out)
{
	rewriter_init(rewriter, rewrite, is_null, HEADER_MAX);
	while (message.len > 0) {
		rewriter_feed(rewriter, slice_sub(message, 0, piece), out);
		message = slice_from(message, piece);
	}
	rewriter_finish(rewriter, out);
}

/* Exactly one author, and nothing lost but the fields that go. */
static void
identity_check(struct slice message, const struct rewriter *rewriter)
{
	CLEAN(prepare_facts_done) struct prepare_facts facts = {0};
	CLEAN(rewrite_facts_done) struct rewrite_facts writer = {0};
	CLEAN(arena_done) struct arena arena = {0};
	struct authors authors;
	struct fault fault;

	facts_read(message, &facts, &writer);
	ASSERT(!facts.is_signed);
	ASSERT(writer.from_count == 1);
	ASSERT(!writer.has_sender);
	ASSERT(writer.has_reply_to == (rewriter->facts.has_reply_to ||
				       rewriter->report.adds_reply_to));
	ASSERT(authors_parse(text_slice(&writer.from), &arena, &authors,
			     &fault));
	ASSERT(authors.count == 1);
	ASSERT(slice_eq(authors.domains[0], SLICE("example.com")));
}

/* The message as it goes on. */
static void
identify(struct slice message, unsigned mode, struct text *out)
{
	struct keys_options keys = {0};
	struct signing_options signing = {0};
	struct keyring *keyring = keyring_new(&keys, NULL, 0);
	CLEAN(policy_unref_clean) struct policy *policy =
		policy_new(keyring, &signing);
	CLEAN(rewriter_done) struct rewriter whole = {0}, cut = {0};
	CLEAN(text_done) struct text again = {0};
	struct rewrite rewrite = {
		.from = {SLICE((mode & 2) != 0 ? "*@example.com" : IDENTITY),
			 (mode & 4) != 0 ? REWRITE_ALWAYS : REWRITE_NEEDED},
		.policy = policy};

	keyring_unref(keyring);
	identity_write(&rewrite, (mode & 1) != 0, SIZE_MAX, message, &whole,
		       out);
	identity_write(&rewrite, (mode & 1) != 0, 7, message, &cut, &again);
	ASSERT(slice_eq(text_slice(out), text_slice(&again)));
	ASSERT(whole.outcome == cut.outcome);
	ASSERT(out->len <= message.len + REWRITE_ADDED_MAX);
	if (whole.outcome != REWRITE_DONE) {
		ASSERT(slice_eq(text_slice(out), message));
		return;
	}
	identity_check(text_slice(out), &whole);
	rewriter_done(&cut);
	text_clear(&again);
	identity_write(&rewrite, (mode & 1) != 0, SIZE_MAX, text_slice(out),
		       &cut, &again);
	ASSERT(cut.outcome == REWRITE_NOTHING);
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
	CLEAN(text_done) struct text identified = {0};
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
	if ((bytes[0] & 16) != 0) {
		identify(message, bytes[0] >> 5, &identified);
		message = text_slice(&identified);
	}
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
