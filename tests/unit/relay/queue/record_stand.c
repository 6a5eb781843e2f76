#include "tests/unit/relay/queue/record_stand.h"

#include "relay/queue/record.h"
#include "tests/unit/relay/queue/queue.h"

struct text
message_record(const struct message *message)
{
	struct text out = {0};
	size_t size = record_message_size(message);

	record_message_write(message, (uint8_t *)text_room(&out, size));
	text_added(&out, size);
	return out;
}

struct text
delivery_record(const struct delivery *delivery, uint64_t due_ms)
{
	struct text out = {0};
	size_t size = record_delivery_size(delivery);

	record_delivery_write(delivery, due_ms,
			      (uint8_t *)text_room(&out, size));
	text_added(&out, size);
	return out;
}

struct message *
message_full(void)
{
	struct message *message = message_make(
		"from@example.org", "a@x.example b@y.example c@x.example",
		70000);

	message->declared_8bit = true;
	message->body.has_long_line = true;
	message->declared_smtputf8 = true;
	message->body.has_8bit_header = true;
	message->ret = RET_HDRS;
	message->envid = SLICE("QQ314159+2B");
	message->user = SLICE("printer");
	message->body.header_len = 1234;
	message->recipients[1].orcpt = SLICE("rfc822;b@z.example");
	message->recipients[1].notify = NOTIFY_FAILURE | NOTIFY_DELAY;
	return message;
}

struct delivery *
delivery_full(struct message *message)
{
	struct delivery *delivery = memory_new(sizeof(*delivery));

	delivery->message = message_ref(message);
	delivery->destination = SLICE("x.example");
	delivery->is_held = true;
	delivery->is_delay_told = true;
	delivery->is_owed_attempt = true;
	delivery->last_attempt_ms = 77;
	delivery->recipients_count = 2;
	delivery->recipients = arena_array(&delivery->arena, 2,
					   sizeof(*delivery->recipients));
	delivery->recipients[0].reply = SLICE("450 4.2.0 later");
	delivery->recipients[0].status = SLICE("4.2.0");
	delivery->recipients[0].mx = SLICE("mx.example.net");
	delivery->recipients[0].attempts = 3;
	delivery->recipients[1].index = delivery->recipients[1].number = 2;
	return delivery;
}
