#include "relay/net/proxy.h"

#include <criterion/criterion.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define INET "\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\0\x19"
#define INET6                                                                  \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                           \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x9c\x40\0\x19"
#define MAPPED                                                                 \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01"                           \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x02\x9c\x40\0\x19"
#define ROW(bytes, status, client, rest) {SLICE_LITERAL(bytes), status, client, rest}

static const struct {
	struct slice bytes;
	enum proxy_status status;
	const char *client;
	size_t rest; /* not part of it */
} rows[] = {
	ROW("PROXY TCP4 192.0.2.1 127.0.0.1 40000 25\r\n", PROXY_CLIENT,
	    "192.0.2.1:40000", 0),
	ROW("PROXY TCP4 192.0.2.1 127.0.0.1 40000 25\r\nEHLO x\r\n",
	    PROXY_CLIENT, "192.0.2.1:40000", 8),
	ROW("PROXY TCP6 2001:db8::1 ::1 1 25\r\n", PROXY_CLIENT,
	    "[2001:db8::1]:1", 0),
	ROW("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 25\r\n",
	    PROXY_CLIENT, "192.0.2.1:1", 0),
	ROW("PROXY UNKNOWN\r\n", PROXY_UNKNOWN, NULL, 0),
	ROW("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\nX", PROXY_UNKNOWN,
	    NULL, 1),
	ROW(V2 "\x21\x11\0\x0c" INET "EHLO", PROXY_CLIENT, "192.0.2.1:40000",
	    4),
	ROW(V2 "\x21\x21\0\x24" INET6, PROXY_CLIENT, "[2001:db8::1]:40000", 0),
	ROW(V2 "\x21\x21\0\x24" MAPPED, PROXY_CLIENT, "192.0.2.1:40000", 0),
	ROW(V2 "\x21\x11\0\x0f" INET "\x04\0\0", PROXY_CLIENT,
	    "192.0.2.1:40000", 0),
	ROW(V2 "\x20\0\0\0", PROXY_UNKNOWN, NULL, 0),
	ROW(V2 "\x20\x11\0\x0c" INET, PROXY_UNKNOWN, NULL, 0),
	ROW(V2 "\x21\x31\0\x01x", PROXY_UNKNOWN, NULL, 0),
	ROW(V2 "\x21\x12\0\x0c" INET, PROXY_UNKNOWN, NULL, 0),

	ROW("EHLO client.example.com\r\n", PROXY_MALFORMED, NULL, 0),
	ROW("PROXY\r\n", PROXY_MALFORMED, NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 127.0.0.1 40000 25\n", PROXY_MALFORMED, NULL,
	    0),
	ROW("PROXY TCP4 192.0.2.1 127.0.0.1 40000\r\n", PROXY_MALFORMED, NULL,
	    0),
	ROW("PROXY TCP4 192.0.2.1 127.0.0.1 40000 25 x\r\n", PROXY_MALFORMED,
	    NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 127.0.0.1 70000 25\r\n", PROXY_MALFORMED,
	    NULL, 0),
	ROW("PROXY TCP4 192.0.2.1 127.0.0.1 040 25\r\n", PROXY_MALFORMED, NULL,
	    0),
	ROW("PROXY TCP4 ::1 ::1 40000 25\r\n", PROXY_MALFORMED, NULL, 0),
	ROW("PROXY TCP6 192.0.2.1 127.0.0.1 1 25\r\n", PROXY_MALFORMED, NULL,
	    0),
	ROW("PROXY TCP4 [192.0.2.1] 127.0.0.1 1 25\r\n", PROXY_MALFORMED,
	    NULL, 0),
	ROW("PROXY TCP4 192.0.2.256 127.0.0.1 1 25\r\n", PROXY_MALFORMED, NULL,
	    0),
	ROW("PROXY UDP4 192.0.2.1 127.0.0.1 1 25\r\n", PROXY_MALFORMED, NULL,
	    0),
	ROW(V2 "\x31\x11\0\x0c" INET, PROXY_MALFORMED, NULL, 0),
	ROW(V2 "\x22\x11\0\x0c" INET, PROXY_MALFORMED, NULL, 0),
	ROW(V2 "\x21\x11\0\x0b" INET, PROXY_MALFORMED, NULL, 0),
	ROW(V2 "\x21\x21\0\x0c" INET, PROXY_MALFORMED, NULL, 0),
	ROW(V2 "\x21\x11\xff\xff" INET, PROXY_MALFORMED, NULL, 0),
	ROW("\r\n\r\nEHLO", PROXY_MALFORMED, NULL, 0),
};

Test(proxy, reads)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[ADDRESS_TEXT_SIZE];
		struct address client;
		size_t used = 0;
		enum proxy_status status =
			proxy_parse(rows[i].bytes, &client, &used);

		cr_expect_eq(status, rows[i].status, "%zu: %d", i, status);
		if (status == PROXY_CLIENT || status == PROXY_UNKNOWN)
			cr_expect_eq(used, rows[i].bytes.len - rows[i].rest,
				     "%zu: %zu", i, used);
		if (status != PROXY_CLIENT || rows[i].client == NULL)
			continue;
		address_write(&client, text);
		cr_expect_str_eq(text, rows[i].client, "%zu", i);
	}
}

/* Octet by octet it is the same, and never decided early. */
Test(proxy, waits_for_all_of_it)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address client;
		size_t used = 0, whole = rows[i].bytes.len - rows[i].rest;

		if (rows[i].status == PROXY_MALFORMED)
			continue;
		for (size_t len = 0; len < whole; len++)
			cr_expect_eq(proxy_parse(slice_sub(rows[i].bytes, 0,
							   len),
						 &client, &used),
				     PROXY_MORE, "%zu: %zu", i, len);
	}
}

Test(proxy, has_bounds)
{
	CLEAN(text_done) struct text line = {0};
	struct address client;
	size_t used = 0;

	text_add_string(&line, "PROXY UNKNOWN ");
	while (line.len < 107)
		text_add_byte(&line, 'x');
	cr_expect_eq(proxy_parse(text_slice(&line), &client, &used),
		     PROXY_MALFORMED);
	text_clear(&line);
	text_add(&line, slice_of(V2 "\x21\x11\x0f\xf0" INET, 28));
	cr_expect_eq(proxy_parse(text_slice(&line), &client, &used),
		     PROXY_MORE);
	line.bytes[15] = '\xf1';
	cr_expect_eq(proxy_parse(text_slice(&line), &client, &used),
		     PROXY_MALFORMED);
}
