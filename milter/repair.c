#include "milter/repair_private.h"

#include <stdlib.h>

#include "milter/header.h"
#include "milter/pipeline.h"

/* --- looking --- */

static struct plan *
plan_of(struct repair *repair, const struct mime_part *part)
{
	if (part->index >= repair->plans_size) {
		repair->plans_size = 2 * (part->index + 4);
		repair->plans = memory_grow(repair->plans,
					    repair->plans_size *
						    sizeof(*repair->plans));
	}
	while (repair->plans_count <= part->index)
		repair->plans[repair->plans_count++] = (struct plan){0};
	return &repair->plans[part->index];
}

struct plan *
repair_plan_of_message(struct repair *repair, const struct mime_part *part)
{
	return part->message > 0 && part->message < repair->plans_count
		       ? &repair->plans[part->message]
		       : NULL;
}

static void
part_tell(const struct repair *repair, const struct mime_part *part,
	  const char *left)
{
	struct repair_part told = {.type = text_slice(&repair->type),
				   .left = left};

	if (repair->tell == NULL)
		return;
	told.index = part->index;
	if (part->index < repair->plans_count) {
		told.encode =
			(enum encode_kind)repair->plans[part->index].encode;
		told.folds = repair->plans[part->index].folds;
	}
	repair->tell(repair->tell_owner, &told);
}

static void
leave(struct repair *repair, const char *why)
{
	if (repair->report.left == NULL)
		repair->report.left = why;
}

static void
leave_8bit(struct repair *repair, const char *why)
{
	if (repair->report.left_8bit == NULL)
		repair->report.left_8bit = why;
}

static bool
has_8bit_octet(struct slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		if ((unsigned char)bytes.bytes[i] >= 0x80)
			return true;
	return false;
}

static struct slice
without_line_end(struct slice field)
{
	return field.len >= 2 && field.bytes[field.len - 1] == '\n'
		       ? slice_sub(field, 0, field.len - 2)
		       : field;
}

bool
repair_field_is(struct slice field, const char *word)
{
	struct slice name, value;

	return header_field_parse(without_line_end(field), &name, &value) ==
		       NULL &&
	       slice_eq_nocase(name, SLICE(word));
}

bool
repair_is_bcc(struct slice field)
{
	return repair_field_is(field, "Bcc") ||
	       repair_field_is(field, "Resent-Bcc");
}

bool
repair_is_stripped(const struct repair *repair, struct slice field)
{
	if (repair->needs.strip_count == 0)
		return false;
	return pipeline_is_signature_of(without_line_end(field),
					repair->needs.strip_domains,
					repair->needs.strip_count);
}

static void
look_long_field(struct repair *repair, const struct mime_part *part,
		struct slice field)
{
	CLEAN(text_done) struct text folded = {0};

	if (part->is_fixed)
		leave(repair, "a forwarded message that is signed");
	else if (fold_field(field, &folded))
		plan_of(repair, part)->folds = true;
	else if (part->index == 0)
		repair->report.has_long_word = true;
	else
		leave(repair, "a header line without white space");
}

/* Of a part that is not encoded itself the label follows its content (RFC 2045
 * 6.2): what may be 8-bit now will not be. */
static bool
is_label_of_8bit(const struct mime_part *part, struct slice field)
{
	struct slice value = slice_trim(
		slice_from(field, (size_t)(slice_find(field, ':') + 1)));

	return part->kind != MIME_OPAQUE && !part->is_fixed &&
	       part->given == ENCODE_GIVEN_NONE &&
	       repair_field_is(field, "Content-Transfer-Encoding") &&
	       !slice_eq_nocase(value, SLICE("7bit"));
}

static void
look_8bit_field(struct repair *repair, const struct mime_part *part,
		struct slice field)
{
	if (has_8bit_octet(field))
		leave_8bit(repair, "8-bit text in a header");
	if (is_label_of_8bit(part, field))
		plan_of(repair, part)->relabels = true;
}

static void
look_fields(struct repair *repair, const struct mime_part *part,
	    struct slice header)
{
	struct slice field;

	while (mime_field_next(&header, &field)) {
		if (part->index == 0 && repair->needs.bcc &&
		    repair_is_bcc(field)) {
			repair->has_bcc = true;
			continue;
		}
		if (part->index == 0 && repair_is_stripped(repair, field)) {
			repair->has_signature = true;
			continue;
		}
		if (repair->needs.eight_bit)
			look_8bit_field(repair, part, field);
		if (repair->needs.long_lines && fold_is_due(field))
			look_long_field(repair, part, field);
	}
	if (part->index < repair->plans_count &&
	    repair->plans[part->index].folds)
		part_tell(repair, part, NULL);
}

static void
look_type(struct repair *repair, struct slice header)
{
	struct slice field, name, value;
	struct mime_type type;

	text_clear(&repair->type);
	while (mime_field_next(&header, &field)) {
		if (!repair_field_is(field, "Content-Type") ||
		    header_field_parse(without_line_end(field), &name,
				       &value) != NULL)
			continue;
		mime_type_parse(value, &type);
		text_clear(&repair->type);
		if (type.subtype.len > 0)
			text_addf(&repair->type, "%.*s/%.*s",
				  SLICE_ARG(type.type),
				  SLICE_ARG(type.subtype));
		text_done(&type.boundary);
	}
}

/* Content that is 8-bit against its encoding stays so: nobody knows what it
 * means. */
static const char *
content_choose(const struct repair *repair, const struct mime_part *part,
	       bool is_8bit, enum encode_kind *kind_out)
{
	if (part->kind != MIME_LEAF)
		return part->why;
	if (is_8bit && part->given != ENCODE_GIVEN_NONE)
		return "an encoded part with 8-bit octets";
	return encode_choose(&repair->measure, part->given, part->is_text,
			     kind_out);
}

/* RFC 2045 4: a message inside has a MIME-Version of its own, or encodings mean
 * nothing in it. */
static void
plan_version(struct repair *repair, const struct mime_part *part)
{
	struct plan *plan = repair_plan_of_message(repair, part);

	if (plan == NULL || !plan->lacks_version)
		return;
	plan->adds_version = true;
	if (part->index != part->message)
		return;
	plan->adds_type = repair->measure.has_8bit && !part->has_type;
	plan->is_utf8 = encode_measure_is_utf8(&repair->measure);
}

static void
look_content(struct repair *repair, const struct mime_part *part)
{
	const struct encode_measure *measure = &repair->measure;
	bool is_long = repair->needs.long_lines && measure->has_long_line;
	bool is_8bit = repair->needs.eight_bit && measure->has_8bit;
	enum encode_kind kind = ENCODE_NONE;
	const char *why;

	repair->has_8bit |= measure->has_8bit;
	if (part->index == 0)
		repair->is_utf8 = encode_measure_is_utf8(measure);
	/* RFC 2045 2.7: such lines are not 7bit. */
	if (measure->has_long_line && part->index < repair->plans_count)
		repair->plans[part->index].relabels = false;
	if (!is_long && !is_8bit)
		return;
	why = content_choose(repair, part, is_8bit, &kind);
	if (why == NULL)
		plan_of(repair, part)->encode = (unsigned char)kind;
	if (why == NULL && encode_name(kind) != NULL)
		plan_version(repair, part);
	if (why != NULL && is_long)
		leave(repair, why);
	if (why != NULL && is_8bit)
		leave_8bit(repair, why);
	part_tell(repair, part, why);
}

static void
look_between(struct repair *repair, const struct mime_part *part,
	     struct slice bytes)
{
	if (repair->needs.eight_bit && has_8bit_octet(bytes)) {
		if (part->is_fixed)
			leave_8bit(repair,
				   "a forwarded message that is signed");
		else
			repair->report.replaces_between = true;
	}
	for (size_t i = 0; i < bytes.len; i++) {
		char c = bytes.bytes[i];

		if (repair->has_cr && c == '\n') {
			repair->column = 0;
		} else {
			repair->column += repair->has_cr;
			repair->column += c != '\r';
		}
		repair->has_cr = c == '\r';
		if (!repair->needs.long_lines ||
		    repair->column <= LINE_OCTETS_MAX)
			continue;
		if (part->is_fixed)
			leave(repair, "a forwarded message that is signed");
		else
			repair->report.breaks_between = true;
	}
}

static void
look_sink(void *owner, enum mime_event event, const struct mime_part *part,
	  struct slice bytes)
{
	struct repair *repair = owner;

	switch (event) {
	case MIME_HEADER:
		if (part->index == 0)
			repair->top = *part;
		repair->column = 0;
		repair->has_cr = false;
		encode_measure_init(&repair->measure);
		if (part->index > 0 && part->index == part->message &&
		    part->is_whole && !part->has_version)
			plan_of(repair, part)->lacks_version = true;
		if (repair->tell != NULL)
			look_type(repair, bytes);
		look_fields(repair, part, bytes);
		break;
	case MIME_CONTENT:
		encode_measure_feed(&repair->measure, bytes);
		break;
	case MIME_CONTENT_END:
		look_content(repair, part);
		break;
	case MIME_BETWEEN:
		look_between(repair, part, bytes);
		break;
	}
}

struct repair *
repair_new(const struct repair_needs *needs, size_t header_max)
{
	struct repair *repair = memory_new(sizeof(*repair));

	repair->needs = *needs;
	repair->header_max = header_max;
	repair->reader = mime_reader_new(header_max, look_sink, repair);
	return repair;
}

void
repair_free(struct repair *repair)
{
	if (repair == NULL)
		return;
	mime_reader_free(repair->reader);
	text_done(&repair->type);
	free(repair->plans);
	free(repair);
}

void
repair_observe(struct repair *repair, repair_part_fn *tell, void *owner)
{
	repair->tell = tell;
	repair->tell_owner = owner;
}

void
repair_look(struct repair *repair, struct slice bytes)
{
	mime_feed(repair->reader, bytes);
}

/* --- deciding --- */

enum encode_kind
repair_encode_of(const struct repair *repair, size_t index)
{
	return index < repair->plans_count
		       ? (enum encode_kind)repair->plans[index].encode
		       : ENCODE_NONE;
}

static void
report_encoding(struct repair_report *report, enum encode_kind kind)
{
	switch (kind) {
	case ENCODE_NONE:
		break;
	case ENCODE_QUOTED_PRINTABLE:
		report->encodes_quoted = true;
		break;
	case ENCODE_BASE64:
		report->encodes_base64 = true;
		break;
	case ENCODE_REFOLD_QUOTED:
	case ENCODE_REWRAP_BASE64:
		report->breaks_lines = true;
		break;
	}
}

/* An encoding means something only where there is a MIME-Version. */
static void
decide_version(struct repair *repair)
{
	struct repair_report *report = &repair->report;
	bool is_encoded = encode_name(repair_encode_of(repair, 0)) != NULL;

	if (repair->top.has_version || !repair->top.is_whole)
		return;
	report->adds_version = is_encoded || report->encodes_quoted ||
			       report->encodes_base64 ||
			       (repair->needs.version && repair->has_8bit);
	report->adds_type = report->adds_version && repair->has_8bit &&
			    !repair->top.has_type;
}

const struct repair_report *
repair_decide(struct repair *repair)
{
	struct repair_report *report = &repair->report;
	const char *trouble;

	mime_finish(repair->reader);
	trouble = mime_trouble(repair->reader);
	if (trouble != NULL) {
		/* Bcc goes all the same: that needs the message's own header
		 * only, and what follows is handed on as it is. */
		bool has_header = repair->top.is_whole;

		*report = (struct repair_report){
			.left = repair->needs.long_lines ? trouble : NULL,
			.left_8bit = repair->needs.eight_bit ? trouble : NULL,
			.removes_bcc = has_header && repair->has_bcc,
			.removes_signatures =
				has_header && repair->has_signature};
		repair->plans_count = 0;
	} else {
		for (size_t i = 0; i < repair->plans_count; i++) {
			report_encoding(report, repair_encode_of(repair, i));
			report->folds_header |= repair->plans[i].folds;
		}
		report->removes_bcc = repair->has_bcc;
		report->removes_signatures = repair->has_signature;
		decide_version(repair);
	}
	return report;
}

/* What a part may get: MIME-Version, a Content-Type and an encoding's name; the
 * last line of base64, a CRLF behind it, and what is rounded. */
#define PART_ADDED_MAX 128
/* What a part that gets any has itself: "--b" and a line end, its header's empty
 * line, and an octet that it is encoded for. */
#define PART_OCTETS_MIN 8

/*
 * Octets belong to a header, to the content of a part, or stand between parts.
 *
 *	quoted-printable: chosen where E of the n octets are escaped wherever
 *	    lines are broken, E <= n / 6 (encode.c); that makes 4/3 n. A soft
 *	    line break is three octets more, behind at least 73 of a line, and
 *	    two where the line it begins has to be escaped there ("-", "From "):
 *	    S of them with 73 S <= 4/3 n + 2 S, hence 4/3 n + 5 S, and this is at
 *	    most 4/3 * 76/71 n < 1.43 n
 *	base64: 4 for 3, and 2 for 57: < 1.37 n
 *	lines of both broken: 5 for 760; 2 for 76: < 1.03 n
 *	header fields: lines are cut at the last place there is within 998
 *	    octets, at white space rather than at commas: three cuts are never
 *	    within 990 octets. Each adds at most three: < 1.02 n
 *	between parts: 2 for 998: < 1.01 n
 *
 * All of these are below 3/2 n. The rest is what parts get, each once; there
 * are MIME_PARTS_MAX at most, and all but the first have the least of octets
 * themselves; a message that is a digest's part has the delimiter alone.
 */
uint64_t
repair_size_max(uint64_t size)
{
	uint64_t parts = 1 + size / PART_OCTETS_MIN;

	if (parts > MIME_PARTS_MAX)
		parts = MIME_PARTS_MAX;
	return size + size / 2 + parts * PART_ADDED_MAX;
}

uint64_t
repair_room_max(uint64_t size)
{
	return size + repair_size_max(size);
}

bool
repair_changes(const struct repair_report *report)
{
	return report->encodes_quoted || report->encodes_base64 ||
	       report->breaks_lines || report->breaks_between ||
	       report->replaces_between || report->folds_header ||
	       report->removes_bcc || report->removes_signatures ||
	       report->adds_version || report->adds_type;
}
