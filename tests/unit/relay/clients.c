#include "relay/clients.h"

#include <criterion/criterion.h>

#define HEX                                                                    \
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define COLONS                                                                 \
	"00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:"                     \
	"10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"
#define OTHER                                                                  \
	"ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

Test(clients, reads_lines)
{
	static const struct {
		const char *bytes, *name;
	} rows[] = {
		{HEX " printer", "printer"},
		{COLONS " printer\n", "printer"},
		{COLONS "\t\tprinter  \r\n", "printer"},
		{"# " OTHER " x\n\n  " COLONS " a b@example.com\n" OTHER " c",
		 "a b@example.com"},
		{OTHER " c\n" HEX " \xc3\xa4", "\xc3\xa4"},
	};
	uint8_t fingerprint[CLIENT_FINGERPRINT];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct clients *clients = NULL;
		struct fault fault = {0};
		struct slice name = {0};

		cr_assert(clients_new(SLICE(rows[i].bytes), &clients, &fault),
			  "%zu: %s", i, fault.text);
		for (size_t j = 0; j < sizeof(fingerprint); j++)
			fingerprint[j] = (uint8_t)j;
		cr_assert(clients_find(clients, fingerprint, &name), "%zu", i);
		cr_expect(slice_eq(name, SLICE(rows[i].name)), "%zu", i);
		fingerprint[31] ^= 1;
		cr_expect_not(clients_find(clients, fingerprint, &name));
		clients_free(clients);
	}
}

Test(clients, refuses)
{
	static const struct {
		const char *bytes, *fault;
	} rows[] = {
		{HEX, "line 1: behind the fingerprint stands a name"},
		{"\n" HEX "  ", "line 2: behind the fingerprint stands a name"},
		{HEX " a\n" COLONS " b", "stands there twice"},
		{HEX "0 a", "line 1: a line is FINGERPRINT NAME"},
		{HEX "00 a", "a line is FINGERPRINT NAME"},
		{COLONS ": a", "a line is FINGERPRINT NAME"},
		{COLONS ":0 a", "a line is FINGERPRINT NAME"},
		{"printer " HEX, "a line is FINGERPRINT NAME"},
		{"0g0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1"
		 "e1f a", "a line is FINGERPRINT NAME"},
		{"00:0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d"
		 "1e1f a", "a line is FINGERPRINT NAME"},
		{"000102030405060708090a0b0c0d0e0f10111213 a", "by SHA-1"},
		{"00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F a", "by MD5"},
		{HEX " a\x01", "a control character"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct clients *clients = NULL;
		struct fault fault = {0};

		cr_expect_not(clients_new(SLICE(rows[i].bytes), &clients,
					  &fault), "%zu", i);
		cr_expect_not_null(strstr(fault.text, rows[i].fault),
				   "%zu: %s", i, fault.text);
	}
}

Test(clients, nobody)
{
	uint8_t fingerprint[CLIENT_FINGERPRINT] = {0};
	struct clients *clients = NULL;
	struct slice name;

	cr_assert(clients_new(SLICE("# nobody yet\n"), &clients, NULL));
	cr_expect_not(clients_find(clients, fingerprint, &name));
	clients_free(clients);
}
