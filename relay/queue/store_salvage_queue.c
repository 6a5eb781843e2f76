#include "relay/queue/store_salvage_private.h"

#include <stdlib.h>

#include "base/log.h"
#include "relay/routing.h"

/* Each lost one has its own line, up to here; the rest is counted. */
#define LINES_MAX 1000

/* One message of the new store, with what there is of it. */
struct whole {
	struct salvage *salvage;
	struct message *message;
	struct list deliveries;
	/* per recipient: */
	bool *is_listed;      /* some delivery is for it */
	bool *is_covered;     /* or was */
	bool *is_report_lost; /* a delivery that makes no sense was for reports
				 from here on */
	bool has_unread;      /* another delivery of it makes no sense */
};

/* One that cannot be delivered, or no part of which is left but its name. */
static void
salvage_lost(struct salvage *salvage, const struct message_id *id,
	     struct slice destination, const char *why)
{
	char text[MESSAGE_ID_TEXT + 1];
	struct log line;

	if (++salvage->lost > LINES_MAX)
		return;
	message_id_write(id, text);
	log_begin(&line, LOG_LEVEL_ERROR, "damaged");
	log_string(&line, "id", text);
	if (destination.len > 0)
		log_text(&line, "domain", routing_domain(destination));
	log_string(&line, "reason", why);
	log_send(&line);
}

/* The first key behind all that begin with this one. */
static void
key_step(struct text *key)
{
	while (key->len > 0 && (uint8_t)key->bytes[key->len - 1] == UINT8_MAX)
		key->len--;
	if (key->len > 0)
		key->bytes[key->len - 1]++;
}

static bool
key_is_of(const struct text *key, const struct message_id *id)
{
	return key->len >= sizeof(id->bytes) &&
	       memcmp(key->bytes, id->bytes, sizeof(id->bytes)) == 0;
}

static void
whole_begin(struct whole *whole)
{
	size_t count = whole->message->recipients_count;

	whole->is_listed = memory_array(count, sizeof(bool));
	whole->is_covered = memory_array(count, sizeof(bool));
	whole->is_report_lost = memory_array(count, sizeof(bool));
}

static void
whole_end(struct whole *whole)
{
	free(whole->is_listed);
	free(whole->is_covered);
	free(whole->is_report_lost);
	message_unref(whole->message);
}

/* --- deliveries --- */

static bool
put_due(struct salvage *salvage, struct slice destination,
	const struct message_id *id, const struct record_place *place)
{
	struct engine *engine = salvage->engine;
	struct record_key key;

	record_key_due(&key, destination, place->due_ms, id);
	salvage->deliveries++;
	return salvage_write(salvage,
			     place->is_held ? engine->held : engine->due,
			     slice_of(key.bytes, key.len), SLICE_NONE, 0);
}

static void
whole_cover(struct whole *whole, const struct delivery *delivery)
{
	struct message *message = whole->message;
	struct slice domain = routing_domain(delivery->destination);
	bool is_apart = routing_is_of_reports(delivery->destination);

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		whole->is_listed[delivery->recipients[i].index] = true;
		whole->is_covered[delivery->recipients[i].index] = true;
	}
	/* The others that it was for are done with; but what a report is owed
	 * for stands apart from them. */
	for (size_t i = 0; !is_apart && i < message->recipients_count; i++)
		if (slice_eq(message->recipients[i].destination, domain))
			whole->is_covered[i] = true;
}

/* Where reports about this recipient, as the first of some, wait. */
static struct slice
whole_reports(const struct whole *whole, size_t i, char out[DESTINATION_MAX])
{
	return routing_reports(whole->message->recipients[i].destination,
			       (unsigned)i, out);
}

static void
whole_unread(struct whole *whole, struct slice destination)
{
	char name[DESTINATION_MAX];

	if (!routing_is_of_reports(destination)) {
		whole->has_unread = true;
		return;
	}
	for (size_t i = 0; i < whole->message->recipients_count; i++)
		if (slice_eq(whole_reports(whole, i, name), destination))
			whole->is_report_lost[i] = true;
}

/* One that the message has; a record that is whole but fits no such message is
 * as good as lost. */
static bool
whole_delivery(struct whole *whole, struct slice key, struct slice record,
	       size_t *count)
{
	struct salvage *salvage = whole->salvage;
	CLEAN(delivery_free_clean) struct delivery *delivery =
		memory_new(sizeof(*delivery));
	struct record_place place;
	struct slice destination;
	struct message_id id;

	delivery->message = message_ref(whole->message);
	if (!record_key_delivery_read(key, &id, &destination))
		destination = SLICE_NONE;
	if (destination.len == 0 ||
	    !record_delivery_place(&id, destination, record, &place) ||
	    !record_delivery_read(destination, record, delivery, NULL)) {
		whole_unread(whole, destination);
		return salvage_delete(salvage, salvage->engine->deliveries,
				      key);
	}
	++*count;
	whole_cover(whole, delivery);
	return put_due(salvage, destination, &id, &place);
}

static bool
whole_deliveries(struct whole *whole, size_t *count_out)
{
	const struct message_id *id = &whole->message->id;
	struct salvage *salvage = whole->salvage;
	CLEAN(text_done) struct text from = {0};
	CLEAN(text_done) struct text key = {0};
	CLEAN(text_done) struct text record = {0};

	*count_out = 0;
	text_add(&from, slice_of(id->bytes, sizeof(id->bytes)));
	while (salvage_seek(salvage, salvage->engine->deliveries,
			    text_slice(&from), &key, &record) &&
	       key_is_of(&key, id)) {
		if (!whole_delivery(whole, text_slice(&key),
				    text_slice(&record), count_out))
			return false;
		text_clear(&from);
		text_add(&from, text_slice(&key));
		text_add_byte(&from, '\0');
	}
	return salvage->fault.kind == FAULT_NONE;
}

/* To be tried, from the first of them on: those of a domain whom no delivery
 * that is left says anything of. */
static bool
whole_again(struct whole *whole, size_t first, struct slice destination,
	    const bool *is_known)
{
	struct message *message = whole->message;
	struct salvage *salvage = whole->salvage;
	struct slice domain = routing_domain(destination);
	struct delivery delivery = {.message = message,
				    .destination = destination};
	struct record_place place = {.due_ms = message->received_ms};
	struct record_key key;
	uint8_t *record;
	size_t size;
	bool is_done;

	delivery.recipients =
		arena_array(&delivery.arena, message->recipients_count,
			    sizeof(*delivery.recipients));
	for (size_t i = first; i < message->recipients_count; i++) {
		struct delivery_recipient *own =
			&delivery.recipients[delivery.recipients_count];

		if (is_known[i] ||
		    !slice_eq(message->recipients[i].destination, domain))
			continue;
		own->index = own->number = (unsigned)i;
		delivery.recipients_count++;
	}
	whole_cover(whole, &delivery);
	size = record_delivery_size(&delivery);
	record = memory_new(size);
	record_delivery_write(&delivery, place.due_ms, record);
	record_key_delivery(&key, &message->id, destination);
	is_done = salvage_write(salvage, salvage->engine->deliveries,
				slice_of(key.bytes, key.len),
				slice_of(record, size), 0) &&
		  put_due(salvage, destination, &message->id, &place);
	salvage->again++;
	free(record);
	arena_done(&delivery.arena);
	return is_done;
}

/* A recipient whose domain no delivery is for. */
static bool
whole_domain_again(struct whole *whole, size_t i, bool is_any_lost)
{
	struct slice domain = whole->message->recipients[i].destination;
	struct record_key key;

	record_key_delivery(&key, &whole->message->id, domain);
	return (!is_any_lost &&
		!salvage_is_in_gap(whole->salvage,
				   slice_of(key.bytes, key.len))) ||
	       whole_again(whole, i, domain, whole->is_covered);
}

/* One with whom the delivery of his domain is done, and whom a report may have
 * been owed for. Nothing says any more what has become of him, so he is tried
 * again: stored where the report was, since his domain's place is taken, he
 * moves there once it is free.
 *
 * So whoever has his message already gets it twice where his report would have
 * stood in a gap, whether there was one or not; the gap is as wide as what lies
 * between two sound keys, and that cannot be narrowed down. A record's checksum
 * is of its key and its value together: of one that is wrong nobody knows whether
 * the key is right, and one wrong character makes another recipient's report of
 * it. The entries of what is due and held would name what there was, but have no
 * checksum at all, and one that is missing is no proof. */
static bool
whole_report_again(struct whole *whole, size_t i)
{
	struct salvage *salvage = whole->salvage;
	char name[DESTINATION_MAX];
	struct slice reports = whole_reports(whole, i, name);
	struct record_key key;

	record_key_delivery(&key, &whole->message->id, reports);
	return (!whole->is_report_lost[i] &&
		!salvage_is_exactly_in_gap(salvage,
					   slice_of(key.bytes, key.len))) ||
	       whole_again(whole, i, reports, whole->is_listed);
}

/* --- messages --- */

static bool
message_drop(struct salvage *salvage, MDB_dbi table,
	     const struct message_id *id)
{
	CLEAN(text_done) struct text from = {0};
	CLEAN(text_done) struct text key = {0};
	CLEAN(text_done) struct text value = {0};

	text_add(&from, slice_of(id->bytes, sizeof(id->bytes)));
	while (salvage_seek(salvage, table, text_slice(&from), &key, &value) &&
	       key_is_of(&key, id))
		if (!salvage_delete(salvage, table, text_slice(&key)))
			return false;
	return salvage->fault.kind == FAULT_NONE;
}

static bool
message_is_doubtful(struct salvage *salvage, const struct message_id *id)
{
	MDB_val name = {sizeof(id->bytes), (void *)id->bytes}, value;

	return mdb_get(salvage->engine->txn, salvage->engine->damaged, &name,
		       &value) == 0;
}

/* A message that nothing says any more where it still has to go is sent to all;
 * one of which a part of the deliveries is missing, to those. */
static bool
whole_settle(struct whole *whole)
{
	struct message *message = whole->message;
	struct salvage *salvage = whole->salvage;
	bool is_doubtful = message_is_doubtful(salvage, &message->id);
	size_t count;

	if (!whole_deliveries(whole, &count))
		return false;
	if (count == 0 && is_doubtful)
		return message_drop(salvage, salvage->engine->messages,
				    &message->id);
	salvage->messages++;
	if (is_doubtful)
		return true;
	for (size_t i = 0; i < message->recipients_count; i++) {
		if (!whole->is_covered[i] &&
		    !whole_domain_again(whole, i,
					count == 0 || whole->has_unread))
			return false;
		if (!whole->is_listed[i] && !whole_report_again(whole, i))
			return false;
	}
	return true;
}

/* A chunk that is lost gets a record that is never whole: whoever reads the
 * body will know. */
static bool
message_fill(struct salvage *salvage, const struct message_id *id,
	     uint32_t chunks, uint32_t *lost_out)
{
	struct engine *engine = salvage->engine;
	uint8_t nothing[RECORD_SUM_SIZE] = {0};
	struct record_key key;
	MDB_val name, value;

	*lost_out = 0;
	for (uint32_t number = 1; number <= chunks; number++) {
		int status;

		record_key_message(&key, id, number);
		name = val_of_key(&key);
		status = mdb_get(engine->txn, engine->messages, &name, &value);
		if (status == 0)
			continue;
		if (status != MDB_NOTFOUND)
			return salvage_failed(salvage, status);
		++*lost_out;
		if (!salvage_write(salvage, engine->messages,
				   slice_of(key.bytes, key.len),
				   slice_of(nothing, sizeof(nothing)), 0))
			return false;
	}
	return true;
}

static bool
message_has_deliveries(struct salvage *salvage, const struct message_id *id)
{
	CLEAN(text_done) struct text key = {0};
	CLEAN(text_done) struct text record = {0};

	return salvage_seek(salvage, salvage->engine->deliveries,
			    slice_of(id->bytes, sizeof(id->bytes)), &key,
			    &record) &&
	       key_is_of(&key, id);
}

/* Its deliveries, if there are any, will be found to lack it. */
static bool
message_is_lost(struct salvage *salvage, const struct message_id *id)
{
	if (!message_is_doubtful(salvage, id) &&
	    !message_has_deliveries(salvage, id))
		salvage_lost(salvage, id, SLICE_NONE,
			     "of the message only a part of its body is left");
	return message_drop(salvage, salvage->engine->messages, id);
}

static bool
message_settle(struct salvage *salvage, const struct message_id *id,
	       struct slice record)
{
	struct whole whole = {.salvage = salvage};
	uint32_t chunks, lost;
	bool is_done;

	if (!record_message_read(id, record, &whole.message, NULL))
		return message_is_lost(salvage, id);
	ASSERT(record_message_chunks(id, record, &chunks));
	whole_begin(&whole);
	is_done = message_fill(salvage, id, chunks, &lost);
	if (is_done && lost > 0 && message_is_doubtful(salvage, id)) {
		if (message_has_deliveries(salvage, id))
			salvage_lost(salvage, id, SLICE_NONE,
				     "a part of the message's body is lost");
		is_done = message_drop(salvage, salvage->engine->messages,
				       id) &&
			  message_drop(salvage, salvage->engine->deliveries,
				       id);
	} else if (is_done) {
		is_done = whole_settle(&whole);
		/* Its sender will be told once it expires. */
		if (is_done && lost > 0)
			salvage_lost(salvage, id, SLICE_NONE,
				     "a part of the message's body is lost");
	}
	whole_end(&whole);
	return is_done;
}

static bool
messages_settle(struct salvage *salvage)
{
	CLEAN(text_done) struct text from = {0};
	CLEAN(text_done) struct text key = {0};
	CLEAN(text_done) struct text value = {0};
	struct message_id id;

	while (salvage_seek(salvage, salvage->engine->messages,
			    text_slice(&from), &key, &value)) {
		bool is_record = key.len == sizeof(id.bytes) + 4 &&
				 memcmp(key.bytes + sizeof(id.bytes),
					"\0\0\0\0", 4) == 0;

		memcpy(id.bytes, key.bytes, sizeof(id.bytes));
		if (!message_settle(salvage, &id,
				    is_record ? text_slice(&value)
					      : SLICE_NONE))
			return false;
		text_clear(&from);
		text_add(&from, slice_of(id.bytes, sizeof(id.bytes)));
		key_step(&from);
		if (from.len == 0)
			break;
	}
	return salvage->fault.kind == FAULT_NONE;
}

/* Deliveries of which the message is lost stay, for whoever lists the queue. */
static bool
deliveries_settle(struct salvage *salvage)
{
	struct engine *engine = salvage->engine;
	CLEAN(text_done) struct text from = {0};
	CLEAN(text_done) struct text key = {0};
	CLEAN(text_done) struct text value = {0};
	struct slice destination, reason = SLICE("the message is lost");
	struct record_key name;
	struct message_id id;

	while (salvage_seek(salvage, engine->deliveries, text_slice(&from),
			    &key, &value)) {
		text_clear(&from);
		text_add(&from, text_slice(&key));
		text_add_byte(&from, '\0');
		if (!record_key_delivery_read(text_slice(&key), &id,
					      &destination))
			continue;
		record_key_message(&name, &id, 0);
		if (engine_get(engine->txn, engine->messages, &name,
			       &(struct slice){0}, NULL))
			continue;
		salvage_lost(salvage, &id, destination,
			     "the message is lost");
		if (!salvage_write(salvage, engine->damaged, text_slice(&key),
				   reason, 0))
			return false;
	}
	return salvage->fault.kind == FAULT_NONE;
}

static bool
doubts_clear(struct salvage *salvage)
{
	MDB_dbi table = salvage->engine->damaged;
	CLEAN(text_done) struct text from = {0};
	CLEAN(text_done) struct text key = {0};
	CLEAN(text_done) struct text value = {0};

	while (salvage_seek(salvage, table, text_slice(&from), &key, &value)) {
		if (key.len == MESSAGE_ID_SIZE &&
		    !salvage_delete(salvage, table, text_slice(&key)))
			return false;
		text_clear(&from);
		text_add(&from, text_slice(&key));
		text_add_byte(&from, '\0');
	}
	return salvage->fault.kind == FAULT_NONE;
}

bool
salvage_queue(struct salvage *salvage)
{
	return messages_settle(salvage) && doubts_clear(salvage) &&
	       deliveries_settle(salvage);
}
