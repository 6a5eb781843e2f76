#include "milter/repair.h"

#include <assert.h>
#include <stdlib.h>

#include "milter/header.h"
#include "milter/pipeline.h"

/* RFC 5322 2.1.1, without the CRLF. */
#define LINE_OCTETS_MAX 998

/* What becomes of a part. */
struct plan {
	unsigned char encode; /* enum encode_kind */
	bool folds;
	bool relabels; /* "8bit" and "binary" become "7bit" */
	/* Of a message inside: it has no MIME-Version, and what of a MIME
	 * message it is to get. */
	bool lacks_version, adds_version, adds_type, is_utf8;
};

struct repair {
	struct repair_needs needs;
	struct repair_report report;
	size_t header_max;
	struct mime_reader *reader;
	struct plan *plans;
	size_t plans_count, plans_size;
	/* looking */
	struct encode_measure measure;
	size_t column; /* of a line between parts */
	bool has_cr;
	bool has_8bit, is_utf8; /* any part; the message's own content */
	struct mime_part top;
	bool has_bcc, has_signature;
	repair_part_fn *tell; /* NULL: nobody observes */
	void *tell_owner;
	struct text type; /* of the part, where somebody does */
	/* writing */
	struct encoder encoder;
	struct text *out;
	bool is_writing, ends_in_base64;
};

/* --- folding --- */

/* Where a line is to be cut: before white space that follows something else,
 * with something else behind it; 0: nowhere. */
static size_t
fold_find(struct slice line, size_t from)
{
	size_t at = line.len < LINE_OCTETS_MAX ? line.len : LINE_OCTETS_MAX;
	size_t end = line.len;

	while (end > 0 && ascii_is_wsp(line.bytes[end - 1]))
		end--;
	for (; at > from; at--)
		if (at < end && ascii_is_wsp(line.bytes[at]) &&
		    !ascii_is_wsp(line.bytes[at - 1]))
			return at;
	return 0;
}

/* from: how much of it must stay together. */
static bool
fold_line(struct slice line, size_t from, struct text *out)
{
	bool is_done = true;

	while (line.len > LINE_OCTETS_MAX) {
		size_t at = fold_find(line, from);

		is_done = at > 0;
		if (!is_done)
			break;
		text_add(out, slice_sub(line, 0, at));
		text_add_string(out, "\r\n");
		line = slice_from(line, at);
		from = 1;
	}
	text_add(out, line);
	return is_done;
}

bool
repair_fold(struct slice field, struct text *out)
{
	ptrdiff_t colon = slice_find(field, ':');
	size_t from = colon < 0 ? field.len : (size_t)colon + 1;
	struct slice rest = field;
	bool is_done = true;

	/* Nothing but the name on the first line would not be wrong, but some
	 * take it so. */
	while (from < field.len && ascii_is_wsp(field.bytes[from]))
		from++;
	while (rest.len > 0) {
		ptrdiff_t lf = slice_find(rest, '\n');
		size_t len = lf < 0 ? rest.len : (size_t)lf + 1;
		size_t end = len;

		while (end > 0 && (rest.bytes[end - 1] == '\n' ||
		                   rest.bytes[end - 1] == '\r'))
			end--;
		if (!fold_line(slice_sub(rest, 0, end), from, out))
			is_done = false;
		text_add(out, slice_sub(rest, end, len - end));
		rest = slice_from(rest, len);
		from = 1;
	}
	return is_done;
}

/* A line, without its CRLF, over the limit. */
static bool
has_long_line(struct slice bytes)
{
	while (bytes.len > LINE_OCTETS_MAX) {
		ptrdiff_t lf = slice_find(bytes, '\n');
		size_t len = lf < 0 ? bytes.len : (size_t)lf;

		if (len > LINE_OCTETS_MAX + 1 || (len == LINE_OCTETS_MAX + 1 &&
		                                  bytes.bytes[len - 1] != '\r'))
			return true;
		bytes = slice_from(bytes, len + 1);
	}
	return false;
}

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

/* Of the forwarded message that the part is in; NULL: of none. */
static struct plan *
plan_of_message(struct repair *repair, const struct mime_part *part)
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

/* A field with its CRLF. */
static bool
field_is(struct slice field, const char *word)
{
	struct slice name, value;

	return header_field_parse(without_line_end(field), &name, &value) ==
	               NULL &&
	       slice_eq_nocase(name, SLICE(word));
}

static bool
is_bcc(struct slice field)
{
	return field_is(field, "Bcc") || field_is(field, "Resent-Bcc");
}

static bool
is_stripped(const struct repair *repair, struct slice field)
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
	else if (repair_fold(field, &folded))
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
	       field_is(field, "Content-Transfer-Encoding") &&
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
		if (part->index == 0 && repair->needs.bcc && is_bcc(field)) {
			repair->has_bcc = true;
			continue;
		}
		if (part->index == 0 && is_stripped(repair, field)) {
			repair->has_signature = true;
			continue;
		}
		if (repair->needs.eight_bit)
			look_8bit_field(repair, part, field);
		if (repair->needs.long_lines && has_long_line(field))
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
		if (!field_is(field, "Content-Type") ||
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
	struct plan *plan = plan_of_message(repair, part);

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

static enum encode_kind
encode_of(const struct repair *repair, size_t index)
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
	bool is_encoded = encode_name(encode_of(repair, 0)) != NULL;

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
			report_encoding(report, encode_of(repair, i));
			report->folds_header |= repair->plans[i].folds;
		}
		report->removes_bcc = repair->has_bcc;
		report->removes_signatures = repair->has_signature;
		decide_version(repair);
	}
	return report;
}

uint64_t
repair_size_max(uint64_t size)
{
	static_assert(MIME_PARTS_MAX * 128 < 2 << 20, "fields for each part");
	return size + size / 2 + (2 << 20);
}

bool
repair_changes(const struct repair_report *report)
{
	return report->encodes_quoted || report->encodes_base64 ||
	       report->breaks_lines || report->breaks_between ||
	       report->replaces_between ||
	       report->folds_header || report->removes_bcc ||
	       report->removes_signatures || report->adds_version ||
	       report->adds_type;
}

/* --- writing --- */

static void
write_encoding(struct repair *repair, const char *name)
{
	text_addf(repair->out, "Content-Transfer-Encoding: %s\r\n", name);
}

/* What cannot be folded was reported by looking. */
static void
write_folded(struct repair *repair, struct slice field)
{
	bool is_done = repair_fold(field, repair->out);

	ASSERT(is_done || repair->report.has_long_word);
}

static void
write_field(struct repair *repair, const struct mime_part *part,
            struct slice field)
{
	const char *encoding = encode_name(encode_of(repair, part->index));
	bool folds = part->index < repair->plans_count &&
	             repair->plans[part->index].folds;

	if (part->index == 0 && repair->report.removes_bcc && is_bcc(field))
		return;
	if (part->index == 0 && repair->report.removes_signatures &&
	    is_stripped(repair, field))
		return;
	/* Where 8-bit content stays in it, so does a multipart's label. */
	if (encoding == NULL && repair->report.left_8bit == NULL &&
	    part->index < repair->plans_count &&
	    repair->plans[part->index].relabels)
		encoding = "7bit";
	if (encoding != NULL && field_is(field, "Content-Transfer-Encoding"))
		write_encoding(repair, encoding);
	else if (folds)
		write_folded(repair, field);
	else
		text_add(repair->out, field);
}

static void
write_version(struct repair *repair, bool has_type, bool is_utf8)
{
	text_add_string(repair->out, "MIME-Version: 1.0\r\n");
	if (!has_type)
		text_addf(repair->out,
		          "Content-Type: text/plain; charset=%s\r\n",
		          is_utf8 ? "utf-8" : "unknown-8bit");
}

/* Behind the fields of a header that has its empty line. */
static void
write_added(struct repair *repair, const struct mime_part *part)
{
	const char *encoding = encode_name(encode_of(repair, part->index));
	const struct plan *plan = plan_of_message(repair, part);
	bool is_top = part->index == 0;

	if (is_top && repair->report.adds_version)
		write_version(repair, !repair->report.adds_type,
		              repair->is_utf8);
	else if (plan != NULL && part->index == part->message &&
	         plan->adds_version)
		write_version(repair, !plan->adds_type, plan->is_utf8);
	if (is_top && repair->report.adds_type && encoding == NULL)
		encoding = "8bit";
	if (encoding != NULL && !part->has_encoding)
		write_encoding(repair, encoding);
}

static void
write_header(struct repair *repair, const struct mime_part *part,
             struct slice header)
{
	struct slice field;

	encode_init(&repair->encoder, encode_of(repair, part->index));
	while (mime_field_next(&header, &field)) {
		if (part->is_whole && header.len == 0 &&
		    slice_eq(field, SLICE("\r\n"))) {
			write_added(repair, part);
			text_add(repair->out, field);
		} else {
			write_field(repair, part, field);
		}
	}
}

/* A line that is made here must not look like a boundary: "-" is left out
 * rather than put at its beginning. */
static void
between_put(struct repair *repair, char c)
{
	if (repair->report.replaces_between && (unsigned char)c >= 0x80)
		c = '?';
	if (repair->report.breaks_between &&
	    repair->column == LINE_OCTETS_MAX) {
		if (c == '-')
			return;
		text_add_string(repair->out, "\r\n");
		repair->column = 0;
	}
	text_add_byte(repair->out, c);
	repair->column++;
}

/* Boundaries are no longer than a line may be, and stay. */
static void
write_between(struct repair *repair, const struct mime_part *part,
              struct slice bytes)
{
	if (part->is_fixed || !(repair->report.breaks_between ||
	                        repair->report.replaces_between)) {
		text_add(repair->out, bytes);
		return;
	}
	for (size_t i = 0; i < bytes.len; i++) {
		char c = bytes.bytes[i];

		if (repair->has_cr && c == '\n') {
			text_add_string(repair->out, "\r\n");
			repair->column = 0;
		} else {
			if (repair->has_cr)
				between_put(repair, '\r');
			if (c != '\r')
				between_put(repair, c);
		}
		repair->has_cr = c == '\r';
	}
}

static void
write_sink(void *owner, enum mime_event event, const struct mime_part *part,
           struct slice bytes)
{
	struct repair *repair = owner;

	switch (event) {
	case MIME_HEADER:
		repair->column = 0;
		repair->has_cr = false;
		write_header(repair, part, bytes);
		break;
	case MIME_CONTENT:
		encode_feed(&repair->encoder, bytes, repair->out);
		break;
	case MIME_CONTENT_END:
		encode_finish(&repair->encoder, repair->out);
		repair->ends_in_base64 =
		        repair->encoder.kind == ENCODE_BASE64 ||
		        repair->encoder.kind == ENCODE_REWRAP_BASE64;
		break;
	case MIME_BETWEEN:
		repair->ends_in_base64 = false;
		write_between(repair, part, bytes);
		break;
	}
}

void
repair_write(struct repair *repair, struct slice bytes, struct text *out)
{
	if (!repair->is_writing) {
		repair->is_writing = true;
		repair->column = 0;
		repair->has_cr = false;
		mime_reader_free(repair->reader);
		repair->reader =
		        mime_reader_new(repair->header_max, write_sink, repair);
	}
	repair->out = out;
	mime_feed(repair->reader, bytes);
}

void
repair_finish(struct repair *repair, struct text *out)
{
	repair_write(repair, SLICE_NONE, out);
	mime_finish(repair->reader);
	if (repair->has_cr)
		between_put(repair, '\r');
	/* The line end between it and a boundary is the boundary's. */
	if (repair->ends_in_base64)
		text_add_string(out, "\r\n");
}
