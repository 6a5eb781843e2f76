#include "relay/queue/report_private.h"

#include "base/clock.h"
#include "milter/encode.h"

/* Of recipients in the same plight; the others are in the part for programs. */
#define NAMED_MAX 100
#define QUOTE_MAX 800
#define COLUMNS 76

/* --- lines --- */

/* Words, wrapped; each line begins with the indent. */
static void
add_wrapped(struct text *out, const char *indent, struct slice words)
{
	size_t column = 0;
	struct slice word;

	while (slice_split(&words, ' ', &word)) {
		if (word.len == 0)
			continue;
		if (column > 0 && column + 1 + word.len > COLUMNS) {
			text_add_string(out, "\r\n");
			column = 0;
		}
		if (column == 0) {
			text_add_string(out, indent);
			column = strlen(indent);
		} else {
			text_add_byte(out, ' ');
			column++;
		}
		text_add(out, word);
		column += word.len;
	}
	text_add_string(out, "\r\n");
}

/* What somebody else said. */
static void
add_quote(struct text *out, struct slice quote)
{
	CLEAN(text_done) struct text clean = {0};

	report_add_ascii(&clean, quote, QUOTE_MAX);
	add_wrapped(out, "        ", text_slice(&clean));
}

static void
add_address(struct text *out, struct slice address)
{
	text_add_string(out, "\r\n  <");
	report_add_utf8(out, address, PATH_MAX_OCTETS);
	text_add_string(out, ">\r\n");
}

/* "5 days", "4 hours", "90 minutes": whole ones. */
static void
add_span(struct text *out, uint64_t span_ms)
{
	static const struct {
		uint64_t unit_ms;
		const char *name;
	} units[] = {{DAY, "days"}, {HOUR, "hours"}, {MINUTE, "minutes"}};

	for (size_t i = 0; i < COUNT(units); i++)
		if (span_ms >= 2 * units[i].unit_ms) {
			text_addf(out, "%llu %s",
				  (unsigned long long)(span_ms /
						       units[i].unit_ms),
				  units[i].name);
			return;
		}
	text_add_string(out, "a short while");
}

/* --- what can be done about it --- */

/* By the status code, RFC 3463; the first row that fits. */
static const struct advice_row {
	const char *status; /* the whole, or its beginning */
	const char *words;
} advice_rows[] = {
	{"5.1.10", "This domain takes no mail at all: check how it is "
		   "written."},
	{"5.1.2", "There is no such domain, or it takes no mail: check how it "
		  "is written."},
	{"5.1.8", "It was the sender's address that was not accepted: ask the "
		  "postmaster of your own domain."},
	{"5.1.7", "It was the sender's address that was not accepted: ask the "
		  "postmaster of your own domain."},
	{"5.1", "Check how the address is written, and whether it still "
		"exists."},
	{"5.2.2", "The mailbox is full: try again in a few days, or reach the "
		  "recipient in another way."},
	{"5.2.3", "The message is too large for this mailbox: send less, or "
		  "in pieces."},
	{"5.2", "The mailbox does not take mail: reach the recipient in "
		"another way."},
	{"5.3.4", "The message is too large: send less, or in pieces."},
	{"5.4.6", "The mail would go in circles: the postmaster of the "
		  "recipient's domain has to mend that."},
	{"5.6.7", "The address has letters beyond ASCII, which that server "
		  "cannot handle: ask the recipient for another address."},
	{"5.6", "The server does not take the message as it is written: send "
		"it as plain text, or ask your postmaster."},
	{"5.7", "The server does not let this message through. Its words may "
		"say what it objects to; else ask the postmaster of your own "
		"domain, or reach the recipient in another way."},
	{"4", "You may send the message again; but first the cause has to be "
	      "gone."},
	{"", "If these words do not help you, ask the postmaster of your own "
	     "domain."},
};

static const char *
advice_of(struct slice status)
{
	for (size_t i = 0; i < COUNT(advice_rows); i++) {
		struct slice row = SLICE(advice_rows[i].status);
		bool is_longer = status.len > row.len && row.len > 0;

		if (slice_starts(status, row) &&
		    !(is_longer && status.bytes[row.len] != '.'))
			return advice_rows[i].words;
	}
	return "";
}

/* --- recipients --- */

static void
add_reply(struct text *out, const struct delivery_recipient *state)
{
	if (state->reply.len == 0)
		return;
	if (outcome_is_reply(state->reply) && state->mx.len > 0) {
		text_add_string(out, "    The mail server ");
		report_add_ascii(out, state->mx, QUOTE_MAX);
		text_add_string(out, " answered:\r\n");
	} else {
		text_add_string(out, "    The reason:\r\n");
	}
	add_quote(out, state->reply);
}

static void
add_recipient(struct text *out, const struct report_form *form, size_t i)
{
	const struct delivery_recipient *state =
		&form->setup->delivery->recipients[i];

	add_address(out, report_recipient(form, i)->address);
	add_reply(out, state);
	if (form->setup->notices[i] == NOTICE_FAILED)
		add_wrapped(out, "    ", SLICE(advice_of(state->status)));
}

static void
add_recipients(struct text *out, const struct report_form *form,
	       enum notice notice)
{
	size_t count = 0;

	for (size_t i = 0; i < form->setup->delivery->recipients_count; i++) {
		if (form->setup->notices[i] != notice)
			continue;
		if (++count <= NAMED_MAX)
			add_recipient(out, form, i);
	}
	if (count > NAMED_MAX)
		text_addf(out, "\r\n  and %zu more\r\n", count - NAMED_MAX);
}

/* --- what has happened --- */

static void
add_failed(struct text *out, const struct report_form *form)
{
	const struct report_setup *setup = form->setup;
	bool has_expired = false;

	text_add_string(out, "\r\n");
	if (setup->copy_to.len > 0) {
		text_add_string(out, "A message from <");
		report_add_utf8(out, form->message->reverse_path,
				PATH_MAX_OCTETS);
		text_add_string(out, ">\r\ncould not be delivered to:\r\n");
	} else {
		text_add_string(out, "Your message could not be delivered to "
				     "the following recipients,\r\n"
				     "and will not be tried again:\r\n");
	}
	add_recipients(out, form, NOTICE_FAILED);
	for (size_t i = 0; i < setup->delivery->recipients_count; i++)
		has_expired |= setup->notices[i] == NOTICE_FAILED &&
			       slice_eq(setup->delivery->recipients[i].status,
					SLICE("4.4.7"));
	if (!has_expired)
		return;
	text_add_string(out, "\r\nIt was tried for ");
	add_span(out, setup->age_ms);
	text_add_string(out, "; what is said above was the last reason.\r\n");
}

/* Who has asked for other reports alone hears of no failure. */
static bool
failure_is_told(const struct report_form *form)
{
	for (size_t i = 0; i < form->setup->delivery->recipients_count; i++) {
		unsigned notify = report_recipient(form, i)->notify;

		if (form->setup->notices[i] == NOTICE_DELAYED && notify != 0 &&
		    (notify & NOTIFY_FAILURE) == 0)
			return false;
	}
	return true;
}

static void
add_delayed(struct text *out, const struct report_form *form)
{
	char date[CLOCK_DATE_SIZE];

	clock_write_date(form->setup->expires_ms, date);
	text_addf(out,
		  "\r\nYour message has not reached the following recipients "
		  "yet.\r\nYou need not do anything, and need not send it "
		  "again: it will be\r\ntried until %s.\r\n",
		  date);
	if (failure_is_told(form))
		text_add_string(out, "Should it fail, you will be told.\r\n");
	add_recipients(out, form, NOTICE_DELAYED);
}

static void
add_relayed(struct text *out, const struct report_form *form)
{
	text_add_string(
		out,
		"\r\nYour message was passed on for the following recipients, "
		"to a mail server\r\nthat does not confirm deliveries. You may "
		"hear no more of it.\r\n");
	add_recipients(out, form, NOTICE_RELAYED);
}

/* --- the part --- */

static void
add_words(struct text *out, const struct report_form *form)
{
	char id[MESSAGE_ID_TEXT + 1], date[CLOCK_DATE_SIZE];

	text_addf(out, "This is the mail relay at %.*s.\r\n",
		  SLICE_ARG(form->setup->hostname));
	if (form->has_failed)
		add_failed(out, form);
	if (form->has_delayed)
		add_delayed(out, form);
	if (form->has_relayed)
		add_relayed(out, form);
	message_id_write(&form->message->id, id);
	clock_write_date(form->message->received_ms, date);
	text_addf(out, "\r\nThe message was accepted here as %s\r\non %s.\r\n",
		  id, date);
}

void
report_add_words(struct text *out, const struct report_form *form)
{
	CLEAN(text_done) struct text words = {0};
	struct encoder encoder;

	add_words(&words, form);
	if (!report_has_8bit(text_slice(&words))) {
		text_add_string(out, "Content-Type: text/plain; "
				     "charset=us-ascii\r\n\r\n");
		text_add(out, text_slice(&words));
		return;
	}
	text_addf(out,
		  "Content-Type: text/plain; charset=utf-8\r\n"
		  "Content-Transfer-Encoding: %s\r\n\r\n",
		  form->is_utf8 ? "8bit" : "quoted-printable");
	if (form->is_utf8) {
		text_add(out, text_slice(&words));
		return;
	}
	encode_init(&encoder, ENCODE_QUOTED_PRINTABLE);
	encode_feed(&encoder, text_slice(&words), out);
	encode_finish(&encoder, out);
}
