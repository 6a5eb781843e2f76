/*
 * record - what the queue stores, as bytes: keys, records, their checksums.
 *
 * Pure. Every record and every chunk of a body begins with a checksum over its
 * bytes and its key (XXH3 of libxxhash: 64 bits, found in every Debian because
 * apt needs it; 4 KiB take 0.4 us, and 2.0 us with zlib's CRC-32, where the
 * engine's own work for such a message is about 5). So damage is found, and so is a
 * record that stands under another's key. Numbers are little-endian in records
 * and big-endian in keys, where they order.
 *
 *	messages    id, 0            → message record
 *	            id, n            → n-th chunk of the body, from 1
 *	deliveries  id, destination  → delivery record
 *	due         destination, NUL, due time, id → nothing
 *	held        the same, of what is held → nothing
 *
 * Each record says its version; what an older one did not have is read as not
 * given. Of messages: 1 had no RET, ENVID and user. Of deliveries: 1 did not
 * count how often a report was put off.
 *
 * A body in a file of its own is the same chunks, one after the other, with the
 * same keys.
 */
#ifndef RELAY_QUEUE_RECORD_H
#define RELAY_QUEUE_RECORD_H

#include "relay/limits.h"
#include "relay/queue/store.h"
#include "relay/routing.h"

#define RECORD_SUM_SIZE 8
/* destination, NUL, due, id */
#define RECORD_KEY_MAX (DESTINATION_MAX + 1 + 8 + MESSAGE_ID_SIZE)
/* What is kept of a recipient's last reply and of the host that gave it. */
#define RECORD_REPLY_MAX 1024
#define RECORD_MX_MAX DOMAIN_MAX
/* A chunk as stored; with the engine's 16 bytes it fills whole pages. */
#define RECORD_CHUNK_MAX (RECORD_SUM_SIZE + BODY_CHUNK)
static_assert((RECORD_CHUNK_MAX + 16) % (4 * KIB) == 0,
	      "a chunk fills its pages");

struct record_key {
	uint8_t bytes[RECORD_KEY_MAX];
	size_t len;
};
/* number 0 is the record, chunks begin at 1 */
void record_key_message(struct record_key *key, const struct message_id *id,
			uint32_t number);
void record_key_delivery(struct record_key *key, const struct message_id *id,
			 struct slice destination);
void record_key_due(struct record_key *key, struct slice destination,
		    uint64_t due_ms, const struct message_id *id);
/* The destination lies in the key. */
bool record_key_due_read(struct slice key, struct slice *destination_out,
			 uint64_t *due_ms_out,
			 struct message_id *id_out) MUST_USE;
bool record_key_delivery_read(struct slice key, struct message_id *id_out,
			      struct slice *destination_out) MUST_USE;
bool record_key_message_read(struct slice key, struct message_id *id_out,
			     uint32_t *number_out) MUST_USE;
/* For comparing sets of keys by the sums of these. */
uint64_t record_key_hash(struct slice key);

/* Whether the message can be stored: every length within its field. */
bool record_message_check(const struct message *message,
			  struct fault *fault) MUST_USE;
size_t record_message_size(const struct message *message);
/* out has record_message_size() bytes. */
void record_message_write(const struct message *message, uint8_t *out);
/* One reference; the body is not in memory. INPUT: damaged. */
bool record_message_read(const struct message_id *id, struct slice record,
			 struct message **message_out,
			 struct fault *fault) MUST_USE;
/* How many chunks a body has. */
uint32_t record_chunks(uint64_t body_size);
/* How many chunks stand behind the record: none of a body in a file. False:
 * damaged. */
bool record_message_chunks(const struct message_id *id, struct slice record,
			   uint32_t *chunks_out) MUST_USE;

/* The size of a body in a file, as the record has it; 0: it is in none, or the
 * record is damaged. */
uint64_t record_message_file_size(const struct message_id *id,
				  struct slice record);

/* Recipients that are DELIVERED or FAILED are left out. */
size_t record_delivery_size(const struct delivery *delivery);
size_t record_delivery_left(const struct delivery *delivery);
void record_delivery_write(const struct delivery *delivery, uint64_t due_ms,
			   uint8_t *out);
/* Into a delivery that has nothing but its message: fills in the rest. */
bool record_delivery_read(struct slice destination, struct slice record,
			  struct delivery *delivery,
			  struct fault *fault) MUST_USE;
/* A delivery, and of its message the envelope and those recipients that are the
 * delivery's: what that takes in memory does not grow with whom else the message
 * is for. Into one that has nothing. */
bool record_delivery_read_alone(const struct message_id *id,
				struct slice destination,
				struct slice of_message,
				struct slice of_delivery,
				struct delivery *delivery,
				struct fault *fault) MUST_USE;
/* Where a delivery stands in the queue: what moving or deleting it takes,
 * without its message. */
struct record_place {
	uint64_t due_ms, last_attempt_ms; /* wall; the latter 0: none yet */
	bool is_held, is_owed_attempt;
	size_t recipients;                /* out only */
};
/* False: damaged. */
bool record_delivery_place(const struct message_id *id,
			   struct slice destination, struct slice record,
			   struct record_place *place_out) MUST_USE;
/* Gives a record that was whole another place. */
void record_delivery_put(const struct message_id *id, struct slice destination,
			 const struct record_place *place, uint8_t *record,
			 size_t len);

/* What stands before a chunk's bytes. */
void record_chunk_sum(const struct message_id *id, uint32_t number,
		      struct slice bytes, uint8_t out[RECORD_SUM_SIZE]);
/* out has RECORD_SUM_SIZE + bytes.len bytes. */
void record_chunk_write(const struct message_id *id, uint32_t number,
			struct slice bytes, uint8_t *out);
/* The bytes lie in the record. */
bool record_chunk_read(const struct message_id *id, uint32_t number,
		       struct slice record, struct slice *bytes_out) MUST_USE;

/* Writes the checksum that a record under this key must have into its first
 * bytes: for tests and fuzzers. */
void record_seal(const struct record_key *key, uint8_t *record, size_t len);

#endif
