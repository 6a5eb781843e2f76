#include "relay/import/write.h"

#define LINE_MAX_BYTES 78

void
write_text(const char *name, struct slice text, struct text *out)
{
	text_addf(out, "    %s = ", name);
	text_add_quoted(out, text);
	text_add_byte(out, '\n');
}

void
write_list(const char *name, const struct slice *items, size_t count,
	   struct text *out)
{
	size_t line = out->len;

	text_addf(out, "    %s = {", name);
	for (size_t i = 0; i < count; i++) {
		size_t len = items[i].len + strlen("\"\", ");

		if (i > 0)
			text_add_byte(out, ',');
		if (out->len - line + len > LINE_MAX_BYTES) {
			text_add_byte(out, '\n');
			line = out->len;
			text_add_string(out, "        ");
		} else if (i > 0) {
			text_add_byte(out, ' ');
		}
		text_add_quoted(out, items[i]);
	}
	text_add_string(out, "}\n");
}
