#include "relay/queue/record.h"

#include <endian.h>
#include <xxhash.h>

#define MESSAGE_VERSION 2
#define MESSAGE_VERSION_MIN 1
#define DELIVERY_VERSION 1

#define MESSAGE_DECLARED_8BIT 1u
#define MESSAGE_IS_REPORT 2u
#define MESSAGE_IS_FILE 4u
#define MESSAGE_HAS_8BIT 8u
#define MESSAGE_HAS_LONG_LINE 16u
#define MESSAGE_DECLARED_SMTPUTF8 32u
#define MESSAGE_HAS_8BIT_HEADER 64u

#define DELIVERY_IS_HELD 1u
#define DELIVERY_IS_DELAY_TOLD 2u
#define DELIVERY_IS_OWED_ATTEMPT 4u

/* --- keys --- */

static void
key_add(struct record_key *key, const void *bytes, size_t len)
{
	ASSERT(key->len + len <= sizeof(key->bytes));
	memcpy(key->bytes + key->len, bytes, len);
	key->len += len;
}

void
record_key_message(struct record_key *key, const struct message_id *id,
		   uint32_t number)
{
	uint32_t ordered = htobe32(number);

	key->len = 0;
	key_add(key, id->bytes, sizeof(id->bytes));
	key_add(key, &ordered, sizeof(ordered));
}

void
record_key_delivery(struct record_key *key, const struct message_id *id,
		    struct slice destination)
{
	ASSERT(destination.len > 0 && destination.len <= DESTINATION_MAX);
	key->len = 0;
	key_add(key, id->bytes, sizeof(id->bytes));
	key_add(key, destination.bytes, destination.len);
}

void
record_key_due(struct record_key *key, struct slice destination,
	       uint64_t due_ms, const struct message_id *id)
{
	uint64_t ordered = htobe64(due_ms);

	ASSERT(destination.len > 0 && destination.len <= DESTINATION_MAX);
	key->len = 0;
	key_add(key, destination.bytes, destination.len);
	key_add(key, "", 1);
	key_add(key, &ordered, sizeof(ordered));
	key_add(key, id->bytes, sizeof(id->bytes));
}

bool
record_key_due_read(struct slice key, struct slice *destination_out,
		    uint64_t *due_ms_out, struct message_id *id_out)
{
	size_t tail = 1 + sizeof(uint64_t) + MESSAGE_ID_SIZE;
	struct slice destination;
	uint64_t ordered;

	if (key.len <= tail)
		return false;
	destination = slice_sub(key, 0, key.len - tail);
	if (destination.len > DESTINATION_MAX ||
	    slice_find(destination, '\0') >= 0 ||
	    key.bytes[destination.len] != '\0')
		return false;
	memcpy(&ordered, key.bytes + destination.len + 1, sizeof(ordered));
	memcpy(id_out->bytes, key.bytes + key.len - MESSAGE_ID_SIZE,
	       MESSAGE_ID_SIZE);
	*due_ms_out = be64toh(ordered);
	*destination_out = destination;
	return true;
}

bool
record_key_delivery_read(struct slice key, struct message_id *id_out,
			 struct slice *destination_out)
{
	if (key.len <= MESSAGE_ID_SIZE ||
	    key.len > MESSAGE_ID_SIZE + DESTINATION_MAX)
		return false;
	memcpy(id_out->bytes, key.bytes, MESSAGE_ID_SIZE);
	*destination_out = slice_from(key, MESSAGE_ID_SIZE);
	return true;
}

/* --- checksums --- */

/* Of the bytes behind the checksum's own place. */
static uint64_t
record_sum(const struct record_key *key, struct slice bytes)
{
	return XXH3_64bits_withSeed(bytes.bytes, bytes.len,
				    XXH3_64bits(key->bytes, key->len));
}

void
record_seal(const struct record_key *key, uint8_t *record, size_t len)
{
	uint64_t sum;

	ASSERT(len >= RECORD_SUM_SIZE);
	sum = htole64(record_sum(key, slice_of(record + RECORD_SUM_SIZE,
					       len - RECORD_SUM_SIZE)));
	memcpy(record, &sum, sizeof(sum));
}

static bool
record_is_whole(const struct record_key *key, struct slice record)
{
	uint64_t sum;

	if (record.len < RECORD_SUM_SIZE)
		return false;
	memcpy(&sum, record.bytes, sizeof(sum));
	return le64toh(sum) ==
	       record_sum(key, slice_from(record, RECORD_SUM_SIZE));
}

/* --- fields --- */

static uint8_t *
put_8(uint8_t *at, unsigned number)
{
	*at = (uint8_t)number;
	return at + 1;
}

static uint8_t *
put_16(uint8_t *at, size_t number)
{
	uint16_t stored = htole16((uint16_t)number);

	ASSERT(number <= UINT16_MAX);
	memcpy(at, &stored, sizeof(stored));
	return at + sizeof(stored);
}

static uint8_t *
put_32(uint8_t *at, size_t number)
{
	uint32_t stored = htole32((uint32_t)number);

	ASSERT(number <= UINT32_MAX);
	memcpy(at, &stored, sizeof(stored));
	return at + sizeof(stored);
}

static uint8_t *
put_64(uint8_t *at, uint64_t number)
{
	uint64_t stored = htole64(number);

	memcpy(at, &stored, sizeof(stored));
	return at + sizeof(stored);
}

static uint8_t *
put_bytes(uint8_t *at, struct slice bytes)
{
	if (bytes.len > 0)
		memcpy(at, bytes.bytes, bytes.len);
	return at + bytes.len;
}

/* Reads fields off a record; once something is missing all that follows is
 * zero and is_bad stays set, so that one check at the end is enough. */
struct reader {
	struct slice rest;
	bool is_bad;
};

static const char *
take(struct reader *reader, size_t len)
{
	const char *at = reader->rest.bytes;

	if (reader->is_bad || reader->rest.len < len) {
		reader->is_bad = true;
		return NULL;
	}
	reader->rest = slice_from(reader->rest, len);
	return at;
}

static uint8_t
take_8(struct reader *reader)
{
	const char *at = take(reader, 1);

	return at == NULL ? 0 : (uint8_t)*at;
}

static uint16_t
take_16(struct reader *reader)
{
	uint16_t stored = 0;
	const char *at = take(reader, sizeof(stored));

	if (at != NULL)
		memcpy(&stored, at, sizeof(stored));
	return le16toh(stored);
}

static uint32_t
take_32(struct reader *reader)
{
	uint32_t stored = 0;
	const char *at = take(reader, sizeof(stored));

	if (at != NULL)
		memcpy(&stored, at, sizeof(stored));
	return le32toh(stored);
}

static uint64_t
take_64(struct reader *reader)
{
	uint64_t stored = 0;
	const char *at = take(reader, sizeof(stored));

	if (at != NULL)
		memcpy(&stored, at, sizeof(stored));
	return le64toh(stored);
}

static struct slice
take_bytes(struct reader *reader, size_t len)
{
	const char *at = take(reader, len);

	return at == NULL ? SLICE_NONE : slice_of(at, len);
}

/* --- the message --- */

/* sum, version, flags, recipients, received, size, header, reverse-path,
 * prefix; since version 2 RET, ENVID, user */
#define MESSAGE_FIXED                                                          \
	(RECORD_SUM_SIZE + 1 + 1 + 4 + 8 + 8 + 8 + 2 + 4 + 1 + 2 + 2)
/* address, destination, orcpt, notify */
#define RECIPIENT_FIXED (2 + 2 + 2 + 2)
/* index, attempts, reply, status, mx */
#define STATE_FIXED (4 + 4 + 2 + 1 + 2)

uint32_t
record_chunks(uint64_t body_size)
{
	uint64_t chunks = (body_size + BODY_CHUNK - 1) / BODY_CHUNK;

	ASSERT(chunks < UINT32_MAX);
	return (uint32_t)chunks;
}

bool
record_message_check(const struct message *message, struct fault *fault)
{
	if (message->recipients_count == 0 ||
	    message->recipients_count > UINT32_MAX)
		return fault_set(fault, FAULT_INPUT,
				 "a message without recipients");
	if (message->reverse_path.len > UINT16_MAX ||
	    message->prefix.len > UINT32_MAX ||
	    message->envid.len > UINT16_MAX ||
	    message->user.len > UINT16_MAX ||
	    message->body.size / BODY_CHUNK >= UINT32_MAX - 1)
		return fault_set(fault, FAULT_LIMIT,
				 "the envelope is too long to be stored");
	for (size_t i = 0; i < message->recipients_count; i++) {
		const struct recipient *rcpt = &message->recipients[i];

		if (rcpt->address.len > UINT16_MAX ||
		    rcpt->orcpt.len > UINT16_MAX || rcpt->notify > UINT16_MAX)
			return fault_set(fault, FAULT_LIMIT,
					 "a recipient is too long");
		if (rcpt->destination.len == 0 ||
		    rcpt->destination.len > DOMAIN_MAX ||
		    slice_find(rcpt->destination, '\0') >= 0)
			return fault_set(fault, FAULT_INPUT,
					 "a recipient's domain is malformed");
	}
	return true;
}

size_t
record_message_size(const struct message *message)
{
	size_t size = MESSAGE_FIXED + message->reverse_path.len +
		      message->prefix.len + message->envid.len +
		      message->user.len;

	for (size_t i = 0; i < message->recipients_count; i++) {
		const struct recipient *rcpt = &message->recipients[i];

		size += RECIPIENT_FIXED + rcpt->address.len +
			rcpt->destination.len + rcpt->orcpt.len;
	}
	return size;
}

static unsigned
message_flags(const struct message *message)
{
	return (message->declared_8bit ? MESSAGE_DECLARED_8BIT : 0) |
	       (message->declared_smtputf8 ? MESSAGE_DECLARED_SMTPUTF8 : 0) |
	       (message->is_report ? MESSAGE_IS_REPORT : 0) |
	       (message->body.is_file ? MESSAGE_IS_FILE : 0) |
	       (message->body.has_8bit ? MESSAGE_HAS_8BIT : 0) |
	       (message->body.has_8bit_header ? MESSAGE_HAS_8BIT_HEADER : 0) |
	       (message->body.has_long_line ? MESSAGE_HAS_LONG_LINE : 0);
}

void
record_message_write(const struct message *message, uint8_t *out)
{
	struct record_key key;
	uint8_t *at = out + RECORD_SUM_SIZE;

	at = put_8(at, MESSAGE_VERSION);
	at = put_8(at, message_flags(message));
	at = put_32(at, message->recipients_count);
	at = put_64(at, message->received_ms);
	at = put_64(at, message->body.size);
	at = put_64(at, message->body.header_len);
	at = put_16(at, message->reverse_path.len);
	at = put_32(at, message->prefix.len);
	at = put_8(at, message->ret);
	at = put_16(at, message->envid.len);
	at = put_16(at, message->user.len);
	at = put_bytes(at, message->reverse_path);
	at = put_bytes(at, message->prefix);
	at = put_bytes(at, message->envid);
	at = put_bytes(at, message->user);
	for (size_t i = 0; i < message->recipients_count; i++) {
		const struct recipient *rcpt = &message->recipients[i];

		at = put_16(at, rcpt->address.len);
		at = put_16(at, rcpt->destination.len);
		at = put_16(at, rcpt->orcpt.len);
		at = put_16(at, rcpt->notify);
		at = put_bytes(at, rcpt->address);
		at = put_bytes(at, rcpt->destination);
		at = put_bytes(at, rcpt->orcpt);
	}
	ASSERT((size_t)(at - out) == record_message_size(message));
	record_key_message(&key, &message->id, 0);
	record_seal(&key, out, (size_t)(at - out));
}

static void
read_recipient(struct reader *reader, struct arena *arena,
	       struct recipient *rcpt)
{
	size_t address_len = take_16(reader);
	size_t destination_len = take_16(reader);
	size_t orcpt_len = take_16(reader);

	rcpt->notify = take_16(reader);
	rcpt->address = arena_copy(arena, take_bytes(reader, address_len));
	rcpt->destination =
		arena_copy(arena, take_bytes(reader, destination_len));
	rcpt->orcpt = arena_copy(arena, take_bytes(reader, orcpt_len));
	if (rcpt->destination.len == 0 ||
	    rcpt->destination.len > DOMAIN_MAX ||
	    slice_find(rcpt->destination, '\0') >= 0)
		reader->is_bad = true;
}

static void
read_flags(struct message *message, unsigned flags)
{
	message->declared_8bit = (flags & MESSAGE_DECLARED_8BIT) != 0;
	message->declared_smtputf8 = (flags & MESSAGE_DECLARED_SMTPUTF8) != 0;
	message->is_report = (flags & MESSAGE_IS_REPORT) != 0;
	message->body.is_file = (flags & MESSAGE_IS_FILE) != 0;
	message->body.has_8bit = (flags & MESSAGE_HAS_8BIT) != 0;
	message->body.has_8bit_header = (flags & MESSAGE_HAS_8BIT_HEADER) != 0;
	message->body.has_long_line = (flags & MESSAGE_HAS_LONG_LINE) != 0;
}

/* The fields up to the recipients. */
static void
read_envelope(struct reader *reader, unsigned version, struct message *message)
{
	struct arena *arena = &message->arena;
	size_t path_len, prefix_len, envid_len = 0, user_len = 0;
	unsigned ret = RET_NOT_SAID;

	message->received_ms = take_64(reader);
	message->body.size = take_64(reader);
	message->body.header_len = take_64(reader);
	path_len = take_16(reader);
	prefix_len = take_32(reader);
	if (version >= 2) {
		ret = take_8(reader);
		envid_len = take_16(reader);
		user_len = take_16(reader);
	}
	message->reverse_path = arena_copy(arena, take_bytes(reader, path_len));
	message->prefix = arena_copy(arena, take_bytes(reader, prefix_len));
	message->envid = arena_copy(arena, take_bytes(reader, envid_len));
	message->user = arena_copy(arena, take_bytes(reader, user_len));
	if (ret > RET_HDRS)
		reader->is_bad = true;
	else
		message->ret = (enum message_ret)ret;
}

static void
read_message(struct reader *reader, struct message *message)
{
	unsigned version = take_8(reader);
	size_t count;

	read_flags(message, take_8(reader));
	count = take_32(reader);
	read_envelope(reader, version, message);
	if (version < MESSAGE_VERSION_MIN || version > MESSAGE_VERSION ||
	    count == 0 || count > reader->rest.len / RECIPIENT_FIXED ||
	    message->body.header_len > message->body.size ||
	    message->body.size / BODY_CHUNK >= UINT32_MAX - 1) {
		reader->is_bad = true;
		return;
	}
	message->recipients = arena_array(&message->arena, count,
					  sizeof(*message->recipients));
	message->recipients_count = count;
	for (size_t i = 0; i < count && !reader->is_bad; i++)
		read_recipient(reader, &message->arena,
			       &message->recipients[i]);
}

bool
record_message_read(const struct message_id *id, struct slice record,
		    struct message **message_out, struct fault *fault)
{
	CLEAN(message_unref_clean) struct message *message = NULL;
	struct reader reader = {slice_from(record, RECORD_SUM_SIZE), false};
	struct record_key key;

	record_key_message(&key, id, 0);
	if (!record_is_whole(&key, record))
		return fault_set(fault, FAULT_INPUT,
				 "the message's record is damaged");
	message = memory_new(sizeof(*message));
	message->references = 1;
	message->id = *id;
	read_message(&reader, message);
	if (reader.is_bad || reader.rest.len > 0)
		return fault_set(fault, FAULT_INPUT,
				 "the message's record is malformed");
	*message_out = TAKE(message);
	return true;
}

/* --- the delivery --- */

/* sum, version, flags, recipients, due, last attempt */
#define DELIVERY_FIXED (RECORD_SUM_SIZE + 1 + 1 + 4 + 8 + 8)

static bool
recipient_stays(const struct delivery_recipient *rcpt)
{
	return rcpt->outcome == OUTCOME_NONE ||
	       rcpt->outcome == OUTCOME_DEFERRED;
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
	size_t size = DELIVERY_FIXED;

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct delivery_recipient *rcpt =
			&delivery->recipients[i];

		if (!recipient_stays(rcpt))
			continue;
		size += STATE_FIXED + cut(rcpt->reply, RECORD_REPLY_MAX).len +
			cut(rcpt->status, OUTCOME_STATUS_SIZE - 1).len +
			cut(rcpt->mx, RECORD_MX_MAX).len;
	}
	return size;
}

static uint8_t *
write_state(uint8_t *at, const struct delivery_recipient *rcpt)
{
	struct slice reply = cut(rcpt->reply, RECORD_REPLY_MAX);
	struct slice status = cut(rcpt->status, OUTCOME_STATUS_SIZE - 1);
	struct slice mx = cut(rcpt->mx, RECORD_MX_MAX);

	at = put_32(at, rcpt->index);
	at = put_32(at, rcpt->attempts);
	at = put_16(at, reply.len);
	at = put_8(at, (unsigned)status.len);
	at = put_16(at, mx.len);
	at = put_bytes(at, reply);
	at = put_bytes(at, status);
	return put_bytes(at, mx);
}

static unsigned
delivery_flags(const struct delivery *delivery)
{
	return (delivery->is_held ? DELIVERY_IS_HELD : 0) |
	       (delivery->is_delay_told ? DELIVERY_IS_DELAY_TOLD : 0) |
	       (delivery->is_owed_attempt ? DELIVERY_IS_OWED_ATTEMPT : 0);
}

void
record_delivery_write(const struct delivery *delivery, uint64_t due_ms,
		      uint8_t *out)
{
	struct record_key key;
	uint8_t *at = out + RECORD_SUM_SIZE;

	at = put_8(at, DELIVERY_VERSION);
	at = put_8(at, delivery_flags(delivery));
	at = put_32(at, record_delivery_left(delivery));
	at = put_64(at, due_ms);
	at = put_64(at, delivery->last_attempt_ms);
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (recipient_stays(&delivery->recipients[i]))
			at = write_state(at, &delivery->recipients[i]);
	ASSERT((size_t)(at - out) == record_delivery_size(delivery));
	record_key_delivery(&key, &delivery->message->id,
			    delivery->destination);
	record_seal(&key, out, (size_t)(at - out));
}

static void
read_state(struct reader *reader, struct delivery *delivery,
	   struct delivery_recipient *rcpt)
{
	size_t reply_len, status_len, mx_len;

	rcpt->index = take_32(reader);
	rcpt->attempts = take_32(reader);
	reply_len = take_16(reader);
	status_len = take_8(reader);
	mx_len = take_16(reader);
	rcpt->reply =
		arena_copy(&delivery->arena, take_bytes(reader, reply_len));
	rcpt->status =
		arena_copy(&delivery->arena, take_bytes(reader, status_len));
	rcpt->mx = arena_copy(&delivery->arena, take_bytes(reader, mx_len));
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
	delivery->due_ms = take_64(reader);
	delivery->last_attempt_ms = take_64(reader);
	if (version != DELIVERY_VERSION || count == 0 ||
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
	struct reader reader = {slice_from(record, RECORD_SUM_SIZE), false};
	struct record_key key;

	record_key_delivery(&key, &delivery->message->id, destination);
	if (!record_is_whole(&key, record))
		return fault_set(fault, FAULT_INPUT,
				 "the delivery's record is damaged");
	delivery->destination = arena_copy(&delivery->arena, destination);
	read_delivery(&reader, delivery);
	if (reader.is_bad || reader.rest.len > 0)
		return fault_set(fault, FAULT_INPUT,
				 "the delivery's record is malformed");
	return true;
}

bool
record_delivery_place(const struct message_id *id, struct slice destination,
		      struct slice record, struct record_place *place_out)
{
	struct reader reader = {slice_from(record, RECORD_SUM_SIZE), false};
	struct record_place place = {0};
	struct record_key key;
	unsigned flags;

	record_key_delivery(&key, id, destination);
	if (!record_is_whole(&key, record))
		return false;
	take_8(&reader);
	flags = take_8(&reader);
	take_32(&reader);
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

/* --- chunks --- */

void
record_chunk_sum(const struct message_id *id, uint32_t number,
		 struct slice bytes, uint8_t out[RECORD_SUM_SIZE])
{
	struct record_key key;
	uint64_t sum;

	ASSERT(number > 0);
	record_key_message(&key, id, number);
	sum = htole64(record_sum(&key, bytes));
	memcpy(out, &sum, sizeof(sum));
}

void
record_chunk_write(const struct message_id *id, uint32_t number,
		   struct slice bytes, uint8_t *out)
{
	record_chunk_sum(id, number, bytes, out);
	put_bytes(out + RECORD_SUM_SIZE, bytes);
}

bool
record_chunk_read(const struct message_id *id, uint32_t number,
		  struct slice record, struct slice *bytes_out)
{
	struct record_key key;

	record_key_message(&key, id, number);
	if (!record_is_whole(&key, record))
		return false;
	*bytes_out = slice_from(record, RECORD_SUM_SIZE);
	return true;
}
