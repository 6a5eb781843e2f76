#include "relay/queue/record_private.h"

#define MESSAGE_VERSION 2
#define MESSAGE_VERSION_MIN 1

#define MESSAGE_DECLARED_8BIT 1u
#define MESSAGE_IS_REPORT 2u
#define MESSAGE_IS_FILE 4u
#define MESSAGE_HAS_8BIT 8u
#define MESSAGE_HAS_LONG_LINE 16u
#define MESSAGE_DECLARED_SMTPUTF8 32u
#define MESSAGE_HAS_8BIT_HEADER 64u

/* sum, version, flags, recipients, received, size, header, reverse-path,
 * prefix; since version 2 RET, ENVID, user */
#define MESSAGE_FIXED                                                          \
	(RECORD_SUM_SIZE + 1 + 1 + 4 + 8 + 8 + 8 + 2 + 4 + 1 + 2 + 2)
/* address, destination, orcpt, notify */
#define RECIPIENT_FIXED (2 + 2 + 2 + 2)

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

void
record_read_recipient(struct reader *reader, struct arena *arena,
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

/* All but the recipients, of which there is the count. */
static void
read_head(struct reader *reader, struct message *message)
{
	unsigned version = take_8(reader);
	size_t count;

	read_flags(message, take_8(reader));
	count = take_32(reader);
	read_envelope(reader, version, message);
	reader->is_newer = version > MESSAGE_VERSION;
	if (version < MESSAGE_VERSION_MIN || version > MESSAGE_VERSION ||
	    count == 0 || count > reader->rest.len / RECIPIENT_FIXED ||
	    message->body.header_len > message->body.size ||
	    message->body.size / BODY_CHUNK >= UINT32_MAX - 1) {
		reader->is_bad = true;
		return;
	}
	message->recipients_count = count;
}

static void
read_recipients(struct reader *reader, struct message *message)
{
	size_t count = message->recipients_count;

	message->recipients = arena_array(&message->arena, count,
					  sizeof(*message->recipients));
	for (size_t i = 0; i < count && !reader->is_bad; i++)
		record_read_recipient(reader, &message->arena,
				      &message->recipients[i]);
}

void
record_skip_recipient(struct reader *reader)
{
	size_t len = take_16(reader);

	len += take_16(reader);
	len += take_16(reader);
	take_16(reader);
	take_bytes(reader, len);
}

/* Those of the delivery, which come in the order of the message. */
static void
read_own_recipients(struct reader *reader, struct delivery *delivery)
{
	struct message *message = delivery->message;
	size_t count = delivery->recipients_count, own = 0;
	size_t total = message->recipients_count;

	message->recipients = arena_array(&message->arena, count,
					  sizeof(*message->recipients));
	message->recipients_count = count;
	delivery->is_prompt = delivery_is_prompt(delivery, total);
	for (size_t i = 0; i < total && !reader->is_bad; i++) {
		if (own == count || delivery->recipients[own].number != i) {
			record_skip_recipient(reader);
			continue;
		}
		record_read_recipient(reader, &message->arena,
				      &message->recipients[own]);
		delivery->recipients[own].index = (unsigned)own;
		own++;
	}
	if (own < count)
		reader->is_bad = true;
}

struct message *
record_message_head(const struct message_id *id, struct slice record,
		    struct reader *reader)
{
	struct message *message = memory_new(sizeof(*message));

	message->references = 1;
	message->id = *id;
	*reader = (struct reader){.rest = slice_from(record, RECORD_SUM_SIZE)};
	read_head(reader, message);
	return message;
}

bool
record_message_begin(const struct message_id *id, struct slice record,
		     struct reader *reader, struct message **message_out,
		     struct fault *fault)
{
	struct record_key key;

	record_key_message(&key, id, 0);
	if (!record_is_whole(&key, record))
		return fault_set(fault, FAULT_INPUT,
				 "the message's record is damaged");
	*message_out = record_message_head(id, record, reader);
	return true;
}

static bool
message_end(const struct reader *reader, struct fault *fault)
{
	if (!reader->is_bad && reader->rest.len == 0)
		return true;
	return record_refuse(reader, "message", fault);
}

bool
record_message_read(const struct message_id *id, struct slice record,
		    struct message **message_out, struct fault *fault)
{
	CLEAN(message_unref_clean) struct message *message = NULL;
	struct reader reader;

	if (!record_message_begin(id, record, &reader, &message, fault))
		return false;
	read_recipients(&reader, message);
	if (!message_end(&reader, fault))
		return false;
	*message_out = TAKE(message);
	return true;
}

bool
record_delivery_read_alone(const struct message_id *id,
			   struct slice destination, struct slice of_message,
			   struct slice of_delivery, struct delivery *delivery,
			   struct fault *fault)
{
	struct reader reader;

	if (!record_message_begin(id, of_message, &reader, &delivery->message,
				  fault))
		return false;
	if (reader.is_bad)
		return message_end(&reader, fault);
	if (!record_delivery_read(destination, of_delivery, delivery, fault))
		return false;
	read_own_recipients(&reader, delivery);
	return message_end(&reader, fault);
}

size_t
record_message_recipients(struct slice record)
{
	struct reader reader = {.rest = slice_from(record, RECORD_SUM_SIZE)};

	take_16(&reader); /* version, flags */
	return take_32(&reader);
}

/* Of a record that may be damaged. */
static bool
read_body(struct slice record, bool *is_file_out, uint64_t *size_out)
{
	struct reader reader = {.rest = slice_from(record, RECORD_SUM_SIZE)};

	take_8(&reader);
	*is_file_out = (take_8(&reader) & MESSAGE_IS_FILE) != 0;
	take_32(&reader);
	take_64(&reader);
	*size_out = take_64(&reader);
	return !reader.is_bad && *size_out / BODY_CHUNK < UINT32_MAX - 1;
}

static bool
is_whole(const struct message_id *id, struct slice record)
{
	struct record_key key;

	record_key_message(&key, id, 0);
	return record_is_whole(&key, record);
}

bool
record_message_chunks(const struct message_id *id, struct slice record,
		      uint32_t *chunks_out)
{
	bool is_file;
	uint64_t size;

	if (!is_whole(id, record) || !read_body(record, &is_file, &size))
		return false;
	*chunks_out = is_file ? 0 : record_chunks(size);
	return true;
}

/* The checksum is looked at last: nearly no record says that it has one. */
uint64_t
record_message_file_size(const struct message_id *id, struct slice record)
{
	bool is_file;
	uint64_t size;

	return read_body(record, &is_file, &size) && is_file &&
			       is_whole(id, record)
		       ? size
		       : 0;
}
