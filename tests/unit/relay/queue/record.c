#include <criterion/criterion.h>

#include <limits.h>
#include <stdlib.h>

#include "relay/queue/record.h"
#include "tests/unit/relay/queue/queue.h"
#include "tests/unit/relay/queue/record_stand.h"

Test(record, message_and_back)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(message_unref_clean) struct message *back = NULL;
	CLEAN(text_done) struct text record = message_record(message);

	cr_assert(record_message_read(&message->id, text_slice(&record),
				      &back, NULL));
	cr_expect(slice_eq(back->reverse_path, message->reverse_path));
	cr_expect(slice_eq(back->prefix, message->prefix));
	cr_expect_eq(back->received_ms, message->received_ms);
	cr_expect_eq(back->body.size, 70000);
	cr_expect_eq(back->body.header_len, 1234);
	cr_expect(back->declared_8bit);
	cr_expect(back->body.has_long_line);
	cr_expect_not(back->body.has_8bit);
	cr_expect_not(back->body.is_file);
	cr_expect_not(back->is_report);
	cr_assert_eq(back->recipients_count, 3);
	for (size_t i = 0; i < 3; i++) {
		cr_expect(slice_eq(back->recipients[i].address,
				   message->recipients[i].address));
		cr_expect(slice_eq(back->recipients[i].destination,
				   message->recipients[i].destination));
	}
	cr_expect(slice_eq(back->recipients[1].orcpt,
			   SLICE("rfc822;b@z.example")));
	cr_expect_eq(back->recipients[1].notify, NOTIFY_FAILURE | NOTIFY_DELAY);
	cr_expect(back->declared_smtputf8);
	cr_expect(back->body.has_8bit_header);
	cr_expect_eq(back->ret, RET_HDRS);
	cr_expect(slice_eq(back->envid, SLICE("QQ314159+2B")));
	cr_expect(slice_eq(back->user, SLICE("printer")));
}

/* What is said of a message is said by itself. */
Test(record, each_flag_alone)
{
	for (size_t flag = 0; flag < 7; flag++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("", "a@x.example", 1);
		CLEAN(message_unref_clean) struct message *back = NULL;
		CLEAN(text_done) struct text record = {0};

		message->declared_8bit = flag == 0;
		message->declared_smtputf8 = flag == 1;
		message->is_report = flag == 2;
		message->body.is_file = flag == 3;
		message->body.has_8bit = flag == 4;
		message->body.has_8bit_header = flag == 5;
		message->body.has_long_line = flag == 6;
		record = message_record(message);
		cr_assert(record_message_read(&message->id, text_slice(&record),
					      &back, NULL));
		cr_expect_eq(back->declared_8bit, flag == 0);
		cr_expect_eq(back->declared_smtputf8, flag == 1);
		cr_expect_eq(back->is_report, flag == 2);
		cr_expect_eq(back->body.is_file, flag == 3);
		cr_expect_eq(back->body.has_8bit, flag == 4);
		cr_expect_eq(back->body.has_8bit_header, flag == 5);
		cr_expect_eq(back->body.has_long_line, flag == 6);
		message->body.is_file = false;
	}
}

/* As version 1 wrote it, byte by byte: a store outlives the program. */
#define FIRST_SUM "\0\0\0\0\0\0\0\0"
#define FIRST_VERSION "\1"
#define FIRST_FLAGS "\11" /* declared 8-bit, has 8-bit */
#define FIRST_COUNT "\1\0\0\0"
#define FIRST_RECEIVED "\52\0\0\0\0\0\0\0"
#define FIRST_SIZE "\7\0\0\0\0\0\0\0"
#define FIRST_HEADER "\5\0\0\0\0\0\0\0"
#define FIRST_PATH_LEN "\13\0"
#define FIRST_PREFIX_LEN "\6\0\0\0"
#define FIRST_TEXTS "a@x.example" "X: y\r\n"
#define FIRST_RECIPIENT                                                        \
	"\13\0" "\11\0" "\0\0" "\0\0" "b@y.example" "y.example"

Test(record, the_first_version_is_read)
{
	static const char first[] =
		FIRST_SUM FIRST_VERSION FIRST_FLAGS FIRST_COUNT FIRST_RECEIVED
			FIRST_SIZE FIRST_HEADER FIRST_PATH_LEN FIRST_PREFIX_LEN
				FIRST_TEXTS FIRST_RECIPIENT;
	CLEAN(message_unref_clean) struct message *back = NULL;
	CLEAN(text_done) struct text record = {0};
	struct message_id id = message_id_new();
	struct record_key key;

	text_add(&record, slice_of(first, sizeof(first) - 1));
	record_key_message(&key, &id, 0);
	record_seal(&key, (uint8_t *)record.bytes, record.len);
	cr_assert(record_message_read(&id, text_slice(&record), &back, NULL));
	cr_expect(slice_eq(back->reverse_path, SLICE("a@x.example")));
	cr_expect(slice_eq(back->prefix, SLICE("X: y\r\n")));
	cr_expect_eq(back->received_ms, 42);
	cr_expect_eq(back->body.size, 7);
	cr_expect_eq(back->body.header_len, 5);
	cr_expect(back->declared_8bit);
	cr_expect(back->body.has_8bit);
	cr_expect_not(back->declared_smtputf8);
	cr_expect_eq(back->ret, RET_NOT_SAID);
	cr_expect_eq(back->envid.len, 0);
	cr_expect_eq(back->user.len, 0);
	cr_assert_eq(back->recipients_count, 1);
	cr_expect(slice_eq(back->recipients[0].address, SLICE("b@y.example")));
	cr_expect(slice_eq(back->recipients[0].destination, SLICE("y.example")));
}

Test(record, delivery_and_back)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_full(message);
	CLEAN(delivery_free_clean) struct delivery *back =
		memory_new(sizeof(*back));
	CLEAN(text_done) struct text record = delivery_record(delivery, 99);

	back->message = message_ref(message);
	cr_assert(record_delivery_read(SLICE("x.example"),
				       text_slice(&record), back, NULL));
	cr_expect_eq(back->due_ms, 99);
	cr_expect_eq(back->last_attempt_ms, 77);
	cr_expect(back->is_held);
	cr_expect(back->is_delay_told);
	cr_expect(back->is_owed_attempt);
	cr_assert_eq(back->recipients_count, 2);
	cr_expect_eq(back->recipients[0].attempts, 3);
	cr_expect(slice_eq(back->recipients[0].reply,
			   SLICE("450 4.2.0 later")));
	cr_expect(slice_eq(back->recipients[0].status, SLICE("4.2.0")));
	cr_expect(slice_eq(back->recipients[0].mx, SLICE("mx.example.net")));
	cr_expect_eq(back->recipients[1].index, 2);
}

/* What is said of a delivery is said by itself, in its record and in its
 * place. */
Test(record, each_flag_of_a_delivery_alone)
{
	CLEAN(message_unref_clean) struct message *message = message_full();

	for (size_t flag = 0; flag < 3; flag++) {
		CLEAN(delivery_free_clean) struct delivery *delivery =
			delivery_full(message);
		CLEAN(delivery_free_clean) struct delivery *back =
			memory_new(sizeof(*back));
		CLEAN(text_done) struct text record = {0};
		struct record_place place = {.due_ms = 1,
					     .last_attempt_ms = 2,
					     .is_held = flag == 0,
					     .is_owed_attempt = flag == 2};

		delivery->is_held = flag == 2;
		delivery->is_delay_told = flag == 1;
		delivery->is_owed_attempt = flag == 0;
		record = delivery_record(delivery, 99);
		back->message = message_ref(message);
		cr_assert(record_delivery_read(SLICE("x.example"),
					       text_slice(&record), back,
					       NULL));
		cr_expect_eq(back->is_held, flag == 2);
		cr_expect_eq(back->is_delay_told, flag == 1);
		cr_expect_eq(back->is_owed_attempt, flag == 0);
		cr_expect_not(back->is_report_owed);
		record_delivery_put(&message->id, SLICE("x.example"), &place,
				    (uint8_t *)record.bytes, record.len);
		cr_assert(record_delivery_place(&message->id,
						SLICE("x.example"),
						text_slice(&record), &place));
		cr_expect_eq(place.is_held, flag == 0);
		cr_expect_eq(place.is_owed_attempt, flag == 2);
		cr_expect_eq(place.due_ms, 1);
		cr_expect_eq(place.last_attempt_ms, 2);
	}
}

/* What has become of those whose report is owed stays; the others go, unless
 * they are to be tried again. */
Test(record, delivery_whose_report_is_owed)
{
	static const struct {
		enum outcome outcome;
		bool is_owed, is_damage;
	} rows[] = {
		{OUTCOME_DELIVERED, false, false},
		{OUTCOME_DELIVERED, true, false},
		{OUTCOME_FAILED, true, false},
		{OUTCOME_FAILED, false, false},
		{OUTCOME_FAILED, true, true},
		{OUTCOME_DEFERRED, false, false},
	};
	static const unsigned stay[] = {1, 2, 4, 5};
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org",
			     "0@x.example 1@x.example 2@x.example 3@x.example "
			     "4@x.example 5@x.example", 10);
	struct delivery_recipient states[COUNT(rows)];
	struct delivery delivery = {.message = message,
				    .destination = SLICE("x.example"),
				    .recipients = states,
				    .recipients_count = COUNT(rows),
				    .is_report_owed = true,
				    .report_tries = 77};
	CLEAN(delivery_free_clean) struct delivery *back =
		memory_new(sizeof(*back));
	CLEAN(text_done) struct text record = {0};

	for (unsigned i = 0; i < COUNT(rows); i++)
		states[i] = (struct delivery_recipient){
			.index = i,
			.number = i,
			.attempts = i + 1,
			.outcome = rows[i].outcome,
			.is_report_owed = rows[i].is_owed,
			.is_damage = rows[i].is_damage,
			.status = SLICE("5.1.1"),
		};
	record = delivery_record(&delivery, 99);
	back->message = message_ref(message);
	cr_assert(record_delivery_read(SLICE("x.example"), text_slice(&record),
				       back, NULL));
	cr_expect(back->is_report_owed);
	cr_expect_eq(back->report_tries, 77);
	cr_assert_eq(back->recipients_count, COUNT(stay));
	for (size_t i = 0; i < COUNT(stay); i++) {
		const struct delivery_recipient *state = &back->recipients[i];
		unsigned number = stay[i];

		cr_expect_eq(state->number, number);
		cr_expect_eq(state->attempts, number + 1);
		cr_expect_eq(state->is_report_owed, rows[number].is_owed);
		cr_expect_eq(state->is_damage, rows[number].is_damage);
		cr_expect_eq(state->outcome, rows[number].is_owed
						     ? rows[number].outcome
						     : OUTCOME_NONE);
		cr_expect(slice_eq(state->status, SLICE("5.1.1")));
	}
}

/* As version 1 wrote one whose report is owed. */
#define OWED_FLAGS "\10"
#define OWED_DUE "\143\0\0\0\0\0\0\0"
#define OWED_TRIED "\115\0\0\0\0\0\0\0"
#define OWED_STATE                                                             \
	"\0\0\0\0" "\3\0\0\0" "\5\0" "\5" "\0\0" "550 x" "5.1.1" "\2"

Test(record, the_first_version_of_a_report_that_is_owed)
{
	static const char first[] = FIRST_SUM FIRST_VERSION OWED_FLAGS
		FIRST_COUNT OWED_DUE OWED_TRIED OWED_STATE;
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "0@x.example", 10);
	CLEAN(delivery_free_clean) struct delivery *back =
		memory_new(sizeof(*back));
	CLEAN(text_done) struct text record = {0};
	struct record_key key;

	text_add(&record, slice_of(first, sizeof(first) - 1));
	record_key_delivery(&key, &message->id, SLICE("x.example"));
	record_seal(&key, (uint8_t *)record.bytes, record.len);
	back->message = message_ref(message);
	cr_assert(record_delivery_read(SLICE("x.example"), text_slice(&record),
				       back, NULL));
	cr_expect(back->is_report_owed);
	cr_expect_eq(back->report_tries, 0);
	cr_expect_eq(back->due_ms, 99);
	cr_assert_eq(back->recipients_count, 1);
	cr_expect_eq(back->recipients[0].attempts, 3);
	cr_expect_eq(back->recipients[0].outcome, OUTCOME_FAILED);
	cr_expect(back->recipients[0].is_report_owed);
	cr_expect(slice_eq(back->recipients[0].reply, SLICE("550 x")));
}

/* What a lease keeps of a message for a thousand. */
Test(record, delivery_with_its_own_recipients)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_full(message);
	CLEAN(delivery_free_clean) struct delivery *back =
		memory_new(sizeof(*back));
	CLEAN(text_done) struct text first = message_record(message);
	CLEAN(text_done) struct text second = delivery_record(delivery, 99);
	CLEAN(text_done) struct text again = {0};

	cr_assert(record_delivery_read_alone(
		&message->id, SLICE("x.example"), text_slice(&first),
		text_slice(&second), back, NULL));
	cr_expect(slice_eq(back->message->reverse_path,
			   message->reverse_path));
	cr_expect(slice_eq(back->message->user, SLICE("printer")));
	cr_assert_eq(back->message->recipients_count, 2);
	cr_assert_eq(back->recipients_count, 2);
	cr_expect_eq(back->recipients[0].index, 0);
	cr_expect_eq(back->recipients[1].index, 1);
	cr_expect_eq(back->recipients[1].number, 2);
	for (unsigned i = 0; i < 2; i++)
		cr_expect(slice_eq(back->message->recipients[i].address,
				   message->recipients[i * 2].address));
	/* Its record is of the whole message still. */
	again = delivery_record(back, 99);
	cr_expect(slice_eq(text_slice(&again), text_slice(&second)));
}

static const struct numbers_row {
	const char *name;
	unsigned numbers[2];
	bool is_read;
} numbers_rows[] = {
	{"the first two", {0, 1}, true},
	{"the first and the last", {0, 2}, true},
	{"one that there is not", {0, 3}, false},
	{"twice the same", {1, 1}, false},
	{"not in the message's order", {2, 0}, false},
};

Test(record, delivery_whose_recipients_are_not_the_messages)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_full(message);
	CLEAN(text_done) struct text first = message_record(message);

	for (size_t i = 0; i < COUNT(numbers_rows); i++) {
		const struct numbers_row *row = &numbers_rows[i];
		CLEAN(delivery_free_clean) struct delivery *back =
			memory_new(sizeof(*back));
		CLEAN(text_done) struct text second = {0};

		for (size_t j = 0; j < 2; j++)
			delivery->recipients[j].number = row->numbers[j];
		second = delivery_record(delivery, 99);
		cr_expect_eq(record_delivery_read_alone(
				     &message->id, SLICE("x.example"),
				     text_slice(&first), text_slice(&second),
				     back, NULL),
			     row->is_read, "%s", row->name);
	}
}

Test(record, another_place_for_a_delivery)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_full(message);
	CLEAN(delivery_free_clean) struct delivery *back =
		memory_new(sizeof(*back));
	CLEAN(text_done) struct text record = delivery_record(delivery, 99);
	struct record_place place;

	cr_assert(record_delivery_place(&message->id, SLICE("x.example"),
					text_slice(&record), &place));
	cr_expect_eq(place.due_ms, 99);
	cr_expect_eq(place.last_attempt_ms, 77);
	cr_expect(place.is_held);
	cr_expect(place.is_owed_attempt);
	place = (struct record_place){1234, 77, false, false};
	record_delivery_put(&message->id, SLICE("x.example"), &place,
			    (uint8_t *)record.bytes, record.len);
	back->message = message_ref(message);
	cr_assert(record_delivery_read(SLICE("x.example"),
				       text_slice(&record), back, NULL));
	cr_expect_eq(back->due_ms, 1234);
	cr_expect_eq(back->last_attempt_ms, 77);
	cr_expect_not(back->is_held);
	cr_expect_not(back->is_owed_attempt);
	cr_expect(back->is_delay_told, "the rest stays");
	cr_expect_eq(back->recipients_count, 2);
	record.bytes[record.len - 1] ^= 1;
	cr_expect_not(record_delivery_place(&message->id, SLICE("x.example"),
					    text_slice(&record), &place));
}

/* A host may say much, and be called much. */
Test(record, of_long_words_the_beginning_is_kept)
{
	CLEAN(message_unref_clean) struct message *message = message_full();
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_full(message);
	CLEAN(delivery_free_clean) struct delivery *back =
		memory_new(sizeof(*back));
	CLEAN(text_done) struct text record = {0}, words = {0};
	struct delivery_recipient *state = &delivery->recipients[0];

	while (words.len <= UINT16_MAX)
		text_add_string(&words, "words ");
	state->reply = state->status = state->mx = text_slice(&words);
	record = delivery_record(delivery, 99);
	back->message = message_ref(message);
	cr_assert(record_delivery_read(SLICE("x.example"), text_slice(&record),
				       back, NULL));
	state = &back->recipients[0];
	cr_expect(slice_eq(state->reply, slice_sub(text_slice(&words), 0,
						   RECORD_REPLY_MAX)));
	cr_expect(slice_eq(state->mx, slice_sub(text_slice(&words), 0,
						RECORD_MX_MAX)));
	cr_expect(slice_eq(state->status, slice_sub(text_slice(&words), 0,
						    OUTCOME_STATUS_SIZE - 1)));
}

static const struct due_row {
	const char *name, *destination;
	uint64_t due_ms;
} due_rows[] = {
	/* in the order that the keys must have */
	{"literal", "[192.0.2.1]", 5},
	{"early", "x.example", 1},
	{"later", "x.example", 256},
	{"much later", "x.example", 1ull << 40},
	{"a longer name", "x.example.org", 0},
	{"another", "y.example", 0},
};

Test(record, due_keys_order_by_destination_and_time)
{
	struct record_key before = {.len = 0};
	struct message_id id = message_id_new();

	for (size_t i = 0; i < COUNT(due_rows); i++) {
		const struct due_row *row = &due_rows[i];
		struct record_key key;
		struct slice destination;
		struct message_id back;
		uint64_t due_ms;

		record_key_due(&key, SLICE(row->destination), row->due_ms,
			       &id);
		cr_expect_lt(slice_compare(slice_of(before.bytes, before.len),
					   slice_of(key.bytes, key.len)),
			     0, "%s", row->name);
		cr_expect(record_key_due_read(slice_of(key.bytes, key.len),
					      &destination, &due_ms, &back));
		cr_expect(slice_eq(destination, SLICE(row->destination)));
		cr_expect_eq(due_ms, row->due_ms);
		cr_expect(message_id_eq(&back, &id));
		before = key;
	}
	for (size_t len = 0; len <= 25; len++) {
		struct slice destination;
		struct message_id back;
		uint64_t due_ms;

		cr_expect_not(record_key_due_read(
			slice_of(before.bytes, len), &destination, &due_ms,
			&back));
	}
}

static const struct bad_row {
	const char *name, *destination;
	size_t path_len;
} bad_rows[] = {
	{"a NUL in the domain", "x\0y", 3},
	{"a path of 70,000 bytes", "x.example", 70000},
};

Test(record, what_cannot_be_stored_is_refused)
{
	for (size_t i = 0; i < COUNT(bad_rows); i++) {
		CLEAN(text_done) struct text path = {0};
		struct message *message;

		memset(text_room(&path, bad_rows[i].path_len), 'x',
		       bad_rows[i].path_len);
		text_added(&path, bad_rows[i].path_len);
		message = message_new(text_slice(&path));
		message_add_recipient(
			message, SLICE("a"),
			slice_of(bad_rows[i].destination,
				 i == 0 ? 3 : strlen("x.example")));
		cr_expect_not(record_message_check(message, NULL), "%s",
			      bad_rows[i].name);
		message_unref(message);
	}
}
