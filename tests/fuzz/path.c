/*
 * Paths and parameters: what is taken is printable ASCII, within its bounds,
 * and reads the same again.
 */
#include "relay/limits.h"
#include "relay/server/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
check(const struct path *path)
{
	struct text text = {0};
	struct path again;
	struct slice rest;

	ASSERT(path->address.len + 2 <= PATH_MAX_OCTETS);
	for (size_t i = 0; i < path->address.len; i++)
		ASSERT(path->address.bytes[i] >= ' ' &&
		       path->address.bytes[i] <= '~');
	if (path->address.len > 0) {
		ASSERT(path->local.len <= LOCAL_PART_MAX);
		ASSERT(path->domain.len <= DOMAIN_MAX);
		ASSERT(path->address.len ==
		       path->local.len + 1 + path->domain.len);
	}
	text_addf(&text, "<%.*s>", SLICE_ARG(path->address));
	ASSERT(path_parse(text_slice(&text), &again, &rest) == PATH_OK);
	ASSERT(rest.len == 0);
	ASSERT(slice_eq(again.address, path->address));
	ASSERT(slice_eq(again.domain, path->domain));
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
	}
	return 0;
}
