#include "relay/server/claims.h"

#include "relay/server/path.h"

#define VALUE_MAX 255

static const struct reply reply_no_value = {
	501, "5.5.4", "Syntax: attribute=value, and a space before the next"};
static const struct reply reply_unknown_name = {
	501, "5.5.4", "Attribute not recognized: EHLO lists those that are"};
static const struct reply reply_bad_value = {
	501, "5.5.4",
	"An attribute's value is malformed: it has at most 255 octets, in "
	"xtext (RFC 3461), or is [UNAVAILABLE]"};

/* --- values --- */

/* RFC 3461 4. What is no xtext stands for itself: Postfix before 2.3 wrote it
 * so. */
static struct slice
xtext_read(struct slice value, struct arena *arena)
{
	char *out = arena_array(arena, value.len + 1, 1);
	size_t len = 0;

	for (size_t i = 0; i < value.len; i++) {
		int high, low;

		if (value.bytes[i] != '+') {
			out[len++] = value.bytes[i];
			continue;
		}
		if (i + 2 >= value.len)
			return arena_copy(arena, value);
		high = ascii_hex_upper(value.bytes[i + 1]);
		low = ascii_hex_upper(value.bytes[i + 2]);
		if (high < 0 || low < 0)
			return arena_copy(arena, value);
		out[len++] = (char)(high << 4 | low);
		i += 2;
	}
	return slice_of(out, len);
}

/* Nothing that would say something else in a field or in the log. */
static bool
is_text(struct slice value)
{
	for (size_t i = 0; i < value.len;) {
		size_t len = slice_utf8_length(value, i);
		char c = value.bytes[i];

		if (len == 0 || c == '\x7f' || (unsigned char)c < ' ' ||
		    (c == '\xc2' && (unsigned char)value.bytes[i + 1] < 0xa0))
			return false;
		i += len;
	}
	return value.len > 0;
}

static bool
is_word(struct slice value)
{
	return is_text(value) && slice_is_ascii(value) &&
	       slice_find(value, ' ') < 0;
}

static bool
is_unavailable(struct slice value)
{
	return slice_eq_nocase(value, SLICE("[UNAVAILABLE]")) ||
	       slice_eq_nocase(value, SLICE("[TEMPUNAVAIL]"));
}

/* Each takes a value, which is empty where it is not available. */

static bool
name_take(struct claims *claims, struct slice value)
{
	claims->name = value;
	return value.len == 0 || path_domain_check(value);
}

static bool
address_read(struct slice value, struct address *out)
{
	static const char tag[] = "IPV6:";

	if (slice_starts_nocase(value, SLICE(tag)))
		value = slice_from(value, sizeof(tag) - 1);
	if (value.len == 0 || value.bytes[0] == '[' ||
	    !address_parse_host(value, 0, out))
		return false;
	address_unmap(out);
	return true;
}

static bool
address_take(struct claims *claims, struct slice value)
{
	claims->address = (struct address){.len = 0};
	claims->address.any.sa_family = AF_UNSPEC;
	return value.len == 0 || address_read(value, &claims->address);
}

static bool
port_take(struct claims *claims, struct slice value)
{
	uint64_t port = 0;

	if (value.len > 5 || (value.len > 0 && !slice_number(value, &port)) ||
	    port > UINT16_MAX)
		return false;
	claims->port = (uint16_t)port;
	return true;
}

static bool
proto_take(struct claims *claims, struct slice value)
{
	claims->proto = value;
	return value.len <= 64 && (value.len == 0 || is_word(value));
}

static bool
helo_take(struct claims *claims, struct slice value)
{
	claims->helo = value;
	return value.len == 0 || is_word(value);
}

static bool
login_take(struct claims *claims, struct slice value)
{
	claims->login = value;
	return true;
}

static bool
ident_take(struct claims *claims, struct slice value)
{
	claims->ident = value;
	return value.len == 0 || is_word(value);
}

/* Of no use here; what they may be is looked at all the same. */

static bool
address_pass(struct claims *claims, struct slice value)
{
	struct address address;

	(void)claims;
	return value.len == 0 || address_read(value, &address);
}

static bool
port_pass(struct claims *claims, struct slice value)
{
	struct claims other = {0};

	(void)claims;
	return port_take(&other, value);
}

static bool
word_pass(struct claims *claims, struct slice value)
{
	(void)claims;
	return value.len == 0 || is_word(value);
}

/* --- attributes --- */

#define FOR(command) (1u << CLAIMS_##command)

static const struct attribute {
	const char *name;
	unsigned commands; /* FOR() bits */
	unsigned given;    /* enum claim */
	bool (*take)(struct claims *claims, struct slice value);
} attributes[] = {
	{"NAME", FOR(XCLIENT) | FOR(XFORWARD), CLAIM_NAME, name_take},
	{"ADDR", FOR(XCLIENT) | FOR(XFORWARD), CLAIM_ADDR, address_take},
	{"PORT", FOR(XCLIENT) | FOR(XFORWARD), CLAIM_PORT, port_take},
	{"PROTO", FOR(XCLIENT) | FOR(XFORWARD), CLAIM_PROTO, proto_take},
	{"HELO", FOR(XCLIENT) | FOR(XFORWARD), CLAIM_HELO, helo_take},
	{"LOGIN", FOR(XCLIENT), CLAIM_LOGIN, login_take},
	{"DESTADDR", FOR(XCLIENT), 0, address_pass},
	{"DESTPORT", FOR(XCLIENT), 0, port_pass},
	{"REVERSE_NAME", FOR(XCLIENT), 0, word_pass},
	{"IDENT", FOR(XFORWARD), CLAIM_IDENT, ident_take},
	{"SOURCE", FOR(XFORWARD), 0, word_pass},
};

static const struct attribute *
attribute_find(enum claims_command command, struct slice name)
{
	for (size_t i = 0; i < COUNT(attributes); i++)
		if (slice_eq_nocase(name, SLICE(attributes[i].name)) &&
		    (attributes[i].commands & 1u << command) != 0)
			return &attributes[i];
	return NULL;
}

static const struct reply *
take_one(enum claims_command command, struct slice item, struct arena *arena,
	 struct claims *claims)
{
	const struct attribute *attribute;
	struct slice name, value = item;

	if (!slice_split(&value, '=', &name) || value.len == 0)
		return &reply_no_value;
	attribute = attribute_find(command, name);
	if (attribute == NULL)
		return &reply_unknown_name;
	if (value.len > VALUE_MAX)
		return &reply_bad_value;
	value = xtext_read(value, arena);
	if (!is_text(value))
		return &reply_bad_value;
	if (is_unavailable(value))
		value = SLICE_NONE;
	if (!attribute->take(claims, value))
		return &reply_bad_value;
	claims->given |= attribute->given;
	return NULL;
}

const struct reply *
claims_parse(enum claims_command command, struct slice args,
	     struct arena *arena, struct claims *claims)
{
	const struct reply *refusal = args.len == 0 ? &reply_no_value : NULL;
	struct slice item;

	while (refusal == NULL && slice_split(&args, ' ', &item))
		if (item.len > 0)
			refusal = take_one(command, item, arena, claims);
	return refusal;
}

void
claims_copy(const struct claims *claims, struct arena *arena,
	    struct claims *out)
{
	*out = *claims;
	out->name = arena_copy(arena, claims->name);
	out->proto = arena_copy(arena, claims->proto);
	out->helo = arena_copy(arena, claims->helo);
	out->login = arena_copy(arena, claims->login);
	out->ident = arena_copy(arena, claims->ident);
}
