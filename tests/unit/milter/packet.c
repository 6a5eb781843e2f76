#include <criterion/criterion.h>
#include <stdlib.h>

#include "milter/packet.h"

#define MAX 16

static const struct row {
	const char *name;
	struct slice bytes;
	enum packet_state state;
	char command;           /* of a whole one */
	const char *payload;    /* the same */
	size_t left;            /* of the bytes, then */
} rows[] = {
	{"nothing", SLICE_LITERAL(""), PACKET_PART},
	{"part of a length", SLICE_LITERAL("\0\0\0"), PACKET_PART},
	{"a length alone", SLICE_LITERAL("\0\0\0\1"), PACKET_PART},
	{"a command alone", SLICE_LITERAL("\0\0\0\1Q"), PACKET_WHOLE, 'Q', ""},
	{"a payload", SLICE_LITERAL("\0\0\0\4Babc"), PACKET_WHOLE, 'B', "abc"},
	{"part of a payload", SLICE_LITERAL("\0\0\0\4Bab"), PACKET_PART},
	{"two", SLICE_LITERAL("\0\0\0\2Bx\0\0\0\1Q"), PACKET_WHOLE, 'B', "x",
	 5},
	{"no room for a command", SLICE_LITERAL("\0\0\0\0Q"), PACKET_BAD},
	{"as long as may be", SLICE_LITERAL("\0\0\0\21B0123456789abcdef"),
	 PACKET_WHOLE, 'B', "0123456789abcdef"},
	{"longer", SLICE_LITERAL("\0\0\0\22B"), PACKET_BAD},
	{"4 GB", SLICE_LITERAL("\377\377\377\377B"), PACKET_BAD},
	{"2 GB", SLICE_LITERAL("\177\377\377\377B"), PACKET_BAD},
	{"macros", SLICE_LITERAL("\0\0\0\6DCa\0b\0"), PACKET_WHOLE, 'D', "Ca"},
	{"macros of two names", SLICE_LITERAL("\0\0\0\12DMa\0b\0c\0d\0"),
	 PACKET_WHOLE, 'D', "Ma"},
	{"an empty value", SLICE_LITERAL("\0\0\0\5DCa\0\0"), PACKET_WHOLE, 'D',
	 "Ca"},
	{"a name without a value", SLICE_LITERAL("\0\0\0\4DCa\0"), PACKET_BAD},
	{"three strings", SLICE_LITERAL("\0\0\0\10DCa\0b\0c\0"), PACKET_BAD},
	{"a value without an end", SLICE_LITERAL("\0\0\0\5DCa\0b"), PACKET_BAD},
	{"bytes behind the pairs", SLICE_LITERAL("\0\0\0\7DCa\0b\0c"),
	 PACKET_BAD},
	{"a step without macros", SLICE_LITERAL("\0\0\0\2DC\0\0\0\1Q"),
	 PACKET_WHOLE, 'Q', ""},
	{"macros of no step", SLICE_LITERAL("\0\0\0\1D\0\0\0\1Q"), PACKET_WHOLE,
	 'Q', ""},
	{"macros of a field", SLICE_LITERAL("\0\0\0\6DLa\0b\0\0\0\0\1Q"),
	 PACKET_WHOLE, 'Q', ""},
	{"many that are skipped",
	 SLICE_LITERAL("\0\0\0\6DLa\0b\0\0\0\0\6DBa\0b\0\0\0\0\2D?\0\0\0\1Q"),
	 PACKET_WHOLE, 'Q', ""},
	{"a skipped one may be bad", SLICE_LITERAL("\0\0\0\4DLa\0"),
	 PACKET_BAD},
};

static void
check(const struct row *row, struct packet *packet, enum packet_state state,
      struct slice input)
{
	size_t len;
	char *payload;

	cr_expect_eq(state, row->state, "%s: state %d", row->name, state);
	cr_expect_eq(packet_is_whole(packet) && state == PACKET_WHOLE,
		     row->state == PACKET_WHOLE, "%s: whole", row->name);
	if (state != PACKET_WHOLE)
		return;
	cr_expect_eq(packet_command(packet), row->command, "%s: command",
		     row->name);
	cr_expect_eq(input.len, row->left, "%s: %zu left", row->name,
		     input.len);
	payload = packet_take(packet, &len);
	cr_expect_str_eq(payload != NULL ? payload : "", row->payload,
			 "%s: payload", row->name);
	cr_expect(payload == NULL || payload[len] == '\0', "%s: no NUL behind",
		  row->name);
	cr_expect_not(packet_has_begun(packet), "%s: a next one", row->name);
	free(payload);
}

Test(packet, at_once)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet = {0};
		struct slice input = rows[i].bytes;
		enum packet_state state = packet_feed(&packet, &input, MAX);

		check(&rows[i], &packet, state, input);
		packet_done(&packet);
	}
}

Test(packet, byte_by_byte)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet = {0};
		struct slice rest = rows[i].bytes;
		enum packet_state state = PACKET_PART;

		while (state == PACKET_PART && rest.len > 0) {
			struct slice byte = slice_sub(rest, 0, 1);

			state = packet_feed(&packet, &byte, MAX);
			cr_expect_eq(byte.len, 0, "%s: untaken", rows[i].name);
			rest = slice_from(rest, 1);
		}
		check(&rows[i], &packet, state, rest);
		packet_done(&packet);
	}
}

Test(packet, written_into_it)
{
	struct packet packet = {0};
	struct slice input = SLICE_LITERAL("\0\0\0\7Ba");
	struct slice none = SLICE_NONE;
	size_t room, len;
	char *payload;

	cr_expect_null(packet_room(&packet, &room));
	cr_expect_eq(packet_feed(&packet, &input, MAX), PACKET_PART);
	memcpy(packet_room(&packet, &room), "bc", 2);
	cr_expect_eq(room, 5);
	packet_added(&packet, 2);
	cr_expect_eq(packet_feed(&packet, &none, MAX), PACKET_PART);
	memcpy(packet_room(&packet, &room), "def", 3);
	cr_expect_eq(room, 3);
	packet_added(&packet, 3);
	cr_expect_eq(packet_feed(&packet, &none, MAX), PACKET_WHOLE);
	payload = packet_take(&packet, &len);
	cr_expect_str_eq(payload, "abcdef");
	free(payload);
}

Test(packet, first)
{
	static const struct {
		const char *name;
		struct slice bytes;
		bool may_be;
	} firsts[] = {
		{"a negotiation", SLICE_LITERAL("\0\0\0\15O0123456789ab"), true},
		{"a longer one", SLICE_LITERAL("\0\0\0\16O0123456789abc"), true},
		{"a shorter one", SLICE_LITERAL("\0\0\0\14O0123456789a"), false},
		{"another", SLICE_LITERAL("\0\0\0\15C0123456789ab"), false},
	};

	for (size_t i = 0; i < COUNT(firsts); i++) {
		struct packet packet = {0};
		struct slice input = firsts[i].bytes;

		cr_expect_eq(packet_feed(&packet, &input, MAX), PACKET_WHOLE);
		cr_expect_eq(packet_may_be_first(&packet), firsts[i].may_be,
			     "%s", firsts[i].name);
		packet_done(&packet);
	}
}

Test(packet, written)
{
	CLEAN(text_done) struct text out = {0};

	packet_write(&out, 'c', SLICE_NONE);
	packet_write(&out, 'y', SLICE("451"));
	cr_expect(slice_eq(text_slice(&out),
			   slice_of("\0\0\0\1c\0\0\0\4y451", 13)));
}
