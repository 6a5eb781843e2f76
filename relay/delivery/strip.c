#include "relay/delivery/strip.h"

static const char name[] = "dkim-signature";

void
strip_init(struct strip *strip)
{
	*strip = (struct strip){.state = STRIP_BEGINNING};
}

void
strip_done(struct strip *strip)
{
	text_done(&strip->held);
}

static void
held_decide(struct strip *strip, bool is_left, struct text *out)
{
	strip->was_left = is_left;
	strip->has_left |= is_left;
	strip->state = is_left ? STRIP_LEAVING : STRIP_KEEPING;
	if (!is_left)
		text_add(out, text_slice(&strip->held));
	text_clear(&strip->held);
}

void
strip_end(struct strip *strip, struct text *out)
{
	if (strip->state == STRIP_BEGINNING)
		text_add(out, text_slice(&strip->held));
	text_clear(&strip->held);
	strip->state = STRIP_PASSING;
}

/* The first bytes of a line: whose it is. RFC 5322 4.5 allows spaces before the
 * colon. */
static void
beginning_feed(struct strip *strip, char byte, struct text *out)
{
	size_t at = strip->held.len;

	text_add_byte(&strip->held, byte);
	if (at == 0 && ascii_is_wsp(byte))
		held_decide(strip, strip->was_left, out);
	else if (at < sizeof(name) - 1 && ascii_lower(byte) == name[at])
		return;
	else if (at >= sizeof(name) - 1 && ascii_is_wsp(byte))
		return;
	else if (at >= sizeof(name) - 1 && byte == ':')
		held_decide(strip, true, out);
	else
		held_decide(strip, false, out);
}

static void
byte_feed(struct strip *strip, char byte, struct text *out)
{
	bool is_first = strip->held.len == 0;

	switch (strip->state) {
	case STRIP_BEGINNING:
		if (is_first && byte == '\r') { /* the empty line */
			strip->state = STRIP_PASSING;
			text_add_byte(out, byte);
			return;
		}
		beginning_feed(strip, byte, out);
		break;
	case STRIP_LEAVING:
		break;
	case STRIP_KEEPING:
	case STRIP_PASSING:
		text_add_byte(out, byte);
		break;
	}
	if (byte == '\n' && strip->state != STRIP_PASSING)
		strip->state = STRIP_BEGINNING;
}

void
strip_feed(struct strip *strip, struct slice bytes, struct text *out)
{
	size_t i = 0;

	while (i < bytes.len && strip->state != STRIP_PASSING)
		byte_feed(strip, bytes.bytes[i++], out);
	text_add(out, slice_from(bytes, i));
}
