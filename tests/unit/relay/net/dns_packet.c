#include <criterion/criterion.h>

#include "relay/net/dns_packet.h"

static const struct name_row {
	const char *text, *written; /* NULL: refused */
} name_rows[] = {
	{ "example.net", "example.net" },
	{ "Example.NET.", "example.net" },
	{ "_domainkey.example.net", "_domainkey.example.net" },
	{ "", "" },
	{ ".", "" },
	{ "..", NULL },
	{ ".example.net", NULL },
	{ "a..b", NULL },
	{ "a b.example", NULL },
	{ "a\\.b", NULL },
	{ "t\xc3\xa9st.example", NULL },
	{ "0123456789012345678901234567890123456789012345678901234567890ab",
	  "0123456789012345678901234567890123456789012345678901234567890ab" },
	{ "0123456789012345678901234567890123456789012345678901234567890abc",
	  NULL },
};

Test(dns_packet, names)
{
	struct arena arena = {0};
	CLEAN(text_done) struct text longest = {0};
	struct dns_name name;

	for (size_t i = 0; i < COUNT(name_rows); i++) {
		const struct name_row *row = &name_rows[i];
		bool is_name = dns_name_parse(SLICE(row->text), &name);

		cr_expect_eq(is_name, row->written != NULL, "'%s'",
			     row->text);
		if (is_name && row->written != NULL)
			cr_expect(slice_eq(dns_name_write(&name, &arena),
					   SLICE(row->written)),
				  "'%s'", row->text);
	}
	while (longest.len + 2 <= 253)
		text_add_string(&longest, "a.");
	text_add_byte(&longest, 'a');
	cr_expect_eq(longest.len, 253);
	cr_expect(dns_name_parse(text_slice(&longest), &name));
	text_add_byte(&longest, 'a');
	cr_expect_not(dns_name_parse(text_slice(&longest), &name));
	arena_done(&arena);
}
