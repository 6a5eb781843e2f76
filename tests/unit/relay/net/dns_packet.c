#include <criterion/criterion.h>

#include "relay/limits.h"
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

/* An answer without records: to example.net MX, with what there is in front of
 * and behind the question. */
#define QUESTION "\7example\3net\0\0\17\0\1"
#define OPT(extended_code) "\0\0\51\4\320" extended_code "\0\0\0\0\0"
#define NS_OF_NET "\300\24\0\2\0\1\0\0\0\74\0\4\1a\300\24"

Test(dns_packet, nothing_there_and_nothing_known_differ)
{
	static const struct {
		const char *name, *flags_and_counts, *authority;
		size_t authority_len;
		enum dns_packet_status status;
	} rows[] = {
		{ "a referral", "\201\200\0\1\0\0\0\1\0\0", NS_OF_NET, 16,
		  DNS_PACKET_BAD },
		{ "no data, by its authority",
		  "\205\200\0\1\0\0\0\1\0\0", NS_OF_NET, 16,
		  DNS_PACKET_ANSWER },
		{ "no data, without more", "\201\200\0\1\0\0\0\0\0\0", "", 0,
		  DNS_PACKET_ANSWER },
		{ "a version of EDNS that the server does not know",
		  "\201\200\0\1\0\0\0\0\0\1", OPT("\1"), 11,
		  DNS_PACKET_NO_EDNS },
		{ "another extended code", "\201\203\0\1\0\0\0\0\0\1",
		  OPT("\2"), 11, DNS_PACKET_BAD },
		{ "no extended code", "\201\200\0\1\0\0\0\0\0\1",
		  OPT("\0"), 11, DNS_PACKET_ANSWER },
		{ "no such name, with where to ask",
		  "\201\203\0\1\0\0\0\1\0\0", NS_OF_NET, 16,
		  DNS_PACKET_ANSWER },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct arena arena = {0};
		CLEAN(text_done) struct text packet = {0};
		struct dns_question question = {.type = DNS_MX};
		struct dns_packet_answer answer = {0};

		cr_assert(dns_name_parse(SLICE("example.net"),
					 &question.name));
		text_add(&packet, slice_of("\22\64", 2));
		text_add(&packet, slice_of(rows[i].flags_and_counts, 10));
		text_add(&packet, slice_of(QUESTION, sizeof(QUESTION) - 1));
		text_add(&packet, slice_of(rows[i].authority,
					   rows[i].authority_len));
		cr_expect_eq(dns_packet_read(text_slice(&packet), &question,
					     0x1234, &arena, &answer),
			     rows[i].status, "%s: %s", rows[i].name,
			     answer.answer.reason);
		arena_done(&arena);
	}
}

/* How long it is kept that there is nothing: RFC 2308 5. */
#define SOA(ttl, minimum)                                                      \
	"\300\24\0\6\0\1" ttl "\0\32\1a\300\24\300\24"                          \
	"\0\0\0\1\0\0\16\20\0\0\2\130\0\1\121\200" minimum

Test(dns_packet, negative_answers_live_as_long_as_the_soa_says)
{
	static const struct {
		const char *name, *authority;
		uint64_t ttl_ms;
	} rows[] = {
		{ "the minimum", SOA("\0\0\0\74", "\0\0\0\5"), 5 * SECOND },
		{ "its own", SOA("\0\0\0\4", "\0\0\0\74"), 4 * SECOND },
		{ "not longer than our bound",
		  SOA("\0\1\121\200", "\0\1\121\200"),
		  DNS_NEGATIVE_TTL_MAX_MS },
		{ "RFC 2181 8: too large is none",
		  SOA("\200\0\0\0", "\0\0\0\74"), 0 },
	};

	for (size_t i = 0; i < 2 * COUNT(rows); i++) {
		bool has_name = i < COUNT(rows);
		size_t row = i % COUNT(rows);
		struct arena arena = {0};
		CLEAN(text_done) struct text packet = {0};
		struct dns_question question = {.type = DNS_MX};
		struct dns_packet_answer answer = {0};

		cr_assert(dns_name_parse(SLICE("example.net"),
					 &question.name));
		text_add(&packet, slice_of(has_name ? "\22\64\201\200"
						    : "\22\64\201\203", 4));
		text_add(&packet, slice_of("\0\1\0\0\0\1\0\0", 8));
		text_add(&packet, slice_of(QUESTION, sizeof(QUESTION) - 1));
		text_add(&packet, slice_of(rows[row].authority, 38));
		cr_expect_eq(dns_packet_read(text_slice(&packet), &question,
					     0x1234, &arena, &answer),
			     DNS_PACKET_ANSWER, "%s: %s", rows[row].name,
			     answer.answer.reason);
		cr_expect_eq(answer.answer.status,
			     has_name ? DNS_NO_DATA : DNS_NO_NAME);
		cr_expect_eq(answer.ttl_ms, rows[row].ttl_ms, "%s: %llu",
			     rows[row].name,
			     (unsigned long long)answer.ttl_ms);
		arena_done(&arena);
	}
}
