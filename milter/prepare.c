#include "milter/prepare.h"

#include "base/tags.h"

/* --- what a header says --- */

void
prepare_facts_done(struct prepare_facts *facts)
{
	text_done(&facts->locked);
}

/* RFC 6376 3.5, RFC 8617 4.1.2: h= names what is signed, and what must not be
 * added. */
static void
note_signature(struct prepare_facts *facts, struct slice value)
{
	const struct tag *names = NULL;
	struct fault fault;
	struct tags tags;

	facts->is_signed = true;
	if (tags_parse(value, &tags, &fault))
		names = tags_find(&tags, "h");
	if (names == NULL) {
		facts->locks_all = true;
		return;
	}
	text_add_byte(&facts->locked, ':');
	text_add(&facts->locked, names->value);
}

void
prepare_note(struct prepare_facts *facts, struct slice name, struct slice value)
{
	if (slice_eq_nocase(name, SLICE("Received")))
		facts->hops++;
	else if (slice_eq_nocase(name, SLICE("Date")))
		facts->has_date = true;
	else if (slice_eq_nocase(name, SLICE("Message-ID")))
		facts->has_message_id = true;
	else if (slice_eq_nocase(name, SLICE("MIME-Version")))
		facts->has_version = true;
	else if (slice_eq_nocase(name, SLICE("Bcc")) ||
		 slice_eq_nocase(name, SLICE("Resent-Bcc")))
		facts->has_bcc = true;
	else if (slice_eq_nocase(name, SLICE("DKIM-Signature")) ||
		 slice_eq_nocase(name, SLICE("ARC-Message-Signature")))
		note_signature(facts, value);
	else if (slice_eq_nocase(name, SLICE("ARC-Seal")))
		facts->is_signed = true;
}

bool
prepare_is_locked(const struct prepare_facts *facts, const char *name)
{
	struct slice rest = text_slice(&facts->locked), item;

	if (facts->locks_all)
		return true;
	while (tags_next_item(&rest, &item))
		if (slice_eq_nocase(item, SLICE(name)))
			return true;
	return false;
}

/* --- whether it is taken --- */

enum prepare_problem
prepare_judge(const struct prepare_facts *facts,
	      const struct prepare_bytes *bytes,
	      const struct prepare_options *options, uint64_t max_hops)
{
	if (bytes->has_bare_line_end)
		return PREPARE_BARE_LINE_END;
	if (bytes->has_nul)
		return PREPARE_NUL;
	if (facts->hops > max_hops)
		return PREPARE_HOPS;
	if (bytes->has_long_line && options->long_lines == LONG_LINES_REJECT)
		return PREPARE_LONG_LINE;
	return PREPARE_NO_PROBLEM;
}

/* --- what is done --- */

bool
prepare_adds_date(const struct prepare_facts *facts,
		  const struct prepare_options *options)
{
	return options->add_date && !facts->has_date &&
	       !prepare_is_locked(facts, "Date");
}

bool
prepare_adds_message_id(const struct prepare_facts *facts,
			const struct prepare_options *options)
{
	return options->add_message_id && !facts->has_message_id &&
	       !prepare_is_locked(facts, "Message-ID");
}

static void
remark(struct text *remarks, const char *what, const char *why)
{
	text_addf(remarks, "; %s: %s", what, why);
}

static void
hold_back(bool *need, bool is_barred, const char *what, struct text *remarks)
{
	if (!*need || !is_barred)
		return;
	*need = false;
	remark(remarks, what, "the message carries a signature");
}

struct repair_needs
prepare_needs(const struct prepare_facts *facts,
	      const struct prepare_bytes *bytes,
	      const struct prepare_options *options, struct text *remarks)
{
	struct repair_needs needs = {
		.long_lines = bytes->has_long_line &&
			      options->long_lines == LONG_LINES_ENCODE,
		.eight_bit = bytes->has_8bit &&
			     options->eight_bit == EIGHT_BIT_ENCODE,
		.bcc = facts->has_bcc && options->remove_bcc,
		.version = bytes->has_8bit && !facts->has_version &&
			   options->add_mime_version,
	};

	hold_back(&needs.long_lines, facts->is_signed,
		  "lines over 998 octets stay", remarks);
	hold_back(&needs.eight_bit, facts->is_signed, "8-bit content stays",
		  remarks);
	hold_back(&needs.bcc,
		  prepare_is_locked(facts, "Bcc") ||
			  prepare_is_locked(facts, "Resent-Bcc"),
		  "Bcc stays", remarks);
	hold_back(&needs.version, facts->is_signed,
		  "8-bit text stays without MIME-Version", remarks);
	return needs;
}

void
prepare_strip(const struct decision *decision,
	      const struct prepare_facts *facts, struct arena *arena,
	      struct repair_needs *needs)
{
	struct slice *domains;

	if (!decision->strips || prepare_is_locked(facts, "DKIM-Signature"))
		return;
	domains = arena_array(arena, decision->signers_count, sizeof(*domains));
	for (size_t i = 0; i < decision->signers_count; i++)
		domains[i] = arena_copy(arena, decision->signers[i].domain);
	needs->strip_domains = domains;
	needs->strip_count = decision->signers_count;
}

bool
prepare_is_due(const struct repair_needs *needs)
{
	return needs->long_lines || needs->eight_bit || needs->bcc ||
	       needs->version || needs->strip_count > 0;
}

enum prepare_outcome
prepare_settle(const struct repair_needs *needs,
	       const struct repair_report *report, struct text *remarks)
{
	if (report->left != NULL)
		remark(remarks, "lines over 998 octets stay", report->left);
	if (report->left_8bit != NULL)
		remark(remarks, "8-bit content stays", report->left_8bit);
	if (needs->bcc && !report->removes_bcc)
		remark(remarks, "Bcc stays", "the header cannot be read");
	if (report->has_long_word)
		return PREPARE_REFUSE;
	return repair_changes(report) ? PREPARE_WRITE : PREPARE_KEEP;
}

/* --- in words --- */

const char *
prepare_changed(const struct prepare_changes *changes, size_t *next)
{
	static const struct rewrite_report nothing;
	const struct repair_report *report = changes->repaired;
	const struct rewrite_report *rewritten =
		changes->rewritten == NULL ? &nothing : changes->rewritten;
	const struct {
		bool is_done;
		const char *words;
	} rows[] = {
		{changes->mends_newlines, "line ends made CRLF"},
		{changes->separated.renames_postmark,
		 "first line made X-Mailbox-Line"},
		{changes->separated.adds_line,
		 "empty line added behind the header"},
		{rewritten->rewrites_sender, "envelope sender rewritten"},
		{rewritten->rewrites_from, "From rewritten"},
		{rewritten->adds_from, "From added"},
		{rewritten->adds_reply_to, "Reply-To added"},
		{rewritten->removes_sender, "Sender removed"},
		{report->encodes_quoted, "parts encoded as quoted-printable"},
		{report->encodes_base64, "parts encoded as base64"},
		{report->breaks_lines, "long lines of encoded parts broken"},
		{report->breaks_between, "long lines between parts broken"},
		{report->replaces_between,
		 "8-bit text between parts replaced"},
		{report->folds_header, "long header lines folded"},
		{report->removes_bcc, "Bcc removed"},
		{report->removes_signatures, "DKIM-Signature removed"},
		{report->adds_version, "MIME-Version added"},
		{report->adds_type, "Content-Type added"},
		{changes->adds_date, "Date added"},
		{changes->adds_message_id, "Message-ID added"},
	};

	while (*next < COUNT(rows)) {
		size_t i = (*next)++;

		if (rows[i].is_done)
			return rows[i].words;
	}
	return NULL;
}
