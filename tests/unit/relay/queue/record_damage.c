#include <criterion/criterion.h>

#include <limits.h>

#include "relay/queue/record.h"
#include "tests/unit/relay/queue/queue.h"
#include "tests/unit/relay/queue/record_stand.h"

/* Records that were damaged, or that no program of ours wrote. */

/* Every bit of both records, and every length. */
Test(record_damage, every_damaged_bit_is_seen)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_full(message);
	CLEAN(text_done) struct text first = message_record(message);
	CLEAN(text_done) struct text second = delivery_record(delivery, 99);
	unsigned unseen = 0;

	for (size_t bit = 0; bit < first.len * 8; bit++) {
		struct message *back;

		first.bytes[bit / 8] ^= (char)(1 << bit % 8);
		unseen += record_message_read(&message->id,
					      text_slice(&first), &back,
					      NULL);
		first.bytes[bit / 8] ^= (char)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < second.len * 8; bit++) {
		struct delivery back = {.message = message};

		second.bytes[bit / 8] ^= (char)(1 << bit % 8);
		unseen += record_delivery_read(SLICE("x.example"),
					       text_slice(&second), &back,
					       NULL);
		arena_done(&back.arena);
		second.bytes[bit / 8] ^= (char)(1 << bit % 8);
	}
	cr_expect_eq(unseen, 0, "%u flipped bits unseen", unseen);
	for (size_t len = 0; len < first.len; len++) {
		struct message *back;

		cr_expect_not(record_message_read(
			&message->id, slice_of(first.bytes, len), &back,
			NULL));
	}
}

Test(record_damage, under_another_key_is_damage)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(text_done) struct text record = message_record(message);
	struct message_id other = message_id_new();
	struct message *back;
	uint8_t chunk[RECORD_SUM_SIZE + 4];
	struct slice bytes;

	cr_expect_not(record_message_read(&other, text_slice(&record), &back,
					  NULL));
	record_chunk_write(&message->id, 3, SLICE("data"), chunk);
	cr_expect(record_chunk_read(&message->id, 3,
				    slice_of(chunk, sizeof(chunk)), &bytes));
	cr_expect(slice_eq(bytes, SLICE("data")));
	cr_expect_not(record_chunk_read(&message->id, 4,
					slice_of(chunk, sizeof(chunk)),
					&bytes));
}

/* As it stands in the record of a message, and of a delivery. */
#define VERSION_AT RECORD_SUM_SIZE

/* A good checksum over nonsense: what a bug of ours could have written. */
Test(record_damage, malformed_but_sealed_is_refused)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(text_done) struct text record = message_record(message);
	struct record_key key;
	unsigned taken = 0;

	record_key_message(&key, &message->id, 0);
	for (size_t at = RECORD_SUM_SIZE; at < record.len; at++) {
		char was = record.bytes[at];
		struct fault fault = {0};
		struct message *back;

		record.bytes[at] = (char)0xff;
		record_seal(&key, (uint8_t *)record.bytes, record.len);
		/* Text may hold anything; whatever is taken must be whole. */
		if (record_message_read(&message->id, text_slice(&record),
					&back, &fault)) {
			taken++;
			cr_expect_eq(record_message_size(back), record.len);
			message_unref(back);
		}
		cr_expect_eq(strstr(fault.text, "newer version") != NULL,
			     at == VERSION_AT, "%zu: %s", at, fault.text);
		record.bytes[at] = was;
	}
	cr_expect_lt(taken, record.len);
}

/* As it stands in a delivery's record. */
#define COUNT_AT (VERSION_AT + 2)
#define STATES_AT (COUNT_AT + 4 + 8 + 8)

static const struct malformed_row {
	const char *name;
	bool is_owed;
	size_t at;
	char was, becomes;
	int more; /* bytes than there were */
	bool is_read;
} malformed_rows[] = {
	{"as it is", false, VERSION_AT, 1, 1, 0, true},
	{"as it is, with a report", true, VERSION_AT, 2, 2, 0, true},
	{"before the first version", false, VERSION_AT, 1, 0, 0, false},
	{"the second version", false, VERSION_AT, 1, 2, 0, true},
	{"a version that is to come", false, VERSION_AT, 1, 3, 0, false},
	{"for nobody", false, COUNT_AT, 2, 0, -INT_MAX, false},
	{"for more than the message has", false, COUNT_AT, 2, 3, 13, false},
	{"for fewer than it says", false, COUNT_AT, 2, 3, 0, false},
	{"for more than it says", false, COUNT_AT, 2, 1, 0, false},
	{"for nobody of the message", false, STATES_AT, 0, 2, 0, false},
	{"something behind it", false, VERSION_AT, 1, 1, 1, false},
	{"cut off", false, VERSION_AT, 1, 1, -1, false},
	{"an outcome that there is not", true, STATES_AT + 4 + 13, 2, 4, 0,
	 false},
};

static void
malformed_write(const struct malformed_row *row, struct message *message,
		struct text *out)
{
	struct delivery_recipient states[2] = {
		{.outcome = OUTCOME_FAILED, .is_report_owed = row->is_owed},
		{.index = 1, .number = 1, .is_report_owed = row->is_owed}};
	struct delivery delivery = {.message = message,
				    .destination = SLICE("x.example"),
				    .recipients = states,
				    .recipients_count = 2,
				    .is_report_owed = row->is_owed};
	struct record_key key;

	if (!row->is_owed)
		states[0].outcome = OUTCOME_DEFERRED;
	*out = delivery_record(&delivery, 99);
	cr_assert_eq(out->bytes[row->at], row->was, "%s", row->name);
	out->bytes[row->at] = row->becomes;
	for (int i = 0; i < row->more; i++)
		text_add_byte(out, '\0');
	if (row->more < 0)
		out->len = row->more == -INT_MAX ? STATES_AT : out->len - 1;
	record_key_delivery(&key, &message->id, SLICE("x.example"));
	record_seal(&key, (uint8_t *)out->bytes, out->len);
}

/* What another program could have written, or a bug of ours. */
Test(record_damage, malformed_deliveries_are_refused)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"a@example.org", "0@x.example 1@x.example", 10);

	for (size_t i = 0; i < COUNT(malformed_rows); i++) {
		const struct malformed_row *row = &malformed_rows[i];
		CLEAN(delivery_free_clean) struct delivery *back =
			memory_new(sizeof(*back));
		CLEAN(text_done) struct text record = {0};
		struct fault fault = {0};

		malformed_write(row, message, &record);
		back->message = message_ref(message);
		cr_expect_eq(record_delivery_read(SLICE("x.example"),
						  text_slice(&record), back,
						  &fault),
			     row->is_read, "%s: %s", row->name, fault.text);
		cr_expect_eq(strstr(fault.text, "newer version") != NULL,
			     row->at == VERSION_AT && row->becomes > 2, "%s: %s",
			     row->name, fault.text);
	}
}

/* Sealed, and too short for a place. */
Test(record_damage, no_place_is_read_off_half_a_record)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_full(message);
	CLEAN(text_done) struct text record = delivery_record(delivery, 99);
	struct record_place place;
	struct record_key key;

	record_key_delivery(&key, &message->id, SLICE("x.example"));
	for (size_t len = RECORD_SUM_SIZE; len <= STATES_AT; len++) {
		record_seal(&key, (uint8_t *)record.bytes, len);
		cr_expect_eq(record_delivery_place(
				     &message->id, SLICE("x.example"),
				     slice_of(record.bytes, len), &place),
			     len == STATES_AT, "%zu", len);
	}
}
