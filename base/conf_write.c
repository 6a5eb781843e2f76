#include "base/conf_value.h"

#define LINE_WIDTH 78

/* Where we are in the reference. */
struct writer {
	const struct conf_table *table;
	struct text *out;
	size_t depth;      /* of sections */
	bool is_commented; /* a whole section is */
};

static void
line_begin(const struct writer *writer, bool is_commented)
{
	if (writer->is_commented)
		text_add_byte(writer->out, '#');
	for (size_t i = 0; i < writer->depth; i++)
		text_add_string(writer->out, "    ");
	if (is_commented && !writer->is_commented)
		text_add_byte(writer->out, '#');
}

/* Breaks between words. */
static void
help_write(const struct writer *writer, struct slice help)
{
	size_t margin = 4 * writer->depth + 2, column = 0;
	struct slice word;

	while (slice_split(&help, ' ', &word)) {
		if (column > 0 && column + 1 + word.len > LINE_WIDTH) {
			text_add_byte(writer->out, '\n');
			column = 0;
		}
		if (column == 0) {
			line_begin(writer, false);
			text_add_byte(writer->out, '#');
			column = margin;
		}
		text_add_byte(writer->out, ' ');
		text_add(writer->out, word);
		column += 1 + word.len;
	}
	text_add_byte(writer->out, '\n');
}

/* What the table knows beyond the sentence. */
static void
bounds_write(const struct conf_option *option, struct text *help)
{
	size_t last = (size_t)option->max;

	if (option->kind == CONF_WORD) {
		while (option->max == 0 && option->words[last + 1] != NULL)
			last++;
		text_add_string(help, " One of:");
		for (size_t i = (size_t)option->min; i <= last; i++)
			text_addf(help, " %s%s", option->words[i],
				  i == last ? "." : ",");
	} else if (option->max > 0 &&
		   (option->kind == CONF_COUNT || option->kind == CONF_SIZE ||
		    option->kind == CONF_DURATION ||
		    option->kind == CONF_DURATIONS)) {
		text_add_string(help, " From ");
		conf_number_write(option->kind, option->min, help);
		text_add_string(help, " to ");
		conf_number_write(option->kind, option->max, help);
		text_add_byte(help, '.');
	}
}

static void
value_write(const struct conf_option *option, const char *value,
	    struct text *out)
{
	struct slice rest = SLICE(value), part;
	bool is_first = true;

	if (conf_kind_is_list(option->kind)) {
		text_add_byte(out, '{');
		while (slice_split(&rest, ' ', &part)) {
			text_add_string(out, is_first ? "" : ", ");
			text_add_quoted(out, part);
			is_first = false;
		}
		text_add_byte(out, '}');
	} else if (option->kind == CONF_BOOL || option->kind == CONF_COUNT) {
		text_add(out, rest);
	} else {
		text_add_quoted(out, rest);
	}
}

static void
option_write(const struct writer *writer, const struct conf_option *option,
	     struct slice name)
{
	CLEAN(text_done) struct text help = {0};

	text_add_string(&help, option->help);
	bounds_write(option, &help);
	help_write(writer, text_slice(&help));
	line_begin(writer, true);
	text_add(writer->out, name);
	text_add_string(writer->out, " = ");
	value_write(option,
		    option->fallback != NULL ? option->fallback
					     : option->example,
		    writer->out);
	text_add_byte(writer->out, '\n');
}

static void section_write(const struct writer *writer, struct slice path);

static void
row_write(const struct writer *writer, const struct conf_option *option,
	  struct slice name)
{
	struct writer inner = *writer;

	if (option->kind != CONF_SECTION && option->kind != CONF_TITLED) {
		option_write(writer, option, name);
		return;
	}
	help_write(writer, SLICE(option->help));
	inner.is_commented |= option->kind == CONF_TITLED;
	line_begin(&inner, false);
	text_add(writer->out, name);
	if (option->kind == CONF_TITLED) {
		text_add_byte(writer->out, ' ');
		text_add_quoted(writer->out, SLICE(option->fallback));
	}
	text_add_string(writer->out, " {\n");
	inner.depth++;
	section_write(&inner, SLICE(option->key));
	inner.depth--;
	line_begin(&inner, false);
	text_add_string(writer->out, "}\n");
}

static void
section_write(const struct writer *writer, struct slice path)
{
	const struct conf_table *table = writer->table;
	bool is_first = true;

	for (size_t i = 0; i < table->count; i++) {
		struct slice name = conf_key_within(&table->options[i], path);

		if (name.len == 0)
			continue;
		if (!is_first) {
			if (writer->is_commented)
				text_add_byte(writer->out, '#');
			text_add_byte(writer->out, '\n');
		}
		is_first = false;
		row_write(writer, &table->options[i], name);
	}
}

void
conf_write(const struct conf_table *table, struct text *out)
{
	struct writer writer = {.table = table, .out = out};

	section_write(&writer, SLICE_NONE);
}
