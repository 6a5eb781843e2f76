#include "milter/explain_relay.h"

#include "milter/header.h"

/* ---- line ends ---- */

/* The listeners that mend line ends, or those that do not. */
static size_t
listeners_write(const struct milter_options *options, bool normalizes,
		struct text *out)
{
	size_t count = 0;

	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct milter_listener *listener = &options->listeners[i];

		if (listener->normalizes == normalizes)
			text_addf(out, "%s\"%.*s\"", count++ > 0 ? ", " : " ",
				  SLICE_ARG(listener->name));
	}
	return count;
}

/* Whom it is handed to matters here only. */
static void
line_ends_write(const struct explain *explain, struct text *out)
{
	CLEAN(text_done) struct text refusing = {0};
	size_t count;

	if (!explain->examination->mends_newlines)
		return;
	text_add_string(out, "It has a CR or LF that is no CRLF: made CRLF by "
			     "the listener");
	listeners_write(explain->options, true, out);
	text_add_string(out, " (bare_newlines = \"normalize\")");
	count = listeners_write(explain->options, false, &refusing);
	if (count > 0)
		text_addf(out, ", refused by%s", text_string(&refusing));
	text_add_string(out, ".\n");
}

/* ---- what is changed ---- */

static void
changes_write(const struct examination *examination, struct text *out)
{
	const struct prepare_changes changes = {
		.repaired = &examination->report,
		.separated = examination->separated,
		.mends_newlines = examination->mends_newlines,
		.adds_date = examination->adds_date,
		.adds_message_id = examination->adds_message_id,
	};
	const char *words;
	size_t next = 0, count = 0;

	while ((words = prepare_changed(&changes, &next)) != NULL) {
		if (count++ == 0)
			text_add_string(out, "The relay would change it before "
					     "it is signed:\n");
		text_addf(out, "  %s\n", words);
	}
	if (count == 0)
		text_add_string(out, "The relay would change nothing in it.\n");
}

/* Nothing holds of parts that no change came of. */
static void
parts_write(const struct examination *examination, struct text *out)
{
	const struct repair_report *report = &examination->report;

	if (!report->encodes_quoted && !report->encodes_base64 &&
	    !report->breaks_lines && !report->folds_header)
		return;
	if (examination->parts_count > 0)
		text_add_string(out, "  of its parts:\n");
	text_add(out, text_slice(&examination->parts));
	if (examination->parts_count > EXAMINE_PARTS_MAX)
		text_addf(out, "    and so on, %zu in all\n",
			  examination->parts_count);
}

/* ---- what is left ---- */

static void
remarks_write(const struct examination *examination, struct text *out)
{
	struct slice rest = text_slice(&examination->remarks), remark;

	while (slice_split(&rest, ';', &remark)) {
		remark = slice_trim(remark);
		if (remark.len > 0)
			text_addf(out, "  %.*s\n", SLICE_ARG(remark));
	}
}

static const char *
absence_of(const struct examination *examination, const char *name, bool is_set,
	   const char *option)
{
	if (is_set && prepare_is_locked(&examination->facts, name))
		return "a signature covers that it is not there";
	return option;
}

static void
left_write(const struct explain *explain, struct text *out)
{
	const struct examination *examination = explain->examination;
	const struct prepare_options *options = &explain->options->prepare;
	const struct prepare_facts *facts = &examination->facts;
	const struct prepare_bytes *bytes = &examination->bytes;
	const struct {
		bool is_so;
		const char *what, *why;
	} rows[] = {
		{bytes->has_long_line && options->long_lines == LONG_LINES_KEEP,
		 "lines over 998 octets stay, which hosts on the way may break",
		 "prepare.long_lines = \"keep\""},
		{examination->leaves_8bit &&
			 options->eight_bit == EIGHT_BIT_KEEP,
		 "8-bit text stays",
		 "prepare.eight_bit = \"keep\" (for a host without 8BITMIME, "
		 "delivery.without_8bitmime)"},
		{bytes->has_8bit && !facts->has_version &&
			 !options->add_mime_version,
		 "8-bit text stays without MIME-Version",
		 "prepare.add_mime_version = false"},
		{facts->has_bcc && !options->remove_bcc, "Bcc stays",
		 "prepare.remove_bcc = false"},
		{!facts->has_date && !examination->adds_date,
		 "Date stays missing",
		 absence_of(examination, "Date", options->add_date,
			    "prepare.add_date = false")},
		{!facts->has_message_id && !examination->adds_message_id,
		 "Message-ID stays missing",
		 absence_of(examination, "Message-ID", options->add_message_id,
			    "prepare.add_message_id = false")},
	};

	remarks_write(examination, out);
	for (size_t i = 0; i < COUNT(rows); i++)
		if (rows[i].is_so)
			text_addf(out, "  %s: %s\n", rows[i].what, rows[i].why);
}

void
explain_changes_write(const struct explain *explain, struct text *out)
{
	CLEAN(text_done) struct text left = {0};

	line_ends_write(explain, out);
	changes_write(explain->examination, out);
	parts_write(explain->examination, out);
	left_write(explain, &left);
	if (left.len > 0)
		text_addf(out, "It would leave as it is:\n%s",
			  text_string(&left));
}

/* ---- another identity ---- */

/* The fields, indented; then who signs them. */
static void
rewritten_write(const struct rewrite *rewrite, const struct text *fields,
		struct text *out)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct slice rest = text_slice(fields), field, name, value = SLICE_NONE;
	struct decision decision;

	while (mime_field_next(&rest, &field)) {
		struct slice whole = slice_sub(field, 0, field.len - 2), line;

		if (value.len == 0 &&
		    header_field_parse(whole, &name, &value) != NULL)
			value = SLICE_NONE;
		while (slice_split(&whole, '\n', &line))
			text_addf(out, "  %.*s\n",
				  SLICE_ARG(slice_trim(line)));
	}
	policy_decide(
		rewrite->policy,
		&(struct header_facts){.from_count = 1, .from = value}, &arena,
		&decision);
	text_addf(out, "  and %s: %.*s.\n",
		  decision.verdict == VERDICT_SIGN ? "signed" : "not signed",
		  SLICE_ARG(decision.reason));
}

static void
rewriter_write(const struct explain *explain,
	       const struct milter_rewriter *rewriter, struct text *out)
{
	const struct rewrite_facts *facts = &explain->examination->writer;
	CLEAN(text_done) struct text fields = {0};
	struct rewrite rewrite = rewriter->rewrite;
	struct rewrite_report report;

	rewrite.policy = pipeline_policy(explain->examination->pipeline);
	text_addf(out, "The %s \"%.*s\" ", rewriter->what,
		  SLICE_ARG(rewriter->name));
	switch (rewrite_decide(&rewrite, facts, false, &fields, &report)) {
	case REWRITE_NOTHING:
		text_add_string(out, "would leave its From as it is.\n");
		break;
	case REWRITE_KEPT_SIGNED:
		text_add_string(out, "would rewrite its From, but the message "
				     "carries a signature.\n");
		break;
	case REWRITE_KEPT_REPORT:
	case REWRITE_DONE:
		text_addf(out, "would rewrite its From (rewrite_from)%s:\n",
			  facts->is_report
				  ? ", unless it comes with the null sender"
				  : "");
		rewritten_write(&rewrite, &fields, out);
		if (report.removes_sender)
			text_add_string(out, "  Sender removed\n");
		break;
	}
}

void
explain_rewriting_write(const struct explain *explain, struct text *out)
{
	const struct milter_options *options = explain->options;

	for (size_t i = 0; i < options->rewriters_count; i++)
		rewriter_write(explain, &options->rewriters[i], out);
}

/* ---- what is refused ---- */

static bool
problem_write(const struct explain *explain, struct text *out)
{
	const struct examination *examination = explain->examination;

	switch (examination->problem) {
	case PREPARE_NO_PROBLEM:
		return false;
	case PREPARE_BARE_LINE_END:
		text_add_string(out, "it has a bare CR or LF, and no listener "
				     "has bare_newlines = \"normalize\"");
		return true;
	case PREPARE_NUL:
		text_add_string(out, "it has a NUL");
		return true;
	case PREPARE_HOPS:
		text_addf(out,
			  "it has %llu Received fields, over "
			  "limits.max_hops",
			  (unsigned long long)examination->facts.hops);
		return true;
	case PREPARE_LONG_LINE:
		text_add_string(out, "it has a line over 998 octets, and "
				     "prepare.long_lines = \"reject\"");
		return true;
	}
	return false;
}

bool
explain_refusal_write(const struct explain *explain, struct text *out)
{
	const struct examination *examination = explain->examination;

	if (explain->header_fault->kind != FAULT_NONE) {
		text_add_string(out, explain->header_fault->text);
	} else if (examination->is_too_large) {
		text_addf(out,
			  "it is over limits.max_message_size, %llu octets",
			  (unsigned long long)
				  explain->options->max_message_size);
	} else if (examination->outcome == PREPARE_REFUSE) {
		text_add_string(out, "a header line over 998 octets cannot be "
				     "folded");
	} else {
		return problem_write(explain, out);
	}
	return true;
}
