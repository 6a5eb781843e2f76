#include "milter/mime.h"

/* --- words of structured fields (RFC 2045 5.1, RFC 822 3.3) --- */

static bool
is_space(char c)
{
	return ascii_is_wsp(c) || c == '\r' || c == '\n';
}

/* A comment with those inside; what does not end goes to the end. */
static struct slice
comment_skip(struct slice rest)
{
	size_t depth = 0;

	for (size_t i = 0; i < rest.len; i++) {
		char c = rest.bytes[i];

		if (c == '\\')
			i++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0)
			return slice_from(rest, i + 1);
	}
	return slice_from(rest, rest.len);
}

static struct slice
space_skip(struct slice rest)
{
	while (rest.len > 0) {
		if (rest.bytes[0] == '(')
			rest = comment_skip(rest);
		else if (is_space(rest.bytes[0]))
			rest = slice_from(rest, 1);
		else
			break;
	}
	return rest;
}

static bool
is_token_byte(char c)
{
	return c > ' ' && c < 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

static struct slice
token_take(struct slice *rest)
{
	struct slice token;
	size_t len = 0;

	*rest = space_skip(*rest);
	while (len < rest->len && is_token_byte(rest->bytes[len]))
		len++;
	token = slice_sub(*rest, 0, len);
	*rest = space_skip(slice_from(*rest, len));
	return token;
}

static bool
byte_take(struct slice *rest, char byte)
{
	if (rest->len == 0 || rest->bytes[0] != byte)
		return false;
	*rest = space_skip(slice_from(*rest, 1));
	return true;
}

/* A token, taken more widely than it is defined: "=" and "/" stand unquoted in
 * many boundaries. */
static void
plain_value_take(struct slice *rest, struct text *out)
{
	size_t len = 0;

	while (len < rest->len && !is_space(rest->bytes[len]) &&
	       rest->bytes[len] != ';' && rest->bytes[len] != '(' &&
	       rest->bytes[len] != '"')
		len++;
	text_add(out, slice_sub(*rest, 0, len));
	*rest = space_skip(slice_from(*rest, len));
}

/* False: it does not end. */
static bool
quoted_value_take(struct slice *rest, struct text *out)
{
	for (size_t i = 1; i < rest->len; i++) {
		char c = rest->bytes[i];

		if (c == '"') {
			*rest = space_skip(slice_from(*rest, i + 1));
			return true;
		}
		if (c == '\\' && i + 1 < rest->len)
			c = rest->bytes[++i];
		if (c != '\r' && c != '\n')
			text_add_byte(out, c);
	}
	return false;
}

static bool
value_take(struct slice *rest, struct text *out)
{
	if (rest->len > 0 && rest->bytes[0] == '"')
		return quoted_value_take(rest, out);
	plain_value_take(rest, out);
	return true;
}

/* --- the fields --- */

/* False: nothing behind this can be read. */
static bool
parameter_take(struct slice *rest, struct mime_type *type)
{
	CLEAN(text_done) struct text value = {0};
	struct slice name;

	while (byte_take(rest, ';'))
		continue;
	name = token_take(rest);
	if (name.len == 0 || !byte_take(rest, '=') || !value_take(rest, &value))
		return false;
	if (slice_starts_nocase(name, SLICE("boundary*")))
		type->is_odd = true;
	if (!slice_eq_nocase(name, SLICE("boundary")))
		return true;
	if (type->has_boundary)
		type->is_odd = true;
	type->has_boundary = true;
	text_clear(&type->boundary);
	text_add(&type->boundary, text_slice(&value));
	return true;
}

void
mime_type_parse(struct slice value, struct mime_type *type_out)
{
	struct slice rest = value, type, subtype;

	*type_out = (struct mime_type){0};
	type = token_take(&rest);
	if (!byte_take(&rest, '/'))
		return;
	subtype = token_take(&rest);
	if (type.len == 0 || subtype.len == 0)
		return;
	type_out->type = type;
	type_out->subtype = subtype;
	while (rest.len > 0 && rest.bytes[0] == ';')
		if (!parameter_take(&rest, type_out))
			break;
}

bool
mime_encoding_parse(struct slice value, enum encode_given *given_out)
{
	static const struct {
		const char *name;
		enum encode_given given;
	} rows[] = {
		{"7bit", ENCODE_GIVEN_NONE},
		{"8bit", ENCODE_GIVEN_NONE},
		{"binary", ENCODE_GIVEN_NONE},
		{"quoted-printable", ENCODE_GIVEN_QUOTED_PRINTABLE},
		{"base64", ENCODE_GIVEN_BASE64},
	};
	struct slice rest = value;
	struct slice name = token_take(&rest);

	if (rest.len > 0)
		return false;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (slice_eq_nocase(name, SLICE(rows[i].name))) {
			*given_out = rows[i].given;
			return true;
		}
	return false;
}
