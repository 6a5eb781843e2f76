#include "relay/server/prepare.h"

#include "base/clock.h"
#include "base/tags.h"
#include "milter/policy.h"
#include "milter/repair.h"
#include "relay/server/path.h"

/* RFC 3848. */
static const char *
with_keyword(const struct trace *trace)
{
	if (!trace->is_esmtp)
		return "SMTP";
	if (trace->is_secured)
		return trace->is_authenticated ? "ESMTPSA" : "ESMTPS";
	return trace->is_authenticated ? "ESMTPA" : "ESMTP";
}

/* A client may say anything: what could not stand in the field is replaced. */
static void
add_helo(struct text *out, struct slice helo)
{
	if (helo.len == 0) {
		text_add_string(out, "unknown");
		return;
	}
	if (path_domain_check(helo) || path_literal_check(helo)) {
		text_add(out, helo);
		return;
	}
	for (size_t i = 0; i < helo.len; i++) {
		char c = helo.bytes[i];
		bool is_plain = ascii_is_alpha(c) || ascii_is_digit(c) ||
				c == '-' || c == '.' || c == '_';

		text_add_byte(out, is_plain ? c : '?');
	}
}

static void
add_client(struct text *out, const struct address *client)
{
	char literal[ADDRESS_TEXT_SIZE];

	if (client->any.sa_family != AF_INET &&
	    client->any.sa_family != AF_INET6) {
		text_add_string(out, " (local)");
		return;
	}
	address_write_literal(client, literal);
	text_addf(out, " (%s)", literal);
}

void
prepare_received(struct text *out, const struct trace *trace,
		 const struct message *message)
{
	char id[MESSAGE_ID_TEXT + 1], date[CLOCK_DATE_SIZE];

	message_id_write(&message->id, id);
	clock_write_date(message->received_ms, date);
	text_add_string(out, "Received: from ");
	add_helo(out, trace->helo);
	add_client(out, trace->client);
	text_addf(out, "\r\n\tby %.*s with %s id %s",
		  SLICE_ARG(trace->hostname), with_keyword(trace), id);
	if (trace->is_secured)
		text_addf(out, "\r\n\t(%.*s)", SLICE_ARG(trace->tls));
	if (message->recipients_count == 1)
		text_addf(out, "\r\n\tfor <%.*s>",
			  SLICE_ARG(message->recipients[0].address));
	text_addf(out, ";\r\n\t%s\r\n", date);
}

void
prepare_date(struct text *out, uint64_t wall_ms)
{
	char date[CLOCK_DATE_SIZE];

	clock_write_date(wall_ms, date);
	text_addf(out, "Date: %s", date);
}

void
prepare_message_id(struct text *out, const struct message_id *id,
		   struct slice hostname)
{
	char text[MESSAGE_ID_TEXT + 1];

	message_id_write(id, text);
	text_addf(out, "Message-ID: <%s@%.*s>", text, SLICE_ARG(hostname));
}

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

/* --- what is to be done --- */

void
prepare_remark(struct text *remarks, const char *what, const char *why)
{
	text_addf(remarks, "; %s: %s", what, why);
}

static void
hold_back(bool *need, bool is_barred, const char *what, struct text *remarks)
{
	if (!*need || !is_barred)
		return;
	*need = false;
	prepare_remark(remarks, what, "the message carries a signature");
}

struct repair_needs
prepare_needs(const struct prepare_facts *facts,
	      const struct prepare_options *options, bool has_long_line,
	      bool has_8bit, struct text *remarks)
{
	struct repair_needs needs = {
		.long_lines = has_long_line &&
			      options->long_lines == LONG_LINES_ENCODE,
		.eight_bit = has_8bit && options->eight_bit == EIGHT_BIT_ENCODE,
		.bcc = facts->has_bcc && options->remove_bcc,
		.version = has_8bit && !facts->has_version &&
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
