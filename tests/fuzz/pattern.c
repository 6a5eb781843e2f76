/* Sender patterns: what matches is what the plainest matcher says. Three lines:
 * pattern, local part, domain. */
#include "milter/senders.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define TEXT_MAX 200

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* ends[k]: the pattern so far matches the first k octets. */
static bool
matches(struct slice pattern, struct slice text)
{
	bool ends[TEXT_MAX + 1] = {true};

	for (size_t i = 0; i < pattern.len; i++) {
		char c = pattern.bytes[i];

		if (c == '*') {
			for (size_t k = 1; k <= text.len; k++)
				ends[k] = ends[k] || ends[k - 1];
			continue;
		}
		for (size_t k = text.len; k > 0; k--)
			ends[k] = ends[k - 1] &&
				  lower(text.bytes[k - 1]) == lower(c);
		ends[0] = false;
	}
	return ends[text.len];
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice rest = slice_of(bytes, len), pattern, local, domain;
	ptrdiff_t at;

	if (!slice_split(&rest, '\n', &pattern) ||
	    !slice_split(&rest, '\n', &local) ||
	    !slice_split(&rest, '\n', &domain))
		return 0;
	local = slice_sub(local, 0, TEXT_MAX);
	domain = slice_sub(domain, 0, TEXT_MAX);
	at = slice_find_last(pattern, '@');
	ASSERT(senders_pattern_matches(pattern, local, domain) ==
	       (at >= 0 && matches(slice_sub(pattern, 0, (size_t)at), local) &&
		matches(slice_from(pattern, (size_t)at + 1), domain)));
	return 0;
}
