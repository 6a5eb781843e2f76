/* Records of the queue: whatever the bytes, reading them is safe, and what is
 * taken can be written again with the same length. The first byte chooses; the
 * checksum is put right, or nothing would get past it. */
#include <stdlib.h>

#include "relay/queue/record.h"
#include "relay/queue/record_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
try_message(const struct message_id *id, struct text *record)
{
	/* What version 1 did not have: written again, it is longer. */
	bool is_first = record->len > RECORD_SUM_SIZE &&
			record->bytes[RECORD_SUM_SIZE] == 1;
	struct record_key key;
	struct message *message;

	record_key_message(&key, id, 0);
	record_seal(&key, (uint8_t *)record->bytes, record->len);
	if (!record_message_read(id, text_slice(record), &message, NULL))
		return;
	ASSERT(record_message_size(message) ==
	       record->len + (is_first ? 5 : 0));
	message_unref(message);
}

static void
try_delivery(const struct message_id *id, struct text *record)
{
	struct slice destination = SLICE("x.example");
	struct delivery *delivery = memory_new(sizeof(*delivery));
	struct record_key key;

	delivery->message = message_new(SLICE_NONE);
	delivery->message->id = *id;
	for (int i = 0; i < 3; i++)
		message_add_recipient(delivery->message, destination,
				      destination);
	record_key_delivery(&key, id, destination);
	record_seal(&key, (uint8_t *)record->bytes, record->len);
	if (record_delivery_read(destination, text_slice(record), delivery,
				 NULL))
		for (size_t i = 0; i < delivery->recipients_count; i++)
			ASSERT(delivery->recipients[i].index < 3);
	delivery_free(delivery);
}

/* What is taken of it with one message and its own recipients. */
static void
check_alone(const struct delivery *delivery, const char *const *names)
{
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct delivery_recipient *rcpt =
			&delivery->recipients[i];
		const struct recipient *own =
			&delivery->message->recipients[rcpt->index];

		ASSERT(rcpt->index < delivery->message->recipients_count);
		ASSERT(slice_eq(own->address, SLICE(names[rcpt->number])));
	}
}

/* Read with an index, it is the same. */
static void
try_alone(const struct message_id *id, struct text *record)
{
	static const char *const names[] = {"x.example", "y.example",
					    "z.example"};
	struct delivery *delivery = memory_new(sizeof(*delivery));
	struct delivery *indexed = memory_new(sizeof(*indexed));
	struct message *message = message_new(SLICE_NONE);
	CLEAN(text_done) struct text whole = {0};
	struct record_index *index;
	struct record_key key;
	bool is_read;

	message->id = *id;
	for (size_t i = 0; i < COUNT(names); i++)
		message_add_recipient(message, SLICE(names[i]),
				      SLICE(names[i]));
	record_message_write(message,
			     (uint8_t *)text_room(&whole,
						  record_message_size(message)));
	text_added(&whole, record_message_size(message));
	index = record_index_new(id, text_slice(&whole));
	ASSERT(index != NULL);
	record_key_delivery(&key, id, SLICE(names[0]));
	record_seal(&key, (uint8_t *)record->bytes, record->len);
	is_read = record_delivery_read_alone(id, SLICE(names[0]),
					     text_slice(&whole),
					     text_slice(record), delivery,
					     NULL);
	ASSERT(record_index_read(index, SLICE(names[0]), text_slice(&whole),
				 text_slice(record), indexed, NULL) == is_read);
	if (is_read) {
		check_alone(delivery, names);
		check_alone(indexed, names);
	}
	record_index_unref(index);
	delivery_free(indexed);
	delivery_free(delivery);
	message_unref(message);
}

static void
try_keys(struct slice bytes)
{
	struct slice destination;
	struct message_id id;
	uint64_t due_ms;

	if (record_key_due_read(bytes, &destination, &due_ms, &id)) {
		struct record_key key;

		record_key_due(&key, destination, due_ms, &id);
		ASSERT(slice_eq(slice_of(key.bytes, key.len), bytes));
	}
	if (record_key_delivery_read(bytes, &id, &destination)) {
		struct record_key key;

		record_key_delivery(&key, &id, destination);
		ASSERT(slice_eq(slice_of(key.bytes, key.len), bytes));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct message_id id = {{1, 2, 3}};
	CLEAN(text_done) struct text record = {0};

	if (len < 1 + RECORD_SUM_SIZE)
		return 0;
	text_add(&record, slice_of(bytes + 1, len - 1));
	if (bytes[0] % 3 == 0)
		try_message(&id, &record);
	else if (bytes[0] % 3 == 2)
		try_keys(text_slice(&record));
	else {
		try_delivery(&id, &record);
		try_alone(&id, &record);
	}
	return 0;
}
