#include "milter/repair_private.h"

static void
write_encoding(struct repair *repair, const char *name)
{
	text_addf(repair->out, "Content-Transfer-Encoding: %s\r\n", name);
}

/* Beside a field that can be folded there may be one that cannot: it stays. */
static void
write_folded(struct repair *repair, struct slice field)
{
	CLEAN(text_done) struct text folded = {0};

	if (fold_is_due(field) && fold_field(field, &folded))
		text_add(repair->out, text_slice(&folded));
	else
		text_add(repair->out, field);
}

static void
write_field(struct repair *repair, const struct mime_part *part,
	    struct slice field)
{
	const char *encoding =
		encode_name(repair_encode_of(repair, part->index));
	bool folds = part->index < repair->plans_count &&
		     repair->plans[part->index].folds;

	if (part->index == 0 && repair->report.removes_bcc &&
	    repair_is_bcc(field))
		return;
	if (part->index == 0 && repair->report.removes_signatures &&
	    repair_is_stripped(repair, field))
		return;
	/* Where 8-bit content stays in it, so does a multipart's label; and for
	 * a label alone no message is changed. */
	if (encoding == NULL && repair->report.left_8bit == NULL &&
	    repair_changes(&repair->report) &&
	    part->index < repair->plans_count &&
	    repair->plans[part->index].relabels)
		encoding = "7bit";
	if (encoding != NULL &&
	    repair_field_is(field, "Content-Transfer-Encoding"))
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
	const char *encoding =
		encode_name(repair_encode_of(repair, part->index));
	const struct plan *plan = repair_plan_of_message(repair, part);
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

	encode_init(&repair->encoder, repair_encode_of(repair, part->index));
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
