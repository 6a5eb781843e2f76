#include "relay/doctor/spf_private.h"

static struct slice
client_dotted(const struct spf_question *question)
{
	const struct address *client = question->client;
	CLEAN(text_done) struct text out = {0};

	if (client->any.sa_family == AF_INET) {
		const uint8_t *v4 = (const uint8_t *)&client->v4.sin_addr;

		text_addf(&out, "%u.%u.%u.%u", v4[0], v4[1], v4[2], v4[3]);
	} else {
		for (size_t i = 0; i < 16; i++) {
			unsigned byte = client->v6.sin6_addr.s6_addr[i];

			text_addf(&out, "%s%x.%x", i == 0 ? "" : ".", byte >> 4,
				  byte & 15);
		}
	}
	return arena_copy(question->arena, text_slice(&out));
}

static bool
letter_expand(const struct spf_place *place, char letter, struct slice *out)
{
	const struct spf_question *question = place->question;

	switch (ascii_lower(letter)) {
	case 's':
		*out = arena_printf(question->arena, "%.*s@%.*s",
				    SLICE_ARG(question->local),
				    SLICE_ARG(question->domain));
		return true;
	case 'l':
		*out = question->local;
		return true;
	case 'o':
		*out = question->domain;
		return true;
	case 'd':
		*out = place->domain;
		return true;
	case 'i':
		*out = client_dotted(question);
		return true;
	case 'p': /* 7.3: not to be used; this is what it is when unknown */
		*out = SLICE("unknown");
		return true;
	case 'v':
		*out = question->client->any.sa_family == AF_INET
			       ? SLICE("in-addr")
			       : SLICE("ip6");
		return true;
	case 'h':
		*out = question->helo;
		return true;
	default:
		return false;
	}
}

/* Splits at the delimiters, reverses, keeps so many from the right. */
static void
parts_write(struct slice value, const char *delimiters, bool is_reversed,
	    uint64_t keep, struct text *out)
{
	struct slice parts[NAME_LEN_MAX];
	size_t count = 0, begin = 0, first;

	for (size_t i = 0; i <= value.len && count < COUNT(parts); i++)
		if (i == value.len ||
		    strchr(delimiters, value.bytes[i]) != NULL) {
			parts[count++] = slice_sub(value, begin, i - begin);
			begin = i + 1;
		}
	first = keep > 0 && keep < count ? count - (size_t)keep : 0;
	for (size_t i = first; i < count; i++) {
		if (i > first)
			text_add_byte(out, '.');
		text_add(out, parts[is_reversed ? count - 1 - i : i]);
	}
}

/* "%{ir.}": from behind "%{" up to and with "}". */
static bool
macro_expand(const struct spf_place *place, struct slice *rest,
	     struct text *out)
{
	char delimiters[8] = "";
	size_t delimiters_len = 0, i = 1;
	struct slice value;
	uint64_t keep = 0;
	bool is_reversed = false;

	if (rest->len < 2 || !letter_expand(place, rest->bytes[0], &value))
		return false;
	for (; i < rest->len && ascii_is_digit(rest->bytes[i]); i++)
		keep = keep < NAME_LEN_MAX
			       ? keep * 10 + (uint64_t)(rest->bytes[i] - '0')
			       : keep;
	if (i > 1 && keep == 0)
		return false;
	if (i < rest->len && ascii_lower(rest->bytes[i]) == 'r') {
		is_reversed = true;
		i++;
	}
	for (; i < rest->len && strchr(".-+,/_=", rest->bytes[i]) != NULL; i++)
		if (delimiters_len < sizeof(delimiters) - 1 &&
		    strchr(delimiters, rest->bytes[i]) == NULL)
			delimiters[delimiters_len++] = rest->bytes[i];
	if (i >= rest->len || rest->bytes[i] != '}')
		return false;
	parts_write(value, delimiters_len > 0 ? delimiters : ".", is_reversed,
		    keep, out);
	*rest = slice_from(*rest, i + 1);
	return true;
}

bool
spf_name_expand(const struct spf_place *place, struct slice spec,
		struct slice *out)
{
	CLEAN(text_done) struct text name = {0};
	struct slice rest = spec;

	while (rest.len > 0) {
		char c = rest.bytes[0];

		rest = slice_from(rest, 1);
		if (c != '%') {
			if (c <= ' ' || c > '~')
				return false;
			text_add_byte(&name, c);
			continue;
		}
		if (rest.len == 0)
			return false;
		c = rest.bytes[0];
		rest = slice_from(rest, 1);
		if (c == '%')
			text_add_byte(&name, '%');
		else if (c == '_')
			text_add_byte(&name, ' ');
		else if (c == '-')
			text_add_string(&name, "%20");
		else if (c != '{' || !macro_expand(place, &rest, &name))
			return false;
	}
	if (name.len > 0 && name.bytes[name.len - 1] == '.')
		name.len--;
	while (name.len > NAME_LEN_MAX) {
		ptrdiff_t dot = slice_find(text_slice(&name), '.');

		if (dot < 0)
			return false;
		text_drop_front(&name, (size_t)dot + 1);
	}
	*out = arena_copy(place->question->arena, text_slice(&name));
	return true;
}
