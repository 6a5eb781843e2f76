#include "relay/server/dovecot_line.h"

#include "base/base64.h"

void
dovecot_line_done(struct dovecot_line *line)
{
	text_done(&line->data);
	text_done(&line->user);
}

/* \001 and a letter stand for what would end a parameter, or the line. */
static void
unescape(struct slice value, struct text *out)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		if (c == '\1' && i + 1 < value.len) {
			c = value.bytes[++i];
			if (c == '0')
				c = '\0';
			else if (c == '1')
				c = '\1';
			else if (c == 't')
				c = '\t';
			else if (c == 'r')
				c = '\r';
			else if (c == 'n' || c == 'l')
				c = '\n';
		}
		text_add_byte(out, c);
	}
}

static bool
id_take(struct slice *rest, uint32_t *id_out)
{
	struct slice part;
	uint64_t number;

	if (!slice_split(rest, '\t', &part) || !slice_number(part, &number) ||
	    number > UINT32_MAX)
		return false;
	*id_out = (uint32_t)number;
	return true;
}

static bool
value_of(struct slice parameter, const char *name, struct slice *value_out)
{
	struct slice prefix = SLICE(name);

	if (!slice_starts(parameter, prefix))
		return false;
	*value_out = slice_from(parameter, prefix.len);
	return true;
}

/* Of OK and FAIL. What is not known is passed over. */
static void
parameters_read(struct slice rest, struct dovecot_line *out)
{
	struct slice parameter, value;
	bool is_proxied = false, is_no_login = false;

	while (slice_split(&rest, '\t', &parameter)) {
		if (value_of(parameter, "user=", &value)) {
			text_clear(&out->user);
			unescape(value, &out->user);
		} else if (slice_eq(parameter, SLICE("temp")) ||
			   slice_eq(parameter, SLICE("code=temp_fail"))) {
			out->is_temporary = true;
		} else if (slice_eq(parameter, SLICE("nologin")) ||
			   slice_starts(parameter, SLICE("nologin="))) {
			is_no_login = true;
		} else if (slice_eq(parameter, SLICE("proxy")) ||
			   slice_starts(parameter, SLICE("proxy="))) {
			is_proxied = true;
		}
	}
	/* For one who is proxied it says only that his mailbox is not here. */
	out->is_no_login = is_no_login && !is_proxied;
}

static enum dovecot_word
answer_read(struct slice rest, enum dovecot_word word, struct dovecot_line *out)
{
	struct slice data = SLICE_NONE;

	if (!id_take(&rest, &out->id))
		return DOVECOT_MALFORMED;
	if (word != DOVECOT_CONT) {
		parameters_read(rest, out);
		return word;
	}
	(void)slice_split(&rest, '\t', &data);
	return base64_read(&out->data, data) ? word : DOVECOT_MALFORMED;
}

static enum dovecot_word
version_read(struct slice rest, struct dovecot_line *out)
{
	struct slice major;

	return slice_split(&rest, '\t', &major) &&
			       slice_number(major, &out->major)
		       ? DOVECOT_VERSION
		       : DOVECOT_MALFORMED;
}

void
dovecot_line_parse(struct slice line, struct dovecot_line *out)
{
	struct slice rest = line, word = SLICE_NONE;

	dovecot_line_done(out);
	*out = (struct dovecot_line){.word = DOVECOT_OTHER};
	(void)slice_split(&rest, '\t', &word);
	if (slice_eq(word, SLICE("VERSION")))
		out->word = version_read(rest, out);
	else if (slice_eq(word, SLICE("MECH")))
		out->word = slice_split(&rest, '\t', &out->mechanism)
				    ? DOVECOT_MECH
				    : DOVECOT_MALFORMED;
	else if (slice_eq(word, SLICE("DONE")))
		out->word = DOVECOT_DONE;
	else if (slice_eq(word, SLICE("CONT")))
		out->word = answer_read(rest, DOVECOT_CONT, out);
	else if (slice_eq(word, SLICE("OK")))
		out->word = answer_read(rest, DOVECOT_OK, out);
	else if (slice_eq(word, SLICE("FAIL")))
		out->word = answer_read(rest, DOVECOT_FAIL, out);
}
