/*
 * record_private - what the records of messages and deliveries, and the index of
 * a message's recipients, share: fields, one after the other, and whether a
 * record is whole.
 */
#ifndef RELAY_QUEUE_RECORD_PRIVATE_H
#define RELAY_QUEUE_RECORD_PRIVATE_H

#include <endian.h>

#include "relay/queue/record.h"

/* Whether the checksum is the one that belongs to the key and the bytes. */
bool record_is_whole(const struct record_key *key, struct slice record);

/* Sums of parts of a record, in memory only. */
uint64_t record_part_sum(struct slice bytes);

/* --- writing: each returns where the next field goes --- */

static inline uint8_t *
put_8(uint8_t *at, unsigned number)
{
	*at = (uint8_t)number;
	return at + 1;
}

static inline uint8_t *
put_16(uint8_t *at, size_t number)
{
	uint16_t stored = htole16((uint16_t)number);

	ASSERT(number <= UINT16_MAX);
	memcpy(at, &stored, sizeof(stored));
	return at + sizeof(stored);
}

static inline uint8_t *
put_32(uint8_t *at, size_t number)
{
	uint32_t stored = htole32((uint32_t)number);

	ASSERT(number <= UINT32_MAX);
	memcpy(at, &stored, sizeof(stored));
	return at + sizeof(stored);
}

static inline uint8_t *
put_64(uint8_t *at, uint64_t number)
{
	uint64_t stored = htole64(number);

	memcpy(at, &stored, sizeof(stored));
	return at + sizeof(stored);
}

static inline uint8_t *
put_bytes(uint8_t *at, struct slice bytes)
{
	if (bytes.len > 0)
		memcpy(at, bytes.bytes, bytes.len);
	return at + bytes.len;
}

/* --- reading --- */

/* Reads fields off a record; once something is missing all that follows is
 * zero and is_bad stays set, so that one check at the end is enough. */
struct reader {
	struct slice rest;
	bool is_bad;
	bool is_newer; /* of a version that is to come */
};

/* Says why what was read cannot be used; false. */
bool record_refuse(const struct reader *reader, const char *what,
		   struct fault *fault);

static inline const char *
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

static inline uint8_t
take_8(struct reader *reader)
{
	const char *at = take(reader, 1);

	return at == NULL ? 0 : (uint8_t)*at;
}

/* Leaves it as it is where there are fewer. */
static inline void
take_into(struct reader *reader, void *out, size_t size)
{
	const char *at = take(reader, size);

	if (at != NULL)
		memcpy(out, at, size);
}

static inline uint16_t
take_16(struct reader *reader)
{
	uint16_t stored = 0;

	take_into(reader, &stored, sizeof(stored));
	return le16toh(stored);
}

static inline uint32_t
take_32(struct reader *reader)
{
	uint32_t stored = 0;

	take_into(reader, &stored, sizeof(stored));
	return le32toh(stored);
}

static inline uint64_t
take_64(struct reader *reader)
{
	uint64_t stored = 0;

	take_into(reader, &stored, sizeof(stored));
	return le64toh(stored);
}

static inline struct slice
take_bytes(struct reader *reader, size_t len)
{
	const char *at = take(reader, len);

	return at == NULL ? SLICE_NONE : slice_of(at, len);
}

/* --- of a message's record --- */

/* The message without recipients, of whom it has the count, and the reader before
 * them; one reference. The record is known to be whole, or the reader may be
 * bad. */
struct message *record_message_head(const struct message_id *id,
				    struct slice record, struct reader *reader);
/* Whether the record is; then the same. */
bool record_message_begin(const struct message_id *id, struct slice record,
			  struct reader *reader, struct message **message_out,
			  struct fault *fault) MUST_USE;
/* How many there are, of a record that may be damaged. */
size_t record_message_recipients(struct slice record);
void record_read_recipient(struct reader *reader, struct arena *arena,
			   struct recipient *rcpt);
void record_skip_recipient(struct reader *reader);

#endif
