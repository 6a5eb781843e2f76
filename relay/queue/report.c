#include "relay/queue/report_private.h"

#include "base/clock.h"
#include "milter/idn.h"
#include "milter/repair.h"
#include "relay/limits.h"

/* --- what others said --- */

bool
report_has_8bit(struct slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		if ((unsigned char)bytes.bytes[i] > 0x7f)
			return true;
	return false;
}

static char
printable(char c)
{
	if (c == '\n' || c == '\t')
		return ' ';
	return c < 0x20 || c > 0x7e ? '?' : c;
}

void
report_add_ascii(struct text *out, struct slice bytes, size_t max)
{
	bytes = slice_sub(bytes, 0, max);
	for (size_t i = 0; i < bytes.len; i++)
		text_add_byte(out, printable(bytes.bytes[i]));
}

void
report_add_utf8(struct text *out, struct slice bytes, size_t max)
{
	size_t len;

	for (size_t i = 0; i < bytes.len && i < max; i += len) {
		len = slice_utf8_length(bytes, i);
		if (len > 1 && i + len <= max) {
			text_add(out, slice_sub(bytes, i, len));
		} else {
			len = 1;
			text_add_byte(out, printable(bytes.bytes[i]));
		}
	}
}

const struct recipient *
report_recipient(const struct report_form *form, size_t i)
{
	unsigned index = form->setup->delivery->recipients[i].index;

	ASSERT(index < form->message->recipients_count);
	return &form->message->recipients[index];
}

/* --- the report's own header --- */

static const char *
subject_of(const struct report_form *form)
{
	if (form->setup->copy_to.len > 0)
		return "Undeliverable mail: copy for the postmaster";
	if (form->has_failed)
		return "Your message could not be delivered";
	return form->has_delayed ? "Your message is delayed"
				 : "Your message was passed on";
}

static void
add_from(struct text *out, const struct report_setup *setup)
{
	if (setup->from.len > 0)
		text_addf(out, "From: %.*s\r\n", SLICE_ARG(setup->from));
	else
		text_addf(out,
			  "From: Mail Delivery System "
			  "<MAILER-DAEMON@%.*s>\r\n",
			  SLICE_ARG(setup->hostname));
}

/* RFC 3834 5: a warning answers nothing that the sender did just now. */
static const char *
auto_submitted(const struct report_form *form)
{
	return form->has_failed || form->has_relayed ? "auto-replied"
						     : "auto-generated";
}

static void
add_header(struct text *out, const struct report_form *form, const char *id,
	   struct slice boundary, bool is_8bit)
{
	const struct report_setup *setup = form->setup;
	char date[CLOCK_DATE_SIZE];

	clock_write_date(setup->now_ms, date);
	text_addf(out, "Date: %s\r\n", date);
	add_from(out, setup);
	text_add_string(out, "To: <");
	report_add_utf8(out, form->to, PATH_MAX_OCTETS);
	text_addf(out, ">\r\nSubject: %s\r\n", subject_of(form));
	text_addf(out, "Message-ID: <%s@%.*s>\r\n", id,
		  SLICE_ARG(setup->hostname));
	text_addf(out, "Auto-Submitted: %s\r\nMIME-Version: 1.0\r\n",
		  auto_submitted(form));
	if (is_8bit)
		text_add_string(out, "Content-Transfer-Encoding: 8bit\r\n");
	text_addf(out,
		  "Content-Type: multipart/report; report-type=%s;\r\n"
		  "\tboundary=\"%.*s\"\r\n\r\n",
		  form->is_utf8 ? "global-delivery-status" : "delivery-status",
		  SLICE_ARG(boundary));
}

static void
add_parts(struct text *out, const struct report_form *form,
	  struct slice boundary)
{
	text_addf(out, "--%.*s\r\n", SLICE_ARG(boundary));
	report_add_words(out, form);
	text_addf(out, "\r\n--%.*s\r\n", SLICE_ARG(boundary));
	report_add_status(out, form);
	text_addf(out, "\r\n--%.*s\r\n", SLICE_ARG(boundary));
	report_add_original(out, form);
	text_addf(out, "\r\n--%.*s--\r\n", SLICE_ARG(boundary));
}

/* --- whether it gets through --- */

/* A host without 8BITMIME on its way will have it converted
 * (relay/prepare/convert.h): that must not fail. */
static bool
can_be_7bit(struct slice report)
{
	struct repair_needs needs = {.eight_bit = true};
	CLEAN(repair_free_clean) struct repair *repair =
		repair_new(&needs, report.len);
	CLEAN(text_done) struct text out = {0};

	repair_look(repair, report);
	if (repair_decide(repair)->left_8bit != NULL)
		return false;
	repair_write(repair, report, &out);
	repair_finish(repair, &out);
	return !report_has_8bit(text_slice(&out));
}

/* Returns how long its header is. */
static size_t
write_all(struct text *out, const struct report_form *form, const char *id,
	  struct slice boundary)
{
	CLEAN(text_done) struct text parts = {0};
	size_t header_len;

	add_parts(&parts, form, boundary);
	add_header(out, form, id, boundary,
		   report_has_8bit(text_slice(&parts)));
	header_len = out->len;
	text_add(out, text_slice(&parts));
	return header_len;
}

/* --- the message --- */

/* Where mail for the path goes: its domain in A-labels, or an address literal
 * in lower case; "" where it has neither. */
static struct slice
path_destination(struct arena *arena, struct slice path)
{
	ptrdiff_t at = slice_find_last(path, '@');
	struct slice domain = slice_from(path, (size_t)(at + 1)), ascii;
	char *lower;

	if (at < 0 || domain.len == 0 || domain.len > DOMAIN_MAX)
		return SLICE_NONE;
	if (domain.bytes[0] != '[')
		return idn_to_ascii(domain, arena, &ascii, NULL) ? ascii
								 : SLICE_NONE;
	lower = arena_new(arena, domain.len);
	for (size_t i = 0; i < domain.len; i++)
		lower[i] = ascii_lower(domain.bytes[i]);
	return slice_of(lower, domain.len);
}

static void
body_take(struct message *report, struct slice bytes, size_t header_len)
{
	struct body *body = &report->body;
	size_t count = (bytes.len + BODY_CHUNK - 1) / BODY_CHUNK;

	body->size = bytes.len;
	body->header_len = header_len;
	body->has_8bit = report->declared_8bit = report_has_8bit(bytes);
	body->has_8bit_header =
		report_has_8bit(slice_sub(bytes, 0, header_len));
	body->chunks_count = count;
	body->chunks = arena_array(&report->arena, count,
				   sizeof(*body->chunks));
	for (size_t i = 0; i < count; i++)
		body->chunks[i] = arena_copy(
			&report->arena,
			slice_sub(bytes, i * BODY_CHUNK, BODY_CHUNK));
}

/* Whom it goes to: with the domain in A-labels where that makes it ASCII. */
static struct slice
path_of(const struct report_setup *setup, struct arena *arena,
	struct slice *destination_out)
{
	struct slice path = setup->copy_to.len > 0
				    ? setup->copy_to
				    : setup->delivery->message->reverse_path;
	struct slice local =
		slice_sub(path, 0, (size_t)(slice_find_last(path, '@') + 1));

	ASSERT(path.len > 0);
	*destination_out = path_destination(arena, path);
	if (destination_out->len == 0 || !report_has_8bit(path) ||
	    report_has_8bit(local))
		return path;
	return arena_printf(arena, "%.*s%.*s", SLICE_ARG(local),
			    SLICE_ARG(*destination_out));
}

static void
form_make(struct report_form *form, const struct report_setup *setup,
	  struct slice to)
{
	*form = (struct report_form){
		.setup = setup,
		.message = setup->delivery->message,
		.to = to,
		.is_utf8 = report_has_8bit(to),
	};
	for (size_t i = 0; i < setup->delivery->recipients_count; i++) {
		form->has_failed |= setup->notices[i] == NOTICE_FAILED;
		form->has_delayed |= setup->notices[i] == NOTICE_DELAYED;
		form->has_relayed |= setup->notices[i] == NOTICE_RELAYED;
	}
	form->is_whole = report_may_be_whole(setup);
}

struct message *
report_make(const struct report_setup *setup)
{
	struct message *report = message_new(SLICE_NONE);
	CLEAN(text_done) struct text text = {0};
	char id[MESSAGE_ID_TEXT + 1];
	struct slice boundary, destination, to;
	struct report_form form;
	size_t header_len;

	to = path_of(setup, &report->arena, &destination);
	form_make(&form, setup, to);
	message_id_write(&report->id, id);
	/* No line of ours begins like this, and nobody knows the id yet. */
	boundary = arena_printf(&report->arena, "=_%s", id);
	header_len = write_all(&text, &form, id, boundary);
	if (form.is_whole && !form.is_utf8 &&
	    report_has_8bit(text_slice(&text)) &&
	    !can_be_7bit(text_slice(&text))) {
		form.is_whole = false;
		text_clear(&text);
		header_len = write_all(&text, &form, id, boundary);
	}
	body_take(report, text_slice(&text), header_len);
	report->is_report = true;
	report->declared_smtputf8 = form.is_utf8;
	if (destination.len > 0) {
		message_add_recipient(report, to, destination);
		/* RFC 3461 6.1 */
		report->recipients[0].notify = NOTIFY_NEVER;
	}
	return report;
}
