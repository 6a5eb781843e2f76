#include <criterion/criterion.h>

#include <stdlib.h>

#include "base/clock.h"
#include "relay/queue/record_index.h"
#include "relay/queue/record_private.h"
#include "tests/unit/relay/queue/queue.h"

/* More than there are blocks, so that some hold more than the fewest. */
#define MANY 40000

static struct message *message;
static struct text record;

static void
begin_with(unsigned count)
{
	char address[40], domain[32];

	message = message_make("from@example.org", "first@x.example", 0);
	message->user = SLICE("printer");
	for (unsigned i = 1; i < count; i++) {
		snprintf(domain, sizeof(domain), "x%07u.example", i);
		snprintf(address, sizeof(address), "a@%s", domain);
		message_add_recipient(message, SLICE(address), SLICE(domain));
	}
	record_message_write(message,
			     (uint8_t *)text_room(&record,
						  record_message_size(message)));
	text_added(&record, record_message_size(message));
}

static void
end(void)
{
	message_unref(message);
	text_done(&record);
}

/* What stands in the store of a delivery for these; up to the first 0 that is
 * not in front. */
static struct text
delivery_record(const unsigned numbers[3])
{
	struct delivery_recipient states[3] = {{0}};
	struct delivery delivery = {.message = message,
				    .destination = SLICE("x.example"),
				    .recipients = states};
	struct text out = {0};
	size_t size;

	for (size_t i = 0; i < 3 && (i == 0 || numbers[i] > 0); i++)
		states[delivery.recipients_count++].number = numbers[i];
	size = record_delivery_size(&delivery);
	record_delivery_write(&delivery, 99, (uint8_t *)text_room(&out, size));
	text_added(&out, size);
	return out;
}

static bool
reads(const struct record_index *index, const unsigned numbers[3],
      struct delivery *back)
{
	CLEAN(text_done) struct text own = delivery_record(numbers);

	return record_index_read(index, SLICE("x.example"), text_slice(&record),
				 text_slice(&own), back, NULL);
}

static const struct numbers_row {
	const char *name;
	unsigned numbers[3];
	bool is_read;
} numbers_rows[] = {
	{"the first", {0}, true},
	{"the last", {MANY - 1}, true},
	{"neighbours", {17, 18, 19}, true},
	{"far apart", {0, MANY / 2, MANY - 1}, true},
	{"one that there is not", {0, MANY}, false},
	{"twice the same", {1, 1}, false},
	{"in the wrong order", {2, 1}, false},
	{"in the wrong order, far apart", {MANY - 1, 1}, false},
};

/* All of it is as if the whole record had been read. */
Test(record_index, reads_what_is_the_deliverys)
{
	CLEAN(record_index_unref_clean) struct record_index *index = NULL;

	begin_with(MANY);
	index = record_index_new(&message->id, text_slice(&record));
	cr_assert_not_null(index);
	cr_expect(message_id_eq(record_index_id(index), &message->id));
	for (size_t i = 0; i < COUNT(numbers_rows); i++) {
		const struct numbers_row *row = &numbers_rows[i];
		CLEAN(delivery_free_clean) struct delivery *back =
			memory_new(sizeof(*back));
		CLEAN(delivery_free_clean) struct delivery *other =
			memory_new(sizeof(*other));
		CLEAN(text_done) struct text own = delivery_record(row->numbers);

		cr_expect_eq(reads(index, row->numbers, back), row->is_read,
			     "%s", row->name);
		cr_expect_eq(record_delivery_read_alone(
				     &message->id, SLICE("x.example"),
				     text_slice(&record), text_slice(&own),
				     other, NULL),
			     row->is_read, "%s", row->name);
		if (!row->is_read)
			continue;
		cr_expect(slice_eq(back->message->user, SLICE("printer")));
		cr_expect_eq(back->message->body.size, message->body.size);
		cr_assert_eq(back->message->recipients_count,
			     back->recipients_count, "%s", row->name);
		for (size_t j = 0; j < back->recipients_count; j++) {
			unsigned number = row->numbers[j];

			cr_expect_eq(back->recipients[j].index, j);
			cr_expect(slice_eq(back->message->recipients[j].address,
					   message->recipients[number].address),
				  "%s", row->name);
		}
	}
	end();
}

static const struct damage_row {
	const char *name;
	double at; /* of the record's length */
	bool is_read;
} damage_rows[] = {
	{"the head", 0, false},
	{"its own", 0.5, false},
	{"far before it", 0.25, true},
	{"far behind it", 0.75, true},
};

/* What is read is checked, and nothing else is looked at. */
Test(record_index, looks_at_nothing_else)
{
	/* Its block ends a little behind the middle of the record. */
	static const unsigned middle[3] = {MANY / 2 - 10};
	CLEAN(record_index_unref_clean) struct record_index *index = NULL;

	begin_with(MANY);
	index = record_index_new(&message->id, text_slice(&record));
	cr_assert_not_null(index);
	for (size_t i = 0; i < COUNT(damage_rows); i++) {
		const struct damage_row *row = &damage_rows[i];
		CLEAN(delivery_free_clean) struct delivery *back =
			memory_new(sizeof(*back));
		size_t at = RECORD_SUM_SIZE + (size_t)(row->at *
						       (double)record.len);

		record.bytes[at] ^= 1;
		cr_expect_eq(reads(index, middle, back), row->is_read, "%s",
			     row->name);
		cr_expect_null(record_index_new(&message->id,
						text_slice(&record)),
			       "%s", row->name);
		record.bytes[at] ^= 1;
	}
	end();
}

Test(record_index, of_many_only)
{
	begin_with(RECORD_INDEX_MIN - 1);
	cr_expect_not(record_index_is_worth(text_slice(&record)));
	end();
	record = (struct text){0};
	begin_with(RECORD_INDEX_MIN);
	cr_expect(record_index_is_worth(text_slice(&record)));
	cr_expect_not(record_index_is_worth(SLICE("short")));
	end();
}

/* --- in the store --- */

static unsigned indexes_made, read_alone;

struct record_index *__real_record_index_new(const struct message_id *id,
					     struct slice of_message);
struct record_index *__wrap_record_index_new(const struct message_id *id,
					     struct slice of_message);

struct record_index *
__wrap_record_index_new(const struct message_id *id, struct slice of_message)
{
	__atomic_add_fetch(&indexes_made, 1, __ATOMIC_RELAXED);
	return __real_record_index_new(id, of_message);
}

bool __real_record_delivery_read_alone(const struct message_id *id,
				       struct slice destination,
				       struct slice of_message,
				       struct slice of_delivery,
				       struct delivery *delivery,
				       struct fault *fault);
bool __wrap_record_delivery_read_alone(const struct message_id *id,
				       struct slice destination,
				       struct slice of_message,
				       struct slice of_delivery,
				       struct delivery *delivery,
				       struct fault *fault);

bool
__wrap_record_delivery_read_alone(const struct message_id *id,
				  struct slice destination,
				  struct slice of_message,
				  struct slice of_delivery,
				  struct delivery *delivery,
				  struct fault *fault)
{
	__atomic_add_fetch(&read_alone, 1, __ATOMIC_RELAXED);
	return __real_record_delivery_read_alone(id, destination, of_message,
						 of_delivery, delivery, fault);
}

#define DOMAINS 1000

/* Each of the message's deliveries is read, and all its recipients but once. */
Test(record_index, the_store_reads_a_large_message_once)
{
	char path[64];
	struct store *store;
	struct loop loop;
	uv_async_t keep;
	struct list deliveries;

	threaded_begin(path, &store, &loop, &keep);
	list_init(&deliveries);
	begin_with(DOMAINS);
	cr_assert(put_wait(store, &loop, message, &deliveries, NULL));
	deliveries_free(&deliveries);
	for (unsigned i = 0; i < DOMAINS; i++) {
		struct slice name = message->recipients[i].destination;
		char destination[32];

		snprintf(destination, sizeof(destination), "%.*s",
			 SLICE_ARG(name));
		cr_assert(due_wait(store, &loop, destination, UINT64_MAX, 2,
				   &deliveries, NULL, NULL));
	}
	cr_expect_eq(list_count(&deliveries), DOMAINS);
	cr_expect_eq(indexes_made, 1, "%u", indexes_made);
	cr_expect_eq(read_alone, 0, "%u", read_alone);
	deliveries_free(&deliveries);
	end();
	threaded_end(path, store, &loop, &keep);
}
