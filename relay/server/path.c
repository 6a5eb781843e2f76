#include "relay/server/path.h"

#include "relay/limits.h"
#include "relay/net/address.h"

#define LABEL_MAX 63

/* RFC 5322 3.2.3. */
static bool
is_atext(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) ||
	       (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* A character outside ASCII at the front (RFC 6531 3.3, UTF8-non-ascii), in
 * octets; 0 where there is none. U+0080 to U+009F are controls. */
static size_t
non_ascii_len(struct slice text)
{
	size_t len = text.len > 0 ? slice_utf8_length(text, 0) : 0;

	if (len == 2 && text.bytes[0] == '\xc2' &&
	    (unsigned char)text.bytes[1] < 0xa0)
		return 0;
	return len >= 2 ? len : 0;
}

static bool
is_let_dig(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c);
}

/* Hosts are not to have underscores in their names, and many have. */
static bool
is_of_label(char c)
{
	return is_let_dig(c) || c == '_';
}

bool
path_domain_check(struct slice domain)
{
	struct slice rest = domain, label;

	if (domain.len == 0 || domain.len > DOMAIN_MAX ||
	    domain.bytes[domain.len - 1] == '.')
		return false;
	while (slice_split(&rest, '.', &label)) {
		if (label.len == 0 || label.len > LABEL_MAX ||
		    !is_of_label(label.bytes[0]) ||
		    !is_of_label(label.bytes[label.len - 1]))
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!is_of_label(label.bytes[i]) &&
			    label.bytes[i] != '-')
				return false;
	}
	return true;
}

/* The same with UTF-8 in it: what becomes of that, IDNA says. */
static bool
domain_check_utf8(struct slice domain)
{
	char before = '.';

	if (domain.len == 0 || domain.len > DOMAIN_MAX)
		return false;
	while (domain.len > 0) {
		size_t len = non_ascii_len(domain);
		char c = domain.bytes[0];

		if (len == 0 && !is_of_label(c) && c != '-' &&
		    (c != '.' || before == '.'))
			return false;
		before = c;
		domain = slice_from(domain, len > 0 ? len : 1);
	}
	return before != '.';
}

bool
path_literal_check(struct slice literal)
{
	struct address address;

	if (literal.len < 2 || literal.bytes[0] != '[' ||
	    !address_parse_host(literal, 0, &address))
		return false;
	/* RFC 5321 4.1.3: IPv6 only with its tag. */
	return address.any.sa_family == AF_INET ||
	       slice_starts_nocase(literal, SLICE("[IPv6:"));
}

/* The length of a local part at the front, 0 where there is none. */
static size_t
unquoted_len(struct slice text)
{
	size_t at = 0;

	while (at < text.len) {
		size_t len = non_ascii_len(slice_from(text, at));

		if (len == 0 && !is_atext(text.bytes[at]) &&
		    text.bytes[at] != '.')
			break;
		at += len > 0 ? len : 1;
	}
	return at;
}

/* RFC 5321 4.1.2, Dot-string: a dot stands between two other characters. */
static bool
is_dot_string(struct slice local)
{
	char before = '.';

	for (size_t i = 0; i < local.len; i++) {
		if (local.bytes[i] == '.' && before == '.')
			return false;
		before = local.bytes[i];
	}
	return before != '.';
}

static size_t
quoted_string_len(struct slice text)
{
	size_t at = 1;

	while (at < text.len && text.bytes[at] != '"') {
		size_t len = non_ascii_len(slice_from(text, at));

		if (text.bytes[at] == '\\')
			at++;
		if (at >= text.len || (len == 0 && (text.bytes[at] < ' ' ||
						    text.bytes[at] > '~')))
			return 0;
		at += len > 0 ? len : 1;
	}
	return at < text.len ? at + 1 : 0;
}

static size_t
local_len(struct slice text)
{
	if (text.len == 0)
		return 0;
	return text.bytes[0] == '"' ? quoted_string_len(text)
				    : unquoted_len(text);
}

/* "@one.example,@two.example:" */
static bool
skip_route(struct slice *text)
{
	struct slice route, hop;
	ptrdiff_t colon;

	if (text->len == 0 || text->bytes[0] != '@')
		return true;
	colon = slice_find(*text, ':');
	if (colon < 0)
		return false;
	route = slice_sub(*text, 0, (size_t)colon);
	*text = slice_from(*text, (size_t)colon + 1);
	while (slice_split(&route, ',', &hop))
		if (hop.len == 0 || hop.bytes[0] != '@' ||
		    !path_domain_check(slice_from(hop, 1)))
			return false;
	return true;
}

/* DNS has names that end in a dot, mail has not. */
static void
drop_last_dot(struct slice *text)
{
	if (text->len > 1 && text->bytes[text->len - 1] == '.' &&
	    text->bytes[text->len - 2] != '@')
		text->len--;
}

/* What stands between the brackets. */
static enum path_status
parse_mailbox(struct slice text, struct path *path)
{
	size_t len;

	if (!skip_route(&text))
		return PATH_MALFORMED;
	len = local_len(text);
	if (len == 0)
		return PATH_MALFORMED;
	if (len < text.len)
		drop_last_dot(&text);
	path->address = text;
	path->local = slice_sub(text, 0, len);
	path->is_utf8 = !slice_is_ascii(path->address);
	path->needs_quotes =
		path->local.bytes[0] != '"' && !is_dot_string(path->local);
	text = slice_from(text, len);
	if (text.len == 0)
		return PATH_NO_DOMAIN;
	if (text.bytes[0] != '@')
		return PATH_MALFORMED;
	path->domain = slice_from(text, 1);
	if (path->domain.len > DOMAIN_MAX)
		return PATH_TOO_LONG;
	path->is_literal = path_literal_check(path->domain);
	if (path->is_literal)
		return PATH_OK;
	return path_domain_check(path->domain) ||
			       (path->is_utf8 &&
				domain_check_utf8(path->domain))
		       ? PATH_OK
		       : PATH_MALFORMED;
}

/* The position of the first such byte outside of quoted strings; the end where
 * there is none. */
static size_t
find_unquoted(struct slice text, size_t from, const char *bytes)
{
	bool is_quoted = false;

	for (size_t i = from; i < text.len; i++) {
		char c = text.bytes[i];

		if (is_quoted && c == '\\')
			i++;
		else if (c == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted && c != '\0' && strchr(bytes, c) != NULL)
			return i;
	}
	return text.len;
}

/* The position of the bracket that closes the one in front; the end where it is
 * missing. */
static size_t
closing_bracket(struct slice text)
{
	size_t depth = 0, at = 0;

	for (; at < text.len; at = find_unquoted(text, at + 1, "<>")) {
		if (text.bytes[at] == '<')
			depth++;
		else if (--depth == 0)
			break;
	}
	return at;
}

/* Without spaces, and without what separates it from the next one in the list
 * that somebody has taken apart. */
static struct slice
without_ends(struct slice text)
{
	text = slice_trim(text);
	while (text.len > 0 && (text.bytes[text.len - 1] == ',' ||
				text.bytes[text.len - 1] == ';'))
		text = slice_trim(slice_sub(text, 0, text.len - 1));
	return text;
}

/* Where the path begins and ends: at its brackets, or at the space behind it. */
static bool
cut(struct slice text, struct slice *inside_out, struct slice *rest_out)
{
	size_t end;

	if (text.len == 0)
		return false;
	if (text.bytes[0] != '<') {
		end = find_unquoted(text, 0, " \t");
		*inside_out = slice_sub(text, 0, end);
		*rest_out = slice_from(text, end);
		return end > 0;
	}
	end = closing_bracket(text);
	if (end == text.len)
		return false;
	*inside_out = slice_trim(slice_sub(text, 1, end - 1));
	*rest_out = slice_from(text, end + 1);
	return true;
}

/* `Joe <joe@example.com>`, a mailbox as in a header: the address in it. */
static struct slice
without_name(struct slice inside)
{
	size_t open = find_unquoted(inside, 0, "<");

	if (open == inside.len || inside.bytes[inside.len - 1] != '>')
		return inside;
	return slice_trim(
		slice_sub(inside, open + 1, inside.len - open - 2));
}

/* `"joe@example.com"`: quotes of the program's own, around all of it. */
static struct slice
without_quotes(struct slice inside)
{
	if (inside.len < 2 || inside.bytes[0] != '"' ||
	    quoted_string_len(inside) != inside.len ||
	    slice_find(inside, '@') < 0)
		return inside;
	return slice_sub(inside, 1, inside.len - 2);
}

/* The mailbox, without what old programs write around it. */
static struct slice
bare(struct slice inside)
{
	inside = without_ends(inside);
	inside = without_ends(without_name(inside));
	return without_quotes(inside);
}

enum path_status
path_parse(struct slice text, struct path *path_out, struct slice *rest_out)
{
	struct path path = {.address = SLICE_NONE};
	enum path_status status;
	struct slice inside, rest;

	if (!cut(text, &inside, &rest))
		return PATH_MALFORMED;
	if (inside.len > 0) {
		status = parse_mailbox(bare(inside), &path);
		if (status == PATH_NO_DOMAIN) {
			*path_out = path;
			*rest_out = rest;
		}
		if (status != PATH_OK)
			return status;
	}
	/* The brackets count. A source route, which is forgotten, does not. */
	if (path.address.len + 2 + (path.needs_quotes ? 2 : 0) >
	    PATH_MAX_OCTETS)
		return PATH_TOO_LONG;
	*path_out = path;
	*rest_out = rest;
	return PATH_OK;
}

bool
path_skip(struct slice text, struct slice *inside_out, struct slice *rest_out)
{
	struct slice inside, rest;

	if (!cut(text, &inside, &rest) || inside.len == 0)
		return false;
	for (size_t i = 0; i < inside.len; i++)
		if ((unsigned char)inside.bytes[i] < ' ' ||
		    inside.bytes[i] == 0x7f)
			return false;
	*inside_out = inside;
	*rest_out = rest;
	return true;
}

static bool
keyword_check(struct slice keyword)
{
	if (keyword.len == 0 || !is_let_dig(keyword.bytes[0]))
		return false;
	for (size_t i = 0; i < keyword.len; i++)
		if (!is_let_dig(keyword.bytes[i]) && keyword.bytes[i] != '-')
			return false;
	return true;
}

/* esmtp-value, with UTF-8 (RFC 6531 3.3). */
static bool
value_check(struct slice value)
{
	while (value.len > 0) {
		size_t len = non_ascii_len(value);
		char c = value.bytes[0];

		if (len == 0 && (c <= ' ' || c > '~' || c == '='))
			return false;
		value = slice_from(value, len > 0 ? len : 1);
	}
	return true;
}

enum param_status
param_next(struct slice *rest, struct slice *keyword_out,
	   struct slice *value_out)
{
	struct slice text = *rest, param, value = SLICE_NONE;
	ptrdiff_t equals;
	size_t len = 0;

	/* A parameter has a space before it. */
	if (slice_trim(text).len == 0)
		return PARAM_NONE;
	if (!ascii_is_wsp(text.bytes[0]))
		return PARAM_MALFORMED;
	while (text.len > 0 && ascii_is_wsp(text.bytes[0]))
		text = slice_from(text, 1);
	while (len < text.len && !ascii_is_wsp(text.bytes[len]))
		len++;
	param = slice_sub(text, 0, len);
	*rest = slice_from(text, len);
	equals = slice_find(param, '=');
	if (equals >= 0) {
		value = slice_from(param, (size_t)equals + 1);
		param = slice_sub(param, 0, (size_t)equals);
		if (value.len == 0)
			return PARAM_MALFORMED;
	}
	if (!keyword_check(param))
		return PARAM_MALFORMED;
	if (!value_check(value))
		return PARAM_MALFORMED;
	*keyword_out = param;
	*value_out = value;
	return PARAM_ONE;
}
