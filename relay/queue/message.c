#include "relay/queue/message.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/limits.h"

/* 48 bits of time, then what is this process's alone, then a counter. Two ids
 * are equal only if two processes drew the same 48 random bits and made their
 * n-th id in the same millisecond. */
#define ID_TIME 6
#define ID_NODE 6

static pthread_once_t id_once = PTHREAD_ONCE_INIT;
static uint8_t id_node[ID_NODE];
static atomic_uint id_counter;

static void
id_draw(void)
{
	size_t have = 0;

	while (have < sizeof(id_node)) {
		ssize_t got = getrandom(id_node + have, sizeof(id_node) - have,
					0);

		/* Without GRND_NONBLOCK only a signal can stop it. */
		if (got > 0)
			have += (size_t)got;
	}
}

static void
id_begin(void)
{
	id_draw();
	/* A child must not go on with its parent's part. */
	ASSERT(pthread_atfork(NULL, NULL, id_draw) == 0);
}

struct message_id
message_id_new(void)
{
	struct message_id id;
	uint64_t now_ms = clock_wall_ms();
	unsigned count;

	pthread_once(&id_once, id_begin);
	count = atomic_fetch_add(&id_counter, 1);
	for (int i = 0; i < ID_TIME; i++)
		id.bytes[i] = (uint8_t)(now_ms >> (8 * (ID_TIME - 1 - i)));
	memcpy(id.bytes + ID_TIME, id_node, ID_NODE);
	for (int i = 0; i < 4; i++)
		id.bytes[ID_TIME + ID_NODE + i] =
			(uint8_t)(count >> (8 * (3 - i)));
	return id;
}

/* Crockford's base32: no I, L, O, U. 26 digits hold 130 bits; the two on top
 * are zero, so text orders as the bytes do. */
static const char id_digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void
message_id_write(const struct message_id *id, char out[MESSAGE_ID_TEXT + 1])
{
	uint32_t bits = 0;
	unsigned held = 2; /* the two zero bits on top */
	size_t at = 0;

	for (size_t i = 0; i < MESSAGE_ID_SIZE; i++) {
		bits = bits << 8 | id->bytes[i];
		held += 8;
		while (held >= 5) {
			held -= 5;
			out[at++] = id_digits[(bits >> held) & 31];
		}
	}
	ASSERT(at == MESSAGE_ID_TEXT);
	out[at] = '\0';
}

bool
message_id_read(struct slice text, struct message_id *id_out)
{
	struct message_id id;
	uint32_t bits = 0;
	unsigned held = 0;
	size_t at = 0;

	if (text.len != MESSAGE_ID_TEXT)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.bytes[i];
		const char *digit;

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		digit = c == '\0' ? NULL : strchr(id_digits, c);
		if (digit == NULL || (i == 0 && digit - id_digits > 7))
			return false;
		bits = bits << 5 | (uint32_t)(digit - id_digits);
		held += i == 0 ? 3 : 5;
		if (held >= 8) {
			held -= 8;
			id.bytes[at++] = (uint8_t)(bits >> held);
		}
	}
	ASSERT(at == MESSAGE_ID_SIZE);
	*id_out = id;
	return true;
}

bool
message_id_eq(const struct message_id *a, const struct message_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

struct message *
message_new(struct slice reverse_path)
{
	struct message *message = memory_new(sizeof(*message));

	message->id = message_id_new();
	message->received_ms = clock_wall_ms();
	message->reverse_path = arena_copy(&message->arena, reverse_path);
	message->references = 1;
	return message;
}

struct message *
message_ref(struct message *message)
{
	int before = __atomic_fetch_add(&message->references, 1,
					__ATOMIC_RELAXED);

	ASSERT(before > 0);
	return message;
}

void
message_unref(struct message *message)
{
	int before = __atomic_fetch_sub(&message->references, 1,
					__ATOMIC_ACQ_REL);

	ASSERT(before > 0);
	if (before > 1)
		return;
	/* The arena is a member of what its cleanups may look at. */
	arena_done(&message->arena);
	free(message);
}

#define RECIPIENTS_FIRST 4

void
message_add_recipient(struct message *message, struct slice address,
		      struct slice destination)
{
	size_t count = message->recipients_count;
	struct recipient *recipient;

	ASSERT(destination.len > 0);
	ASSERT(destination.len <= DOMAIN_MAX);
	/* The array has room up to the next power of two. */
	if (count == 0 ||
	    (count >= RECIPIENTS_FIRST && (count & (count - 1)) == 0)) {
		size_t room = count == 0 ? RECIPIENTS_FIRST : count * 2;
		struct recipient *grown = arena_array(
			&message->arena, room, sizeof(*grown));

		if (count > 0)
			memcpy(grown, message->recipients,
			       count * sizeof(*grown));
		message->recipients = grown;
	}
	recipient = &message->recipients[message->recipients_count++];
	recipient->address = arena_copy(&message->arena, address);
	recipient->destination = arena_copy(&message->arena, destination);
}

struct message *
message_new_like(const struct message *message)
{
	struct message *made = message_new(message->reverse_path);

	for (size_t i = 0; i < message->recipients_count; i++) {
		const struct recipient *from = &message->recipients[i];
		struct recipient *to;

		message_add_recipient(made, from->address, from->destination);
		to = &made->recipients[i];
		to->orcpt = arena_copy(&made->arena, from->orcpt);
		to->notify = from->notify;
	}
	made->received_ms = message->received_ms;
	made->declared_8bit = message->declared_8bit;
	made->declared_smtputf8 = message->declared_smtputf8;
	made->ret = message->ret;
	made->envid = arena_copy(&made->arena, message->envid);
	made->user = arena_copy(&made->arena, message->user);
	made->is_report = message->is_report;
	return made;
}

uint64_t
message_size(const struct message *message)
{
	return message->body.size + message->prefix.len;
}
