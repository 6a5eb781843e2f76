#include "relay/queue/listing.h"

#include <criterion/criterion.h>

static struct message *message;
static struct delivery delivery;

static void
setup(void)
{
	message = message_new(SLICE("alice@example.com"));
	message_add_recipient(message, SLICE("\"a\\\"b\"@example.net"),
			      SLICE("example.net"));
	message_add_recipient(message, SLICE("bob@example.net"),
			      SLICE("example.net"));
	memset(message->id.bytes, 0, sizeof(message->id.bytes));
	message->received_ms = 1000 * DAY;
	message->body.size = 2048;
	delivery = (struct delivery){
		.message = message,
		.destination = SLICE("example.net"),
		.recipients = arena_array(&message->arena, 2,
					  sizeof(*delivery.recipients)),
		.recipients_count = 2,
		.due_ms = 1000 * DAY + 3 * HOUR,
	};
	delivery.recipients[1].index = 1;
	delivery.recipients[1].attempts = 2;
	delivery.recipients[1].mx = SLICE("mx.example.net");
	delivery.recipients[1].reply = SLICE("450 \x1b[1m\xc2\x9b\xff later");
}

static void
teardown(void)
{
	message_unref(message);
}

TestSuite(listing, .init = setup, .fini = teardown);

static const char *
written(void (*write)(const struct listing *listing, struct text *out),
	uint64_t now_ms)
{
	static struct text out;
	const struct delivery *rows[] = {&delivery};
	struct listing listing = {rows, 1, now_ms};

	text_clear(&out);
	write(&listing, &out);
	return text_string(&out);
}

Test(listing, text)
{
	cr_expect_str_eq(
		written(listing_write_text, 1000 * DAY + 90 * SECOND),
		"00000000000000000000000000  90s  2048  <alice@example.com>\n"
		"    \"a\\\"b\"@example.net  queued, 0 attempts, next in 2h\n"
		"    bob@example.net  deferred, 2 attempts, next in 2h: "
		"450 ?[1m?? later (mx.example.net)\n");
}

Test(listing, clock_was_ahead)
{
	cr_expect_not_null(
		strstr(written(listing_write_text, 1), "  0s  2048"));
}

Test(listing, held_is_never_due)
{
	delivery.is_held = true;
	cr_expect_not_null(strstr(written(listing_write_text, 2000 * DAY),
				  "  held, 0 attempts\n"));
	cr_expect_not_null(strstr(written(listing_write_json, 0),
				  "\"state\": \"held\", \"attempts\": 0, "
				  "\"next\": null"));
	cr_expect_null(
		strstr(written(listing_write_all, 0), "next-attempt"));
}

Test(listing, json)
{
	cr_expect_str_eq(
		written(listing_write_json, 0),
		"{\"id\": \"00000000000000000000000000\", \"from\": "
		"\"alice@example.com\", \"size\": 2048, \"received\": "
		"\"1972-09-27T00:00:00.000Z\", \"recipients\": ["
		"{\"address\": \"\\\"a\\\\\\\"b\\\"@example.net\", "
		"\"domain\": \"example.net\", \"state\": \"queued\", "
		"\"attempts\": 0, \"next\": \"1972-09-27T03:00:00.000Z\", "
		"\"host\": \"\", \"reply\": \"\"}, {\"address\": \"bob@example.net\", "
		"\"domain\": \"example.net\", \"state\": \"deferred\", "
		"\"attempts\": 2, \"next\": \"1972-09-27T03:00:00.000Z\", "
		"\"host\": \"mx.example.net\", "
		"\"reply\": \"450 \\u001b[1m\\u009b\xef\xbf\xbd later\"}]}\n");
}

Test(listing, lines_stay_lines)
{
	CLEAN(text_done) struct text out = {0};

	listing_write_visible(SLICE("a: b\r\n\tc\rd\0e"), true, &out);
	cr_expect_str_eq(text_string(&out), "a: b\n\tc?d");
}

/* U+202E would have the rest of the line read from its end. */
Test(listing, nothing_is_reordered)
{
	CLEAN(text_done) struct text out = {0};

	listing_write_visible(SLICE("\xe2\x80\xae"
				    "moc.elpmaxe@\xc3\xa4\xe2\x80\xac"),
			      false, &out);
	cr_expect_str_eq(text_string(&out), "?moc.elpmaxe@\xc3\xa4?");
}

static const struct name_row {
	const char *destination, *text;
} name_rows[] = {
	{"example.net", "example.net"},
	{"example.net/0123456789abcdef", "example.net/0123456789abcdef"},
	{"example.net/report-0000000a", "example.net (report)"},
	{"report-0000000a.example.net", "report-0000000a.example.net"},
};

Test(listing, names_of_destinations)
{
	for (size_t i = 0; i < COUNT(name_rows); i++) {
		CLEAN(text_done) struct text out = {0};

		listing_write_destination(SLICE(name_rows[i].destination),
					  &out);
		cr_expect_str_eq(text_string(&out), name_rows[i].text);
	}
}
