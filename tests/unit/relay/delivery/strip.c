#include <criterion/criterion.h>

#include "relay/delivery/strip.h"

#define REST "From: a\r\n\r\nDKIM-Signature: of the body\r\n"

static const struct strip_row {
	const char *name, *before, *after;
} strip_rows[] = {
	{ "nothing to strip", REST, REST },
	{ "one", "DKIM-Signature: v=1\r\n" REST, REST },
	{ "folded", "DKIM-Signature: v=1;\r\n\tb=x\r\n y\r\n" REST, REST },
	{ "whatever its case", "dkim-SIGNATURE:v=1\r\n" REST, REST },
	{ "spaces before the colon", "DKIM-Signature \t : v\r\n" REST, REST },
	{ "several", "DKIM-Signature: a\r\nDKIM-Signature: b\r\nTo: c\r\n"
	  "DKIM-Signature: d\r\n" REST, "To: c\r\n" REST },
	{ "another's folded line stays", "DKIM-Signature: a\r\nTo: b\r\n c\r\n"
	  REST, "To: b\r\n c\r\n" REST },
	{ "longer names", "DKIM-Signature-X: a\r\nDKIM-Signatur: b\r\n"
	  "X-DKIM-Signature: c\r\n" REST, "DKIM-Signature-X: a\r\n"
	  "DKIM-Signatur: b\r\nX-DKIM-Signature: c\r\n" REST },
	{ "ARC stays", "ARC-Seal: a\r\nARC-Message-Signature: b\r\n" REST,
	  "ARC-Seal: a\r\nARC-Message-Signature: b\r\n" REST },
	{ "no body", "DKIM-Signature: a\r\nTo: b\r\n", "To: b\r\n" },
	{ "ends within a name", "To: b\r\nDKIM-Sig", "To: b\r\nDKIM-Sig" },
	{ "a name without colon", "DKIM-Signature\r\nTo: b\r\n\r\n",
	  "DKIM-Signature\r\nTo: b\r\n\r\n" },
};

Test(strip, however_it_is_cut)
{
	for (size_t i = 0; i < COUNT(strip_rows); i++) {
		const struct strip_row *row = &strip_rows[i];
		struct slice bytes = SLICE(row->before);

		for (size_t cut = 0; cut <= bytes.len; cut++) {
			CLEAN(text_done) struct text out = {0};
			struct strip strip;

			strip_init(&strip);
			strip_feed(&strip, slice_sub(bytes, 0, cut), &out);
			strip_feed(&strip, slice_from(bytes, cut), &out);
			strip_end(&strip, &out);
			cr_expect_str_eq(text_string(&out), row->after,
					 "%s, cut at %zu: %s", row->name, cut,
					 text_string(&out));
			strip_done(&strip);
		}
	}
}
