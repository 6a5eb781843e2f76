#include "relay/queue/record_index.h"

#include <stdlib.h>

#include "relay/queue/record_private.h"

/* 32 KiB of memory for a message, however many it is for. */
#define BLOCKS_MAX 2048
/* Recipients of a block at least. */
#define BLOCK_MIN 16

struct block {
	size_t from; /* in the record; it ends where the next one begins */
	uint64_t sum;
};

struct record_index {
	int references; /* atomic */
	struct message_id id;
	size_t len;     /* of the record */
	size_t total;   /* recipients */
	size_t per_block, blocks_count;
	uint64_t head_sum;     /* of all before the first block */
	struct block blocks[]; /* and one more, for the end */
};

bool
record_index_is_worth(struct slice of_message)
{
	return record_message_recipients(of_message) >= RECORD_INDEX_MIN;
}

static struct slice
block_bytes(const struct record_index *index, struct slice record, size_t i)
{
	size_t from = index->blocks[i].from;

	return slice_sub(record, from, index->blocks[i + 1].from - from);
}

/* Where each begins; false: the record is malformed. */
static bool
blocks_find(struct record_index *index, struct slice record,
	    struct reader *reader)
{
	for (size_t i = 0; i < index->total; i++) {
		if (i % index->per_block == 0)
			index->blocks[i / index->per_block].from =
				record.len - reader->rest.len;
		record_skip_recipient(reader);
	}
	index->blocks[index->blocks_count].from = record.len;
	return !reader->is_bad && reader->rest.len == 0;
}

static struct record_index *
index_make(const struct message_id *id, struct slice record, size_t total,
	   struct reader *reader)
{
	size_t per_block = (total + BLOCKS_MAX - 1) / BLOCKS_MAX, count;
	struct record_index *index;

	if (per_block < BLOCK_MIN)
		per_block = BLOCK_MIN;
	count = (total + per_block - 1) / per_block;
	index = memory_new(sizeof(*index) +
			   (count + 1) * sizeof(index->blocks[0]));
	index->references = 1;
	index->id = *id;
	index->len = record.len;
	index->total = total;
	index->per_block = per_block;
	index->blocks_count = count;
	if (!blocks_find(index, record, reader)) {
		free(index);
		return NULL;
	}
	index->head_sum = record_part_sum(slice_sub(record, 0, index->blocks[0].from));
	for (size_t i = 0; i < count; i++)
		index->blocks[i].sum = record_part_sum(block_bytes(index, record, i));
	return index;
}

struct record_index *
record_index_new(const struct message_id *id, struct slice of_message)
{
	CLEAN(message_unref_clean) struct message *message = NULL;
	struct reader reader;

	if (!record_message_begin(id, of_message, &reader, &message, NULL) ||
	    reader.is_bad)
		return NULL;
	return index_make(id, of_message, message->recipients_count, &reader);
}

struct record_index *
record_index_ref(struct record_index *index)
{
	__atomic_add_fetch(&index->references, 1, __ATOMIC_RELAXED);
	return index;
}

void
record_index_unref(struct record_index *index)
{
	if (__atomic_sub_fetch(&index->references, 1, __ATOMIC_ACQ_REL) == 0)
		free(index);
}

const struct message_id *
record_index_id(const struct record_index *index)
{
	return &index->id;
}

/* --- reading --- */

/* Of a delivery's, which come in the order of the message, `own` is the first of
 * this block. Gives the first that is not; the reader is bad where the block is
 * not what it was. */
static size_t
block_read(const struct record_index *index, struct slice record, size_t block,
	   struct delivery *delivery, size_t own, struct reader *reader)
{
	struct message *message = delivery->message;
	struct slice bytes = block_bytes(index, record, block);
	size_t first = block * index->per_block;

	*reader = (struct reader){
		.rest = bytes,
		.is_bad = record_part_sum(bytes) != index->blocks[block].sum};
	for (size_t i = first; i < first + index->per_block &&
			       own < delivery->recipients_count &&
			       !reader->is_bad;
	     i++) {
		if (delivery->recipients[own].number != i) {
			record_skip_recipient(reader);
			continue;
		}
		record_read_recipient(reader, &message->arena,
				      &message->recipients[own]);
		delivery->recipients[own].index = (unsigned)own;
		own++;
	}
	return own;
}

/* Each comes behind the one before. */
static bool
is_in_order(const struct delivery *delivery, size_t own)
{
	return own == 0 || delivery->recipients[own].number >
				   delivery->recipients[own - 1].number;
}

static bool
blocks_read(const struct record_index *index, struct slice record,
	    struct delivery *delivery)
{
	struct message *message = delivery->message;
	size_t count = delivery->recipients_count, own = 0;
	struct reader reader;

	message->recipients = arena_array(&message->arena, count,
					  sizeof(*message->recipients));
	message->recipients_count = count;
	while (own < count) {
		if (!is_in_order(delivery, own))
			return false;
		own = block_read(index, record,
				 delivery->recipients[own].number /
					 index->per_block,
				 delivery, own, &reader);
		if (reader.is_bad)
			return false;
	}
	return true;
}

bool
record_index_read(const struct record_index *index, struct slice destination,
		  struct slice of_message, struct slice of_delivery,
		  struct delivery *delivery, struct fault *fault)
{
	struct reader reader;

	if (of_message.len != index->len ||
	    record_part_sum(slice_sub(of_message, 0, index->blocks[0].from)) !=
		    index->head_sum)
		return fault_set(fault, FAULT_INPUT,
				 "the message's record is damaged");
	delivery->message =
		record_message_head(&index->id, of_message, &reader);
	if (!record_delivery_read(destination, of_delivery, delivery, fault))
		return false;
	return blocks_read(index, of_message, delivery) ||
	       fault_set(fault, FAULT_INPUT, "the message's record is damaged");
}
