#include "relay/import/glob.h"

#include <stdlib.h>

bool
glob_is_literal(struct slice glob)
{
	return slice_find(glob, '*') < 0;
}

/* A "*" in `narrow` is read like a byte that only a "*" matches. Goes back to
 * the last "*" only. */
bool
glob_covers(struct slice wide, struct slice narrow)
{
	size_t w = 0, n = 0, star = SIZE_MAX, since = 0;

	while (n < narrow.len) {
		if (w < wide.len && wide.bytes[w] == '*') {
			star = w++;
			since = n;
		} else if (w < wide.len && ascii_lower(wide.bytes[w]) ==
						   ascii_lower(narrow.bytes[n])) {
			w++;
			n++;
		} else if (star != SIZE_MAX) {
			w = star + 1;
			n = ++since;
		} else {
			return false;
		}
	}
	while (w < wide.len && wide.bytes[w] == '*')
		w++;
	return w == wide.len;
}

/* Whether they may meet at all: what stands before the first "*" of each, and
 * behind the last one, is fixed. Most patterns of a long list differ there. */
static bool
ends_agree(struct slice a, struct slice b)
{
	for (size_t i = 0; i < a.len && i < b.len; i++) {
		if (a.bytes[i] == '*' || b.bytes[i] == '*')
			break;
		if (ascii_lower(a.bytes[i]) != ascii_lower(b.bytes[i]))
			return false;
	}
	for (size_t i = 1; i <= a.len && i <= b.len; i++) {
		char x = a.bytes[a.len - i], y = b.bytes[b.len - i];

		if (x == '*' || y == '*')
			break;
		if (ascii_lower(x) != ascii_lower(y))
			return false;
	}
	return true;
}

struct meeting {
	struct slice a, b;
	bool *seen; /* no use from here */
	struct text *text;
};

static bool meet_from(struct meeting *meeting, size_t i, size_t j);

static bool
meet_with(struct meeting *meeting, char byte, size_t i, size_t j)
{
	text_add_byte(meeting->text, byte);
	if (meet_from(meeting, i, j))
		return true;
	meeting->text->len--;
	return false;
}

/* Deep at most as both are long together. */
static bool
meet_from(struct meeting *meeting, size_t i, size_t j)
{
	struct slice a = meeting->a, b = meeting->b;
	bool a_star = i < a.len && a.bytes[i] == '*';
	bool b_star = j < b.len && b.bytes[j] == '*';
	bool *seen = &meeting->seen[i * (b.len + 1) + j];

	if (i == a.len && j == b.len)
		return true;
	if (*seen)
		return false;
	*seen = true;
	if (a_star && b_star)
		return meet_from(meeting, i + 1, j) ||
		       meet_from(meeting, i, j + 1);
	if (a_star)
		return meet_from(meeting, i + 1, j) ||
		       (j < b.len && meet_with(meeting, b.bytes[j], i, j + 1));
	if (b_star)
		return meet_from(meeting, i, j + 1) ||
		       (i < a.len && meet_with(meeting, a.bytes[i], i + 1, j));
	return i < a.len && j < b.len &&
	       ascii_lower(a.bytes[i]) == ascii_lower(b.bytes[j]) &&
	       meet_with(meeting, a.bytes[i], i + 1, j + 1);
}

bool
glob_meet(struct slice a, struct slice b, struct text *text)
{
	CLEAN(clean_memory) bool *seen = NULL;
	struct meeting meeting = {.a = a, .b = b, .text = text};

	ASSERT(a.len <= GLOB_MAX);
	ASSERT(b.len <= GLOB_MAX);
	text_clear(text);
	if (glob_is_literal(a) || glob_is_literal(b)) {
		struct slice literal = glob_is_literal(a) ? a : b;

		text_add(text, literal);
		return glob_covers(glob_is_literal(a) ? b : a, literal);
	}
	if (!ends_agree(a, b))
		return false;
	seen = memory_array((a.len + 1) * (b.len + 1), sizeof(*seen));
	meeting.seen = seen;
	return meet_from(&meeting, 0, 0);
}
