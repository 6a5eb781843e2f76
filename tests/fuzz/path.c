/*
 * Paths and parameters: what is taken is printable ASCII or UTF-8, within its
 * bounds, and reads the same again.
 */
#include "relay/limits.h"
#include "relay/server/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
check_text(struct slice text)
{
	for (size_t i = 0; i < text.len;) {
		size_t char_len = slice_utf8_length(text, i);

		ASSERT(char_len > 0);
		ASSERT(char_len > 1 ||
		       (text.bytes[i] >= ' ' && text.bytes[i] <= '~'));
		ASSERT(text.bytes[i] != '\xc2' ||
		       (unsigned char)text.bytes[i + 1] >= 0xa0);
		i += char_len;
	}
}

static void
check(const struct path *path)
{
	struct text text = {0};
	struct path again;
	struct slice rest;

	ASSERT(path->address.len + (path->needs_quotes ? 4 : 2) <=
	       PATH_MAX_OCTETS);
	check_text(path->address);
	ASSERT(path->is_utf8 == !slice_is_ascii(path->address));
	if (path->address.len > 0) {
		ASSERT(path->local.len > 0);
		ASSERT(path->domain.len <= DOMAIN_MAX);
		ASSERT(path->address.len ==
		       path->local.len + 1 + path->domain.len);
	}
	text_addf(&text, "<%.*s>", SLICE_ARG(path->address));
	ASSERT(path_parse(text_slice(&text), &again, &rest) == PATH_OK);
	ASSERT(rest.len == 0);
	ASSERT(slice_eq(again.address, path->address));
	ASSERT(slice_eq(again.domain, path->domain));
	ASSERT(again.needs_quotes == path->needs_quotes);
	text_clear(&text);
	text_addf(&text, "<\"%.*s\"@%.*s>", SLICE_ARG(path->local),
		  SLICE_ARG(path->domain));
	ASSERT(!path->needs_quotes ||
	       path_parse(text_slice(&text), &again, &rest) == PATH_OK);
	ASSERT(!path->needs_quotes || !again.needs_quotes);
	text_done(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = slice_of(bytes, len), rest = input, keyword, value;
	enum param_status status = PARAM_ONE;
	struct path path;

	if (path_parse(input, &path, &rest) == PATH_OK)
		check(&path);
	while (status == PARAM_ONE) {
		size_t before = rest.len;

		status = param_next(&rest, &keyword, &value);
		ASSERT(status != PARAM_ONE || rest.len < before);
		if (status == PARAM_ONE)
			check_text(value);
	}
	return 0;
}
