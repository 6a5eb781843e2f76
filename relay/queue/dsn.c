#include "relay/queue/dsn.h"

/* --- RET, NOTIFY --- */

static const struct {
	const char *word;
	enum message_ret ret;
} ret_words[] = {
	{"FULL", RET_FULL},
	{"HDRS", RET_HDRS},
};

static const struct {
	const char *word;
	enum notify bit;
} notify_words[] = {
	{"NEVER", NOTIFY_NEVER},
	{"SUCCESS", NOTIFY_SUCCESS},
	{"FAILURE", NOTIFY_FAILURE},
	{"DELAY", NOTIFY_DELAY},
};

bool
dsn_ret_parse(struct slice value, enum message_ret *ret_out)
{
	for (size_t i = 0; i < COUNT(ret_words); i++) {
		if (!slice_eq_nocase(value, SLICE(ret_words[i].word)))
			continue;
		*ret_out = ret_words[i].ret;
		return true;
	}
	return false;
}

static unsigned
notify_bit(struct slice word)
{
	for (size_t i = 0; i < COUNT(notify_words); i++)
		if (slice_eq_nocase(word, SLICE(notify_words[i].word)))
			return notify_words[i].bit;
	return 0;
}

bool
dsn_notify_parse(struct slice value, unsigned *notify_out)
{
	struct slice rest = value, word;
	unsigned notify = 0;

	if (value.len == 0 || value.bytes[value.len - 1] == ',')
		return false;
	while (slice_split(&rest, ',', &word)) {
		unsigned bit = notify_bit(word);

		if (bit == 0 || (notify & bit) != 0)
			return false;
		notify |= bit;
	}
	if ((notify & NOTIFY_NEVER) != 0 && notify != NOTIFY_NEVER)
		return false;
	*notify_out = notify;
	return true;
}

/* --- ENVID, ORCPT --- */

/* RFC 3461 4: "!" to "~" but "+" and "=", which are "+" and two upper case
 * hexadecimal digits. What those stand for has to be printable, too. */
static bool
xtext_check(struct slice xtext)
{
	for (size_t i = 0; i < xtext.len; i++) {
		char c = xtext.bytes[i];
		int high, low;

		if (c == '+') {
			if (i + 2 >= xtext.len)
				return false;
			high = ascii_hex(xtext.bytes[i + 1]);
			low = ascii_hex(xtext.bytes[i + 2]);
			if (high < 0 || low < 0 || xtext.bytes[i + 1] >= 'a' ||
			    xtext.bytes[i + 2] >= 'a')
				return false;
			c = (char)(high << 4 | low);
			if (c < ' ' || c > '~')
				return false;
			i += 2;
		} else if (c <= ' ' || c > '~' || c == '=') {
			return false;
		}
	}
	return xtext.len > 0;
}

bool
dsn_envid_check(struct slice value)
{
	return value.len <= DSN_ENVID_MAX && xtext_check(value);
}

static bool
is_unicode_text(uint32_t code)
{
	bool is_control = code < 0x20 || (code >= 0x7f && code < 0xa0);
	bool is_surrogate = code >= 0xd800 && code < 0xe000;

	return !is_control && !is_surrogate && code <= 0x10ffff;
}

/* The length of "\x{HEX}" at the front, 0 where there is none. */
static size_t
embedded_len(struct slice text)
{
	uint32_t code = 0;
	size_t at = 3;

	if (!slice_starts(text, SLICE("\\x{")))
		return 0;
	while (at < text.len && at < 9 && ascii_hex(text.bytes[at]) >= 0)
		code = code << 4 | (uint32_t)ascii_hex(text.bytes[at++]);
	if (at < 5 || at >= text.len || text.bytes[at] != '}' ||
	    !is_unicode_text(code))
		return 0;
	return at + 1;
}

static size_t
utf8_len(struct slice text)
{
	size_t len = slice_utf8_length(text, 0);

	/* U+0080 to U+009F are controls. */
	if (len == 2 && text.bytes[0] == '\xc2' &&
	    (unsigned char)text.bytes[1] < 0xa0)
		return 0;
	return len;
}

/* RFC 6533 3: utf-8-addr-xtext, or with allows_utf8 utf-8-addr-unitext. */
static bool
utf8_address_check(struct slice text, bool allows_utf8)
{
	bool is_empty = text.len == 0;

	while (text.len > 0) {
		char c = text.bytes[0];
		size_t len = 1;

		if (c == '\\')
			len = embedded_len(text);
		else if ((unsigned char)c >= 0x80)
			len = allows_utf8 ? utf8_len(text) : 0;
		else if (c <= ' ' || c > '~' || c == '+' || c == '=')
			len = 0;
		if (len == 0)
			return false;
		text = slice_from(text, len);
	}
	return !is_empty;
}

static bool
address_type_check(struct slice type)
{
	for (size_t i = 0; i < type.len; i++)
		if (!ascii_is_alpha(type.bytes[i]) &&
		    !ascii_is_digit(type.bytes[i]) && type.bytes[i] != '-')
			return false;
	return type.len > 0;
}

bool
dsn_orcpt_check(struct slice value, bool allows_utf8)
{
	ptrdiff_t semicolon = slice_find(value, ';');
	struct slice type, address;

	if (value.len > DSN_ORCPT_MAX || semicolon < 0)
		return false;
	type = slice_sub(value, 0, (size_t)semicolon);
	address = slice_from(value, (size_t)semicolon + 1);
	if (slice_eq_nocase(type, SLICE("utf-8")))
		return utf8_address_check(address, allows_utf8);
	return address_type_check(type) && xtext_check(address);
}

/* --- for the next hop --- */

void
dsn_write_mail(struct text *out, const struct message *message)
{
	for (size_t i = 0; i < COUNT(ret_words); i++)
		if (message->ret == ret_words[i].ret)
			text_addf(out, " RET=%s", ret_words[i].word);
	if (message->envid.len > 0) {
		text_add_string(out, " ENVID=");
		text_add(out, message->envid);
	}
}

static uint32_t
utf8_code(struct slice text, size_t len)
{
	uint32_t code = (unsigned char)text.bytes[0] & (0xffu >> (len + 1));

	for (size_t i = 1; i < len; i++)
		code = code << 6 | ((unsigned char)text.bytes[i] & 0x3fu);
	return code;
}

/* UTF-8 becomes "\x{…}". */
static void
write_ascii(struct text *out, struct slice text)
{
	while (text.len > 0) {
		size_t len = slice_utf8_length(text, 0);

		if (len < 2)
			text_add_byte(out, text.bytes[0]);
		else
			text_addf(out, "\\x{%X}", utf8_code(text, len));
		text = slice_from(text, len > 0 ? len : 1);
	}
}

void
dsn_write_rcpt(struct text *out, const struct recipient *recipient,
	       bool allows_utf8)
{
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < COUNT(notify_words); i++) {
		if ((recipient->notify & notify_words[i].bit) == 0)
			continue;
		text_add_string(out, before);
		text_add_string(out, notify_words[i].word);
		before = ",";
	}
	if (recipient->orcpt.len == 0)
		return;
	text_add_string(out, " ORCPT=");
	if (allows_utf8)
		text_add(out, recipient->orcpt);
	else
		write_ascii(out, recipient->orcpt);
}
