#include "relay/queue/record_private.h"

#include <xxhash.h>

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

bool
record_key_message_read(struct slice key, struct message_id *id_out,
			uint32_t *number_out)
{
	uint32_t ordered;

	if (key.len != MESSAGE_ID_SIZE + sizeof(ordered))
		return false;
	memcpy(id_out->bytes, key.bytes, MESSAGE_ID_SIZE);
	memcpy(&ordered, key.bytes + MESSAGE_ID_SIZE, sizeof(ordered));
	*number_out = be32toh(ordered);
	return true;
}

uint64_t
record_part_sum(struct slice bytes)
{
	return XXH3_64bits(bytes.bytes, bytes.len);
}

uint64_t
record_key_hash(struct slice key)
{
	return XXH3_64bits(key.bytes, key.len);
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

bool
record_is_whole(const struct record_key *key, struct slice record)
{
	uint64_t sum;

	if (record.len < RECORD_SUM_SIZE)
		return false;
	memcpy(&sum, record.bytes, sizeof(sum));
	return le64toh(sum) ==
	       record_sum(key, slice_from(record, RECORD_SUM_SIZE));
}

bool
record_refuse(const struct reader *reader, const char *what,
	      struct fault *fault)
{
	if (reader->is_newer)
		return fault_set(fault, FAULT_INPUT,
				 "the %s's record is of a newer version of "
				 "signet, and waits for that one",
				 what);
	return fault_set(fault, FAULT_INPUT, "the %s's record is malformed",
			 what);
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
