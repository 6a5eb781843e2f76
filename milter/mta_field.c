#include "milter/mta_field.h"

/* RFC 5321 4.5.3.1.5: 512 octets with code and CRLF. */
#define REPLY_TEXT_MAX 480

void
mta_field_write(struct slice name, struct slice value, struct text *out)
{
	struct slice rest = value;

	text_add(out, name);
	text_add_byte(out, ':');
	while (rest.len > 0) {
		ptrdiff_t lf = slice_find(rest, '\n');
		struct slice line =
			lf < 0 ? rest : slice_sub(rest, 0, (size_t)lf);

		text_add(out, line);
		if (lf < 0)
			return;
		if (line.len == 0 || line.bytes[line.len - 1] != '\r')
			text_add_byte(out, '\r');
		text_add_byte(out, '\n');
		rest = slice_from(rest, (size_t)lf + 1);
	}
}

void
mta_field_split(struct slice field, struct text *name_out,
		struct text *value_out)
{
	ptrdiff_t colon = slice_find(field, ':');
	struct slice rest, line;

	ASSERT(colon > 0);
	text_clear(name_out);
	text_clear(value_out);
	text_add(name_out, slice_sub(field, 0, (size_t)colon));
	rest = slice_from(field, (size_t)colon + 1);
	while (slice_split(&rest, '\n', &line)) {
		if (rest.len == 0) {
			text_add(value_out, line);
			break;
		}
		ASSERT(line.len > 0);
		text_add(value_out, slice_sub(line, 0, line.len - 1));
		text_add_byte(value_out, '\n');
	}
}

void
mta_reply_write(struct slice text, struct text *out)
{
	for (size_t i = 0; i < text.len && out->len < REPLY_TEXT_MAX; i++) {
		char c = text.bytes[i];

		if (c < ' ' || c > '~')
			c = '?';
		text_add_byte(out, c);
		if (c == '%')
			text_add_byte(out, c);
	}
}
