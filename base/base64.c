#include "base/base64.h"

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_write(struct text *out, struct slice bytes)
{
	const unsigned char *in = (const unsigned char *)bytes.bytes;
	size_t len = (bytes.len + 2) / 3 * 4;
	char *to = text_room(out, len);

	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t left = bytes.len - i;
		uint32_t group = (uint32_t)in[i] << 16;

		if (left > 1)
			group |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			group |= in[i + 2];
		*to++ = alphabet[group >> 18];
		*to++ = alphabet[(group >> 12) & 63];
		*to++ = left > 1 ? alphabet[(group >> 6) & 63] : '=';
		*to++ = left > 2 ? alphabet[group & 63] : '=';
	}
	text_added(out, len);
}

static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return -1;
}

bool
base64_read(struct text *out, struct slice encoded)
{
	size_t start = out->len, digits = 0, padding = 0;
	uint32_t bits = 0;

	for (size_t i = 0; i < encoded.len; i++) {
		char c = encoded.bytes[i];
		int value = base64_value(c);

		if (ascii_is_wsp(c) || c == '\r' || c == '\n')
			continue;
		if (c == '=') {
			padding++;
			continue;
		}
		if (value < 0 || padding > 0)
			goto refused;
		bits = bits << 6 | (uint32_t)value;
		digits++;
		if (digits % 4 != 1)
			text_add_byte(out, (char)(bits >> (6 - (digits - 1) %
								       4 * 2)));
		if (digits % 4 == 0)
			bits = 0;
	}
	if (padding > 2 || (digits + padding) % 4 != 0)
		goto refused;
	if ((padding == 1 && (bits & 3) != 0) ||
	    (padding == 2 && (bits & 15) != 0))
		goto refused;
	return true;
refused:
	out->len = start;
	if (out->bytes != NULL)
		out->bytes[start] = '\0';
	return false;
}
