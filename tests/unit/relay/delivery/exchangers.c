#include <criterion/criterion.h>

#include "relay/delivery/exchangers.h"

#define MX(preference_, name_)                                                 \
	{ .name = {name_, sizeof(name_) - 1}, .preference = preference_ }

static const struct exchangers_row {
	const char *name;
	struct dns_record records[4];
	size_t count;
	const char *expected, *no_host;
	bool is_null;
} exchangers_rows[] = {
	{ "by preference", { MX(20, "b"), MX(0, "a"), MX(65535, "c") }, 3,
	  "a b c", "", false },
	{ "null MX", { MX(0, "") }, 1, "", "", true },
	{ "null MX, whatever its preference", { MX(10, "") }, 1, "", "", true },
	{ "null MX twice", { MX(0, ""), MX(1, "") }, 2, "", "", true },
	{ "null MX among others", { MX(0, ""), MX(1, "a") }, 2, "a", "",
	  false },
	{ "one name twice, at its best",
	  { MX(5, "b"), MX(9, "a"), MX(1, "A") }, 3, "A b", "", false },
	{ "an address and a name", { MX(5, "192.0.2.1"), MX(6, "a") }, 2,
	  "192.0.2.1 a", "", false },
	{ "what begins like an address", { MX(5, "192.0.2.1.example") }, 1,
	  "192.0.2.1.example", "", false },
	{ "localhost", { MX(5, "Localhost"), MX(6, "x.localhost") }, 2, "",
	  "x.localhost", false },
	{ "what ends like localhost", { MX(5, "notlocalhost") }, 1,
	  "notlocalhost", "", false },
	{ "none", { MX(0, "") }, 0, "", "", false },
};

Test(exchangers, of_records)
{
	for (size_t i = 0; i < COUNT(exchangers_rows); i++) {
		const struct exchangers_row *row = &exchangers_rows[i];
		CLEAN(text_done) struct text text = {0};
		struct exchangers exchangers;

		exchangers_take(&exchangers, row->records, row->count);
		for (size_t j = 0; j < exchangers.count; j++)
			text_addf(&text, "%s%.*s", j > 0 ? " " : "",
				  SLICE_ARG(exchangers.items[j].name));
		cr_expect_str_eq(text_string(&text), row->expected, "%s",
				 row->name);
		cr_expect(slice_eq(exchangers.no_host, SLICE(row->no_host)),
			  "%s: '%.*s'", row->name,
			  SLICE_ARG(exchangers.no_host));
		cr_expect_eq(exchangers.is_null, row->is_null, "%s", row->name);
		cr_expect_eq(exchangers.left_over, 0, "%s", row->name);
	}
}

/* Of as many as an answer may have: the best, and each of the equal ones at
 * times. */
Test(exchangers, of_many_take_turns)
{
	static char names[DNS_RECORDS_MAX][2];
	struct dns_record records[DNS_RECORDS_MAX];
	struct exchangers exchangers;
	unsigned first[DNS_RECORDS_MAX] = {0}, different = 0;

	for (size_t i = 0; i < DNS_RECORDS_MAX; i++) {
		names[i][0] = (char)('a' + i / 16);
		names[i][1] = (char)('a' + i % 16);
		records[i] = (struct dns_record){
			.name = slice_of(names[i], 2), .preference = 7};
	}
	for (unsigned i = 0; i < 200; i++) {
		exchangers_take(&exchangers, records, DNS_RECORDS_MAX);
		cr_assert_eq(exchangers.count, MX_HOSTS_MAX);
		cr_assert_eq(exchangers.left_over,
			     DNS_RECORDS_MAX - MX_HOSTS_MAX);
		first[(exchangers.items[0].name.bytes[0] - 'a') * 16 +
		      exchangers.items[0].name.bytes[1] - 'a']++;
	}
	for (size_t i = 0; i < DNS_RECORDS_MAX; i++)
		different += first[i] > 0;
	/* 139 are to be expected. */
	cr_expect_gt(different, 90);
}
