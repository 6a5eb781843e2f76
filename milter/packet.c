#include "milter/packet.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* Steps whose macros libmilter keeps: connect, HELO, MAIL, RCPT, DATA, end of
 * header, end of body. */
#define STEPS_WITH_MACROS "CHMRTNE"

static size_t
payload_got(const struct packet *packet)
{
	return packet->got - PACKET_HEAD_SIZE;
}

bool
packet_has_begun(const struct packet *packet)
{
	return packet->got > 0;
}

bool
packet_is_whole(const struct packet *packet)
{
	return packet->got >= PACKET_HEAD_SIZE &&
	       payload_got(packet) == packet->len;
}

char
packet_command(const struct packet *packet)
{
	ASSERT(packet_is_whole(packet));
	return (char)packet->head[PACKET_HEAD_SIZE - 1];
}

bool
packet_may_be_first(const struct packet *packet)
{
	return packet_command(packet) == PACKET_NEGOTIATION &&
	       packet->got >= PACKET_FIRST_SIZE;
}

void
packet_done(struct packet *packet)
{
	free(packet->payload);
	memset(packet, 0, sizeof(*packet));
}

/* A name and a value each, and nothing behind the last one. */
static bool
are_pairs(struct slice macros)
{
	size_t ends = 0;

	for (size_t i = 0; i < macros.len; i++)
		ends += macros.bytes[i] == '\0';
	return ends % 2 == 0 &&
	       (macros.len == 0 || macros.bytes[macros.len - 1] == '\0');
}

/* Of a whole packet. */
static bool
is_bad(const struct packet *packet)
{
	struct slice payload = slice_of(packet->payload, packet->len);

	return packet_command(packet) == PACKET_MACROS &&
	       !are_pairs(slice_from(payload, 1));
}

static bool
is_skipped(const struct packet *packet)
{
	return packet_command(packet) == PACKET_MACROS &&
	       (packet->len < 2 || memchr(STEPS_WITH_MACROS, packet->payload[0],
					  strlen(STEPS_WITH_MACROS)) == NULL);
}

/* False: it may not be as long as that. */
static bool
payload_make(struct packet *packet, size_t max)
{
	uint32_t length;

	memcpy(&length, packet->head, sizeof(length));
	length = ntohl(length);
	if (length == 0 || length - 1 > max)
		return false;
	packet->len = length - 1;
	if (packet->len > 0) {
		packet->payload = memory_grow(NULL, packet->len + 1);
		packet->payload[packet->len] = '\0';
	}
	return true;
}

static size_t
fill(void *to, size_t missing, struct slice *input)
{
	size_t len = input->len < missing ? input->len : missing;

	if (len > 0)
		memcpy(to, input->bytes, len);
	*input = slice_from(*input, len);
	return len;
}

enum packet_state
packet_feed(struct packet *packet, struct slice *input, size_t max)
{
	for (;;) {
		size_t room;
		char *payload;

		if (packet->got < PACKET_HEAD_SIZE) {
			packet->got +=
				fill(packet->head + packet->got,
				     PACKET_HEAD_SIZE - packet->got, input);
			if (packet->got < PACKET_HEAD_SIZE)
				return PACKET_PART;
			if (!payload_make(packet, max))
				return PACKET_BAD;
		}
		payload = packet_room(packet, &room);
		if (payload != NULL)
			packet->got += fill(payload, room, input);
		if (!packet_is_whole(packet))
			return PACKET_PART;
		if (is_bad(packet))
			return PACKET_BAD;
		if (!is_skipped(packet))
			return PACKET_WHOLE;
		packet_done(packet);
	}
}

char *
packet_room(const struct packet *packet, size_t *len_out)
{
	if (packet->got < PACKET_HEAD_SIZE || packet_is_whole(packet))
		return NULL;
	*len_out = packet->len - payload_got(packet);
	return packet->payload + payload_got(packet);
}

void
packet_added(struct packet *packet, size_t len)
{
	packet->got += len;
	ASSERT(payload_got(packet) <= packet->len);
}

char *
packet_take(struct packet *packet, size_t *len_out)
{
	char *payload = TAKE(packet->payload);

	ASSERT(packet_is_whole(packet));
	*len_out = packet->len;
	packet_done(packet);
	return payload;
}

void
packet_write(struct text *out, char command, struct slice payload)
{
	uint32_t length = htonl((uint32_t)payload.len + 1);

	text_add(out, slice_of(&length, sizeof(length)));
	text_add_byte(out, command);
	text_add(out, payload);
}
