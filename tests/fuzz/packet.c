/*
 * Packets: what is read does not depend on how the bytes were cut, and no list
 * of macros gets through that is not pairs of strings. The first octet says
 * how they are cut.
 */
#include <stdlib.h>

#include "milter/packet.h"

#define MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
take(struct packet *packet, struct text *out)
{
	char command = packet_command(packet);
	size_t len, ends = 0;
	char *payload = packet_take(packet, &len);

	ASSERT(len <= MAX);
	ASSERT(len == 0 || payload[len] == '\0');
	for (size_t i = 1; i < len; i++)
		ends += payload[i] == '\0';
	if (command == PACKET_MACROS)
		ASSERT(ends % 2 == 0 && payload[len - 1] == '\0');
	text_addf(out, "%d %zu ", command, len);
	text_add(out, slice_of(payload, len));
	free(payload);
}

static void
read_all(struct slice input, size_t piece, struct text *out)
{
	struct packet packet = {0};
	enum packet_state state = PACKET_PART;

	while (input.len > 0 && state != PACKET_BAD) {
		struct slice part = slice_sub(input, 0, piece);
		size_t size = part.len;

		state = packet_feed(&packet, &part, MAX);
		input = slice_from(input, size - part.len);
		if (state == PACKET_WHOLE)
			take(&packet, out);
		else
			ASSERT(part.len == 0 || state == PACKET_BAD);
	}
	text_add_string(out, state == PACKET_BAD ? "bad" : "good");
	packet_done(&packet);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text whole = {0};
	CLEAN(text_done) struct text cut = {0};
	struct slice input = slice_of(bytes, len);

	if (len == 0)
		return 0;
	read_all(slice_from(input, 1), len, &whole);
	read_all(slice_from(input, 1), (size_t)bytes[0] % 32 + 1, &cut);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	return 0;
}
