#include "relay/queue/listing.h"

#include "relay/routing.h"

void
listing_write_visible(struct slice bytes, bool keeps_lines, struct text *out)
{
	while (bytes.len > 0) {
		size_t len = slice_utf8_length(bytes, 0);
		unsigned char first = (unsigned char)bytes.bytes[0];

		if (keeps_lines && (first == '\n' || first == '\t'))
			text_add_byte(out, (char)first);
		else if (keeps_lines && first == '\r' && bytes.len > 1 &&
			 bytes.bytes[1] == '\n')
			; /* the newline follows */
		else if (len == 0 || slice_utf8_is_unsafe(bytes, len))
			text_add_byte(out, '?');
		else
			text_add(out, slice_sub(bytes, 0, len));
		bytes = slice_from(bytes, len > 0 ? len : 1);
	}
}

void
listing_write_destination(struct slice name, struct text *out)
{
	bool is_of_reports = routing_is_of_reports(name);

	text_add(out, is_of_reports ? routing_domain(name) : name);
	if (is_of_reports)
		text_add_string(out, " (report)");
}

/* "42s", "17m", "5h", "3d". */
static void
duration_write(uint64_t ms, struct text *out)
{
	static const struct {
		uint64_t ms;
		char unit;
	} units[] = {{DAY, 'd'}, {HOUR, 'h'}, {MINUTE, 'm'}, {SECOND, 's'}};

	for (size_t i = 0; i < COUNT(units); i++) {
		/* "47h" says more than "1d". */
		if (ms < 2 * units[i].ms && i + 1 < COUNT(units))
			continue;
		text_addf(out, "%llu%c",
			  (unsigned long long)(ms / units[i].ms),
			  units[i].unit);
		return;
	}
}

static void
size_write(uint64_t bytes, struct text *out)
{
	if (bytes < 10 * KIB)
		text_addf(out, "%llu", (unsigned long long)bytes);
	else if (bytes < 10 * MIB)
		text_addf(out, "%lluK", (unsigned long long)(bytes / KIB));
	else
		text_addf(out, "%lluM", (unsigned long long)(bytes / MIB));
}

static void
time_write(uint64_t wall_ms, struct text *out)
{
	char text[CLOCK_ISO_SIZE];

	clock_write_iso(wall_ms, text);
	text_add_string(out, text);
}

static const struct message *
listing_message(const struct listing *listing)
{
	return listing->deliveries[0]->message;
}

static const char *
state_of(const struct delivery *delivery,
	 const struct delivery_recipient *recipient)
{
	if (delivery->is_held)
		return "held";
	if (recipient->is_report_owed)
		return recipient->outcome == OUTCOME_DELIVERED ? "delivered"
							       : "bounced";
	return recipient->attempts == 0 ? "queued" : "deferred";
}

static struct slice
address_of(const struct delivery *delivery,
	   const struct delivery_recipient *recipient)
{
	return delivery->message->recipients[recipient->index].address;
}

/* --- text --- */

static void
next_write(const struct delivery *delivery, uint64_t now_ms, struct text *out)
{
	if (delivery->is_held)
		return;
	if (delivery->due_ms <= now_ms) {
		text_add_string(out, ", due now");
		return;
	}
	text_add_string(out, ", next in ");
	duration_write(delivery->due_ms - now_ms, out);
}

static void
recipient_write(const struct delivery *delivery,
		const struct delivery_recipient *recipient, uint64_t now_ms,
		struct text *out)
{
	text_add_string(out, "    ");
	listing_write_visible(address_of(delivery, recipient), false, out);
	text_addf(out, "  %s, %u attempt%s", state_of(delivery, recipient),
		  recipient->attempts, recipient->attempts == 1 ? "" : "s");
	next_write(delivery, now_ms, out);
	if (recipient->reply.len > 0) {
		text_add_string(out, ": ");
		listing_write_visible(recipient->reply, false, out);
	}
	if (recipient->mx.len > 0) { /* with a smarthost not the domain's own */
		text_add_string(out, " (");
		listing_write_visible(recipient->mx, false, out);
		text_add_byte(out, ')');
	}
	text_add_byte(out, '\n');
}

void
listing_write_text(const struct listing *listing, struct text *out)
{
	const struct message *message = listing_message(listing);
	char id[MESSAGE_ID_TEXT + 1];
	uint64_t age_ms = listing->now_ms > message->received_ms
				  ? listing->now_ms - message->received_ms
				  : 0;

	message_id_write(&message->id, id);
	text_addf(out, "%s  ", id);
	duration_write(age_ms, out);
	text_add_string(out, "  ");
	size_write(message_size(message), out);
	text_add_string(out, "  <");
	listing_write_visible(message->reverse_path, false, out);
	text_add_string(out, ">\n");
	for (size_t i = 0; i < listing->count; i++) {
		const struct delivery *delivery = listing->deliveries[i];

		for (size_t j = 0; j < delivery->recipients_count; j++)
			recipient_write(delivery, &delivery->recipients[j],
					listing->now_ms, out);
	}
}

/* --- everything --- */

static void
field_write(const char *name, struct slice value, struct text *out)
{
	if (value.len == 0)
		return;
	text_addf(out, "%s: ", name);
	listing_write_visible(value, false, out);
	text_add_byte(out, '\n');
}

static void
time_field_write(const char *name, uint64_t wall_ms, uint64_t now_ms,
		 struct text *out)
{
	bool is_past = wall_ms <= now_ms;

	if (wall_ms == 0)
		return;
	text_addf(out, "%s: ", name);
	time_write(wall_ms, out);
	text_add_string(out, is_past ? " (" : " (in ");
	duration_write(is_past ? now_ms - wall_ms : wall_ms - now_ms, out);
	text_add_string(out, is_past ? " ago)\n" : ")\n");
}

static void
delivery_write(const struct delivery *delivery, uint64_t now_ms,
	       struct text *out)
{
	text_add_byte(out, '\n');
	field_write("domain", routing_domain(delivery->destination), out);
	time_field_write("last-attempt", delivery->last_attempt_ms, now_ms,
			 out);
	if (!delivery->is_held)
		time_field_write("next-attempt", delivery->due_ms, now_ms,
				 out);
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct delivery_recipient *recipient =
			&delivery->recipients[i];

		field_write("recipient", address_of(delivery, recipient), out);
		text_addf(out, "  state: %s\n  attempts: %u\n",
			  state_of(delivery, recipient), recipient->attempts);
		field_write("  host", recipient->mx, out);
		field_write("  reply", recipient->reply, out);
		field_write("  status", recipient->status, out);
	}
}

void
listing_write_all(const struct listing *listing, struct text *out)
{
	const struct message *message = listing_message(listing);
	char id[MESSAGE_ID_TEXT + 1];

	message_id_write(&message->id, id);
	text_addf(out, "id: %s\nfrom: <", id);
	listing_write_visible(message->reverse_path, false, out);
	text_addf(out, ">\nsize: %llu\n",
		  (unsigned long long)message_size(message));
	time_field_write("received", message->received_ms, listing->now_ms,
			 out);
	if (message->is_report)
		text_add_string(out, "report: yes\n");
	for (size_t i = 0; i < listing->count; i++)
		delivery_write(listing->deliveries[i], listing->now_ms, out);
}

/* --- JSON --- */

static void
json_field(struct text *out, const char *name, struct slice value)
{
	text_addf(out, ", \"%s\": ", name);
	text_add_json(out, value);
}

static void
recipient_write_json(const struct delivery *delivery,
		     const struct delivery_recipient *recipient,
		     struct text *out)
{
	text_add_string(out, "{\"address\": ");
	text_add_json(out, address_of(delivery, recipient));
	json_field(out, "domain", routing_domain(delivery->destination));
	json_field(out, "state", SLICE(state_of(delivery, recipient)));
	text_addf(out, ", \"attempts\": %u, \"next\": ",
		  recipient->attempts);
	if (delivery->is_held) {
		text_add_string(out, "null");
	} else {
		text_add_byte(out, '"');
		time_write(delivery->due_ms, out);
		text_add_byte(out, '"');
	}
	json_field(out, "host", recipient->mx);
	json_field(out, "reply", recipient->reply);
	text_add_byte(out, '}');
}

void
listing_write_json(const struct listing *listing, struct text *out)
{
	const struct message *message = listing_message(listing);
	char id[MESSAGE_ID_TEXT + 1];
	bool is_first = true;

	message_id_write(&message->id, id);
	text_addf(out, "{\"id\": \"%s\"", id);
	json_field(out, "from", message->reverse_path);
	text_addf(out, ", \"size\": %llu, \"received\": \"",
		  (unsigned long long)message_size(message));
	time_write(message->received_ms, out);
	text_add_string(out, "\", \"recipients\": [");
	for (size_t i = 0; i < listing->count; i++) {
		const struct delivery *delivery = listing->deliveries[i];

		for (size_t j = 0; j < delivery->recipients_count; j++) {
			if (!is_first)
				text_add_string(out, ", ");
			is_first = false;
			recipient_write_json(delivery,
					     &delivery->recipients[j], out);
		}
	}
	text_add_string(out, "]}\n");
}

void
listing_write_header(const struct message *message, struct slice header,
		     struct text *out)
{
	text_add_byte(out, '\n');
	listing_write_visible(message->prefix, true, out);
	listing_write_visible(header, true, out);
}

/* --- one message after the other --- */

void
listing_write_each(const struct list *deliveries, uint64_t now_ms,
		   listing_fn *write, struct text *out)
{
	size_t count = 0, filled = 0, first = 0;
	CLEAN(clean_memory) const struct delivery **rows = NULL;

	LIST_EACH (item, deliveries)
		count++;
	rows = memory_array(count, sizeof(*rows));
	LIST_EACH (item, deliveries)
		rows[filled++] = CONTAINER(item, struct delivery, link);
	for (size_t i = 1; i <= count; i++) {
		struct listing listing = {&rows[first], i - first, now_ms};

		if (i < count && rows[i]->message == rows[first]->message)
			continue;
		write(&listing, out);
		first = i;
	}
}
