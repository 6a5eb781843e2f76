#include <criterion/criterion.h>

#include "milter/prepare.h"

static const struct facts_row {
	const char *name, *value;
	bool is_signed, locks_from, locks_date;
} facts_rows[] = {
	{"Subject", " x", false, false, false},
	{"DKIM-Signature", " v=1; h=From:To; b=x", true, true, false},
	{"dkim-signature", " v=1; h=from :\r\n DATE; b=x", true, true, true},
	{"ARC-Message-Signature", " i=1; h=Date; b=x", true, false, true},
	{"ARC-Seal", " i=1; cv=none; b=x", true, false, false},
	{"DKIM-Signature", " v=1; b=x", true, true, true},
	{"DKIM-Signature", " none", true, true, true},
};

Test(prepare, signed)
{
	for (size_t i = 0; i < COUNT(facts_rows); i++) {
		const struct facts_row *row = &facts_rows[i];
		CLEAN(prepare_facts_done) struct prepare_facts facts = {0};

		prepare_note(&facts, SLICE(row->name), SLICE(row->value));
		cr_expect_eq(facts.is_signed, row->is_signed, "%s:%s",
			     row->name, row->value);
		cr_expect_eq(prepare_is_locked(&facts, "From"), row->locks_from,
			     "%s:%s", row->name, row->value);
		cr_expect_eq(prepare_is_locked(&facts, "Date"), row->locks_date,
			     "%s:%s", row->name, row->value);
	}
}

/* Each of them counts. */
Test(prepare, signed_by_many)
{
	CLEAN(prepare_facts_done) struct prepare_facts facts = {0};

	prepare_note(&facts, SLICE("DKIM-Signature"), SLICE(" v=1; h=a:b"));
	prepare_note(&facts, SLICE("DKIM-Signature"), SLICE(" v=1; h=c"));
	cr_expect(prepare_is_locked(&facts, "B"));
	cr_expect(prepare_is_locked(&facts, "C"));
	cr_expect_not(prepare_is_locked(&facts, "d"));
}

Test(prepare, fields)
{
	CLEAN(prepare_facts_done) struct prepare_facts facts = {0};

	prepare_note(&facts, SLICE("received"), SLICE(" x"));
	prepare_note(&facts, SLICE("Received"), SLICE(" x"));
	prepare_note(&facts, SLICE("BCC"), SLICE(""));
	prepare_note(&facts, SLICE("Mime-Version"), SLICE(" 1.0"));
	cr_expect_eq(facts.hops, 2);
	cr_expect(facts.has_bcc);
	cr_expect(facts.has_version);
	cr_expect_not(facts.has_date);
	cr_expect_not(facts.has_message_id);
	cr_expect_not(facts.is_signed);
}

static const struct judge_row {
	const char *name;
	struct prepare_bytes bytes;
	uint64_t hops;
	enum long_lines long_lines;
	enum prepare_problem problem;
} judge_rows[] = {
	{"nothing", {0}, 3, LONG_LINES_ENCODE, PREPARE_NO_PROBLEM},
	{"a bare CR comes first",
	 {true, true, true, true},
	 9,
	 LONG_LINES_REJECT,
	 PREPARE_BARE_LINE_END},
	{"a NUL", {false, true, true, true}, 9, LONG_LINES_REJECT, PREPARE_NUL},
	{"at the most hops", {0}, 4, LONG_LINES_ENCODE, PREPARE_NO_PROBLEM},
	{"one more", {0}, 5, LONG_LINES_ENCODE, PREPARE_HOPS},
	{"a long line, encoded",
	 {.has_long_line = true},
	 0,
	 LONG_LINES_ENCODE,
	 PREPARE_NO_PROBLEM},
	{"a long line, kept",
	 {.has_long_line = true},
	 0,
	 LONG_LINES_KEEP,
	 PREPARE_NO_PROBLEM},
	{"a long line, refused",
	 {.has_long_line = true},
	 0,
	 LONG_LINES_REJECT,
	 PREPARE_LONG_LINE},
	{"no long line, where they are refused",
	 {0},
	 0,
	 LONG_LINES_REJECT,
	 PREPARE_NO_PROBLEM},
};

Test(prepare, judge)
{
	for (size_t i = 0; i < COUNT(judge_rows); i++) {
		const struct judge_row *row = &judge_rows[i];
		const struct prepare_options options = {
			.long_lines = row->long_lines};
		const struct prepare_facts facts = {.hops = row->hops};

		cr_expect_eq(prepare_judge(&facts, &row->bytes, &options, 4),
			     row->problem, "%s", row->name);
	}
}

/* Each of them alone is a reason to read the message once more. */
Test(prepare, is_due)
{
	static const struct repair_needs rows[] = {
		{.long_lines = true}, {.eight_bit = true}, {.bcc = true},
		{.version = true},    {.strip_count = 1},
	};

	cr_expect_not(prepare_is_due(&(struct repair_needs){0}));
	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect(prepare_is_due(&rows[i]), "row %zu", i);
}

static const struct settle_row {
	const char *name;
	struct repair_needs needs;
	struct repair_report report;
	enum prepare_outcome outcome;
	const char *remarks;
} settle_rows[] = {
	{"nothing to do", {0}, {0}, PREPARE_KEEP, ""},
	{"Bcc goes", {.bcc = true}, {.removes_bcc = true}, PREPARE_WRITE, ""},
	{"Bcc in a broken header",
	 {.bcc = true},
	 {0},
	 PREPARE_KEEP,
	 "; Bcc stays: the header cannot be read"},
	{"one part of two",
	 {.long_lines = true},
	 {.encodes_quoted = true, .left = "a signed part"},
	 PREPARE_WRITE,
	 "; lines over 998 octets stay: a signed part"},
	{"8-bit text that stays",
	 {.eight_bit = true},
	 {.left_8bit = "a signed part"},
	 PREPARE_KEEP,
	 "; 8-bit content stays: a signed part"},
	{"a long word",
	 {.long_lines = true},
	 {.encodes_base64 = true, .has_long_word = true},
	 PREPARE_REFUSE,
	 ""},
};

Test(prepare, settle)
{
	for (size_t i = 0; i < COUNT(settle_rows); i++) {
		const struct settle_row *row = &settle_rows[i];
		CLEAN(text_done) struct text remarks = {0};

		cr_expect_eq(
			prepare_settle(&row->needs, &row->report, &remarks),
			row->outcome, "%s", row->name);
		cr_expect(slice_eq(text_slice(&remarks), SLICE(row->remarks)),
			  "%s: %s", row->name, text_string(&remarks));
	}
}

Test(prepare, changed)
{
	const struct repair_report report = {.encodes_base64 = true,
					     .removes_bcc = true};
	const struct prepare_changes changes = {.repaired = &report,
						.adds_message_id = true};
	size_t next = 0;

	cr_expect_str_eq(prepare_changed(&changes, &next),
			 "parts encoded as base64");
	cr_expect_str_eq(prepare_changed(&changes, &next), "Bcc removed");
	cr_expect_str_eq(prepare_changed(&changes, &next), "Message-ID added");
	cr_expect_null(prepare_changed(&changes, &next));
	cr_expect_null(prepare_changed(&changes, &next));
}
