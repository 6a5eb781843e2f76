#include "relay/queue/record_private.h"

#define DELIVERY_VERSION 2
#define DELIVERY_VERSION_MIN 1

#define DELIVERY_IS_HELD 1u
#define DELIVERY_IS_DELAY_TOLD 2u
#define DELIVERY_IS_OWED_ATTEMPT 4u
/* Each recipient's state ends with its outcome, and since version 2 they all
 * stand behind how often the report was put off. */
#define DELIVERY_IS_REPORT_OWED 8u

/* sum, version, flags, recipients, due, last attempt */
#define DELIVERY_FIXED (RECORD_SUM_SIZE + 1 + 1 + 4 + 8 + 8)
/* tries */
#define REPORT_FIXED 4
/* index, attempts, reply, status, mx */
#define STATE_FIXED (4 + 4 + 2 + 1 + 2)

/* Of a recipient whose report is owed; 0: it is still to be tried. */
#define STATE_DELIVERED 1u
#define STATE_FAILED 2u
#define STATE_DAMAGED 3u

static bool
recipient_stays(const struct delivery_recipient *rcpt)
{
	return rcpt->outcome == OUTCOME_NONE ||
	       rcpt->outcome == OUTCOME_DEFERRED || rcpt->is_report_owed;
}

size_t
record_delivery_left(const struct delivery *delivery)
{
	size_t left = 0;

	for (size_t i = 0; i < delivery->recipients_count; i++)
		left += recipient_stays(&delivery->recipients[i]);
	return left;
}

static struct slice
cut(struct slice slice, size_t max)
{
	return slice_sub(slice, 0, max);
}

size_t
record_delivery_size(const struct delivery *delivery)
{
	size_t size = DELIVERY_FIXED +
		      (delivery->is_report_owed ? REPORT_FIXED : 0);

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct delivery_recipient *rcpt =
			&delivery->recipients[i];

		if (!recipient_stays(rcpt))
			continue;
		size += STATE_FIXED + delivery->is_report_owed +
			cut(rcpt->reply, RECORD_REPLY_MAX).len +
			cut(rcpt->status, OUTCOME_STATUS_SIZE - 1).len +
			cut(rcpt->mx, RECORD_MX_MAX).len;
	}
	return size;
}

static unsigned
state_outcome(const struct delivery_recipient *rcpt)
{
	if (!rcpt->is_report_owed)
		return 0;
	if (rcpt->outcome == OUTCOME_DELIVERED)
		return STATE_DELIVERED;
	return rcpt->is_damage ? STATE_DAMAGED : STATE_FAILED;
}

static uint8_t *
write_state(uint8_t *at, const struct delivery *delivery,
	    const struct delivery_recipient *rcpt)
{
	struct slice reply = cut(rcpt->reply, RECORD_REPLY_MAX);
	struct slice status = cut(rcpt->status, OUTCOME_STATUS_SIZE - 1);
	struct slice mx = cut(rcpt->mx, RECORD_MX_MAX);

	at = put_32(at, rcpt->number);
	at = put_32(at, rcpt->attempts);
	at = put_16(at, reply.len);
	at = put_8(at, (unsigned)status.len);
	at = put_16(at, mx.len);
	at = put_bytes(at, reply);
	at = put_bytes(at, status);
	at = put_bytes(at, mx);
	return delivery->is_report_owed ? put_8(at, state_outcome(rcpt)) : at;
}

static unsigned
delivery_flags(const struct delivery *delivery)
{
	return (delivery->is_held ? DELIVERY_IS_HELD : 0) |
	       (delivery->is_delay_told ? DELIVERY_IS_DELAY_TOLD : 0) |
	       (delivery->is_owed_attempt ? DELIVERY_IS_OWED_ATTEMPT : 0) |
	       (delivery->is_report_owed ? DELIVERY_IS_REPORT_OWED : 0);
}

/* Where no report is owed the versions are the same, and a program that knows
 * only the first can go on with it. */
static unsigned
delivery_version(const struct delivery *delivery)
{
	return delivery->is_report_owed ? DELIVERY_VERSION
					: DELIVERY_VERSION_MIN;
}

void
record_delivery_write(const struct delivery *delivery, uint64_t due_ms,
		      uint8_t *out)
{
	struct record_key key;
	uint8_t *at = out + RECORD_SUM_SIZE;

	at = put_8(at, delivery_version(delivery));
	at = put_8(at, delivery_flags(delivery));
	at = put_32(at, record_delivery_left(delivery));
	at = put_64(at, due_ms);
	at = put_64(at, delivery->last_attempt_ms);
	if (delivery->is_report_owed)
		at = put_32(at, delivery->report_tries);
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (recipient_stays(&delivery->recipients[i]))
			at = write_state(at, delivery,
					 &delivery->recipients[i]);
	ASSERT((size_t)(at - out) == record_delivery_size(delivery));
	record_key_delivery(&key, &delivery->message->id,
			    delivery->destination);
	record_seal(&key, out, (size_t)(at - out));
}

static void
read_outcome(struct reader *reader, struct delivery_recipient *rcpt)
{
	unsigned stored = take_8(reader);

	if (stored > STATE_DAMAGED)
		reader->is_bad = true;
	if (stored == 0)
		return;
	rcpt->is_report_owed = true;
	rcpt->outcome = stored == STATE_DELIVERED ? OUTCOME_DELIVERED
						  : OUTCOME_FAILED;
	rcpt->is_damage = stored == STATE_DAMAGED;
}

static void
read_state(struct reader *reader, struct delivery *delivery,
	   struct delivery_recipient *rcpt)
{
	size_t reply_len, status_len, mx_len;

	rcpt->index = rcpt->number = take_32(reader);
	rcpt->attempts = take_32(reader);
	reply_len = take_16(reader);
	status_len = take_8(reader);
	mx_len = take_16(reader);
	rcpt->reply =
		arena_copy(&delivery->arena, take_bytes(reader, reply_len));
	rcpt->status =
		arena_copy(&delivery->arena, take_bytes(reader, status_len));
	rcpt->mx = arena_copy(&delivery->arena, take_bytes(reader, mx_len));
	if (delivery->is_report_owed)
		read_outcome(reader, rcpt);
	if (rcpt->index >= delivery->message->recipients_count)
		reader->is_bad = true;
}

static void
read_delivery(struct reader *reader, struct delivery *delivery)
{
	unsigned version = take_8(reader), flags = take_8(reader);
	size_t count = take_32(reader);

	delivery->is_held = (flags & DELIVERY_IS_HELD) != 0;
	delivery->is_delay_told = (flags & DELIVERY_IS_DELAY_TOLD) != 0;
	delivery->is_owed_attempt = (flags & DELIVERY_IS_OWED_ATTEMPT) != 0;
	delivery->is_report_owed = (flags & DELIVERY_IS_REPORT_OWED) != 0;
	delivery->due_ms = take_64(reader);
	delivery->last_attempt_ms = take_64(reader);
	if (version >= 2 && delivery->is_report_owed)
		delivery->report_tries = take_32(reader);
	reader->is_newer = version > DELIVERY_VERSION;
	if (version < DELIVERY_VERSION_MIN || version > DELIVERY_VERSION ||
	    count == 0 ||
	    count > reader->rest.len / STATE_FIXED ||
	    count > delivery->message->recipients_count) {
		reader->is_bad = true;
		return;
	}
	delivery->recipients = arena_array(&delivery->arena, count,
					   sizeof(*delivery->recipients));
	delivery->recipients_count = count;
	for (size_t i = 0; i < count && !reader->is_bad; i++)
		read_state(reader, delivery, &delivery->recipients[i]);
}

bool
record_delivery_read(struct slice destination, struct slice record,
		     struct delivery *delivery, struct fault *fault)
{
	struct reader reader = {.rest = slice_from(record, RECORD_SUM_SIZE)};
	struct record_key key;

	record_key_delivery(&key, &delivery->message->id, destination);
	if (!record_is_whole(&key, record))
		return fault_set(fault, FAULT_INPUT,
				 "the delivery's record is damaged");
	delivery->destination = arena_copy(&delivery->arena, destination);
	read_delivery(&reader, delivery);
	if (reader.is_bad || reader.rest.len > 0)
		return record_refuse(&reader, "delivery", fault);
	return true;
}

bool
record_delivery_place(const struct message_id *id, struct slice destination,
		      struct slice record, struct record_place *place_out)
{
	struct reader reader = {.rest = slice_from(record, RECORD_SUM_SIZE)};
	struct record_place place = {0};
	struct record_key key;
	unsigned flags;

	record_key_delivery(&key, id, destination);
	if (!record_is_whole(&key, record))
		return false;
	take_8(&reader);
	flags = take_8(&reader);
	place.recipients = take_32(&reader);
	place.due_ms = take_64(&reader);
	place.last_attempt_ms = take_64(&reader);
	place.is_held = (flags & DELIVERY_IS_HELD) != 0;
	place.is_owed_attempt = (flags & DELIVERY_IS_OWED_ATTEMPT) != 0;
	if (reader.is_bad)
		return false;
	*place_out = place;
	return true;
}

static unsigned
flag_set(unsigned flags, unsigned flag, bool is_set)
{
	return is_set ? flags | flag : flags & ~flag;
}

void
record_delivery_put(const struct message_id *id, struct slice destination,
		    const struct record_place *place, uint8_t *record,
		    size_t len)
{
	uint8_t *at = record + RECORD_SUM_SIZE + 1;
	unsigned flags = *at;
	struct record_key key;

	ASSERT(len >= DELIVERY_FIXED);
	flags = flag_set(flags, DELIVERY_IS_HELD, place->is_held);
	flags = flag_set(flags, DELIVERY_IS_OWED_ATTEMPT,
			 place->is_owed_attempt);
	at = put_8(at, flags);
	at += 4;
	at = put_64(at, place->due_ms);
	put_64(at, place->last_attempt_ms);
	record_key_delivery(&key, id, destination);
	record_seal(&key, record, len);
}
